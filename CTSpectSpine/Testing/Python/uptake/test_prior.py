"""What is known of uptake before the SPECT is looked at."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from CTSpectSpineLib.uptake.lattice import Part
from CTSpectSpineLib.uptake.partition import Partition
from CTSpectSpineLib.uptake.prior import BACKGROUND_SD, build_prior


def prior_of(around):
    parts = (Part("body", "L1"), *(Part("background", str(n)) for n in range(len(around))))
    partition = Partition(parts, np.zeros((1, 1, 1), np.uint16), (1, 1, 1))
    return build_prior(partition, np.array([1.0, *around]))


def test_a_block_that_first_solves_below_nothing_is_not_free_to_stay_there():
    """Beside a kidney: the deeper it solved, the freer it was, and a disc took up the rest."""
    prior = prior_of([-0.45, 0.3, 0.3, 0.3, 6.0])
    below, usual, kidney = (prior.background_sd[n] for n in (0, 1, 4))
    assert below <= 0.5 * prior.background_mean[0]
    assert usual == BACKGROUND_SD
    assert kidney > 5.0


@given(hnp.arrays(float, st.integers(1, 12), elements=st.floats(-5.0, 5.0)))
def test_soft_tissue_is_bound_to_stay_above_nothing_but_free_upwards(around):
    prior = prior_of(around)
    low = around < prior.background_mean
    assert (prior.background_sd > 0.0).all()
    assert (prior.background_sd[low] <= np.maximum(0.5 * prior.background_mean[low], 0.05)).all()
    free = np.abs(around - prior.background_mean)[~low]
    assert (prior.background_sd[~low] >= free).all()
