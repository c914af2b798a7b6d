"""The folders that commands write: claimed for one run, cleared of earlier ones, copied.

What may be replaced or removed is decided by `results.ownership`.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from CTSpectSpineLib.errors import Cancelled, InputError
from CTSpectSpineLib.files import (
    is_temporary,
    owned,
    remove_temporaries,
    replacing,
    temporary_name,
    without_folders,
)
from CTSpectSpineLib.locks import LOCK, check_not_held, locked
from CTSpectSpineLib.results.manifest import MANIFEST
from CTSpectSpineLib.results.ownership import (
    ANOTHER,
    FILES_RECORD,
    ManifestFolder,
    OwnedFolder,
    StepFolder,
    manifest_of,
    runs_of,
)
from CTSpectSpineLib.results.pictures import FOLDER as PICTURES
from CTSpectSpineLib.results.text_files import read_json, write_json

ANALYSIS_FILES = (
    MANIFEST,
    "spect_to_ct.tfm",
    "registration.json",
    "spect_on_ct.nrrd",
    "vertebrae.nii.gz",
    "vertebrae.seg.nrrd",
    "vertebrae.json",
    "hips.nii.gz",
    "joints.seg.nrrd",
    "joint_parts.seg.nrrd",
    "joints.csv",
    "findings.csv",
    "ct_signs.csv",
    "verdict.json",
    "report.html",
    "report.pdf",
    "scene.mrb",
)
"""Files of the results folder of an analysis, besides those in ``pictures``."""
READING_FILES = ("reading.csv", "reading.json")
"""What readers say (`results.reading`): no run's, so that none removes them."""
_WAIT_SECONDS = 20.0
"""How long a single file waits for another run in its folder. Judgement: longer than another file
takes to be written, shorter than patience."""


@contextmanager
def results_folder(folder: Path, inputs: Sequence[Path] = ()) -> Iterator[Path]:
    """Claim the results folder of an analysis; the first write removes an earlier analysis in it.

    Parameters
    ----------
    folder
        The folder.
    inputs
        Paths of the inputs; none may lie in the folder, where it could be overwritten.

    Raises
    ------
    InputError
        If the folder holds other things than an earlier analysis, an input lies in it, another
        run writes in it, or it cannot be written.
    """
    check_folder(folder)
    _check_inputs(folder, inputs)
    with _claimed(folder, "an analysis") as stack:
        _check_results(folder)
        remove_temporaries(folder)
        claim = ManifestFolder(folder, clears=True)
        claim.check_names([*ANALYSIS_FILES[1:], *_pictures(folder)])
        stack.enter_context(owned(folder, claim))
        yield folder


@contextmanager
def kept_results(folder: Path) -> Iterator[Path]:
    """Claim a results folder to change single files of it; its manifest keeps their hashes.

    Raises
    ------
    InputError
        If its manifest keeps no record of a file that is written, or another run writes in it.
    """
    if not folder.is_dir() or manifest_of(folder) is None:
        # Whoever reads it says what is wrong with it.
        yield folder
        return
    with _claimed(folder, "another command") as stack:
        remove_temporaries(folder)
        claim = ManifestFolder(folder, clears=False)
        stack.enter_context(owned(folder, claim))
        yield folder
        claim.save()


@contextmanager
def step_folder(
    folder: Path,
    command: str,
    names: Sequence[str],
    inputs: Sequence[Path] = (),
    *,
    among: bool = False,
    adopt: Sequence[str] = (),
    clears: bool = True,
    wait_seconds: float = 0.0,
) -> Iterator[Path]:
    """Claim the folder of a command that writes no manifest.

    Parameters
    ----------
    folder
        The folder.
    command
        Name of the command.
    names
        Files that it may write.
    inputs
        Paths of the inputs; none may lie in the folder, where it could be overwritten.
    among
        Whether the folder may hold other things.
    adopt
        Files that the user says to go on with.
    clears
        Whether the first write removes what an earlier run of the command wrote.
    wait_seconds
        How long to wait for another run in the folder.

    Raises
    ------
    InputError
        As for `results_folder`.
    """
    if not wait_seconds:
        check_step_folder(folder, among=among)
    _check_inputs(folder, inputs)
    with _claimed(folder, f"'ctspectspine {command}'", wait_seconds) as stack:
        _check_step(folder, among=among)
        remove_temporaries(folder)
        claim = StepFolder(folder, command, clears=clears)
        claim.adopt(adopt)
        claim.check_names(names)
        yield from _step(stack, claim, folder, (folder, *inputs))


@contextmanager
def output_file(path: Path, command: str, inputs: Sequence[Path] = ()) -> Iterator[Path]:
    """Claim a single file that a command writes.

    Raises
    ------
    InputError
        If it is an input, if a file is there that no earlier run of the command wrote, or if the
        folder cannot be written.
    """
    if path.is_dir():
        raise InputError(f"Output {path} is a folder; give a file.")
    for given in inputs:
        if given.resolve() == path.resolve():
            raise InputError(f"Output {path} is an input as well; give another file.")
    with _claimed(path.parent, f"'ctspectspine {command}'", _WAIT_SECONDS) as stack:
        for name in (path.name, FILES_RECORD):
            remove_temporaries(path.parent, name)
        _check_record(path.parent)
        claim = StepFolder(path.parent, f"{command} --out {path.name}", clears=False)
        claim.check_names([path.name])
        yield from _step(stack, claim, path, (path, *inputs))


