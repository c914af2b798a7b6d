"""Temporary files of the module."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from CTSpectSpineLib.locks import LOCK, open_scratch
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
        self._held = ExitStack()
        self._folder: Path | None = None
        self._inputs: InputFiles | None = None

    @property
    def folder(self) -> Path:
        """Made at the first use; those of programs that were killed are removed then."""
        if self._folder is None or not self._folder.is_dir():
            self._parent.mkdir(parents=True, exist_ok=True)
            self._held.close()
            self._folder = open_scratch(self._held, self._parent)
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
            if self._folder.is_dir() and {path.name for path in self._folder.iterdir()} <= {LOCK}:
                self.discard()

    def discard(self) -> None:
        """Delete all, also the results that were not saved."""
        self._held.close()
        self._folder = self._inputs = None
