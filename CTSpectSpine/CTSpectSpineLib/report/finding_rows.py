"""Rows of the report's table of findings outside the joints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from CTSpectSpineLib.report.values import items, mapping, number, sentences


def finding_rows(verdict: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """One mapping per finding; none where an older version looked for none.

    Parameters
    ----------
    verdict
        What ``verdict.json`` holds.
    """
    for entry in map(mapping, items(verdict.get("findings"))):
        yield {
            "name": str(entry.get("finding", "")),
            "place": str(entry.get("nearest", "")),
            "size": f"{number(entry.get('diameter_mm'), 0)} mm",
            "ratio": number(entry.get("ratio"), 1),
            "corrected": number(entry.get("ratio_corrected"), 1),
            "confidence": str(entry.get("confidence", "")),
            "physiologic": str(entry.get("physiologic", "")),
            "joints": ", ".join(sentences(entry.get("joints"))),
        }
