"""Fixtures that the tests of this folder share."""

from __future__ import annotations

import pytest
from slicer_results import ResultsFolder, make_results_folder


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> ResultsFolder:
    return make_results_folder(tmp_path_factory.mktemp("results"))
