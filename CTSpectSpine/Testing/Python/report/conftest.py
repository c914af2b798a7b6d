"""Fixtures that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest
from page_folder import (
    make_folder,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "results")
