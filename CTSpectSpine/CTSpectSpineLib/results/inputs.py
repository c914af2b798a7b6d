"""Where the inputs of a results folder may be: a manifest holds their names, never their places."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

_MOST_FOLDERS = 100
"""How many folders beside that of the results are looked into. Judgement."""


def find_input(name: object, folder: Path) -> Path | None:
    """An input of this name beside the results, in a folder beside them, or here; None for none.

    Parameters
    ----------
    name
        As the manifest gives it.
    folder
        The results folder.
    """
    if not isinstance(name, str) or Path(name).name != name:
        return None
    parent = folder.resolve().parent
    near = (p for p in (parent, Path(), *islice(parent.iterdir(), _MOST_FOLDERS)) if p.is_dir())
    return next((path for place in near if (path := place / name).exists()), None)
