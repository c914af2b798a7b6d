"""Fixtures that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from slicer_host import VtkErrors
from slicer_results import ResultsFolder, make_results_folder


@pytest.fixture(autouse=True)
def vtk_errors() -> Iterator[VtkErrors]:
    with VtkErrors() as errors:
        yield errors
    assert errors.texts == []


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> ResultsFolder:
    return make_results_folder(tmp_path_factory.mktemp("results"))
