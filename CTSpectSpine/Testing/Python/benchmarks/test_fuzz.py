"""Damaged input of every kind ends in one sentence: a short run of `benchmarks.fuzz`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).resolve().parents[4]))

from benchmarks.fuzz.__main__ import main
from benchmarks.fuzz.kinds import KINDS, kind_of, whole_files
from benchmarks.fuzz.run import Outcome, Server, server, try_input

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(scope="module")
def warm() -> Iterator[Server]:
    with server() as running:
        yield running


def test_every_kind_damages_only_its_own_files_and_always_alike() -> None:
    for number, kind in enumerate(KINDS):
        assert kind_of(number) is kind
        files, damaged = kind.files(number)
        again, _ = kind.files(number)
        assert files == again
        whole = whole_files(kind.name)
        assert damaged
        assert {name for name in files if files[name] != whole[name]} <= set(damaged)


ENDS = ("too little for a joint", "its content differs", "do not lie on the bones")
"""How whole files are refused."""


def test_whole_files_are_read(warm: Server, tmp_path: Path) -> None:
    """The seeds come as far as they should: they are read, and only then refused for their size."""
    for number, kind in enumerate(KINDS):
        if kind.name in ("transform c.h5", "transform d.mat", "results for a report"):
            continue
        folder = tmp_path / str(number)
        for name, content in whole_files(kind.name).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        answer = warm.ask(kind.arguments(folder), folder / "stderr.txt")
        said = (folder / "stderr.txt").read_text(encoding="utf-8")
        known = any(words in said for words in ENDS)
        assert answer["code"] == 0 or known, (kind.name, said)


@given(number=st.integers(0, 10**6))
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_damaged_input_ends_in_one_sentence(number: int, warm: Server) -> None:
    outcome = try_input(number, warm)
    assert not outcome.fault, outcome


def test_what_a_child_does_is_seen(warm: Server, tmp_path: Path) -> None:
    assert warm.ask(["triage", "--joints", str(tmp_path / "x.csv")], tmp_path / "e")["code"] == 2
    assert warm.ask(["no-such-command"], tmp_path / "e")["code"] == 2
    assert warm.ask(["protocols"], tmp_path / "e")["code"] == 0


def test_a_run_goes_on_where_it_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = Outcome(19, "joint table, context, protocol", ("a",), 2, 0.1, 9, "", "no sentence", 1)
    (tmp_path / "outcomes.jsonl").write_text(done.line() + "\n", encoding="utf-8")
    # The fault of the first input is known, and the second one is run.
    assert main(["--count", "2", "--first", "19", "--out", str(tmp_path), "--resume"]) == 1
    rows = (tmp_path / "outcomes.jsonl").read_text(encoding="utf-8").splitlines()
    assert rows[0] == done.line()
    assert [Outcome.from_line(row).number for row in rows] == [19, 20]
    assert "| all | 2 |" in capsys.readouterr().out
