"""Height, gas and sclerosis of made discs, whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from made_segment import Made, turned

from CTSpectSpineLib.ct_sign import CtSigns
from CTSpectSpineLib.ct_signs import measure_ct_signs
from CTSpectSpineLib.ct_signs.measure import _with_ratios
from CTSpectSpineLib.geometry import affine
from CTSpectSpineLib.model import Joint, SpineJoints

TILTED = turned(12, -8, 20)


def signs_of(made: Made, ct: sitk.Image | None = None, label_error_mm: float = 0.0) -> CtSigns:
    (found,) = measure_ct_signs(made.ct() if ct is None else ct, made.joints(label_error_mm))
    return found


@pytest.mark.parametrize("height_mm", [4.0, 7.0, 12.0])
@pytest.mark.parametrize("label_error_mm", [-1.0, 0.0, 1.0])
def test_height_is_that_of_the_endplates_not_of_the_labels(
    height_mm: float, label_error_mm: float
) -> None:
    made = Made(height_mm, noise_hu=20, turn=TILTED)
    found = signs_of(made, label_error_mm=label_error_mm)
    assert found.height_mm == pytest.approx(height_mm, abs=0.4)


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 0.7), (1.0, 1.0, 1.5), (0.8, 0.8, 2.0)])
def test_height_hardly_depends_on_the_voxels(spacing: tuple[float, float, float]) -> None:
    made = Made(9.0, noise_hu=20, turn=TILTED)
    assert signs_of(made, made.ct(spacing)).height_mm == pytest.approx(9.0, abs=0.75)


def test_thick_slices_give_gas_alone_and_thicker_ones_nothing() -> None:
    made = Made(10.0, bubbles=[(3, 2, 0, 4)])
    thick, thicker = (signs_of(made, made.ct((1, 1, mm))) for mm in (3.0, 5.0))
    assert thick.gas == "yes"
    assert np.isnan(thick.height_mm)
    assert thick.status_reason
    assert thick.sclerosis_upper == ""
    assert not thicker.measured
    assert thicker.gas == ""


@pytest.mark.parametrize("radius", [2.0, 3.0, 4.5])
@pytest.mark.parametrize("spacing", [(0.7, 0.7, 1.0), (1.5, 1.5, 1.5)])
def test_gas_has_the_volume_of_its_bubble(
    radius: float, spacing: tuple[float, float, float]
) -> None:
    made = Made(12.0, bubbles=[(6, -4, 0.5, radius)], noise_hu=20, turn=TILTED)
    found = signs_of(made, made.ct(spacing))
    assert found.gas == "yes"
    assert found.gas_mm3 == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.15)
    assert found.gas_share == pytest.approx(found.gas_mm3 / (np.pi * 20**2 * 12), rel=0.1)
    assert found.height_mm == pytest.approx(12.0, abs=0.75)


def test_bubbles_add_up_and_noise_and_lung_are_no_gas() -> None:
    two = Made(12.0, bubbles=[(9, -4, 0, 3), (-8, 5, 1, 3)], noise_hu=20)
    assert signs_of(two).gas_mm3 == pytest.approx(2 * 4 / 3 * np.pi * 27, rel=0.1)
    assert signs_of(Made(12.0, noise_hu=70)).gas == "no"
    # The outline of the disc reaches 3 mm into the lung.
    for edge in (17.0, 21.0):
        beside = signs_of(Made(8.0, lung_mm=edge, noise_hu=20))
        assert (beside.gas, beside.gas_mm3) == ("no", 0.0)


def test_sclerosis_is_told_by_side_and_extent() -> None:
    none = signs_of(Made(10.0, noise_hu=20))
    half = signs_of(Made(10.0, dense_hu=450, dense_from_mm=1, noise_hu=20))
    whole = signs_of(Made(10.0, dense_hu=450, noise_hu=20))
    assert (none.sclerosis_upper, none.sclerosis_lower) == ("no", "no")
    assert (half.sclerosis_upper, half.sclerosis_lower) == ("focal", "no")
    assert half.sclerosis_upper_share == pytest.approx(0.47, abs=0.06)
    assert (whole.sclerosis_upper, whole.sclerosis_lower) == ("extensive", "no")
    assert whole.subchondral_upper_hu == pytest.approx(450, abs=25)
    assert whole.cancellous_upper_hu == pytest.approx(180, abs=5)
    assert whole.height_mm == pytest.approx(10.0, abs=0.6)


def test_axes_of_the_ct_change_nothing() -> None:
    made = Made(9.0, bubbles=[(5, 3, 0, 3)], dense_hu=450, dense_from_mm=3, noise_hu=15)
    ct = made.ct()
    first = signs_of(made, ct)
    for order, flips in (((2, 0, 1), (True, False, True)), ((1, 2, 0), (False, True, True))):
        swapped = sitk.Flip(sitk.PermuteAxes(ct, order), flips)
        other = signs_of(made, swapped)
        assert other.gas_mm3 == pytest.approx(first.gas_mm3, rel=1e-3)
        assert other.height_mm == pytest.approx(first.height_mm, abs=1e-3)
        assert other.sclerosis_upper_share == pytest.approx(first.sclerosis_upper_share, abs=1e-3)
        assert (other.sclerosis_upper, other.sclerosis_lower) == ("focal", "no")


def test_place_and_posture_change_little() -> None:
    made = Made(9.0, bubbles=[(5, 3, 0, 3)], dense_hu=450, dense_from_mm=3)
    first = signs_of(made)
    moved = replace(made, centre=np.array([130.0, -240.0, 910.0]))
    assert signs_of(moved).gas_mm3 == pytest.approx(first.gas_mm3, rel=1e-3)
    assert signs_of(moved).height_mm == pytest.approx(first.height_mm, abs=1e-3)
    for turn in (turned(90, 0, 0), turned(25, -15, 160), turned(-20, 18, 35)):
        other = signs_of(replace(made, turn=turn))
        assert other.gas_mm3 == pytest.approx(first.gas_mm3, rel=0.1)
        assert other.height_mm == pytest.approx(first.height_mm, abs=0.5)
        assert (other.sclerosis_upper, other.sclerosis_lower) == ("focal", "no")


def test_upside_down_grids_of_labels_change_nothing() -> None:
    """Upper stays upper, whichever way the region's own grid runs."""
    made = Made(9.0, dense_hu=450, dense_from_mm=3)
    joints = made.joints()
    (disc,) = joints.joints
    space = disc.parts["disc_space"]
    n = space.mask.shape[0] - 1
    turn = affine(np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, -1]]), [0, 0, float(n)])
    other = replace(
        space, mask=space.mask.transpose(0, 2, 1)[::-1], ijk_to_lps=space.ijk_to_lps @ turn
    )
    turned_disc = replace(disc, parts={"disc_space": other})
    (found,) = measure_ct_signs(made.ct(), SpineJoints((turned_disc,), joints.frames))
    assert found.sclerosis_upper_share == pytest.approx(
        signs_of(made).sclerosis_upper_share, abs=1e-6
    )
    assert (found.sclerosis_upper, found.sclerosis_lower) == ("focal", "no")


