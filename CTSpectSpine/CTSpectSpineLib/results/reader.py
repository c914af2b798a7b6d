"""Reading a results folder for the page, and saying clearly what is broken in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from CTSpectSpineLib import joint_table
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.results.manifest import MANIFEST, SCHEMA, STATUSES

_PNG = b"\x89PNG\r\n\x1a\n"
_AGAIN = "run the analysis again"


@dataclass(frozen=True)
class ShownPicture:
    """A picture of the folder with its words and its PNG bytes."""

    section: str
    title: str
    caption: str
    joint: str
    png: bytes


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
    """

    manifest: Mapping[str, Any]
    registration: Mapping[str, Any] | None
    verdict: Mapping[str, Any] | None
    joints: pd.DataFrame | None
    pictures: tuple[ShownPicture, ...]


def read_folder(folder: Path) -> ResultsFolder:
    """Read a results folder.

    A complete analysis must have all its tables; of one that failed or is running, what is
    there is read.

    Raises
    ------
    InputError
        If the folder or one of its files is missing, broken or of another schema.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such results folder")
    manifest = _read_json(folder / MANIFEST, dict)
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
    registration = _read_json(folder / "registration.json", dict)
    verdict = _read_json(folder / "verdict.json", dict)
    joints = joint_table.parse_file(folder / "joints.csv")
    if manifest["status"] == "complete":
        parts = {"registration.json": registration, "joints.csv": joints, "verdict.json": verdict}
        for name, part in parts.items():
            if part is None:
                raise InputError(
                    f"{folder / name}: missing, although manifest.json says that the analysis "
                    f"is complete; {_AGAIN}"
                )
    return ResultsFolder(
        manifest, registration, verdict, joints, _read_pictures(folder / "pictures")
    )


def _read_json(path: Path, kind: type) -> Any:
    """Content of a JSON file, None where there is no such file."""
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}); {_AGAIN}") from error
    if not isinstance(content, kind):
        wanted = "an object" if kind is dict else "a list"
        raise InputError(f"{path}: holds no JSON {wanted.split()[1]}; {_AGAIN}")
    return content


def _read_pictures(folder: Path) -> tuple[ShownPicture, ...]:
    index = _read_json(folder / "index.json", list)
    pictures = []
    for entry in index or []:
        if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
            raise InputError(f"{folder / 'index.json'}: an entry has no 'file'; {_AGAIN}")
        name = entry["file"]
        if Path(name).name != name or "\\" in name:
            raise InputError(
                f"{folder / 'index.json'}: {name!r} is not the name of a file beside it"
            )
        path = folder / name
        try:
            png = path.read_bytes()
        except OSError as error:
            raise InputError(
                f"{path}: cannot be read, although index.json lists it; {_AGAIN}"
            ) from error
        if not png.startswith(_PNG):
            raise InputError(f"{path}: is not a PNG picture; {_AGAIN}")
        words = {key: str(entry.get(key, "")) for key in ("section", "title", "caption", "joint")}
        pictures.append(ShownPicture(png=png, **words))
    return tuple(pictures)
