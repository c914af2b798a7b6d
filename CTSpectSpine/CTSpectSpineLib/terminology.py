"""Coded names of vertebrae and joints, as 3D Slicer and DICOM segmentations carry them.

Vertebrae and discs have SNOMED CT codes. The facet joint, the parts of discs and the motion
segments (``L4-L5``) have codes of a local scheme, ``99CTSPECTSPINE``, as do the vertebrae without
a SNOMED CT code (T13, L6). The tables are in ``data/terminology.json`` and ``data/anatomy.json``;
the files that Slicer loads (``Resources/Terminologies``) are written from them by

    python -m CTSpectSpineLib.terminology FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from CTSpectSpineLib.anatomy import TRANSITIONAL, level_name, vertebra, vertebrae
from CTSpectSpineLib.files import json_table

_TABLE = Path(__file__).parent / "data" / "terminology.json"
DISC_PARTS = ("disc_space", "endplate_upper", "endplate_lower")
"""Parts of a disc that are segments of their own."""


class Code(NamedTuple):
    """A coded concept.

    Attributes
    ----------
    scheme
        Coding scheme designator, ``"SCT"`` or the local scheme.
    value, meaning
        Code value and its meaning in words.
    """

    scheme: str
    value: str
    meaning: str


def _code(row: dict[str, Any]) -> Code:
    return Code(row["scheme"], row["value"], row["meaning"])


def local_scheme() -> str:
    """Designator of the local coding scheme."""
    return str(json_table(_TABLE)["local_scheme"])


def category_code() -> Code:
    """Coded category of all structures."""
    return _code(json_table(_TABLE)["category"])


def type_code(kind: str, level: str) -> Code:
    """Coded type of a structure.

    Parameters
    ----------
    kind
        ``"vertebra"``, ``"disc"``, ``"facet"`` or one of `DISC_PARTS`.
    level
        Name of the vertebra (``"L4"``); not used for joints, whose level is a region.

    Raises
    ------
    KeyError
        If there is no such kind, or no such vertebra.
    """
    table = json_table(_TABLE)
    row = table["kinds"][kind]
    if kind != "vertebra":
        return _code(row)
    bone = vertebra(level)
    if bone.sct is None:
        return Code(table["local_scheme"], bone.name, bone.meaning)
    return Code("SCT", bone.sct, bone.meaning)


def region_code(level: str) -> Code:
    """Coded anatomic region of a joint: its motion segment (``"L4-L5"``), in the local scheme."""
    return Code(json_table(_TABLE)["local_scheme"], level, f"{level} motion segment")


def side_code(side: str) -> Code | None:
    """Coded laterality of ``"left"`` and ``"right"``; None for the empty side of a disc."""
    return _code(json_table(_TABLE)["sides"][side]) if side else None


def terminology_entry(kind: str, level: str, side: str = "") -> str:
    """Terminology of a segment in the form that Slicer stores with it.

    Parameters
    ----------
    kind
        ``"vertebra"``, ``"disc"``, ``"facet"`` or one of `DISC_PARTS`.
    level
        Vertebra (``"L4"``), or motion segment of a joint (``"L4-L5"``).
    side
        ``"left"``, ``"right"``, or empty.

    Returns
    -------
    str
        ``context~category~type~modifier~region context~region~region modifier``, each code as
        ``scheme^value^meaning``, empty codes as ``^^``.

    Raises
    ------
    KeyError
        If the kind, the vertebra or the side is not known.
    """
    table = json_table(_TABLE)

    def text(code: Code | None) -> str:
        return "^".join(code) if code else "^^"

    is_joint = kind != "vertebra"
    return "~".join(
        (
            table["context"],
            text(_code(table["category"])),
            text(type_code(kind, level)),
            text(side_code(side)),
            table["region_context"] if is_joint else "",
            text(region_code(level) if is_joint else None),
            text(None),
        )
    )


def recommended_rgb(kind: str) -> tuple[int, int, int]:
    """Display colour of a kind of structure, 0 to 255."""
    red, green, blue = json_table(_TABLE)["kinds"][kind]["rgb"]
    return red, green, blue


def motion_segments() -> tuple[str, ...]:
    """Names of all motion segments that any numbering variant can have, cranial to caudal."""
    names = [row.name for row in vertebrae() if row.name != "sacrum"]
    segments = []
    for i, upper in enumerate(names[:-1]):
        for lower in names[i + 1 :]:
            segments.append(level_name(upper, lower))
            if lower not in TRANSITIONAL:
                break
    return tuple(segments)


def _json_code(code: Code, **extra: object) -> dict[str, object]:
    return {
        "CodingSchemeDesignator": code.scheme,
        "CodeValue": code.value,
        "CodeMeaning": code.meaning,
        **extra,
    }


def _coloured(code: Code, kind: str) -> dict[str, object]:
    return _json_code(code, recommendedDisplayRGBValue=list(recommended_rgb(kind)))


def type_context() -> dict[str, object]:
    """Terminology of types as Slicer loads it (segment context schema of dcmqi)."""
    table = json_table(_TABLE)
    types = [_coloured(type_code("vertebra", row.name), "vertebra") for row in vertebrae()]
    types.append(_coloured(type_code("disc", ""), "disc"))
    sides = [_coloured(_code(row), "facet") for row in table["sides"].values()]
    types.append(_json_code(type_code("facet", ""), Modifier=sides))
    types += [_coloured(type_code(part, ""), part) for part in DISC_PARTS]
    category = _json_code(_code(table["category"]), showAnatomy=True, Type=types)
    return {
        "SegmentationCategoryTypeContextName": table["context"],
        "@schema": "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/"
        "segment-context-schema.json#",
        "SegmentationCodes": {"Category": [category]},
    }


def region_context() -> dict[str, object]:
    """Terminology of anatomic regions as Slicer loads it (anatomic context schema of dcmqi)."""
    return {
        "AnatomicContextName": json_table(_TABLE)["region_context"],
        "@schema": "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/"
        "anatomic-context-schema.json#",
        "AnatomicCodes": {
            "AnatomicRegion": [_json_code(region_code(name)) for name in motion_segments()]
        },
    }


def slicer_files() -> dict[str, str]:
    """Names and text of the terminology files that the Slicer module ships."""
    contexts = {
        "CTSpectSpine.term.json": type_context(),
        "CTSpectSpine-Regions.term.json": region_context(),
    }
    return {name: json.dumps(context, indent=2) + "\n" for name, context in contexts.items()}


if __name__ == "__main__":
    for file_name, content in slicer_files().items():
        (Path(sys.argv[1]) / file_name).write_text(content, encoding="utf-8", newline="\n")
