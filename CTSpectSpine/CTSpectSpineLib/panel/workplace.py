"""Temporary files of the module."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from CTSpectSpineLib.scene.inputs import InputFiles


class Workplace:
    """Temporary files of the module: inputs, and one folder per run.

    Parameters
    ----------
    parent
        Folder for temporary files.
    python
        Python program that runs the children; None for the one that runs now.
    """

    def __init__(self, parent: Path, python: str | None = None) -> None:
        self.python = python
        self._parent = parent
        self._folder: Path | None = None
        self._inputs: InputFiles | None = None

    @property
    def folder(self) -> Path:
        """Made at the first use."""
        if self._folder is None or not self._folder.is_dir():
            self._parent.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix="CTSpectSpine-", dir=self._parent))
            self._inputs = InputFiles(self._folder / "inputs")
        return self._folder

    @property
    def inputs(self) -> InputFiles:
        """The inputs that are on disk."""
        assert self.folder
        assert self._inputs is not None
        return self._inputs

    def holds(self, folder: Path) -> bool:
        """Whether a folder is one of the temporary ones."""
        return self._folder is not None and self._folder in folder.parents

    def discard_inputs(self) -> None:
        """Delete the inputs, and the whole folder where it holds nothing else."""
        if self._folder is not None and self._inputs is not None:
            self._inputs.discard()
            if self._folder.is_dir() and not any(self._folder.iterdir()):
                self._folder.rmdir()

    def discard(self) -> None:
        """Delete all, also the results that were not saved."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = self._inputs = None