def test_nothing_is_told_where_nothing_can_be_known() -> None:
    made = Made(10.0)
    ct = made.ct()
    joints = made.joints()
    (disc,) = joints.joints
    cut = signs_of(made, ct[:, :, : ct.GetSize()[2] // 2])
    assert (cut.status, cut.status_reason) == ("not_measurable", "the CT ends in the disc")
    doubted = SpineJoints((replace(disc, doubts=("labels may be mixed",)),), joints.frames)
    (told,) = measure_ct_signs(ct, doubted)
    assert (told.status, told.status_reason) == ("not_measurable", "labels may be mixed")
    metal = sitk.Image(ct)
    middle = [n // 2 for n in ct.GetSize()]
    metal[middle[0] : middle[0] + 4, middle[1] : middle[1] + 4, middle[2] + 8 : middle[2] + 12] = (
        3000
    )
    assert signs_of(made, metal).status_reason == "there is metal or cement beside the disc"
    bridged = signs_of(made, ct * 0 + 300)
    assert np.isnan(bridged.height_mm)
    assert bridged.sclerosis_upper == ""
    assert bridged.status_reason == "the disc has 300 HU"
    flat = signs_of(made, ct * 0 + 90)
    assert np.isnan(flat.height_mm)
    assert flat.status_reason == "the CT does not show both endplates clearly"


def heights(values: dict[str, float], region: str = "lumbar") -> dict[str, CtSigns]:
    joints = [
        Joint(f"{level} disc", level, "disc", "", region, *level.split("-"), None, None, None)  # type: ignore[arg-type]
        for level in values
    ]
    signs = [
        CtSigns(f"{level} disc", level, "disc", "", height_mm=mm) for level, mm in values.items()
    ]
    return {found.level: found for found in _with_ratios(signs, joints)}


def test_a_disc_is_compared_with_its_neighbours() -> None:
    found = heights({"L1-L2": 9.0, "L2-L3": 10.0, "L3-L4": 11.0, "L4-L5": 6.0, "L5-S1": 3.0})
    assert [signs.narrowed for signs in found.values()] == ["no", "no", "no", "moderate", "severe"]
    assert found["L4-L5"].height_ratio == pytest.approx(0.6)
    # Of two neighbours the higher one counts: L4-L5 itself is narrowed.
    assert found["L5-S1"].height_ratio == pytest.approx(3 / 11)


def test_without_two_neighbours_no_disc_is_called_narrowed() -> None:
    nan = float("nan")
    for values in ({"L4-L5": 3.0, "L5-S1": 10.0}, {"L3-L4": nan, "L4-L5": 3.0, "L5-S1": 10.0}):
        found = heights(values)
        assert all(signs.narrowed == "" for signs in found.values())
        assert all(np.isnan(signs.height_ratio) for signs in found.values())
