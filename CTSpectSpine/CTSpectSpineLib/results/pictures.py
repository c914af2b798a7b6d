"""The folder ``pictures``: PNG files and the index that says what they show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.results.text_files import AGAIN, read_json_part, write_text

FOLDER, INDEX = "pictures", "index.json"
_PNG = b"\x89PNG\r\n\x1a\n"
"""Standard: PNG (ISO/IEC 15948), the first eight bytes of a file."""
_WORDS = ("section", "title", "caption", "joint", "alt")


@dataclass(frozen=True)
class Picture:
    """One entry of ``pictures/index.json``.

    Attributes
    ----------
    file
        Name of the PNG beside the index.
    section
        ``key``, ``overview``, ``joint``, ``finding`` or ``registration``.
    title, caption
        Words for the page; the caption says what is seen, without numbers of the table.
    joint
        Joint id for pictures of one joint, else empty.
    alt
        What is seen, for those who cannot see it; without a full stop.
    """

    file: str
    section: str
    title: str
    caption: str
    joint: str = ""
    alt: str = ""


@dataclass(frozen=True)
class ShownPicture:
    """A picture of the folder with its words and its PNG bytes."""

    section: str
    title: str
    caption: str
    joint: str
    alt: str
    png: bytes


def prepare_pictures(folder: Path) -> Path:
    """Make the folder of the pictures of a results folder."""
    target = folder / FOLDER
    target.mkdir(parents=True, exist_ok=True)
    return target


def write_index(target: Path, pictures: Sequence[Picture]) -> None:
    """Write the index into the folder of the pictures."""
    entries = [asdict(picture) for picture in pictures]
    write_text(target / INDEX, json.dumps(entries, indent=2, ensure_ascii=False) + "\n")


def read_pictures(results: Path) -> tuple[ShownPicture, ...]:
    """Read the pictures of a results folder, in the order of the index.

    Raises
    ------
    InputError
        If the index or a picture is broken or missing.
    """
    folder = results / FOLDER
    index = read_json_part(folder / INDEX, list)
    pictures = []
    for entry in index or []:
        if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
            raise InputError(f"{folder / 'index.json'}: an entry has no 'file'; {AGAIN}")
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
                f"{path}: cannot be read, although index.json lists it; {AGAIN}"
            ) from error
        if not png.startswith(_PNG):
            raise InputError(f"{path}: is not a PNG picture; {AGAIN}")
        words = {key: str(entry.get(key, "")) for key in _WORDS}
        pictures.append(ShownPicture(png=png, **words))
    return tuple(pictures)
