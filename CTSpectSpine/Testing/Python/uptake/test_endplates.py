"""The two endplates of a disc apart, on a spine whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from test_uptake_scene import BOUNDS, Scene, registration

from CTSpectSpineLib import uptake
from CTSpectSpineLib.reconstruction import ReconstructionFacts

PLAIN = ReconstructionFacts("no-recovery", "given")
HOT = "L3-L4 disc"


def measured(scene, noise=0.0):
    spect = scene.spect(fwhm=10.0, noise=noise, seed=2)
    return uptake.measure(
        spect, scene.joints(), scene.labels(), registration(), BOUNDS, fwhm_mm=10.0,
        repetitions=0, emitted=uptake.Emission(spect, PLAIN),
    ).table.set_index("joint")  # fmt: skip


@pytest.mark.parametrize(("upper", "lower"), [(6.0, 1.0), (1.0, 6.0)])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_hotter_endplate_is_found(upper, lower, noise):
    table = measured(Scene(endplates={HOT: (upper, lower)}), noise)
    row = table.loc[HOT]
    found = (row["ratio_upper_endplate"], row["ratio_lower_endplate"])
    assert (found[0] > found[1]) == (upper > lower)
    hot, cold = max(found), min(found)
    assert hot == pytest.approx(6.0, rel=0.25)
    assert cold < 2.2
    # Their mean by volume is the disc's ratio; both endplates are of one size here.
    assert np.mean(found) == pytest.approx(row["ratio_corrected"], rel=0.03)


def test_endplates_that_are_alike_read_alike():
    table = measured(Scene(hot={HOT: 4.0}), noise=0.05)
    discs = table[table["kind"] == "disc"]
    quotient = discs["ratio_upper_endplate"] / discs["ratio_lower_endplate"]
    assert (np.abs(np.log(quotient)) < np.log(1.5)).all(), quotient.to_dict()


def test_facets_have_no_endplates():
    table = measured(Scene())
    facets = table[table["kind"] == "facet"]
    assert facets[["ratio_upper_endplate", "ratio_lower_endplate"]].isna().all(axis=None)
