"""What the command line prints for a person: tables, verdicts, progress."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from CTSpectSpineLib.joint_table import deciding_ratio
from CTSpectSpineLib.model import JointKind, UptakeBounds, Verdict
from CTSpectSpineLib.progress import Progress, ProgressCallback, silent
from CTSpectSpineLib.results.text_files import plain

if TYPE_CHECKING:
    from CTSpectSpineLib.triage_protocol.compare import Comparison

WIDTH = 96
"""Columns of printed text. Judgement: fits beside a window's scroll bar at 100."""


def joint_lines(
    table: pd.DataFrame,
    bounds: Mapping[JointKind, UptakeBounds] | None = None,
    truth: Mapping[str, float] | None = None,
) -> Iterator[str]:
    """The joint table as aligned text, cranial to caudal; with the true ratios if given.

    The ratio is the one that decides by the protocol's bounds, beside its own interval.
    """
    measured = "uptake" in table.columns
    head = f"{'joint':<22}" + ("  ratio   95 % interval  " if measured else "")
    head += "  true  " if truth is not None else ""
    yield head + ("  uptake" if measured else "  centre (LPS mm)             volume mm3")
    for row in table.to_dict("records"):
        line = f"{row['joint']:<22}"
        if measured:
            line += f"{_number(deciding_ratio(row, bounds or {}), 7)}   "
            line += f"{_number(row['ratio_low'], 5)} to {_number(row['ratio_high'], 5)}  "
        if truth is not None:
            line += f"{_number(truth.get(str(row['joint'])), 6)}  "
        if measured:
            reason = f" ({row['status_reason']})" if row["uptake"] == "not_measurable" else ""
            mark = "* " if row["uptake"] == "positive" else "  "
            line += f"{mark}{row['uptake']}{reason}"
        else:
            centre = " ".join(_number(row[axis], 8) for axis in ("x_mm", "y_mm", "z_mm"))
            line += f"  {centre}   {_number(row['volume_mm3'], 9, 0)}"
        yield line


def _number(value: float | None, width: int, digits: int = 2) -> str:
    missing = value is None or value != value
    return f"{'-':>{width}}" if missing else f"{value:>{width}.{digits}f}"


def verdict_lines(verdict: Verdict) -> Iterator[str]:
    """The headline, then the verdict with its findings, reasons, eligibility and caveats."""
    yield ""
    yield from textwrap.wrap(verdict.headline, WIDTH)
    yield ""
    yield f"Verdict by {verdict.protocol['id']}: {verdict.disposition}{_stability(verdict)}"
    yield f"Recommendation: {verdict.recommendation}"
    yield f"Eligibility: {_eligibility(verdict)}"
    sentences = [str(entry["sentence"]) for entry in verdict.findings]
    untold = [s for s in sentences if not any(r.startswith(s) for r in verdict.reasons)]
    if untold:
        yield "Outside the joints:"
        yield from _bullets(untold)
    for title, told in (("Reasons", verdict.reasons), ("Caveats", verdict.caveats)):
        yield f"{title}:"
        yield from _bullets(told)


def _stability(verdict: Verdict) -> str:
    if verdict.stability is None:
        return ""
    return f", stability {verdict.stability:.0%}{' (UNSTABLE)' if verdict.stable is False else ''}"


def _eligibility(verdict: Verdict) -> str:
    words = str(verdict.eligibility.get("status", "unknown")).replace("_", " ")
    failed, missing = (verdict.eligibility.get(key, ()) for key in ("failed", "not_given"))
    parts = [f"failed: {'; '.join(failed)}"] if failed else []
    parts += [f"{len(missing)} criteria not given"] if missing else []
    return f"{words} ({', '.join(parts)})" if parts else words


def _bullets(sentences: Iterable[str]) -> Iterator[str]:
    for sentence in sentences:
        yield from textwrap.wrap(sentence, WIDTH, initial_indent="  - ", subsequent_indent="    ")


def comparison_lines(comparison: Comparison) -> Iterator[str]:
    """What several protocols say of one patient, side by side, and why they differ."""
    from CTSpectSpineLib.triage_protocol.verdict import RESEARCH_CAVEAT

    width = max(len(verdict.protocol["id"]) for verdict in comparison.verdicts)
    for verdict in comparison.verdicts:
        head = f"{verdict.protocol['id']:<{width}}  {verdict.disposition}{_stability(verdict)}"
        yield head
        indent = " " * (width + 2)
        for text in (verdict.recommendation, f"eligibility: {_eligibility(verdict)}"):
            yield from textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent)
    yield ""
    if comparison.agree:
        yield "The protocols agree."
    else:
        yield "Why they differ:"
        for verdict, because in zip(comparison.verdicts, comparison.because, strict=True):
            yield from _bullets([f"{verdict.protocol['id']}: {' '.join(because)}"])
        yield from _bullets(comparison.differences)
    yield RESEARCH_CAVEAT


def goal_lines(goals: Iterable[Mapping[str, str]]) -> Iterator[str]:
    """The goals of the truth study as aligned text."""
    for goal in goals:
        found = f"{goal['found']} (goal {goal['wanted']})"
        yield f"{goal['outcome']:<8} {goal['subject']}: {goal['quantity']}: {found}"


def progress_printer(style: str) -> ProgressCallback:
    """Progress on standard error: ``text``, ``json``, ``none``, or ``auto``.

    ``auto`` prints text, one line per stage where standard error is not a terminal.
    """
    if style == "none":
        return silent
    if style == "json":
        return _print_json
    if style == "auto" and sys.stderr.isatty():
        return _print_in_place
    return _StagePrinter(every_message=style == "text")


def _print_json(progress: Progress) -> None:
    line = {
        "stage": progress.stage,
        "fraction": round(progress.fraction, 4),
        "message": progress.message,
    }
    print(json.dumps(line), file=sys.stderr, flush=True)


def _print_in_place(progress: Progress) -> None:
    text = f"[{progress.fraction:4.0%}] {progress.message}"
    end = "\n" if progress.fraction >= 1 else ""
    print(f"\r\033[K{text}", end=end, file=sys.stderr, flush=True)


class _StagePrinter:
    """Prints one line per stage, or per message.

    Lines of the stages that only look at the inputs are held back until the work begins, so that
    standard error holds nothing but the error when an input cannot be used.
    """

    _LOOKING = ("check", "label")

    def __init__(self, every_message: bool) -> None:
        self.every_message = every_message
        self.stage = ""
        self.held: list[str] = []

    def __call__(self, progress: Progress) -> None:
        if not self.every_message and progress.stage == self.stage and progress.fraction < 1:
            return
        same_stage, self.stage = progress.stage == self.stage, progress.stage
        self.held.append(f"[{progress.fraction:4.0%}] {progress.message}")
        if same_stage or progress.stage not in self._LOOKING:
            print("\n".join(self.held), file=sys.stderr, flush=True)
            self.held.clear()


def print_json(values: Any) -> None:
    """Print values as JSON."""
    json.dump(plain(values), sys.stdout, indent=2, allow_nan=False)
    print()


def print_lines(lines: Iterable[str]) -> None:
    """Print lines of text."""
    for line in lines:
        print(line)
