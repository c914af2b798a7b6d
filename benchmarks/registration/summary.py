"""Numbers of the comparison, from the rows: errors, success, times, quality, goals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from benchmarks.registration.methods import METHODS
from benchmarks.registration.pairs import SETS, WRONG_SETS

OURS = "ours"
SUCCESS_MM = (2.5, 5.0)
"""Errors below which a pair succeeds, mm. Judgement: at 5 mm the software refuses a verdict, and at
half of that a hot facet has lost about a tenth of its mean."""
LEAST_PAIRS = 40
"""Least number of pairs in a set for a goal to count as shown. Judgement: if all 40 succeed, the
share that does is above 91 % (95 % interval of Wilson 1927)."""
RATIO_SETS = ("standard", "standard-real", "hard", "hard-real")
GOAL_RATIO = 0.25
"""Goal of our mean error over the best peer's. Judgement: a clear advantage."""
GOAL_GOOD = 0.95
"""Goal of the share of right pairs called good. Judgement: few needless looks."""
LEAST_WRONG = 100
"""Least number of wrong pairs for the goal of none called good. Judgement: then at most 3 % are
(rule of three; Hanley and Lippman-Hand 1983)."""
GOAL_CALIBRATION = (0.90, 0.98)
"""Goal of the share of errors within twice the expected one. Judgement: about the 95 % of two
standard deviations."""
GOAL_SPEED_S, GOAL_SPEED_BYTES = 4.0, 1e9
"""Goals of time and memory on a clinical CT. Judgement: a person waits, on a laptop."""
CLINICAL_SIZE = "512×512×400"
GOAL_SPEED_THREADS = 2
"""Threads for which that goal of time is set. Judgement: every laptop has them."""
QUALITIES = ("good", "check", "failed")


@dataclass(frozen=True)
class Summary:
    """One method on one set; errors in mm are of the pairs' means over their joints.

    Attributes
    ----------
    pairs, failed_calls
        Pairs measured, and calls that raised or were ended among them.
    mean, median, p95, worst
        Over the pairs.
    worst_joint
        The worst single joint of all.
    below
        Number of pairs below each of `SUCCESS_MM`.
    wall_s, cpu_s
        Means over the calls that came to an end; NaN where there are none.
    memory_mib
        Largest.
    """

    set_name: str
    method: str
    pairs: int
    failed_calls: int
    mean: float
    median: float
    p95: float
    worst: float
    worst_joint: float
    below: tuple[int, int]
    wall_s: float
    cpu_s: float
    memory_mib: float

    def success(self, which: int = 0) -> float:
        """Share of pairs below one of `SUCCESS_MM`."""
        return self.below[which] / self.pairs


Verdict = Literal["met", "not met", "too few pairs"]


@dataclass(frozen=True)
class Goal:
    """A goal and what was found.

    Attributes
    ----------
    subject, quantity
        Which set, which number.
    wanted, found
        In words, rounded; the verdict rests on the exact numbers.
    verdict
        ``"too few pairs"`` where the number would meet the goal but rests on too few.
    """

    subject: str
    quantity: str
    wanted: str
    found: str
    verdict: Verdict


@dataclass(frozen=True)
class Calibration:
    """How the expected error compares with the true one, over right pairs with a finite one.

    Attributes
    ----------
    pairs
        How many.
    within_once, within_twice
        Share whose true error (mean over the joints) is at most once, twice the expected one.
    """

    pairs: int
    within_once: float
    within_twice: float


def summaries(rows: pd.DataFrame) -> list[Summary]:
    """Every method on every set of right pairs, in the order of the sets and methods."""
    found = []
    for set_name in SETS:
        for method in METHODS:
            part = rows[(rows.set_name == set_name) & (rows.method == method)]
            if len(part):
                found.append(_summary(set_name, method, part))
    return found


def _summary(set_name: str, method: str, rows: pd.DataFrame) -> Summary:
    errors = rows.mean_mm.to_numpy(dtype=float)
    return Summary(
        set_name,
        method,
        len(rows),
        int(rows.failed.sum()),
        float(errors.mean()),
        float(np.median(errors)),
        float(np.percentile(errors, 95)),
        float(errors.max()),
        float(rows.worst_mm.max()),
        (int((errors < SUCCESS_MM[0]).sum()), int((errors < SUCCESS_MM[1]).sum())),
        float(rows.wall_s.mean()),
        float(rows.cpu_s.mean()),
        float(rows.memory_mib.max()),
    )


def best_peer(found: list[Summary], set_name: str) -> Summary | None:
    """The peer with the least mean error on a set; None where none was run."""
    peers = [s for s in found if s.set_name == set_name and METHODS[s.method].peer]
    return min(peers, key=lambda s: s.mean, default=None)


def ours_of(found: list[Summary], set_name: str) -> Summary | None:
    """Our summary of a set."""
    return next((s for s in found if s.set_name == set_name and s.method == OURS), None)


def ratio_to_best(found: list[Summary], set_name: str) -> float | None:
    """Our mean error over the best peer's; None unless both ran on the same number of pairs."""
    ours, peer = ours_of(found, set_name), best_peer(found, set_name)
    if ours is None or peer is None or ours.pairs != peer.pairs:
        return None
    return ours.mean / peer.mean


