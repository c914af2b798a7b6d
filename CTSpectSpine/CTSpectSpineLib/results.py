"""The results folder: writing it stage by stage, and reading it back."""

from __future__ import annotations

import csv
import json
import math
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from CTSpectSpineLib.errors import Cancelled, InputError
from CTSpectSpineLib.geometry import LPS_TO_RAS
from CTSpectSpineLib.model import Registration, Uptake, Verdict
from CTSpectSpineLib.uptake.table import COLUMNS
from CTSpectSpineLib.version import __version__
from CTSpectSpineLib.volumes.files import replacing

SCHEMA = "ctspectspine-results-1"
MANIFEST = "manifest.json"
JOINT_COLUMNS = (*COLUMNS, "verdict")
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
_PACKAGES = ("numpy", "scipy", "SimpleITK", "pandas", "matplotlib", "pydicom", "pynrrd")


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


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file so that it is always whole.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(text.encode("utf-8"))
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}); choose another place."
        ) from error


def write_json(path: Path, values: Any) -> None:
    """Write strict JSON (NaN becomes null), atomically."""
    write_text(path, json.dumps(plain(values), indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    InputError
        If it is missing or broken.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path.") from error
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); write it again.") from error


def plain(value: Any) -> Any:
    """Turn numpy values, mappings, tuples and paths into what JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


def write_joint_table(table: pd.DataFrame, path: Path) -> None:
    """Write ``joints.csv``: the contract's columns in order, RFC 4180."""
    text = table.reindex(columns=list(JOINT_COLUMNS)).to_csv(
        index=False, lineterminator="\r\n", quoting=csv.QUOTE_MINIMAL
    )
    write_text(path, text)


def verdict_record(verdict: Verdict) -> dict[str, Any]:
    """``verdict.json`` as a dictionary."""
    record = asdict(verdict)
    if not verdict.candidate_dispositions:
        del record["candidate_dispositions"]
    return record


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


def transform_record(registration: Registration) -> dict[str, Any]:
    """The transform as 4×4 matrices, in both directions, in LPS and RAS mm."""
    forward = registration.matrix
    backward = np.linalg.inv(forward)
    return {
        "ct_to_spect_lps": forward,
        "spect_to_ct_lps": backward,
        "ct_to_spect_ras": LPS_TO_RAS @ forward @ LPS_TO_RAS,
        "spect_to_ct_ras": LPS_TO_RAS @ backward @ LPS_TO_RAS,
    }


def uptake_record(uptake: Uptake, unit: str) -> dict[str, Any]:
    """How the uptake was measured, for the manifest."""
    return {
        "reference": asdict(uptake.reference),
        "fwhm_mm": uptake.fwhm_mm,
        "fwhm_source": uptake.fwhm_source,
        "condition_number": uptake.condition_number,
        "unit": unit,
        "warnings": list(uptake.warnings),
    }
