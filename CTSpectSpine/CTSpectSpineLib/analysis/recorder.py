"""The record of a running analysis: its manifest, its progress, its warnings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from CTSpectSpineLib.processes import return_memory
from CTSpectSpineLib.progress import Progress, ProgressCallback
from CTSpectSpineLib.results.manifest import Manifest

STAGES = {
    "check": (0.00, 0.03),
    "label": (0.03, 0.10),
    "register": (0.10, 0.50),
    "joints": (0.50, 0.66),
    "bend": (0.66, 0.68),
    "uptake": (0.68, 0.77),
    "findings": (0.77, 0.81),
    "triage": (0.81, 0.82),
    "results": (0.82, 0.88),
    "report": (0.88, 1.00),
}
"""Each stage's share of the whole analysis, from and to. Measured on a 512×512×400 CT with given
labels (``python -m benchmarks.chain``), rounded."""


@dataclass(frozen=True)
class Step:
    """One running stage.

    Attributes
    ----------
    progress
        Takes the progress of the stage alone, 0 to 1.
    warnings
        What the manifest will say of the stage.
    """

    progress: ProgressCallback
    warnings: list[str]

    def warn(self, sentences: Iterable[str]) -> None:
        """Add warnings."""
        self.warnings.extend(sentences)


class Recorder:
    """Keeps the manifest of an analysis and tells its progress.

    Parameters
    ----------
    progress
        Called with the progress of the whole analysis.
    """

    def __init__(self, progress: ProgressCallback) -> None:
        self._progress = progress
        self._manifest = Manifest(None)

    @property
    def values(self) -> dict[str, Any]:
        """What stands in the manifest."""
        return self._manifest.values

    def write_to(self, folder: Path | None, inputs: Iterable[Path]) -> None:
        """Keep the manifest in a results folder from the next `note` or stage on.

        Of inputs only the names will stand there.
        """
        self._manifest.folder, self._manifest.inputs = folder, tuple(inputs)

    def keep(self, **values: Any) -> None:
        """Set entries that are written with the next stage."""
        self._manifest.values.update(values)

    def note(self, **values: Any) -> None:
        """Set entries and write."""
        self._manifest.update(**values)

    def guard(self, name: str) -> AbstractContextManager[None]:
        """Record as failed whatever stops the work inside."""
        return self._manifest.guard(name)

    @contextmanager
    def stage(self, name: str, message: str) -> Iterator[Step]:
        """Run one stage of `STAGES`: its time, its warnings, its progress."""
        begin, end = STAGES[name]

        def scaled(inner: Progress) -> None:
            fraction = begin + (end - begin) * min(max(inner.fraction, 0.0), 1.0)
            self._progress(Progress(name, fraction, inner.message))

        with self._manifest.stage(name) as warnings:
            scaled(Progress(name, 0.0, message))
            yield Step(scaled, warnings)
            return_memory()

    def done(self) -> None:
        """Tell that all is done."""
        self._progress(Progress("report", 1.0, "Done"))
