"""One analysis of a scene's nodes in a child process: what it needs, its run, its results.

One of the files that know MRML; see `mrml` for what they need.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from CTSpectSpineLib.desktop.child import REFUSED, ChildProcess
from CTSpectSpineLib.errors import Cancelled, CTSpectSpineError, InputError
from CTSpectSpineLib.mrml import Node
from CTSpectSpineLib.progress import Progress
from CTSpectSpineLib.results import check_folder, write_text
from CTSpectSpineLib.scene_inputs import InputFiles, ct_to_spect
from CTSpectSpineLib.scene_nodes import (
    SceneNodes,
    remove_analysis,
    results_folder,
    scene_nodes,
)


@dataclass(frozen=True)
class Request:
    """What is to be analysed, and how.

    Attributes
    ----------
    ct, spect
        Scalar volume nodes.
    vertebrae
        Segmentation or label map node, or a label map in memory with the ids of `anatomy`; None
        to let the labeller make one.
    context
        Clinical context.
    out
        Results folder; None for a temporary one.
    initial, transform
        Transform nodes that move the SPECT: where the registration starts; what is used as it is.
    keep
        Manifest node of an earlier analysis whose registration is kept.
    replaces
        Manifest node of the analysis whose nodes the new ones replace.
    settings
        Further options of ``ctspectspine analyze``: name to value; True for a flag.
    """

    ct: Node
    spect: Node
    vertebrae: Node | sitk.Image | None = None
    protocol: str = "tender-2019"
    labeller: str = "auto"
    context: Mapping[str, Any] = field(default_factory=dict)
    out: Path | None = None
    initial: Node | None = None
    transform: Node | None = None
    keep: Node | None = None
    replaces: Node | None = None
    settings: Mapping[str, str | float | bool] = field(default_factory=dict)


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


class Run:
    """A running analysis.

    Parameters
    ----------
    request
        What to analyse.
    workplace
        Where its files go.

    Attributes
    ----------
    fraction, stage, message
        How far it is.
    error
        Why there is no result, once it has ended without one.
    """

    def __init__(self, request: Request, workplace: Workplace) -> None:
        self.request = request
        self.fraction, self.stage, self.message = 0.0, "start", "Writing the images"
        self.error = ""
        self._workplace = workplace
        self._child: ChildProcess | None = None
        if request.out is not None:
            check_folder(request.out)
        self._folder = Path(tempfile.mkdtemp(prefix="run-", dir=workplace.folder))
        try:
            arguments = self._arguments(workplace.inputs)
            log = self._folder / "log.txt"
            self._child = ChildProcess(arguments, log, workplace.python)
        except Exception:
            self._clean()
            raise

    @property
    def pid(self) -> int:
        """Process id of the child."""
        assert self._child is not None
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the child still runs; asks nothing of it (see `poll`)."""
        return self._child is not None and self._child.code is None

    @property
    def lines(self) -> list[str]:
        """What the child said besides progress."""
        return [] if self._child is None else self._child.lines

    @property
    def succeeded(self) -> bool:
        """Whether there are results, if only of an analysis that refuses a verdict."""
        code = None if self._child is None else self._child.code
        return code in (0, REFUSED) and (self._results / "verdict.json").is_file()

    @property
    def _results(self) -> Path:
        return self._folder / "results"

    def poll(self) -> list[Progress]:
        """Take what the child said; once it has ended without result, `error` says why."""
        assert self._child is not None
        new = self._child.poll()
        if new:
            last = new[-1]
            self.fraction, self.stage, self.message = last.fraction, last.stage, last.message
        if not self.running and not self.succeeded and not self.error:
            self.error = self._child.failure()
            self._clean()
        return new

    def cancel(self) -> None:
        """Kill the child with all that it started, and delete the files of this run."""
        if self._child is not None:
            self._child.kill()
        self.error = "Cancelled."
        self._clean()

    def finish(self, scene: Node) -> tuple[SceneNodes, Path]:
        """Move the results to their folder and put them into the scene.

        Returns
        -------
        nodes, folder

        Raises
        ------
        Cancelled
            If it was cancelled.
        InputError
            If it failed, or the results cannot be moved.
        """
        from CTSpectSpineLib.scene import populate_scene

        if not self.succeeded:
            raise Cancelled(self.error) if self.error == "Cancelled." else InputError(self.error)
        folder = self._move()
        request = self.request
        old = None if request.replaces is None else results_folder(request.replaces)
        nodes = populate_scene(scene, ct=request.ct, spect=request.spect, folder=folder)
        if request.replaces is not None and request.replaces.GetScene() is scene:
            remove_analysis(request.replaces)
            nodes.spect.SetAndObserveTransformNodeID(nodes.transform.GetID())
            if old is not None and old != folder and self._workplace.holds(old):
                shutil.rmtree(old.parent, ignore_errors=True)
        if nodes.manifest is not None:
            nodes.manifest.SetAttribute("CTSpectSpine.folder", str(folder))
        return nodes, folder

    def _move(self) -> Path:
        from CTSpectSpineLib.results import prepare_folder

        out = self.request.out
        if out is None:
            return self._results
        prepare_folder(out, ())
        try:
            for item in sorted(self._results.iterdir()):
                target = out / item.name
                if target.is_dir():
                    shutil.rmtree(target)
                shutil.move(str(item), str(target))
        except OSError as error:
            raise InputError(f"{out} cannot be written ({error}); choose another one.") from error
        shutil.rmtree(self._folder, ignore_errors=True)
        return out

    def _clean(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._workplace.discard_inputs()

    def _arguments(self, inputs: InputFiles) -> list[str]:
        request = self.request
        words: list[str] = ["analyze", "--ct", str(inputs.ct(request.ct))]
        words += ["--spect", str(inputs.spect(request.spect))]
        words += ["--out", str(self._results), "--protocol", request.protocol]
        if request.vertebrae is None:
            words += ["--labeller", request.labeller]
        elif isinstance(request.vertebrae, sitk.Image):
            words += ["--vertebrae", str(inputs.labels(request.vertebrae))]
            words += ["--label-scheme", "totalsegmentator"]
        else:
            words += ["--vertebrae", str(inputs.vertebrae(request.vertebrae, request.ct))]
        if request.context:
            context = self._folder / "context.json"
            write_text(context, json.dumps(dict(request.context)))
            words += ["--context", str(context)]
        if request.keep is not None:
            words += ["--registration", str(self._kept(request.keep))]
        for option, node in (("--initial", request.initial), ("--transform", request.transform)):
            if node is not None:
                words += [option, str(inputs.transform(node))]
        for name, value in request.settings.items():
            if value is True:
                words.append(f"--{name}")
            elif value is not False and value != "":
                words += [f"--{name}", f"{value:g}" if isinstance(value, float) else str(value)]
        return words

    def _kept(self, manifest: Node) -> Path:
        """Folder with the registration of an earlier analysis, from disk or from the scene."""
        folder = results_folder(manifest)
        if folder is not None:
            return folder
        from CTSpectSpineLib.registration.files import write_transform

        nodes, kept = scene_nodes(manifest), self._folder / "kept"
        texts = nodes.texts()
        if nodes.transform is None or "registration.json" not in texts:
            raise InputError("The scene no longer holds the registration: analyse again.")
        kept.mkdir()
        write_text(kept / "registration.json", texts["registration.json"].GetText())
        write_transform(ct_to_spect(nodes.transform), kept / "spect_to_ct.tfm")
        return kept


def run_to_end(run: Run, progress: Any = None, pause: float = 0.1) -> None:
    """Wait for a run, telling its progress.

    Raises
    ------
    Cancelled
        If the callback cancels; the child is killed first.
    InputError
        If it ends without result.
    """
    import time

    while True:
        for message in run.poll():
            if progress is not None:
                try:
                    progress(message)
                except CTSpectSpineError:
                    run.cancel()
                    raise
        if not run.running:
            break
        time.sleep(pause)
    if run.error:
        raise InputError(run.error)
