"""One call of a method in a process of its own: answer, wall and CPU time, peak memory.

Every call runs in a child that has loaded the libraries and holds the two images, and nothing
else, so that no call profits from memory or caches that an earlier one left. Children are forked
from a clean server process that has loaded the libraries once.

Peak memory is the resident set during the call above what the process held before (Linux only;
None elsewhere).
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Protocol

import SimpleITK as sitk

from benchmarks.meter import metered
from benchmarks.registration.methods import METHODS, Answer

LONGEST_S = 1800.0
"""A call that takes longer, in seconds, is ended and counted as failed. Judgement: only a call that
hangs takes half an hour."""
RESAMPLING = "resampling"
"""Name of the unit of time: one linear resampling of the SPECT to the CT's grid."""
PRELOAD = ["benchmarks.registration.preload"]
"""Modules that the server of child processes loads."""
_THREAD_VARIABLES = (
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
)


@dataclass(frozen=True)
class Measured:
    """What one call gave and took.

    Attributes
    ----------
    answer
        None if the call failed.
    error
        What went wrong; empty if nothing did.
    wall_s, cpu_s
        Of the call alone; CPU is user and system time of all its threads. None if the process
        did not survive.
    memory_mib
        Peak of the resident set above what the images and libraries took before.
    """

    answer: Answer | None
    error: str
    wall_s: float | None
    cpu_s: float | None
    memory_mib: float | None


class _Process(Protocol):
    """A child process, whatever started it."""

    exitcode: int | None

    def start(self) -> None: ...
    def is_alive(self) -> bool: ...
    def kill(self) -> None: ...
    def join(self, timeout: float | None = None) -> None: ...


def limit_threads(threads: int) -> None:
    """Limit the libraries of processes started from here on, and SimpleITK in this one."""
    for name in _THREAD_VARIABLES:
        os.environ[name] = str(threads)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def measure(method: str, ct: sitk.Image, spect: sitk.Image, threads: int) -> Measured:
    """Call a method once, in a fresh child process.

    Parameters
    ----------
    method
        A key of `methods.METHODS`, or `RESAMPLING`.
    ct, spect
        Fixed and moving image.
    threads
        Threads that the method may use.
    """
    start_method = "spawn"
    if "forkserver" in multiprocessing.get_all_start_methods():
        start_method = "forkserver"
        multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOAD)
    context = multiprocessing.get_context(start_method)
    receiver, sender = context.Pipe(duplex=False)
    process: _Process = context.Process(  # type: ignore[attr-defined]
        target=_child, args=(sender, method, ct, spect, threads), daemon=True
    )
    process.start()
    sender.close()
    try:
        if not receiver.poll(LONGEST_S):
            return _lost(f"took more than {LONGEST_S:.0f} s")
        measured: Measured = receiver.recv()
        return measured
    except EOFError:
        process.join(10.0)
        return _lost(f"the process ended with exit code {process.exitcode}")
    finally:
        if process.is_alive():
            process.join(5.0)
        if process.is_alive():
            process.kill()
        receiver.close()


def _lost(reason: str) -> Measured:
    return Measured(None, reason, None, None, None)


def _child(
    sender: Connection, method: str, ct: sitk.Image, spect: sitk.Image, threads: int
) -> None:
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    if method != RESAMPLING:
        METHODS[method].prepare()
    sender.send(_measured(lambda: _call(method, ct, spect, threads)))
    sender.close()


def _call(method: str, ct: sitk.Image, spect: sitk.Image, threads: int) -> Answer | None:
    if method != RESAMPLING:
        return METHODS[method].run(ct, spect, threads)
    sitk.Resample(spect, ct, sitk.Transform(), sitk.sitkLinear)
    return None


def _measured(call: Callable[[], Answer | None]) -> Measured:
    def guarded() -> tuple[Answer | None, str]:
        try:
            return call(), ""
        except Exception as problem:  # a peer may raise anything; all of it is a failure
            return None, " ".join(str(problem).split())[-300:] or type(problem).__name__

    cost = metered(guarded)
    return Measured(*cost.result, cost.wall_s, cost.cpu_s, cost.memory_mib)
