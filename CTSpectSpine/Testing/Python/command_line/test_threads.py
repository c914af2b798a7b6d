"""Threads of linear algebra: one, unless the user says else, and never for other programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from CTSpectSpineLib.processes import THREADS

PROGRAM = """
import json, os, sys
{before}
from CTSpectSpineLib.processes import for_other_programs, one_thread_for_sums
one_thread_for_sums()
print(json.dumps([dict(os.environ), for_other_programs(os.environ)]))
"""


def environments(before: str, given: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    library = str(Path(__file__).resolve().parents[3])
    usual = {name: value for name, value in os.environ.items() if name not in THREADS}
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before)],
        env={**usual, "PYTHONPATH": library, **given},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    own, other = json.loads(said)
    return own, other


def test_sums_have_one_thread_and_other_programs_are_left_alone() -> None:
    own, other = environments("", {})
    assert {own[name] for name in THREADS} == {"1"}
    assert not set(THREADS) & set(other)


@pytest.mark.parametrize("name", THREADS)
def test_what_the_user_says_holds(name: str) -> None:
    own, other = environments("", {name: "3"})
    assert own[name] == other[name] == "3"


def test_too_late_is_left_alone() -> None:
    own, other = environments("import numpy", {})
    assert not set(THREADS) & (set(own) | set(other))


LARGE = """
import numpy
from CTSpectSpineLib.processes import large_arrays_apart
large_arrays_apart()

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

# After this the library would by itself keep arrays of that size.
numpy.ones(2_500_000)
arrays = []
for _ in range(8):
    # What stays between large arrays keeps them in the heap, where they are in it.
    arrays.append((numpy.ones(2_500_000), numpy.ones(10_000)))
first = resident()
kept = [small for _, small in arrays]
del arrays
print(first - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_large_arrays_are_given_back() -> None:
    library = str(Path(__file__).resolve().parents[3])
    said = subprocess.run(
        [sys.executable, "-c", LARGE],
        env={**os.environ, "PYTHONPATH": library},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert float(said) > 120.0
