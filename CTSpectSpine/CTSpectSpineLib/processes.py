"""Processes: children that end with all that they started, and threads that do not wait in vain."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Names that NumPy's linear algebra looks at when it is imported."""
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""Convention: how the C library's ``mallopt`` calls these sizes (``malloc.h`` of glibc)."""
_LARGE, _SPARE = 16 << 20, 8 << 20
"""Bytes from which an array has pages of its own, and that are kept for the next ones. Numerical:
measured on a CT of 512x512x600; half of either takes twice the system's time for 50 MB less."""
_set_here: set[str] = set()


def one_thread_for_sums() -> None:
    """Let NumPy's linear algebra use one thread, unless the user or an earlier import says else.

    The matrices here are small and the stages have threads of their own: those of both would
    wait for each other, which takes twice the processor time where several processes run.
    """
    if "numpy" in sys.modules:
        return
    for name in THREADS:
        if name not in os.environ:
            os.environ[name] = "1"
            _set_here.add(name)


def large_arrays_apart() -> None:
    """Give large arrays back to the system as soon as they are freed (glibc on Linux).

    The C library would keep ever larger ones after the first have been freed, up to 32 MiB, and
    what lies between them with them. For processes that are this software's own.
    """
    if sys.platform.startswith("linux"):
        import ctypes

        option = getattr(ctypes.CDLL(None), "mallopt", None)
        if option is not None:
            option(_MMAP_THRESHOLD, _LARGE)
            option(_TRIM_THRESHOLD, _SPARE)


def return_memory() -> None:
    """Give what was freed back to the system, where the C library keeps it (glibc on Linux).

    Many large arrays come and go; what lies between them would count as used, for this process and
    for those beside it.
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def for_other_programs(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without what `one_thread_for_sums` put there."""
    return {name: value for name, value in environment.items() if name not in _set_here}


def own_group() -> dict[str, Any]:
    """Arguments of `subprocess.Popen` that let the child be ended with all that it starts."""
    return hidden() if os.name == "nt" else {"start_new_session": True}


def hidden() -> dict[str, Any]:
    """Arguments of `subprocess` for no console window on Windows."""
    return {"creationflags": getattr(subprocess, "CREATE_NO_WINDOW", 0)}


def end_tree(process: subprocess.Popen[Any]) -> None:
    """End a child of `own_group` and everything that it started, and wait until it is gone."""
    if os.name == "nt":
        subprocess.run(
            ["taskkill", "/F", "/T", "/PID", str(process.pid)],
            capture_output=True,
            check=False,
            **hidden(),
        )
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def is_alive(pid: int) -> bool:
    """Whether a process of this computer lives."""
    if os.name != "nt":
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True
    import ctypes

    kernel: Any = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
    synchronize, timed_out = 0x00100000, 0x102
    handle = kernel.OpenProcess(synchronize, False, pid)
    if not handle:
        return False
    alive = kernel.WaitForSingleObject(handle, 0) == timed_out
    kernel.CloseHandle(handle)
    return bool(alive)
