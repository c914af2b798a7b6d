"""Reading a results folder for the page, and saying clearly what is broken in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.errors import InputError

SCHEMA = "ctspectspine-results-1"
_STATUSES = ("complete", "failed", "running")
_NEEDED = ("joint", "level", "kind", "side", "status", "uptake")
_ALLOWED = {
    "kind": ("disc", "facet"),
    "side": ("left", "right", ""),
    "status": ("measured", "not_measurable"),
    "uptake": ("positive", "indeterminate", "negative", "not_measurable"),
}
_WORDS = (
    "joint", "level", "kind", "side", "spine_region", "status", "status_reason", "uptake",
    "verdict",
)  # fmt: skip
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
    manifest = _read_json(folder / "manifest.json", dict)
    if manifest is None:
        raise InputError(
            f"{folder / 'manifest.json'}: missing; name a folder that an analysis has written"
        )
    if manifest.get("schema") != SCHEMA:
        raise InputError(
            f"{folder / 'manifest.json'}: schema is {manifest.get('schema')!r}, not {SCHEMA!r}; "
            "use the version of CTSpectSpine that wrote it"
        )
    if manifest.get("status") not in _STATUSES:
        raise InputError(
            f"{folder / 'manifest.json'}: status is {manifest.get('status')!r}, which must be "
            f"one of {', '.join(_STATUSES)}"
        )
    registration = _read_json(folder / "registration.json", dict)
    verdict = _read_json(folder / "verdict.json", dict)
    joints = _read_joints(folder / "joints.csv")
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


def _read_joints(path: Path) -> pd.DataFrame | None:
    if not path.exists():
        return None
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path}: cannot be read as a table ({reason}); {_AGAIN}") from error
    missing = [name for name in _NEEDED if name not in table]
    if missing:
        raise InputError(f"{path}: column {missing[0]!r} is missing; {_AGAIN}")
    for name, allowed in _ALLOWED.items():
        for joint, value in zip(table["joint"], table[name], strict=True):
            if value not in allowed:
                raise InputError(
                    f"{path}: {name} of {joint!r} is {value!r}, which must be one of "
                    f"{', '.join(repr(a) for a in allowed)}"
                )
    for name in table.columns.difference(list(_WORDS)):
        numbers = pd.to_numeric(table[name], errors="coerce")
        wrong = numbers.isna() & ~table[name].str.strip().str.lower().isin(("", "nan"))
        if wrong.any():
            row = table[wrong].iloc[0]
            raise InputError(f"{path}: {name} of {row['joint']!r} is {row[name]!r}, not a number")
        table[name] = numbers
    return _cranial_to_caudal(table)


def _cranial_to_caudal(table: pd.DataFrame) -> pd.DataFrame:
    """Sort by level, then disc, left facet, right facet; unknown levels stay last."""
    order = {row.name: i for i, row in enumerate(anatomy.vertebrae())}
    upper = [order.get(level.partition("-")[0], len(order)) for level in table["level"]]
    keys = table[["level", "kind", "side"]].assign(upper=upper)
    order_of_rows = keys.sort_values(["upper", "level", "kind", "side"], kind="stable").index
    ordered: pd.DataFrame = table.loc[order_of_rows].reset_index(drop=True)
    return ordered


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
