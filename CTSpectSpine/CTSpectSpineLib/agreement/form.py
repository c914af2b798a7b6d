"""A page on which a reader grades joints without seeing what the software says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from CTSpectSpineLib.agreement.readings import COLUMNS
from CTSpectSpineLib.joint_table import Row, place_key
from CTSpectSpineLib.version import __version__

_HERE = Path(__file__).parent


def form(joints: Mapping[str, Sequence[Row]], reader: str = "", seed: int | None = None) -> str:
    """HTML of the form; of the results it holds the names of patients and joints alone.

    Parameters
    ----------
    joints
        Patient to joints.
    reader
        Name that the form begins with.
    seed
        Of the order of the patients; None for that of the names.
    """
    names = sorted(joints)
    if seed is not None:
        names = [names[n] for n in np.random.default_rng(seed).permutation(len(names))]
    data = [
        [
            name,
            [
                j.joint
                for j in sorted(joints[name], key=lambda j: place_key(j.level, j.kind, j.side))
            ],
        ]
        for name in names
    ]
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("form.html").render(
        style=(_HERE / "form.css").read_text(encoding="utf-8"),
        script=(_HERE / "form.js").read_text(encoding="utf-8"),
        data=_safe({"patients": data, "reader": reader, "columns": COLUMNS}),
        count=len(names),
        version=__version__,
    )


def _safe(values: object) -> str:
    """JSON that cannot end the element that holds it."""
    text = json.dumps(values, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c")
