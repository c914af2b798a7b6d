"""``manifest.json``: what went in, what was done, and how far an analysis is."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4

from CTSpectSpineLib.errors import Cancelled, InputError
from CTSpectSpineLib.files import without_folders
from CTSpectSpineLib.results.text_files import write_json
from CTSpectSpineLib.version import __version__

SCHEMA = "ctspectspine-results-1"
MANIFEST = "manifest.json"
STATUSES = ("complete", "failed", "running")
_PACKAGES = (
    "numpy", "scipy", "SimpleITK", "pandas", "matplotlib", "nibabel", "pydicom", "pynrrd",
)  # fmt: skip


class Manifest:
    """``manifest.json`` while an analysis runs: written first, updated after each stage.

    Parameters
    ----------
    folder
        Results folder, or None to keep the record in memory only.

    Attributes
    ----------
    inputs
        Paths of the inputs, of which the record gives only the names.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.inputs: tuple[Path, ...] = ()
        self.values: dict[str, Any] = {
            "schema": SCHEMA,
            # Names this analysis: two that began in one second, or in one folder, differ.
            "id": uuid4().hex,
            "status": "running",
            "status_reason": "",
            "created": now(),
            "research_use_only": True,
            "software": software_versions(),
            "stages": [],
        }

    def update(self, **values: Any) -> None:
        """Set top-level entries and write."""
        self.values.update(values)
        self.write()

    def write(self) -> None:
        """Write the record, if there is a folder."""
        if self.folder is not None:
            write_json(self.folder / MANIFEST, self.values)

    @contextmanager
    def stage(self, name: str) -> Iterator[list[str]]:
        """Record one stage with its time; append sentences to the yielded list of warnings."""
        warnings: list[str] = []
        entry: dict[str, Any] = {"name": name, "start": now(), "warnings": warnings}
        begin = perf_counter()
        with self.guard(name):
            yield warnings
        entry["seconds"] = round(perf_counter() - begin, 3)
        self.values["stages"].append(entry)
        self.write()

    @contextmanager
    def guard(self, name: str) -> Iterator[None]:
        """Record as failed whatever stops the work inside; the innermost guard names it."""
        try:
            yield
        except (Cancelled, KeyboardInterrupt):
            self._fail(f"Cancelled during '{name}'.")
            raise
        except Exception as error:
            self._fail(f"Stage '{name}' failed: {error}")
            raise

    def _fail(self, reason: str) -> None:
        if self.values["status"] != "failed":
            places = self.inputs if self.folder is None else (self.folder, *self.inputs)
            reason = without_folders(reason, places)
            # Where even this cannot be written, the user has to know what went wrong first.
            with suppress(InputError):
                self.update(status="failed", status_reason=reason)


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def software_versions() -> dict[str, str]:
    """Versions of this software, Python and the packages that enter the numbers."""
    versions = {"ctspectspine": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "unknown"
    return versions
