"""Concatenations: one enhanced object whose frames are spread over several files.

DICOM PS3.3 C.7.6.16.2.2.4: the parts share ConcatenationUID, InConcatenationNumber counts them from
1, and ConcatenationFrameOffsetNumber is the number of frames in the parts before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from pydicom.dataset import Dataset

from CTSpectSpineLib.volumes.dicom.tags import number, value

Headers: TypeAlias = Sequence[tuple[Dataset, int]]
"""Headers of enhanced files, each with its number of frames."""
_WHOLE = "export the whole concatenation"


def parts_refusal(headers: Headers) -> str:
    """Why files are no whole concatenation, naming the tag; empty where they are, or are none."""
    said = [value(header, "ConcatenationUID") is not None for header, _ in headers]
    numbers = [_whole(header, "InConcatenationNumber") for header, _ in headers]
    totals = [_whole(header, "InConcatenationTotalNumber") for header, _ in headers]
    if not any(said):
        if any((n or 1) > 1 for n in (*numbers, *totals)):
            return (
                "is a part of a concatenation (InConcatenationNumber) that names no "
                "ConcatenationUID, so that its other parts are not known: export it as one object"
            )
        return ""
    if None in numbers:
        return f"has a part of a concatenation without InConcatenationNumber: {_WHOLE}"
    stated = {total for total in totals if total is not None}
    if len(stated) > 1:
        return f"has parts that state different InConcatenationTotalNumber: {_WHOLE}"
    parts = sorted(n for n in numbers if n is not None)
    if len(set(parts)) < len(parts):
        twice = next(n for n in parts if parts.count(n) > 1)
        return f"has part {twice} of a concatenation twice (InConcatenationNumber): keep one"
    last = max(*parts, *stated) if stated else parts[-1]
    missing = [n for n in range(1, min(last, len(parts) + 1) + 1) if n not in parts]
    if missing or parts[0] < 1 or last != len(parts):
        which = f"lacks part {missing[0]}" if missing else f"has {len(parts)} parts"
        return f"{which} of {last} of a concatenation (InConcatenationNumber): {_WHOLE}"
    return _offset_refusal(headers)


def parts_note(headers: Headers) -> tuple[str, ...]:
    """What a concatenation leaves open."""
    parts = [header for header, _ in headers if value(header, "ConcatenationUID") is not None]
    if not parts or any(_whole(header, "InConcatenationTotalNumber") for header in parts):
        return ()
    return (
        "The CT is a concatenation that does not say of how many parts "
        f"(InConcatenationTotalNumber): {len(parts)} were found.",
    )


def _offset_refusal(headers: Headers) -> str:
    before = 0
    for header, count in sorted(
        headers, key=lambda part: number(part[0], "InConcatenationNumber") or 0.0
    ):
        offset = _whole(header, "ConcatenationFrameOffsetNumber")
        if offset is not None and offset != before:
            part = _whole(header, "InConcatenationNumber")
            return (
                f"has ConcatenationFrameOffsetNumber {offset} in part {part} of a concatenation, "
                f"where {before} frames come before it: it is damaged, {_WHOLE} again"
            )
        before += count
    return ""


def _whole(header: Dataset, keyword: str) -> int | None:
    found = number(header, keyword)
    return None if found is None else int(found)
