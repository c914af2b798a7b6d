"""The document: what was asked, what was measured, where it fails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from CTSpectSpineLib import __version__

FAILURES, REAL = "labelling-failures.png", "labelling-real.png"
_SHOWN = 5
"""Phantoms that are shown. Judgement: what fits into one picture."""


def failures(rows: pd.DataFrame) -> list[int]:
    """Numbers of phantoms with wrong names to show, those without a flag first."""
    rows = rows[~rows.cut]
    bad = rows[rows.found.fillna("") != rows.level]
    order = bad.groupby("number").agg(confirmed=("confirmed", "max"), wrong=("level", "size"))
    order = order.sort_values(["confirmed", "wrong"], ascending=False, kind="stable")
    return [int(n) for n in order.index[:_SHOWN]]


def write_document(rows: pd.DataFrame, real: pd.DataFrame, path: Path) -> None:
    """Write the Markdown file.

    Parameters
    ----------
    rows
        One row per true vertebra of the phantoms (`measure.Row`).
    real
        One row per true vertebra of the real CTs; may be empty.
    path
        Where to write.
    """
    rows = rows[~rows.cut].copy()
    rows["found"] = rows.found.fillna("")
    rows["variant"] = rows.variant.fillna("")
    usual, other = rows[rows.variant == ""], rows[rows.variant != ""]
    parts = [
        "# Built-in vertebra labeller against truth",
        f"Made by `python -m benchmarks.labelling`, version {__version__}:"
        f" {rows.number.nunique()} phantoms whose seeds were used neither in training nor in"
        " tuning: all regions, scoliosis to 40°, patients turned to 45°, slices of 1.5 to 5 mm,"
        " bone density × 0.5 to 1.3. Every eighth has transitional anatomy (listed apart). A"
        " vertebra is identified when the label of its name lies within 20 mm (VerSe's rule);"
        " those cut by the picture do not count. It is wrong without a flag when most of it"
        " carries another name that was called confirmed.",
        "## Phantoms",
        _table(usual, other),
        "By region (usual anatomy):",
        _groups(usual, "region"),
        "By slice thickness, mm:",
        _groups(usual, "slices_mm"),
        "By rotation of the patient:",
        _groups(usual.assign(turn=pd.cut(usual.turn_deg, [-1, 0, 20, 45])), "turn"),
        _worst(rows),
    ]
    if failures(rows):
        parts.append(
            "The first of them, those without a flag before the others; the sagittal plane is bent"
            " along the spine, true names are left, and what was found instead after the arrow:\n\n"
            f"![Columns with wrong names]({FAILURES})"
        )
    if len(real):
        parts += [
            "## Real CTs, never seen in training",
            "Reference: TotalSegmentator's labels and VerSe-style labels of the crop (which has no"
            " landmark). Hips and sacrum against TotalSegmentator's fast model. Neither CT was used"
            " in training, but the two least probabilities of `builtin/paint.py` were chosen on"
            " them, with an earlier network. That one had a mean Dice of 0.87 for L1 to L5 of the"
            " first with the plain 0.5, and 0.90 to 0.92 with any of 36 pairs and HU bounds. So"
            " their overlap is an optimistic estimate.",
            f"![Real CTs with the labels that were found]({REAL})",
            "The crop (right) has no landmark: its vertebrae are counted from a guess, and where"
            " their names are wrong they are flagged as not confirmed.",
            _lines(
                ["CT", "level", "found", "Dice", "confirmed", "CPU s"],
                [
                    [r.ct, r.level, r.found, f"{r.dice:.3f}", r.confirmed, f"{r.cpu_s:.0f}"]
                    for r in real.itertuples()
                ],
            ),
        ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8", newline="\n")


def _figures(rows: pd.DataFrame) -> list[object]:
    wrong = (rows.found != rows.level) & (rows.found != "")
    return [
        rows.number.nunique(),
        len(rows),
        f"{rows.identified.mean():.1%}",
        f"{(rows.found != '').mean():.1%}",
        f"{(wrong & rows.confirmed).mean():.1%}",
        f"{rows.confirmed.mean():.1%}",
        f"{rows.dice.mean():.2f}",
    ]


_HEAD = ["phantoms", "vertebrae", "identified", "found", "wrong, no flag", "confirmed", "Dice"]


def _table(usual: pd.DataFrame, other: pd.DataFrame) -> str:
    lines: list[list[object]] = [["goal", "200", "", "≥ 97 %", "", "≤ 1 %", "", ""]]
    lines.append(["usual anatomy", *_figures(usual)])
    if len(other):
        lines.append(["transitional anatomy", *_figures(other)])
    return _lines(["", *_HEAD], lines)


def _groups(rows: pd.DataFrame, column: str) -> str:
    groups = rows.groupby(column, observed=True)
    return _lines([column, *_HEAD], [[name, *_figures(part)] for name, part in groups])


def _worst(rows: pd.DataFrame) -> str:
    bad = rows[rows.found != rows.level]
    if not len(bad):
        return "No vertebra carried a wrong name."
    lines = []
    for number, part in bad.groupby("number"):
        first = part.iloc[0]
        names = ", ".join(f"{r.level}→{r.found or 'missed'}" for r in part.head(4).itertuples())
        more = " …" if len(part) > 4 else ""
        lines.append(
            [
                number,
                first.region,
                first.variant,
                f"{first.turn_deg:.0f}°",
                first.slices_mm,
                f"{first.density:.1f}",
                "confirmed" if part.confirmed.any() else "flagged",
                names + more,
            ]
        )
    head = ["phantom", "region", "variant", "turned", "slices", "density", "levels", "wrong"]
    return "Phantoms with wrong or missed vertebrae:\n\n" + _lines(head, lines)


def _lines(head: list[str], rows: list[list[object]]) -> str:
    marks = ["---"] * len(head)
    every: tuple[Sequence[object], ...] = (head, marks, *rows)
    return "\n".join("| " + " | ".join(str(v) for v in row) + " |" for row in every)
