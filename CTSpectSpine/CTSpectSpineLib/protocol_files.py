"""Where triage protocols are found: with the software, and in folders of the user's own.

Needs nothing but Python, so that the panel can offer them before the first analysis.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

SHIPPED_FOLDER = Path(__file__).parent / "triage_protocol" / "protocols"
VARIABLE = "CTSPECTSPINE_PROTOCOLS"
"""Environment variable with the user's folders, separated as in ``PATH``."""
USUAL_PROTOCOL = "tender-2019"
"""Protocol that is used where none is chosen."""


def shipped_protocols() -> tuple[str, ...]:
    """Ids of the protocols that ship with the software."""
    return tuple(sorted(path.stem for path in SHIPPED_FOLDER.glob("*.json")))


def protocol_files(environment: Mapping[str, str] | None = None) -> dict[str, Path]:
    """Id to file of all protocols that can be named by their id; shipped ones come first.

    A file in a folder of the user is named by its file name without ``.json``. Where two have
    the same name the first one counts, and a shipped one always does.
    """
    values = os.environ if environment is None else environment
    own = [Path(name) for name in values.get(VARIABLE, "").split(os.pathsep) if name]
    found = {name: SHIPPED_FOLDER / f"{name}.json" for name in shipped_protocols()}
    for folder in own:
        for path in sorted(folder.glob("*.json")):
            found.setdefault(path.stem, path)
    return found
