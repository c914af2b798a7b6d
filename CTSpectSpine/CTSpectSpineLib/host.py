"""Around calls of compiled libraries: paths, numbers with a decimal point, no words of their own.

A host such as 3D Slicer may have set a locale with a decimal comma, in which ITK reads ``4.42``
as 4; and HDF5, MetaIO, ITK and VTK write straight to the standard error output, beside the one
sentence that the user is told.
"""

from __future__ import annotations

import locale
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from CTSpectSpineLib.errors import InputError

_OUTPUTS = (1, 2)
"""Numbers of standard output and standard error. Standard: POSIX."""


@contextmanager
def library_call() -> Iterator[None]:
    """Call a compiled library: with decimal points, and with what it says thrown away."""
    with ExitStack() as stack:
        stack.enter_context(_decimal_points())
        stack.enter_context(_silence())
        yield


@contextmanager
def _decimal_points() -> Iterator[None]:
    before = locale.setlocale(locale.LC_NUMERIC)
    if before in ("C", "POSIX"):
        yield
        return
    locale.setlocale(locale.LC_NUMERIC, "C")
    try:
        yield
    finally:
        locale.setlocale(locale.LC_NUMERIC, before)


@contextmanager
def _silence() -> Iterator[None]:
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # none, or closed
            stream.flush()
    with ExitStack() as stack:
        try:
            hole = os.open(os.devnull, os.O_WRONLY)
            stack.callback(os.close, hole)
            for number in _OUTPUTS:
                kept = os.dup(number)
                stack.callback(_restore, kept, number)
                os.dup2(hole, number)
        except OSError:
            # A program without a console has no such outputs.
            yield
            return
        yield


def _restore(kept: int, number: int) -> None:
    os.dup2(kept, number)
    os.close(kept)


def check_encodable(path: Path) -> None:
    """Check that compiled libraries can be given a path.

    Raises
    ------
    InputError
        If its bytes are no UTF-8.
    """
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as error:
        shown = str(path).encode("utf-8", "backslashreplace").decode("utf-8")
        raise InputError(
            f"{shown}: this path has bytes that are no UTF-8; rename the file or folder."
        ) from error
