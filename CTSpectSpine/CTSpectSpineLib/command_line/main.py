"""The command line: ``ctspectspine COMMAND …``."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import threading
import traceback
import warnings
from argparse import Namespace
from collections.abc import Sequence
from decimal import Decimal
from importlib import import_module
from pathlib import Path

from CTSpectSpineLib.command_line.parser import build_parser
from CTSpectSpineLib.command_line.shared_arguments import BAD_INPUT
from CTSpectSpineLib.errors import Cancelled, CTSpectSpineError
from CTSpectSpineLib.host import check_encodable
from CTSpectSpineLib.processes import large_arrays_apart, one_thread_for_sums

DEFECT, CANCELLED = 70, 130
"""Exit codes. Convention: EX_SOFTWARE of BSD's sysexits; 128 plus the signal SIGINT."""
_NEGATIVE_EXPONENT = re.compile(r"-(\d+\.?\d*|\.\d+)[eE][-+]?\d{1,3}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns
    -------
    int
        0 done, 1 the analysis ran and refused, 2 bad usage or bad input, 130 cancelled, 70 a
        defect of this software (with a traceback).
    """
    one_thread_for_sums()
    large_arrays_apart()
    given = sys.argv[1:] if arguments is None else arguments
    options = build_parser().parse_args([_without_exponent(word) for word in given])
    with warnings.catch_warnings():
        if not sys.warnoptions:
            # What packages have to say to programmers is no help beside the one sentence.
            warnings.simplefilter("ignore")
        return _run(options, given)


def _run(options: Namespace, given: Sequence[str]) -> int:
    try:
        for word in given:
            check_encodable(Path(word))
        _cancel_when_terminated()
        module = import_module(f"CTSpectSpineLib.command_line.{options.module}")
        return int(getattr(module, options.command.replace("-", "_"))(options))
    except (KeyboardInterrupt, Cancelled):
        return _fail("cancelled", CANCELLED)
    except CTSpectSpineError as error:
        return _fail(" ".join(str(error).split()), BAD_INPUT)
    except BrokenPipeError:
        # Whoever read standard output has gone; nothing more can be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BAD_INPUT
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        full = error.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", None))
        advice = "; free some space, or choose another place with --out" if full else ""
        return _fail(f"{where}{error.strerror or error}{advice}", BAD_INPUT)
    except MemoryError:
        return _fail(
            "not enough memory for these images; crop them to the spine or use a machine with "
            "more memory",
            BAD_INPUT,
        )
    except Exception:
        traceback.print_exc()
        return _fail("this is a defect; please report it with the lines above", DEFECT)


def _without_exponent(word: str) -> str:
    """Write ``-1e-3`` as ``-0.001``: argparse takes the former for an option."""
    return format(Decimal(word), "f") if _NEGATIVE_EXPONENT.fullmatch(word) else word


def _fail(sentence: str, code: int) -> int:
    # A progress line on a terminal may still be open.
    start = "\r\033[K" if sys.stderr.isatty() else ""
    print(f"{start}ctspectspine: {sentence}", file=sys.stderr)
    return code


def _cancel_when_terminated() -> None:
    """Treat a request to terminate like Ctrl-C, so that the manifest says what happened."""

    def cancel(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, cancel)