def qualities(rows: pd.DataFrame, set_name: str) -> dict[str, int]:
    """How many of our results of a set are good, to be checked, failed."""
    part = rows[(rows.set_name == set_name) & (rows.method == OURS)]
    counts = {name: int((part.quality == name).sum()) for name in QUALITIES}
    # A call that raised gave no judgement, and nothing that could be mistaken for a result.
    counts["failed"] += int(((part.quality == "") & part.failed).sum())
    return counts


def right_results(rows: pd.DataFrame) -> pd.DataFrame:
    """Our rows of right pairs."""
    part: pd.DataFrame = rows[(rows.method == OURS) & rows.right]
    return part


def calibration(rows: pd.DataFrame) -> Calibration | None:
    """Calibration over our rows of right pairs; None where there is none."""
    part = right_results(rows)
    part = part[np.isfinite(part.expected_mm.to_numpy(dtype=float)) & ~part.failed]
    if part.empty:
        return None
    ratio = part.mean_mm.to_numpy(dtype=float) / part.expected_mm.to_numpy(dtype=float)
    return Calibration(len(part), float((ratio <= 1).mean()), float((ratio <= 2).mean()))


def worst_good(rows: pd.DataFrame) -> float | None:
    """Worst true error (mean over joints) of a right pair called good, mm."""
    part = right_results(rows)
    good = part[part.quality == "good"]
    return None if good.empty else float(good.mean_mm.max())


def goals(rows: pd.DataFrame, speed: pd.DataFrame | None = None) -> list[Goal]:
    """All goals that the rows bear on."""
    found = summaries(rows)
    result = [goal for name in SETS for goal in _set_goals(found, name)]
    result += _quality_goals(rows)
    return result if speed is None else [*result, *_speed_goals(speed)]


def _verdict(met: bool, enough: bool) -> Verdict:
    if not met:
        return "not met"
    return "met" if enough else "too few pairs"


def _set_goals(found: list[Summary], set_name: str) -> Iterator[Goal]:
    info, ours = SETS[set_name], ours_of(found, set_name)
    if ours is None:
        return
    enough = ours.pairs >= LEAST_PAIRS
    for wanted, value, words in (
        (info.goal_mean_mm, ours.mean, "mean error"),
        (info.goal_worst_mm, ours.worst, "worst pair"),
    ):
        if wanted is not None:
            yield Goal(
                info.title,
                words,
                f"≤ {wanted:g} mm",
                f"{value:.2f} mm",
                _verdict(value <= wanted, enough),
            )
    if info.goal_success is not None:
        yield Goal(
            info.title,
            f"success under {SUCCESS_MM[0]:g} mm",
            f"{'' if info.goal_success == 1 else '≥ '}{100 * info.goal_success:g} %",
            f"{ours.below[0]} of {ours.pairs}",
            _verdict(ours.success() >= info.goal_success, enough),
        )
    ratio, peer = ratio_to_best(found, set_name), best_peer(found, set_name)
    if set_name in RATIO_SETS and ratio is not None and peer is not None:
        yield Goal(
            info.title,
            f"mean error over that of the best peer ({METHODS[peer.method].title})",
            f"≤ {GOAL_RATIO:g}",
            f"{ratio:.2f}",
            _verdict(ratio <= GOAL_RATIO, enough),
        )


def _quality_goals(rows: pd.DataFrame) -> Iterator[Goal]:
    right = right_results(rows)
    if len(right):
        good = int((right.quality == "good").sum())
        enough = len(right) >= LEAST_PAIRS
        yield Goal(
            "All right pairs",
            "called good",
            f"≥ {100 * GOAL_GOOD:g} %",
            f"{good} of {len(right)} ({100 * good / len(right):.1f} %)",
            _verdict(good / len(right) >= GOAL_GOOD, enough),
        )
    wrong = {name: qualities(rows, name) for name in WRONG_SETS}
    number = sum(sum(counts.values()) for counts in wrong.values())
    if number:
        good = sum(counts["good"] for counts in wrong.values())
        yield Goal(
            "All wrong pairs",
            "called good",
            f"none of at least {LEAST_WRONG}",
            f"{good} of {number}",
            _verdict(good == 0, number >= LEAST_WRONG),
        )
    found = calibration(rows)
    if found is not None:
        low, high = GOAL_CALIBRATION
        yield Goal(
            "All right pairs",
            "true error within twice the expected",
            f"{100 * low:g} to {100 * high:g} %",
            f"{100 * found.within_twice:.1f} %",
            _verdict(low <= found.within_twice <= high, found.pairs >= LEAST_PAIRS),
        )


def _speed_goals(speed: pd.DataFrame) -> Iterator[Goal]:
    rows = speed[(speed["size"] == CLINICAL_SIZE) & (speed.method == OURS)]
    for _, row in rows.iterrows():
        if row.threads != GOAL_SPEED_THREADS:
            continue
        yield Goal(
            f"CT of {CLINICAL_SIZE}",
            f"wall time with {row.threads} threads",
            f"< {GOAL_SPEED_S:g} s",
            f"{row.wall_s:.2f} s",
            _verdict(row.wall_s < GOAL_SPEED_S, True),
        )
        if np.isfinite(row.memory_mib):
            megabytes = row.memory_mib * 2**20 / 1e6
            yield Goal(
                f"CT of {CLINICAL_SIZE}",
                "peak memory above the inputs",
                f"< {GOAL_SPEED_BYTES / 1e6:.0f} MB",
                f"{megabytes:.0f} MB",
                _verdict(megabytes * 1e6 < GOAL_SPEED_BYTES, True),
            )
