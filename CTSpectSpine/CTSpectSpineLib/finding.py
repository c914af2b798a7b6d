"""Uptake that no joint explains: the value that travels, its words, and ``findings.csv``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

COLUMNS = (
    "finding", "where", "level", "side", "x_mm", "y_mm", "z_mm", "volume_mm3", "ratio_max",
    "ratio_mean", "diameter_mm", "ratio_corrected", "confidence", "physiologic", "nearest",
    "joints",
)  # fmt: skip
"""Columns of ``findings.csv``, in order."""
PLACES = (
    "body", "arch", "vertebra", "rib", "costovertebral", "sacrum", "sacroiliac", "hip", "bone",
    "soft tissue", "outside the CT",
)  # fmt: skip
"""Where a finding may lie."""


@dataclass(frozen=True)
class Finding:
    """Uptake that no joint explains.

    Attributes
    ----------
    name
        ``"finding 1"``, the one that matters most first.
    where
        ``body``, ``arch``, ``vertebra`` (all of it), ``rib``, ``costovertebral``, ``sacrum``,
        ``sacroiliac``, ``hip``, ``bone``, ``soft tissue`` or ``outside the CT``.
    level, side
        Vertebra in or nearest to which it lies; side, empty in the middle.
    centre_mm
        Its middle, LPS mm on the CT.
    diameter_mm
        Diameter of a ball of its volume.
    ratio_max, ratio_mean
        Uncorrected uptake over that of the reference bone: the most, and the mean of the ball.
    ratio_corrected
        Ratio of the fitted ball before blur; as uncertain as its size.
    confidence
        ``high``, ``moderate`` or ``low``.
    physiologic
        ``kidney``, ``ureter``, ``bladder``, ``injection site`` where it looks like that, else
        empty.
    nearest
        Where it lies, in words.
    joints
        Joints whose uptake it explains better than they do themselves.
    """

    name: str
    where: str
    level: str
    side: str
    centre_mm: tuple[float, float, float]
    diameter_mm: float
    ratio_max: float
    ratio_mean: float
    ratio_corrected: float
    confidence: str
    physiologic: str
    nearest: str
    joints: tuple[str, ...] = ()

    @property
    def volume_mm3(self) -> float:
        """Volume of the ball, mm³."""
        return math.pi / 6.0 * self.diameter_mm**3

    def reaches(self, bound: float) -> bool:
        """Whether it is as hot as a positive joint, before or after correction for blur."""
        return max(self.ratio_max, self.ratio_corrected) >= bound

    @property
    def ratio(self) -> float:
        """The uncorrected ratio that is shown."""
        return self.ratio_max

    @property
    def words(self) -> str:
        """Place, size and ratio, as half a sentence."""
        return (
            f"{self.nearest}, {self.diameter_mm:.0f} mm, {self.ratio_max:.1f} × reference "
            "uncorrected"
        )

    @property
    def short(self) -> str:
        """Organ, side and ratio of what looks physiologic."""
        side = self.side if self.physiologic in ("kidney", "ureter") else ""
        return f"{side} {self.physiologic} {self.ratio_max:.1f} ×".strip()

    @property
    def sentence(self) -> str:
        """What it is, as one or two sentences."""
        if self.physiologic:
            return f"Uptake that looks physiologic: {self.words}."
        text = f"Uptake that no joint explains: {self.words}."
        if self.joints:
            verb = "is" if len(self.joints) == 1 else "are"
            text += f" {_and(self.joints)} {verb} explained by it better than by the joint itself."
        return text


@dataclass(frozen=True)
class ShownFinding:
    """What a panel and a scene show of a finding.

    Attributes
    ----------
    name, where, level, side, ratio, sentence, physiologic, confidence
        As in `Finding`; ``ratio`` is the uncorrected one, NaN where it is not known.
    centre_lps
        Its middle, LPS mm; None where an older version wrote none.
    """

    name: str
    where: str
    level: str
    side: str
    ratio: float
    sentence: str
    physiologic: str
    confidence: str
    centre_lps: tuple[float, float, float] | None

    @property
    def place(self) -> str:
        """Level, place and side in a few words."""
        near = self.where in ("soft tissue", "outside the CT")
        words = f"{self.where} near {self.level}" if near and self.level else self.where
        place = words if near else f"{self.level} {words}".strip()
        return f"{place}, {self.side}" if self.side else place


def shown_findings(verdict: Mapping[str, Any]) -> tuple[ShownFinding, ...]:
    """The findings of a verdict, as ``verdict.json`` holds them, in its order."""
    entries = [e for e in verdict.get("findings") or () if isinstance(e, Mapping)]
    return tuple(_shown(number, entry) for number, entry in enumerate(entries, 1))


def _shown(number: int, entry: Mapping[str, Any]) -> ShownFinding:
    texts = {
        key: str(entry.get(key) or "")
        for key in ("where", "level", "side", "sentence", "physiologic", "confidence")
    }
    centre = entry.get("centre_mm")
    ratio = entry.get("ratio")
    return ShownFinding(
        name=str(entry.get("finding") or f"finding {number}"),
        ratio=math.nan if ratio is None else float(ratio),
        centre_lps=None
        if centre is None
        else (float(centre[0]), float(centre[1]), float(centre[2])),
        **texts,
    )


def verdict_entry(finding: Finding) -> dict[str, Any]:
    """A finding as ``verdict.json`` holds it."""
    return {
        "finding": finding.name,
        "where": finding.where,
        "level": finding.level,
        "side": finding.side,
        "ratio": round(finding.ratio_max, 3),
        "sentence": finding.sentence,
        "ratio_corrected": round(finding.ratio_corrected, 3),
        "diameter_mm": round(finding.diameter_mm, 1),
        "centre_mm": [round(value, 1) for value in finding.centre_mm],
        "confidence": finding.confidence,
        "physiologic": finding.physiologic,
        "nearest": finding.nearest,
        "joints": list(finding.joints),
    }


def to_csv(findings: Iterable[Finding]) -> str:
    """The text of ``findings.csv`` (RFC 4180); only the header where there is none."""
    lines = [COLUMNS, *(tuple(map(_cell, _row(finding).values())) for finding in findings)]
    return "".join(",".join(line) + "\r\n" for line in lines)


def _row(finding: Finding) -> Mapping[str, Any]:
    x, y, z = finding.centre_mm
    values = {
        "finding": finding.name,
        "x_mm": x,
        "y_mm": y,
        "z_mm": z,
        "joints": "; ".join(finding.joints),
    }
    return {name: values.get(name, getattr(finding, name, None)) for name in COLUMNS}


def _cell(value: Any) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    quoted = text.replace('"', '""')
    return f'"{quoted}"' if set(text) & set(',"\r\n') else text


def _and(parts: Iterable[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last
