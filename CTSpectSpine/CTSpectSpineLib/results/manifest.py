"""``manifest.json``: what went in, what was done, and how far an analysis is."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import Any

from CTSpectSpineLib.errors import Cancelled, InputError
from CTSpectSpineLib.results.text_files import write_json
from CTSpectSpineLib.version import __version__

SCHEMA = "ctspectspine-results-1"
MANIFEST = "manifest.json"
STATUSES = ("complete", "failed", "running")
_PACKAGES = (
    "numpy", "scipy", "SimpleITK", "pandas", "matplotlib", "nibabel", "pydicom", "pynrrd",
)  # fmt: skip
_DECISIONS = ("accepted", "rejected")


class Manifest:
    """``manifest.json`` while an analysis runs: written first, updated after each stage.

    Parameters
    ----------
    folder
        Results folder, or None to keep the record in memory only.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.values: dict[str, Any] = {
            "schema": SCHEMA,
            "status": "running",
            "status_reason": "",
            "created": _now(),
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
        entry: dict[str, Any] = {"name": name, "start": _now(), "warnings": warnings}
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
            # Where even this cannot be written, the user has to know what went wrong first.
            with suppress(InputError):
                self.update(status="failed", status_reason=reason)


def _now() -> str:
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


def with_decision(
    manifest: Mapping[str, Any], quality: str, decision: str, *, adjusted: bool
) -> dict[str, Any]:
    """A manifest that says what the user decided on the registration.

    Parameters
    ----------
    quality
        Quality of the registration.
    decision
        ``accepted`` or ``rejected``.
    adjusted
        Whether the position was adjusted by hand before.
    """
    if decision not in _DECISIONS:
        raise ValueError(f"decision is {decision!r}, not one of {_DECISIONS}")
    check = {
        "decision": decision,
        "quality": quality,
        "adjusted_by_hand": adjusted,
        "time": _now(),
    }
    return {**manifest, "registration_check": check}