def _step(
    stack: ExitStack, claim: StepFolder, given: Path, places: Iterable[Path]
) -> Iterator[Path]:
    """Give the path, and record how it ended; files of the places go by their names there."""
    stack.enter_context(owned(claim.folder, claim))
    try:
        yield given
    except (Cancelled, KeyboardInterrupt):
        _say(claim, "Cancelled.")
        raise
    except BaseException as error:
        _say(claim, without_folders(str(error), places))
        raise
    claim.finish("complete")


def _say(claim: StepFolder, reason: str) -> None:
    # What went wrong first is what the user has to know.
    with contextlib.suppress(InputError, OSError):
        claim.finish("failed", reason)


@contextmanager
def _claimed(folder: Path, what: str, wait_seconds: float = 0.0) -> Iterator[ExitStack]:
    """Make a folder and hold it; a folder that was made and stayed empty is removed again."""
    made = [part for part in (folder, *folder.parents) if not part.exists()]
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.callback(_remove_empty, made)
            stack.enter_context(locked(folder, what, wait_seconds))
        except OSError as error:
            raise InputError(
                f"Output folder {folder} cannot be written ({error.strerror}); choose another one."
            ) from error
        yield stack


def _remove_empty(folders: Iterable[Path]) -> None:
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def check_folder(folder: Path) -> None:
    """Check that an analysis may write into a folder, before anything runs.

    Raises
    ------
    InputError
        If it is a file, holds what is not an earlier analysis, or another run writes in it.
    """
    if _is_there(folder):
        _check_results(folder)
        check_not_held(folder)


def _check_results(folder: Path) -> None:
    if manifest_of(folder) is None:
        if (folder / MANIFEST).exists():
            raise InputError(
                f"{folder / MANIFEST} was not written by an analysis of this version; {ANOTHER}."
            )
        if next(_foreign(folder), None) is not None:
            raise InputError(
                f"Output folder {folder} is not empty and holds no earlier result; "
                "give a new or an empty folder."
            )


def check_step_folder(folder: Path, *, among: bool = False) -> None:
    """Check that a command without a manifest may write into a folder, before anything runs.

    Raises
    ------
    InputError
        As for `check_folder`, and if the folder holds an analysis.
    """
    if _is_there(folder):
        _check_step(folder, among=among)
        check_not_held(folder)


def _check_step(folder: Path, *, among: bool) -> None:
    if not among:
        if manifest_of(folder) is not None:
            raise InputError(f"Output folder {folder} holds an analysis; give another folder.")
        if runs_of(folder) is None and next(_foreign(folder), None) is not None:
            raise InputError(
                f"Output folder {folder} is not empty and holds no earlier result; "
                "give a new or an empty folder."
            )
    _check_record(folder)


def _check_record(folder: Path) -> None:
    if (folder / FILES_RECORD).exists() and runs_of(folder) is None:
        raise InputError(
            f"{folder / FILES_RECORD} cannot be read, so that nothing says which files there an "
            "earlier run wrote; choose another place, or move it away."
        )


def _is_there(folder: Path) -> bool:
    for part in (folder, *folder.parents):
        if part.exists() and not part.is_dir():
            raise InputError(f"Output {part} is a file; give a folder.")
    return folder.is_dir()


def _foreign(folder: Path) -> Iterator[Path]:
    """What is in a folder besides what a killed run left."""
    return (path for path in folder.iterdir() if path.name != LOCK and not is_temporary(path))


def _pictures(folder: Path) -> Iterator[str]:
    """Names in ``pictures`` that an analysis might want."""
    for path in folder.glob(f"{PICTURES}/*"):
        if path.suffix in (".png", ".json"):
            yield f"{PICTURES}/{path.name}"


def _check_inputs(folder: Path, inputs: Sequence[Path]) -> None:
    place = folder.resolve()
    for path in inputs:
        if place in (path.resolve(), *path.resolve().parents):
            raise InputError(
                f"The input {path} lies in the output folder {folder}, where results are "
                "written over; choose another folder."
            )


def check_writable(folder: Path) -> None:
    """Check that a folder can be made and written, and leave nothing behind.

    Raises
    ------
    InputError
        If it cannot.
    """
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        probe = temporary_name(place / "probe")
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise InputError(
            f"Output folder {folder} cannot be written ({error.strerror}); choose another one."
        ) from error


def save_folder(results: Path, target: Path) -> Path:
    """Copy a results folder to where it is to be kept; an earlier analysis there is replaced.

    Raises
    ------
    InputError
        If the target holds other things, or cannot be written.
    """
    if not (results / MANIFEST).is_file():
        raise InputError(f"The results folder {results} is not there any more; analyse again.")
    if results.resolve() == target.resolve():
        return target
    manifest = read_json(results / MANIFEST)
    with results_folder(target, [results]):
        try:
            partly = {"status": "running", "status_reason": "The results are being copied here."}
            write_json(target / MANIFEST, {**manifest, **partly})
            for path in sorted(results.rglob("*")):
                ours = path.name not in (
                    MANIFEST,
                    LOCK,
                    FILES_RECORD,
                    *READING_FILES,
                ) and not is_temporary(path)
                if path.is_file() and ours:
                    with replacing(target / path.relative_to(results)) as temporary:
                        shutil.copyfile(path, temporary)
            write_json(target / MANIFEST, manifest)
        except OSError as error:
            raise InputError(
                f"{target} cannot be written ({error}); choose another folder."
            ) from error
    return target


__all__ = [
    "ANALYSIS_FILES",
    "MANIFEST",
    "OwnedFolder",
    "check_folder",
    "check_step_folder",
    "check_writable",
    "kept_results",
    "output_file",
    "results_folder",
    "save_folder",
    "step_folder",
]
