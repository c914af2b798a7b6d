"""Fixtures that all test files share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from CTSpectSpineLib.processes import one_thread_for_sums

# Before NumPy is imported: two processes with two threads each wait for each other.
one_thread_for_sums()

import hypothesis
import pytest
import SimpleITK as sitk

REPOSITORY = Path(__file__).resolve().parents[3]

hypothesis.settings.register_profile("same every time", derandomize=True)
hypothesis.settings.load_profile("same every time")


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real CT and labels, beside the repository; tests skip where it is absent."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real CT data not found: {folder} does not exist")
    return folder


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that tests only read, made by the first of the processes that run the tests."""
    from CTSpectSpineLib.locks import locked

    base = factory.getbasetemp()
    # The processes of pytest-xdist have folders of their own, side by side.
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"once-{name}"
    place.mkdir(exist_ok=True)
    with locked(place, "a test", wait_seconds=1200):
        if not (place / "made").is_file():
            make(place / name)
            (place / "made").write_text("", encoding="utf-8")
    return place / name


@pytest.fixture(scope="session")
def lumbar_phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small lumbar phantom (3 mm CT, hot L4-L5 disc), written by the command line.

    ``two.nii.gz`` holds two of its vertebrae, L4 and L5: what needs no more is done sooner.
    """
    from CTSpectSpineLib.command_line.main import main

    def make(folder: Path) -> None:
        case = ["--case", "lumbar-disc", "--ct-spacing", "3", "--seed", "7"]
        assert main(["phantom", "--out", str(folder), *case, "--progress", "none"]) == 0
        labels = sitk.ReadImage(str(folder / "vertebrae.nii.gz"))
        lowest = sitk.Cast((labels == 27) | (labels == 28), labels.GetPixelID())
        sitk.WriteImage(labels * lowest, str(folder / "two.nii.gz"))

    return made_once(tmp_path_factory, "lumbar", make)


@pytest.fixture(scope="session")
def lumbar_results(lumbar_phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results folder of `lumbar_phantom` with its labels, by the command line on one thread."""
    from CTSpectSpineLib.command_line.main import main

    def make(folder: Path) -> None:
        words = ["analyze", "--save-volumes", "--threads", "1", "--progress", "none"]
        for name in ("ct", "spect", "vertebrae"):
            words += [f"--{name}", str(lumbar_phantom / f"{name}.nii.gz")]
        assert main([*words, "--out", str(folder)]) == 0

    return made_once(tmp_path_factory, "results", make)
