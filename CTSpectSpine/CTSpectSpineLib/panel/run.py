"""One analysis of a scene's nodes in a child process: its arguments, its run, its results."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import SimpleITK as sitk

from CTSpectSpineLib.command_line.child import REFUSED, ChildProcess
from CTSpectSpineLib.errors import Cancelled, CTSpectSpineError, InputError
from CTSpectSpineLib.panel.request import Request
from CTSpectSpineLib.panel.workplace import Workplace
from CTSpectSpineLib.progress import Progress, ProgressCallback
from CTSpectSpineLib.results.folder import check_folder, check_writable, save_folder
from CTSpectSpineLib.results.text_files import write_json, write_text
from CTSpectSpineLib.scene.inputs import InputFiles
from CTSpectSpineLib.scene.mrml import Node
from CTSpectSpineLib.scene.nodes import (
    SceneNodes,
    lies_in,
    results_folder,
    scene_nodes,
)


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
            check_writable(request.out)
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
        from CTSpectSpineLib.scene.populate import at_once

        return at_once(self.finish_steps(scene))

    def finish_steps(self, scene: Node) -> Generator[None, None, tuple[SceneNodes, Path]]:
        """`finish` in short steps, between which a window can answer."""
        from CTSpectSpineLib.scene.populate import populate_steps

        if not self.succeeded:
            raise Cancelled(self.error) if self.error == "Cancelled." else InputError(self.error)
        request = self.request
        old = None if request.replaces is None else results_folder(request.replaces)
        folder = self._move()
        yield
        self._check_images(scene, folder)
        nodes = yield from populate_steps(
            scene, ct=request.ct, spect=request.spect, folder=folder, replaces=request.replaces
        )
        if old is not None and old != folder and self._workplace.holds(old):
            shutil.rmtree(old.parent, ignore_errors=True)
        if nodes.manifest is not None:
            lies_in(nodes.manifest, folder)
        return nodes, folder

    def _check_images(self, scene: Node, folder: Path) -> None:
        """Raise where the user has removed an image meanwhile, and say where the results are."""
        for name, node in (("CT", self.request.ct), ("SPECT", self.request.spect)):
            if node.GetScene() is not scene:
                place = f"they are in {folder}" if self.request.out is not None else "analyse again"
                if self.request.out is None:
                    self._clean()
                raise InputError(
                    f"The {name} was removed from the scene during the analysis, so that its "
                    f"results cannot be shown: {place}."
                )

    def _move(self) -> Path:
        out = self.request.out
        if out is None:
            return self._results
        save_folder(self._results, out)
        shutil.rmtree(self._folder, ignore_errors=True)
        return out

    def _clean(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._workplace.discard_inputs()

    def _arguments(self, inputs: InputFiles) -> list[str]:
        request, options = self.request, self.request.options
        words = ["analyze", "--ct", str(inputs.ct(request.ct))]
        words += ["--spect", str(inputs.spect(request.spect))]
        words += ["--out", str(self._results), "--protocol", request.protocol]
        if request.vertebrae is None:
            words += ["--labeller", request.labeller]
        elif isinstance(request.vertebrae, sitk.Image):
            words += ["--vertebrae", str(inputs.labels(request.vertebrae))]
            options = replace(options, label_scheme="totalsegmentator")
        else:
            words += ["--vertebrae", str(inputs.vertebrae(request.vertebrae, request.ct))]
        if request.context:
            context = self._folder / "context.json"
            write_json(context, dict(request.context))
            words += ["--context", str(context)]
        if request.joints:
            options = replace(options, joints=inputs.joints(request.joints))
        if request.keep is not None:
            options = replace(options, registration=self._kept(request.keep))
        if request.initial is not None:
            options = replace(options, initial_transform=inputs.transform(request.initial))
        if request.transform is not None:
            options = replace(options, transform=inputs.transform(request.transform))
        return words + options.arguments()

    def _kept(self, manifest: Node) -> Path:
        """Folder with the registration of an earlier analysis and what was decided on it.

        It comes from the texts in the scene, never from where the SPECT lies now.
        """
        from CTSpectSpineLib.registration.files import write_transform

        record, kept = scene_nodes(manifest).record(), self._folder / "kept"
        if record is None or record.ct_to_spect_lps is None:
            raise InputError("The scene no longer holds the registration: analyse again.")
        transform = sitk.AffineTransform(3)
        transform.SetCenter(record.centre_mm)
        transform.SetMatrix([value for row in record.ct_to_spect_lps[:3] for value in row[:3]])
        origin = transform.TransformPoint((0.0, 0.0, 0.0))
        shift = [row[3] - o for row, o in zip(record.ct_to_spect_lps, origin, strict=False)]
        transform.SetTranslation(shift)
        kept.mkdir()
        for name in ("manifest.json", "registration.json"):
            write_text(kept / name, record.texts[name])
        write_transform(transform, kept / "spect_to_ct.tfm")
        return kept


def run_to_end(run: Run, progress: ProgressCallback | None = None, pause: float = 0.1) -> None:
    """Wait for a run, telling its progress.

    Raises
    ------
    Cancelled
        If the callback cancels; the child is killed first.
    InputError
        If it ends without result.
    """
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
