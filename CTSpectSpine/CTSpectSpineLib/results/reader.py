"""Reading a results folder for the page, and saying clearly what is broken in it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from CTSpectSpineLib import ct_sign, joint_table
from CTSpectSpineLib.ct_sign import CtSigns
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.results.decision import is_withheld, withheld
from CTSpectSpineLib.results.manifest import MANIFEST, SCHEMA, STATUSES
from CTSpectSpineLib.results.pictures import ShownPicture, read_pictures
from CTSpectSpineLib.results.text_files import AGAIN, read_json_part


@dataclass(frozen=True)
class ResultsFolder:
    """What the page is made from.

    Attributes
    ----------
    manifest
        ``manifest.json``.
    registration, verdict
        ``registration.json`` and ``verdict.json``; None where a stopped analysis has none.
    joints
        ``joints.csv``, cranial to caudal, numbers as float; None where there is none.
    pictures
        In the order of ``pictures/index.json``.
    ct_signs
        ``ct_signs.csv`` by joint; empty where an older version wrote none.
    """

    manifest: Mapping[str, Any]
    registration: Mapping[str, Any] | None
    verdict: Mapping[str, Any] | None
    joints: pd.DataFrame | None
    pictures: tuple[ShownPicture, ...]
    ct_signs: Mapping[str, CtSigns] = field(default_factory=dict)


def read_folder(folder: Path, manifest: Mapping[str, Any] | None = None) -> ResultsFolder:
    """Read a results folder.

    A complete analysis must have all its tables; of one that failed or is running, what is
    there is read.

    Parameters
    ----------
    folder
        The folder.
    manifest
        What ``manifest.json`` will say when the analysis has ended; None for what it says.

    Raises
    ------
    InputError
        If the folder or one of its files is missing, broken or of another schema.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such results folder")
    if manifest is None:
        manifest = read_json_part(folder / MANIFEST, dict)
    if manifest is None:
        raise InputError(
            f"{folder / 'manifest.json'}: missing; name a folder that an analysis has written"
        )
    if manifest.get("schema") != SCHEMA:
        raise InputError(
            f"{folder / 'manifest.json'}: schema is {manifest.get('schema')!r}, not {SCHEMA!r}; "
            "use the version of CTSpectSpine that wrote it"
        )
    if manifest.get("status") not in STATUSES:
        raise InputError(
            f"{folder / 'manifest.json'}: status is {manifest.get('status')!r}, which must be "
            f"one of {', '.join(STATUSES)}"
        )
    registration = read_json_part(folder / "registration.json", dict)
    verdict = read_json_part(folder / "verdict.json", dict)
    joints = joint_table.parse_file(folder / "joints.csv")
    if verdict is not None and is_withheld(verdict, manifest):
        verdict = withheld(verdict, manifest)
        joints = None if joints is None else joint_table.taken_back(joints)
    if manifest["status"] == "complete":
        parts = {"registration.json": registration, "joints.csv": joints, "verdict.json": verdict}
        for name, part in parts.items():
            if part is None:
                raise InputError(
                    f"{folder / name}: missing, although manifest.json says that the analysis "
                    f"is complete; {AGAIN}"
                )
    pictures, signs = read_pictures(folder), _read_ct_signs(folder / ct_sign.FILE)
    return ResultsFolder(manifest, registration, verdict, joints, pictures, signs)


def _read_ct_signs(path: Path) -> Mapping[str, CtSigns]:
    if not path.is_file():
        return {}
    try:
        return ct_sign.from_csv(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({error}); {AGAIN}") from error
