"""Runs the methods over the sets, several sets at a time, and keeps every row as it comes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from benchmarks.registration.measure import Measured, limit_threads, measure
from benchmarks.registration.methods import METHODS
from benchmarks.registration.pairs import SETS, Pair, Split, make_pairs
from benchmarks.registration.rows import Key, Row, append, keys_of, open_rows, read_rows


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes
    ----------
    sets, methods
        Names; peers run on the right pairs only, as they do not judge themselves.
    split, count
        Which pairs, and how many per set.
    threads
        Threads of each call.
    jobs
        Sets that are run at the same time.
    data
        Folder of the real CT.
    rows
        The file that rows are added to; pairs and methods that it holds are not run again.
    """

    sets: tuple[str, ...]
    methods: tuple[str, ...]
    split: Split
    count: int
    threads: int
    jobs: int
    data: Path | None
    rows: Path


def methods_for(set_name: str, methods: Sequence[str]) -> tuple[str, ...]:
    """Methods that a set is for."""
    return tuple(m for m in methods if set_name in SETS or not METHODS[m].peer)


def run(plan: Plan) -> None:
    """Run what is missing in the file of rows."""
    open_rows(plan.rows)
    done = frozenset(keys_of(read_rows(plan.rows)))
    work = partial(run_set, plan, done)
    # A pool even for one job: its processes, not this one, take the limit of threads.
    with ProcessPoolExecutor(
        plan.jobs, get_context("spawn"), initializer=limit_threads, initargs=(plan.threads,)
    ) as pool:
        list(pool.map(work, plan.sets))


def run_set(plan: Plan, done: frozenset[Key], set_name: str) -> None:
    """Run one set, pair by pair."""
    wanted = methods_for(set_name, plan.methods)
    finished = [key for key in done if key[:2] == (set_name, plan.split) and key[3] in wanted]
    if len(finished) >= plan.count * len(wanted):
        return
    for pair in make_pairs(set_name, plan.split, plan.count, plan.data):
        for name in wanted:
            if (set_name, plan.split, pair.name, name) in done:
                continue
            row = row_of(
                pair,
                plan.split,
                name,
                plan.threads,
                measure(name, pair.ct, pair.spect, plan.threads),
            )
            append(plan.rows, row)
            print(_line(row), file=sys.stderr, flush=True)


def row_of(pair: Pair, split: Split, method: str, threads: int, measured: Measured) -> Row:
    """The row of one measured call."""
    chosen = METHODS[method]
    answer = measured.answer
    start = mean = worst = None
    if pair.right:
        begun = chosen.start(pair.ct, pair.spect)
        start = float(pair.errors_mm(begun).mean())
        errors = pair.errors_mm(begun if answer is None else answer.ct_to_spect)
        mean, worst = float(errors.mean()), float(errors.max())
    return Row(
        set_name=pair.set_name,
        split=split,
        pair=pair.name,
        method=method,
        seed=pair.seed,
        right=pair.right,
        joints=len(pair.joints_mm),
        start_mm=start,
        mean_mm=mean,
        worst_mm=worst,
        failed=answer is None,
        wall_s=measured.wall_s,
        cpu_s=measured.cpu_s,
        memory_mib=measured.memory_mib,
        threads=threads,
        version=chosen.version,
        expected_mm=None if answer is None else answer.expected_error_mm,
        quality="" if answer is None else answer.quality,
        message=measured.error if answer is None else answer.message,
    )


def _line(row: Row) -> str:
    parts = [f"{row.pair:<22} {row.method:<14}"]
    if row.mean_mm is not None:
        parts.append(f"{row.mean_mm:8.2f} mm")
    if row.wall_s is not None:
        parts.append(f"{row.wall_s:6.1f} s")
    parts.append("FAILED: " + row.message if row.failed else row.quality)
    return " ".join(parts)
