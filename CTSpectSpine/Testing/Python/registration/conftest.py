"""Fixtures that the tests of this folder share."""

from __future__ import annotations

import pytest
from simulated_pair import Pair, make_pair

from CTSpectSpineLib.model import Registration
from CTSpectSpineLib.registration import register


@pytest.fixture(scope="module")
def pair() -> Pair:
    return make_pair(11)


@pytest.fixture(scope="module")
def result(pair: Pair) -> Registration:
    return register(pair.ct, pair.spect, threads=1)
