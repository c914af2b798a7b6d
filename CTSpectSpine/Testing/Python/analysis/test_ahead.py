"""Work that is begun before its turn: its result, its progress, its errors and its end."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from CTSpectSpineLib.analysis import ahead as module
from CTSpectSpineLib.analysis.ahead import ahead
from CTSpectSpineLib.errors import Cancelled, InputError
from CTSpectSpineLib.progress import Progress, ProgressCallback

SECONDS = 20.0


@pytest.fixture(autouse=True)
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.os, "cpu_count", lambda: 2)


def steps(count: int) -> Callable[[ProgressCallback], int]:
    def work(tell: ProgressCallback) -> int:
        for n in range(count):
            tell(Progress("joints", n / count, str(n)))
        return threading.get_ident()

    return work


@pytest.mark.parametrize("threads", [1, 2])
def test_result_and_progress_come_to_the_thread_that_asks(threads: int) -> None:
    heard: list[tuple[str, int]] = []
    with ahead(steps(3), threads) as result:
        worker = result(lambda step: heard.append((step.message, threading.get_ident())))
    own = threading.get_ident()
    assert heard == [(str(n), own) for n in range(3)]
    assert (worker == own) == (threads == 1)


def test_it_goes_on_beside_what_comes_before_it() -> None:
    met = threading.Barrier(2, timeout=SECONDS)
    with ahead(lambda tell: met.wait(), 2) as result:
        met.wait()
        result(lambda step: None)


@pytest.mark.parametrize("threads", [1, 2])
def test_its_error_is_raised_where_the_result_is_asked_for(threads: int) -> None:
    def work(tell: ProgressCallback) -> None:
        raise InputError("The label map holds no vertebra.")

    with ahead(work, threads) as result, pytest.raises(InputError, match="no vertebra"):
        result(lambda step: None)


def test_it_ends_at_its_next_step_when_the_rest_fails() -> None:
    left, ended = threading.Event(), []

    def work(tell: ProgressCallback) -> None:
        assert left.wait(SECONDS)
        for n in range(10_000_000):
            try:
                tell(Progress("joints", 0.0, str(n)))
            except Cancelled:
                ended.append(n)
                raise

    def rest() -> None:
        with ahead(work, 2):
            left.set()
            raise InputError("The registration failed.")

    with pytest.raises(InputError, match="registration"):
        rest()
    assert len(ended) == 1
