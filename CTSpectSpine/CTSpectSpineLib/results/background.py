"""Files that are compressed while the analysis goes on.

Compression of a label map of a whole CT takes as long as a stage, on one processor.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager


class Background:
    """Does what it is given in a thread of its own, one thing after the other.

    Parameters
    ----------
    pool
        The thread; None to do all at once.
    """

    def __init__(self, pool: ThreadPoolExecutor | None = None) -> None:
        self._pool = pool
        self._futures: list[Future[None]] = []

    def __call__(self, work: Callable[[], None]) -> None:
        """Do something, now or soon. It must not call libraries through `host.library_call`."""
        if self._pool is None:
            work()
        else:
            self._futures.append(self._pool.submit(work))

    def finish(self) -> None:
        """Wait for all of it; raises what went wrong first."""
        while self._futures:
            self._futures.pop(0).result()


@contextmanager
def background(threads: int | None) -> Iterator[Background]:
    """A `Background` of a run that may use so many threads; None for all processors."""
    if min(threads or os.cpu_count() or 1, os.cpu_count() or 1) < 2:
        yield Background()
        return
    with ThreadPoolExecutor(1) as pool:
        try:
            yield Background(pool)
        finally:
            # Of a run that failed, what has not begun is not written any more.
            pool.shutdown(cancel_futures=True)


AT_ONCE = Background()
"""Does all at once."""
