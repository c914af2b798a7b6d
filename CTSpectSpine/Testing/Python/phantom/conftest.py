"""Fixtures that the tests of this folder share."""

from __future__ import annotations

import pytest
from spect_support import block_spine
from spine_configs import LUMBAR

from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.model import Anatomy


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return block_spine()


@pytest.fixture(scope="module")
def lumbar() -> Anatomy:
    return make_anatomy(LUMBAR)
