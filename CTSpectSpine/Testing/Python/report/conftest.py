"""Fixtures that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from page_folder import make_folder
from picture_case import make_case

from CTSpectSpineLib.report import (
    draw_pictures,
    finding_pictures,
    overview,
    pictures,
    registration_check,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "results")


@pytest.fixture(scope="session")
def case() -> dict[str, Any]:
    return make_case()


@pytest.fixture(scope="session")
def drawn(case: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    draw_pictures(folder, **case)
    return folder / "pictures"


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """File name to the legend of each sheet; nothing is painted, which takes most of the time."""
    painted: dict[str, Any] = {}

    def keep(path: Path, rows: Any, bar: Any) -> None:
        painted[path.name] = bar

    for module in (finding_pictures, overview, pictures, registration_check):
        monkeypatch.setattr(module, "draw_sheet", keep)
    return painted
