"""Faults in commands, and what is found afterwards."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.faults.cases import CASES, Case, Workplace, finish, kill, start
from benchmarks.faults.checks import incomplete, is_passing, lies, names_in, snapshot

LIMITS_BYTES = (0, 200, 3_000, 40_000, 200_000, 900_000)
"""Largest files of a full disk. Judgement: from nothing to somewhat less than the largest file."""


@dataclass
class Tally:
    """What was found of one kind of fault in one command."""

    faults: int = 0
    lies: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """All that was found."""
        return [*self.lies, *self.refused, *self.left, *self.inputs, *self.words]


def examine(case: Case, workplace: Workplace, before: dict[str, str], tally: Tally) -> None:
    """Look at the folder after a fault, run the command again, and look once more."""
    tally.faults += 1
    tally.lies += lies(workplace.out)
    code, said = finish(start(workplace.arguments(case)))
    if code not in case.codes:
        tally.refused.append(f"{case.name}: {said.strip()[-300:]}")
        return
    tally.lies += [*lies(workplace.out), *incomplete(workplace.out)]
    tally.left += [name for name in names_in(workplace.folder) if is_passing(name)]
    if snapshot(workplace.inputs) != before:
        tally.inputs.append(f"{case.name} changed its inputs")


def kill_at_change(child: subprocess.Popen[str], folder: Path, number: int) -> None:
    """Kill a command when the names in a folder have changed for the ``number``-th time."""
    before, changes = _listing(folder), 0
    while child.poll() is None and changes < number:
        now = _listing(folder)
        changes += now != before
        before = now
        time.sleep(0.0005)
    kill(child)


def _listing(folder: Path) -> list[tuple[str, int]]:
    try:
        return [(entry.path, entry.stat().st_size) for entry in _walk(folder)]
    except OSError:
        return []


def _walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            yield entry
            if entry.is_dir():
                yield from _walk(Path(entry.path))


def drawn(cases: Sequence[Case], count: int, draw: random.Random) -> list[Case]:
    """Cases by their shares, in random order."""
    every = [case for case in cases for _ in range(case.share)]
    rounds = -(-count // len(every))
    shuffled = [case for _ in range(rounds) for case in draw.sample(every, len(every))]
    return shuffled[:count]


def kills(
    workplace: Workplace, count: int, seed: int, cases: Sequence[Case] = CASES
) -> dict[str, Tally]:
    """Kill commands, each in turn, half by the clock and half when a file appears."""
    draw, tallies = random.Random(seed), {case.name: Tally() for case in cases}
    seconds: dict[str, float] = {}
    before = snapshot(workplace.inputs)
    for number, case in enumerate(drawn(cases, count, draw)):
        workplace.turn_to(case)
        if case.name not in seconds:
            begin = time.monotonic()
            finish(start(workplace.arguments(case)))
            seconds[case.name] = time.monotonic() - begin
        elif draw.random() < 0.5:
            workplace.clear(case)
        child = start(workplace.arguments(case))
        if draw.random() < 0.5:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(draw.uniform(0.0, seconds[case.name]))
            kill(child)
        else:
            kill_at_change(child, workplace.out, draw.randint(1, 30))
        examine(case, workplace, before, tallies[case.name])
        print(number + 1, case.name, tallies[case.name].problems[-1:], flush=True)
    return tallies


def full_disk(
    workplace: Workplace, count: int, seed: int, cases: Sequence[Case] = CASES
) -> dict[str, Tally]:
    """Let commands write only small files, as on a disk that is getting full."""
    draw, tallies = random.Random(seed), {case.name: Tally() for case in cases}
    before = snapshot(workplace.inputs)
    for number, case in enumerate(drawn(cases, count, draw)):
        limit = draw.choice(LIMITS_BYTES)
        workplace.turn_to(case)
        workplace.clear(case)
        code, said = finish(start(workplace.arguments(case), limit))
        tally = tallies[case.name]
        if code not in (*case.codes, 2) or (code == 2 and len(said.splitlines()) != 1):
            tally.words.append(f"{case.name} with {limit} bytes: exit {code}: {said[-300:]}")
        examine(case, workplace, before, tally)
        print(number + 1, case.name, limit, code, said.strip()[-160:], flush=True)
    return tallies
