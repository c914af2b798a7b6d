"""Wall time, CPU time and peak memory of one call."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Generic, TypeVar

Result = TypeVar("Result")
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Cost(Generic[Result]):
    """What one call gave and took.

    Attributes
    ----------
    result
        What the call returned.
    wall_s, cpu_s
        CPU is user and system time of all threads of this process.
    memory_mib
        Peak of the resident set above what the process held before (Linux only; None elsewhere).
    """

    result: Result
    wall_s: float
    cpu_s: float
    memory_mib: float | None


def metered(call: Callable[[], Result]) -> Cost[Result]:
    """Make a call and measure what it took."""
    before = settled_mib()
    wall, cpu = perf_counter(), process_time()
    result = call()
    wall, cpu = perf_counter() - wall, process_time() - cpu
    peak = _status_mib("VmHWM")
    memory = None if before is None or peak is None else max(peak - before, 0.0)
    return Cost(result, wall, cpu, memory)


def settled_mib() -> float | None:
    """Give free memory back and forget the peak; return the present resident set in MiB."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
    try:
        _CLEAR.write_text("5", encoding="ascii")
    except OSError:
        return None
    return _status_mib("VmRSS")


def _status_mib(key: str) -> float | None:
    if not _STATUS.exists():
        return None
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / 1024
    return None
