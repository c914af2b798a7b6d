"""What a site's calibration does to the measurement."""

from __future__ import annotations

import pytest
from test_uptake_scene import BOUNDS, Scene, registration

from CTSpectSpineLib import uptake
from CTSpectSpineLib.calibration_file import CalibratedResponse, Calibration, OrdinaryJoints
from CTSpectSpineLib.reconstruction import ReconstructionFacts
from CTSpectSpineLib.uptake.prior import GROUPS, groups_of

SCENE = Scene(hot={"L3-L4 disc": 4.0})
PHANTOM = CalibratedResponse("no-recovery", 10.0, 0.2, 0.0, 0.1)


def measured(calibration, facts=None, **options):
    spect = SCENE.spect(fwhm=10.0, noise=0.05, seed=1)
    return uptake.measure(
        spect, SCENE.joints(), SCENE.labels(), registration(), BOUNDS, repetitions=40,
        calibration=calibration,
        emitted=uptake.Emission(spect, facts or ReconstructionFacts()), **options,
    )  # fmt: skip


@pytest.mark.slow
def test_a_calibrated_response_gives_family_and_width():
    plain = measured(None)
    calibrated = measured(Calibration(PHANTOM, name="site.json", sha256="0" * 64))
    assert plain.calibration == {}
    assert calibrated.calibration["name"] == "site.json"
    assert calibrated.reconstruction["family"] == "no-recovery"
    assert calibrated.reconstruction["source"] == "site calibration"
    assert calibrated.fwhm_source == "site calibration"
    assert calibrated.fwhm_mm == pytest.approx(10.0, rel=0.05)
    hot = [u.table.set_index("joint").loc["L3-L4 disc"] for u in (plain, calibrated)]
    assert hot[1]["ratio_corrected"] == pytest.approx(4.0, rel=0.15)
    # Knowing the response narrows the interval.
    widths = [row["ratio_high"] - row["ratio_low"] for row in hot]
    assert widths[1] < widths[0]


def test_a_calibration_of_another_reconstruction_is_said_and_left_out():
    facts = ReconstructionFacts("recovery", "given")
    result = measured(Calibration(PHANTOM, name="site.json"), facts)
    assert any("another kind of reconstruction" in sentence for sentence in result.warnings)
    assert result.fwhm_source != "site calibration"


def test_normals_move_the_prior_of_their_kind_alone():
    changed = groups_of({"disc": OrdinaryJoints(1.3, 0.05, 0.1, 9, 90)})
    assert changed["disc_bone"].mean == 1.3
    assert changed["disc_bone"].others == GROUPS["disc_bone"].others
    assert changed["facet_bone"] == GROUPS["facet_bone"]
    site = Calibration(None, {"facet": OrdinaryJoints(1.4, 0.02, 0.05, 9, 90)}, name="site.json")
    facts = ReconstructionFacts("no-recovery", "given")
    tables = [measured(c, facts, fwhm_mm=10.0).table for c in (None, site)]
    means = [t[t["kind"] == "facet"]["ratio_corrected"].mean() for t in tables]
    assert means[1] > means[0]
