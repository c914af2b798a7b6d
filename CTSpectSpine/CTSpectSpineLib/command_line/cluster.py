"""The analyses of a batch on a running Dask cluster.

Each analysis is a process of its own on a worker, as it is on this computer, so its results are
the same. Images and results lie where all computers see them under the same paths. Nothing but
words, a context and how the analysis ended passes through the cluster.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from CTSpectSpineLib.cohort.run import DONE
from CTSpectSpineLib.command_line.child import ChildProcess
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.locks import FolderHeldError, check_not_held, scratch_folder
from CTSpectSpineLib.progress import Progress
from CTSpectSpineLib.results.text_files import read_json, write_json
from CTSpectSpineLib.version import __version__

_CONNECT_SECONDS = 20
"""How long to wait for the scheduler's answer. Judgement: a busy one takes seconds."""
_LOOK_SECONDS = 0.2
"""How often a worker looks at its analysis. Judgement: far below the seconds that one takes."""
_FREE_SECONDS = 60.0
"""How long to wait for the folder of a patient. Judgement: the analysis of a killed worker ends
within seconds."""
_AHEAD, _LEAST_AHEAD = 2, 16
"""Patients that the scheduler has at a time, for each thread of its workers, and at least.
Judgement: a worker never waits for the next one, and a cluster that grows by need sees the need."""
_LOST = 70
"""Exit code of an analysis that the cluster lost. Convention: EX_SOFTWARE of BSD's sysexits."""

Ended = tuple[int, str, float]
"""Exit code of an analysis, why there is no result, and the seconds that it took."""


class Cluster:
    """A connection to a Dask scheduler; starts analyses as `cohort.run.Start` says.

    Parameters
    ----------
    address
        Of the scheduler, such as ``tcp://host:8786``; or the name of a scheduler file.

    Raises
    ------
    InputError
        If the package ``distributed`` is missing, the scheduler does not answer, or a worker
        cannot run this version.
    """

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise InputError(
                "--scheduler needs the package distributed; install it with: "
                'pip install "ctspectspine[cluster]".'
            ) from error
        # What goes wrong there is told in our own sentence.
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        try:
            place = read_json(Path(address))["address"] if Path(address).is_file() else address
            # A client that finds nobody speaks up again, at length, when it is thrown away.
            asyncio.run(_greet(str(place)))
            self._client: Any = Client(place, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"No Dask scheduler answers at {address}; start one (dask scheduler), or correct "
                "the address."
            ) from error
        self.address = address
        try:
            self._check_workers()
        except BaseException:
            self._client.close()
            raise

    def __enter__(self) -> Cluster:
        """The connection itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give what still runs up, and disconnect."""
        self._client.close()

    @property
    def at_a_time(self) -> int:
        """How many patients the scheduler should have at a time."""
        return max(_AHEAD * int(sum(self._client.nthreads().values())), _LEAST_AHEAD)

    def _check_workers(self) -> None:
        try:
            versions: Mapping[str, str] = self._client.run(version_here)
        except Exception as error:
            raise InputError(
                f"A worker of {self.address} cannot run this software "
                f"({type(error).__name__}: {error}); install ctspectspine {__version__} there."
            ) from error
        for worker, version in versions.items():
            if version != __version__:
                raise InputError(
                    f"The worker {worker} has ctspectspine {version} and this computer "
                    f"{__version__}; install the same version on both."
                )

    def start(self, arguments: Sequence[str], log: Path) -> FarAnalysis:
        """Have a worker run ``analyze``; the log stays there."""
        words = [_absolute(word) for word in arguments if not word.startswith("--context=")]
        context = next(Path(w[10:]) for w in arguments if w.startswith("--context="))
        future = self._client.submit(
            analyse_here,
            words,
            read_json(context),
            key=f"{log.stem}-{uuid.uuid4().hex}",
            pure=False,
        )
        return FarAnalysis(future, self.address)


async def _greet(address: str) -> None:
    """Connect once, and hang up."""
    from distributed.comm import connect
    from distributed.security import Security

    how = Security().get_connection_args("client")
    comm = await connect(address, timeout=_CONNECT_SECONDS, **how)
    await comm.close()


class FarAnalysis:
    """An analysis on a worker; a `cohort.run.Child`.

    Attributes
    ----------
    code
        Exit code; None while it runs or waits.
    seconds
        How long it took, without waiting; None before its end.
    """

    def __init__(self, future: Any, address: str) -> None:
        self.code: int | None = None
        self.seconds: float | None = None
        self._future, self._address, self._reason = future, address, ""

    def poll(self) -> list[Progress]:
        """Look whether it has ended.

        Raises
        ------
        InputError
            If the scheduler is gone.
        """
        status = self._future.status
        if status == "finished":
            self.code, self._reason, self.seconds = self._future.result()
        elif status == "error":
            error = self._future.exception()
            self._reason = (
                f"The cluster could not run the analysis ({type(error).__name__}: {error})."
            )
            self.code = _LOST
        elif status != "pending":
            raise InputError(
                f"The Dask scheduler at {self._address} is gone; start it and go on with --resume."
            )
        return []

    def kill(self) -> None:
        """Give it up: the worker ends it."""
        self._future.cancel()
        self.code = _LOST

    def failure(self) -> str:
        """Why there is no result."""
        return self._reason


def _absolute(word: str) -> str:
    """A word of ``analyze`` with the whole path where it names a file: workers live elsewhere."""
    name, equals, value = word.partition("=")
    is_path = bool(equals) and (name == "--out" or Path(value).exists())
    return f"{name}={Path(value).absolute()}" if is_path and value else word


def version_here() -> str:
    """Version of the software where this runs."""
    return __version__


def analyse_here(words: Sequence[str], context: Mapping[str, Any]) -> Ended:
    """Run ``analyze`` in a process of its own, on a worker, until it ends or nobody wants it.

    Parameters
    ----------
    words
        Arguments of the command line without the context.
    context
        Clinical context.
    """
    wanted = _wanted()
    _wait_until_free(Path(next(word for word in words if word.startswith("--out="))[6:]))
    begin = time.monotonic()
    with scratch_folder() as scratch:
        write_json(scratch / "context.json", dict(context))
        given = [*words, f"--context={scratch / 'context.json'}"]
        child = ChildProcess(given, scratch / "log")
        try:
            while child.code is None and wanted():
                child.poll()
                time.sleep(_LOOK_SECONDS)
        finally:
            if child.code is None:
                child.kill()
        code = child.code if child.code is not None else _LOST
        reason = "" if code in DONE else child.failure()
        return code, reason, round(time.monotonic() - begin, 1)


def _wanted() -> Callable[[], bool]:
    """Whether the task that runs here is still wanted: a client may cancel it, or be gone."""
    from distributed import get_worker

    worker: Any = get_worker()
    key = worker.get_current_task()

    def wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state != "cancelled"

    return wanted


def _wait_until_free(folder: Path) -> None:
    """Wait for the analysis of a worker that was killed; if it stays, ours says who is there."""
    deadline = time.monotonic() + _FREE_SECONDS
    while time.monotonic() < deadline:
        try:
            check_not_held(folder)
        except FolderHeldError:
            time.sleep(_LOOK_SECONDS)
        else:
            return
