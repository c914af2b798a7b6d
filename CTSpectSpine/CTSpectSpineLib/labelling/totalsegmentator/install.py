"""Where TotalSegmentator and its model files are on this machine."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from CTSpectSpineLib.processes import hidden

PYTHON_VARIABLE = "CTSPECTSPINE_TOTALSEGMENTATOR_PYTHON"
LEAST_VERSION = (2, 17)
"""Judgement: from this version on all of its models for vertebrae are under Apache-2.0."""
VERTEBRAE, HIPS, FAST, LOCALISER = 292, 294, 297, 298
"""Models for vertebrae and sacrum, for hips, of everything at 3 mm, and at 6 mm. Standard: data set
numbers of TotalSegmentator 2."""

MODEL_MB = 230
"""Size of one model. Measured on TotalSegmentator 2.18."""
_FETCHED = {"total": 6, "total_fast": 2}
"""Models that its program fetches for a task. Measured: 291 to 295 and 298, or 297 and 298."""
_ASK = "import importlib.metadata as m; print(m.version('TotalSegmentator'))"
_ASK_SECONDS = 60
"""Judgement: starting Python on a slow disk takes seconds, not minutes."""


def python_program(environment: Mapping[str, str] | None = None) -> str:
    """Python that runs TotalSegmentator: the one that the user names, else this one."""
    values = os.environ if environment is None else environment
    named = values.get(PYTHON_VARIABLE, "").strip()
    if named:
        return named
    if "python" in Path(sys.executable).stem.lower():
        return sys.executable
    # Inside an application the program is not Python; 3D Slicer has its own beside it.
    return shutil.which("PythonSlicer") or shutil.which("python3") or sys.executable


def installed_version(environment: Mapping[str, str] | None = None) -> str:
    """Version of TotalSegmentator that would run; empty when it is not installed."""
    values = os.environ if environment is None else environment
    if values.get(PYTHON_VARIABLE, "").strip():
        return _version_of(python_program(values))
    try:
        return importlib.metadata.version("TotalSegmentator")
    except importlib.metadata.PackageNotFoundError:
        return ""


@cache
def _version_of(python: str) -> str:
    try:
        done = subprocess.run(
            [python, "-c", _ASK],
            capture_output=True,
            text=True,
            timeout=_ASK_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
            **hidden(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def weights_folder(environment: Mapping[str, str] | None = None) -> Path:
    """Folder with TotalSegmentator's models (``Dataset…``), by its own rules."""
    values = os.environ if environment is None else environment
    if path := values.get("TOTALSEG_WEIGHTS_PATH"):
        return Path(path)
    if home := values.get("TOTALSEG_HOME_DIR"):
        return Path(home) / "nnunet" / "results"
    user = Path("/tmp") if str(Path.home()) == "/" else Path.home()
    return user / ".totalsegmentator" / "nnunet" / "results"


def has_model(number: int, folder: Path) -> bool:
    """Whether a model is complete; interrupted downloads leave folders without it."""
    return any(folder.glob(f"Dataset{number}_*/*/fold_0/checkpoint_final.pth"))


def needed_models(fast: bool) -> Sequence[int]:
    """Numbers of the models without which nothing can be labelled."""
    return (FAST, LOCALISER) if fast else (VERTEBRAE, LOCALISER)


def what_is_missing(fast: bool = False, environment: Mapping[str, str] | None = None) -> str:
    """What is missing to run TotalSegmentator, and how to get it; empty when it can run."""
    values = os.environ if environment is None else environment
    version = installed_version(values)
    least = ".".join(map(str, LEAST_VERSION))
    if not version:
        named = values.get(PYTHON_VARIABLE, "").strip()
        where = f"in {named}, which {PYTHON_VARIABLE} names" if named else "here"
        return (
            f"the package TotalSegmentator is not installed {where}: install version {least} or "
            f"newer in a Python environment and name its Python in {PYTHON_VARIABLE}, or in "
            "3D Slicer install the extension TotalSegmentator"
        )
    found = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if found < LEAST_VERSION:
        return f"TotalSegmentator {version} is too old: update it to {least} or newer"
    folder = weights_folder(values)
    missing = [number for number in needed_models(fast) if not has_model(number, folder)]
    if missing:
        task = "total_fast" if fast else "total"
        numbers = " and ".join(map(str, missing))
        return (
            f"model {numbers} of TotalSegmentator {version} is not in {folder}: fetch the models "
            f"once with '{download_program(values)} -t {task}' (about "
            f"{_FETCHED[task] * MODEL_MB / 1000:.1f} GB: {_FETCHED[task]} models of {MODEL_MB} MB "
            "each), or name their folder in TOTALSEG_WEIGHTS_PATH"
        )
    return ""


def download_program(environment: Mapping[str, str] | None = None) -> str:
    """TotalSegmentator's program that fetches models, with its path where it is known."""
    name = "totalseg_download_weights"
    beside = Path(python_program(environment)).parent
    for folder in (beside, beside / "Scripts", beside / "bin"):
        for program in (folder / name, folder / f"{name}.exe"):
            if program.is_file():
                return str(program)
    return shutil.which(name) or name


def what_is_there(fast: bool = False, environment: Mapping[str, str] | None = None) -> str:
    """What would run, in one sentence without a full stop; empty where something is missing."""
    values = os.environ if environment is None else environment
    if what_is_missing(fast, values):
        return ""
    folder = weights_folder(values)
    found = [str(n) for n in (VERTEBRAE, HIPS, FAST, LOCALISER) if has_model(n, folder)]
    return (
        f"TotalSegmentator {installed_version(values)} of {python_program(values)} with the models "
        f"{', '.join(found)} in {folder}"
    )
