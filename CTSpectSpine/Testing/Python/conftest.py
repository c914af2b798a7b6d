"""Fixtures that all test files share."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest

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


@pytest.fixture(scope="session")
def lumbar_phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small lumbar phantom (3 mm CT, hot L4-L5 disc), written by the command line."""
    from CTSpectSpineLib.command_line.main import main

    folder = tmp_path_factory.mktemp("lumbar")
    case = ["--case", "lumbar-disc", "--ct-spacing", "3", "--seed", "7"]
    code = main(["phantom", "--out", str(folder), *case, "--progress", "none"])
    assert code == 0
    return folder
