"""The small study that the tests of export share."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from CTSpectSpineLib.command_line.main import main

if TYPE_CHECKING:
    from study_files import Case


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A study with its results, exported by the command to ``out``; tests only read it."""
    from study_files import make_case

    case = make_case(tmp_path_factory.mktemp("study") / "case")
    assert main(["export", str(case.results), "--dicom", str(case.out)]) == 0
    return case


@pytest.fixture
def fresh(study: Case, tmp_path: Path) -> Case:
    """A copy of the study, not exported, for one test to change."""
    from study_files import Case

    folder = tmp_path / "case"
    shutil.copytree(study.folder, folder, ignore=shutil.ignore_patterns("out"))
    return Case(folder, folder / "results", folder / "ct", folder / "spect.dcm", study.made)
