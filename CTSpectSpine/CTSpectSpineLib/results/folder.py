"""The results folder: made, cleared and copied without losing what is not ours."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import replacing
from CTSpectSpineLib.results.manifest import MANIFEST

_KNOWN_FILES = (
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
    "verdict.json",
    "report.html",
    "scene.mrb",
)


def prepare_folder(
    folder: Path, inputs: Sequence[Path] = (), own: Sequence[str] | None = None
) -> Path:
    """Make a results folder, or clear an earlier result in it.

    Parameters
    ----------
    folder
        The folder.
    inputs
        Paths of the inputs; none may lie in the folder, where it could be overwritten.
    own
        Files that a single step writes; only they are cleared. None for a whole analysis.

    Raises
    ------
    InputError
        If the folder holds other things than an earlier result of the same kind, an input lies
        in it, or it cannot be written.
    """
    folder = Path(folder)
    check_folder(folder, own is None)
    for path in inputs:
        if folder.resolve() in path.resolve().parents:
            raise InputError(
                f"The input {path} lies in the output folder {folder}, where results are "
                "written over; choose another folder with --out."
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / MANIFEST) as probe:
            probe.touch()
        for name in _KNOWN_FILES if own is None else (MANIFEST, *own):
            (folder / name).unlink(missing_ok=True)
        if own is None:
            shutil.rmtree(folder / "pictures", ignore_errors=True)
    except OSError as error:
        raise InputError(
            f"Output folder {folder} cannot be written ({error.strerror}); choose another one."
        ) from error
    return folder


def check_folder(folder: Path, analysis: bool = True) -> None:
    """Check that a folder may be (over)written by an analysis, or by a single step.

    Raises
    ------
    InputError
        If it is a file, or holds what must not be lost.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"Output {folder} is a file; give a folder with --out.")
    if not folder.is_dir():
        return
    has_manifest = (folder / MANIFEST).is_file()
    if has_manifest and not analysis:
        raise InputError(
            f"Output folder {folder} holds an analysis; give another folder with --out."
        )
    foreign = {path.name for path in folder.iterdir()} - {*_KNOWN_FILES, "pictures"}
    if foreign and not has_manifest:
        raise InputError(
            f"Output folder {folder} is not empty and holds no earlier result; "
            "give a new or an empty folder with --out."
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
        with tempfile.TemporaryDirectory(dir=place, prefix=".ctspectspine-"):
            pass
    except OSError as error:
        raise InputError(
            f"Output folder {folder} cannot be written ({error.strerror}); choose another one."
        ) from error


def save_folder(results: Path, target: Path) -> Path:
    """Copy a results folder to where it is to be kept; an earlier result there is replaced.

    Raises
    ------
    InputError
        If the target holds other things, or cannot be written.
    """
    if not (results / MANIFEST).is_file():
        raise InputError(f"The results folder {results} is not there any more; analyse again.")
    if results.resolve() == target.resolve():
        return target
    prepare_folder(target, [results])
    try:
        shutil.copytree(results, target, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        raise InputError(f"{target} cannot be written ({error}); choose another folder.") from error
    return target
