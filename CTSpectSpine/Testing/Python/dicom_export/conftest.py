"""The small study that the tests of export share; without highdicom they are skipped."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

if "CI" not in os.environ:
    pytest.importorskip("highdicom", reason='export needs highdicom: pip install ".[dicom]"')

from study_files import Case, make_case

from CTSpectSpineLib.command_line.main import main


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A study with its results, exported by the command to ``out``; tests only read it."""
    case = make_case(tmp_path_factory.mktemp("study") / "case")
    assert main(["export", str(case.results), "--dicom", str(case.out)]) == 0
    return case


@pytest.fixture
def fresh(study: Case, tmp_path: Path) -> Case:
    """A copy of the study, not exported, for one test to change."""
    folder = tmp_path / "case"
    shutil.copytree(study.folder, folder, ignore=shutil.ignore_patterns("out"))
    return Case(folder, folder / "results", folder / "ct", folder / "spect.dcm", study.made)
