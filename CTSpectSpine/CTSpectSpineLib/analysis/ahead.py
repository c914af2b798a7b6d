"""A stage that is begun before its turn, beside stages that it does not need."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Event
from typing import TypeVar

from CTSpectSpineLib.errors import Cancelled
from CTSpectSpineLib.progress import Progress, ProgressCallback

Result = TypeVar("Result")


@contextmanager
def ahead(
    work: Callable[[ProgressCallback], Result], threads: int | None
) -> Iterator[Callable[[ProgressCallback], Result]]:
    """Begin some work in a thread of its own.

    Parameters
    ----------
    work
        Called with a progress callback. It must not call libraries through `host.library_call`.
    threads
        How many threads the run may use; None for all processors. With one, the work is done
        when its result is asked for.

    Returns
    -------
    A function that waits for the work: it passes on its progress, in the thread that calls it, and
    returns its result or raises what went wrong. Work whose result nobody asks for ends at its
    next step.
    """
    if min(threads or os.cpu_count() or 1, os.cpu_count() or 1) < 2:
        yield work
        return
    said: SimpleQueue[Progress | None] = SimpleQueue()
    stopped = Event()

    def tell(message: Progress) -> None:
        if stopped.is_set():
            raise Cancelled
        said.put(message)

    def done() -> Result:
        try:
            return work(tell)
        finally:
            said.put(None)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(done)

        def result(progress: ProgressCallback) -> Result:
            for message in iter(said.get, None):
                progress(message)
            return future.result()

        try:
            yield result
        finally:
            stopped.set()
