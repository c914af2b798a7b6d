"""One run at a time in a folder, and temporary folders that outlive no run.

A lock is a file that the operating system holds locked for as long as the process lives: a killed
process leaves the file behind, but not the lock.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.processes import is_alive

LOCK = ".ctspectspine.lock"
"""Name of the file; it says who holds the folder and is gone when the run has ended."""
SCRATCH = "ctspectspine-"
"""Beginning of the names of temporary folders."""
_PAUSE_SECONDS = 0.05
"""How long to wait before asking again. Judgement."""
_FAR = 1 << 30
"""Byte that is locked on Windows. Numerical: far behind the text, which can thus be read."""


class FolderHeldError(InputError):
    """Another run holds the folder. The message says which."""


@contextmanager
def locked(folder: Path, what: str, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold a folder, which must exist, against other runs.

    Parameters
    ----------
    what
        What this run is, for whoever finds the folder held.
    wait_seconds
        How long to wait for another run.

    Raises
    ------
    FolderHeldError
        If another run holds it.
    OSError
        If no file can be made in it.
    """
    path = folder / LOCK
    deadline = time.monotonic() + wait_seconds
    while (held := _take(path)) is None:
        if time.monotonic() >= deadline:
            raise FolderHeldError(_sentence(folder, _holder(path)))
        time.sleep(_PAUSE_SECONDS)
    try:
        text = json.dumps(
            {
                "what": what,
                "process": os.getpid(),
                "host": socket.gethostname(),
                "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            }
        )
        os.ftruncate(held, 0)
        os.write(held, text.encode("utf-8"))
        yield
    finally:
        _release(held, path)


def check_not_held(folder: Path) -> None:
    """Check that no run holds a folder.

    Raises
    ------
    FolderHeldError
        If one does.
    """
    path = folder / LOCK
    if not path.is_file():
        return
    try:
        held = _take(path)
    except OSError:
        return
    if held is None:
        raise FolderHeldError(_sentence(folder, _holder(path)))
    _release(held, path)


@contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """A temporary folder of this run; those that killed runs have left are removed first."""
    with contextlib.ExitStack() as stack:
        folder = open_scratch(stack, parent)
        yield folder


def open_scratch(stack: contextlib.ExitStack, parent: Path | None = None) -> Path:
    """`scratch_folder` that lives until a stack is closed."""
    place = Path(tempfile.gettempdir()) if parent is None else parent
    remove_dead_scratch(place)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=place))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        # Another process that tidies up may take a folder for dead before it is locked.
        with contextlib.suppress(FolderHeldError, FileNotFoundError):
            stack.enter_context(locked(folder, "temporary files"))
            return folder


def remove_dead_scratch(parent: Path) -> None:
    """Remove the temporary folders of processes that are gone."""
    for folder in parent.glob(f"{SCRATCH}*"):
        path = folder / LOCK
        if folder.is_symlink() or not path.is_file():
            continue
        with contextlib.suppress(OSError):
            held = _take(path)
            if held is not None:
                os.close(held)
                shutil.rmtree(folder, ignore_errors=True)


def _take(path: Path) -> int | None:
    """Open and lock the file; None if another process has it."""
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock(number, path):
                os.close(number)
                return None
            if _is_same(number, path):
                return number
        except BaseException:
            os.close(number)
            raise
        # Whoever held it has removed it between opening and locking.
        os.close(number)


def _is_same(number: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(number), path.stat())
    except FileNotFoundError:
        return False


def _lock(number: int, path: Path) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            os.lseek(number, _FAR, os.SEEK_SET)
            msvcrt.locking(number, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
            os.lseek(number, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            return False
        # A file system without locks: what the file says has to do.
        return not _lives(_holder(path))
    return True


def _release(number: int, path: Path) -> None:
    # Windows removes no open file, and nobody else may get the file between the two elsewhere.
    if os.name == "nt":
        os.close(number)
        with contextlib.suppress(OSError):
            path.unlink()
    else:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(number)


def _holder(path: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(path.read_bytes().decode("utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _lives(holder: Mapping[str, Any]) -> bool:
    """Whether the process that the file names may live; one of another computer may."""
    process = holder.get("process")
    if not isinstance(process, int):
        return False
    return holder.get("host") != socket.gethostname() or is_alive(process)


def _sentence(folder: Path, holder: Mapping[str, Any]) -> str:
    who = " ".join(
        f"{words}{holder[key]}"
        for key, words in (("process", "process "), ("host", "on "), ("since", "since "))
        if key in holder
    )
    what = holder.get("what", "another run")
    return (
        f"Folder {folder} is being written by {what}{f' ({who})' if who else ''}; wait until it "
        "has ended, or choose another folder."
    )
