"""Joint spaces of made facet joints."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from made_segment import MadeFacet

from CTSpectSpineLib.ct_sign import CtSigns
from CTSpectSpineLib.ct_signs import measure_ct_signs
from CTSpectSpineLib.ct_signs.facet import UNSURE_MM
from CTSpectSpineLib.model import Joint, SpineJoints

ACROSS = [np.array(v) / np.linalg.norm(v) for v in ([1.0, 0, 0], [0.6, 0.8, 0], [0.3, 0.7, 0.5])]


def signs_of(ct: sitk.Image, *joints: Joint) -> tuple[CtSigns, ...]:
    return measure_ct_signs(ct, SpineJoints(joints, {}))


@pytest.mark.parametrize("gap_mm", [1.2, 2.0, 3.0, 4.0])
@pytest.mark.parametrize("across", ACROSS)
def test_width_of_the_space_is_measured(gap_mm: float, across: np.ndarray) -> None:
    ct, joint = MadeFacet(gap_mm, across=across).made()
    (found,) = signs_of(ct, joint)
    assert found.space_mm == pytest.approx(gap_mm, abs=0.2)


@pytest.mark.parametrize("gap_mm", [1.0, 1.8, 2.6])
@pytest.mark.parametrize("spacing", [(0.4, 0.4, 1.0), (1.0, 1.0, 1.0)])
def test_a_thin_cortex_makes_it_too_narrow_by_no_more_than_is_said(
    gap_mm: float, spacing: tuple[float, float, float]
) -> None:
    ct, joint = MadeFacet(gap_mm, cortex_mm=1.2).made(spacing)
    (found,) = signs_of(ct, joint)
    assert gap_mm - UNSURE_MM <= found.space_mm <= gap_mm + 0.15


@pytest.mark.parametrize(
    ("gap_mm", "region", "word"),
    [
        (1.0, "lumbar", "yes"),
        (1.8, "lumbar", "borderline"),
        (3.0, "lumbar", "no"),
        (1.0, "cervical", ""),
    ],
)
def test_only_clearly_narrow_lumbar_spaces_are_called_narrowed(
    gap_mm: float, region: str, word: str
) -> None:
    ct, joint = MadeFacet(gap_mm).made()
    (found,) = signs_of(ct, replace(joint, spine_region=region))  # type: ignore[arg-type]
    assert found.narrowed == word


def test_gas_in_the_space_is_found_and_does_not_widen_it() -> None:
    ct, joint = MadeFacet(2.5, gas=True).made()
    (found,) = signs_of(ct, joint)
    # A disc of 5 mm radius and 1.7 mm thickness.
    assert found.gas == "yes"
    assert found.gas_mm3 == pytest.approx(np.pi * 25 * 1.7, rel=0.25)
    assert found.space_mm == pytest.approx(2.5, abs=0.3)
    plain, _ = MadeFacet(2.5).made()
    assert signs_of(plain, joint)[0].gas == "no"


def test_the_denser_side_is_told() -> None:
    ct, joint = MadeFacet(2.0).made()
    right = replace(joint, id="L4-L5 facet right", side="right")
    left, other = signs_of(ct, joint, right)
    assert left.bone_hu_difference == other.bone_hu_difference == 0.0
    assert left.bone_hu > 500
    assert np.isnan(signs_of(ct, joint)[0].bone_hu_difference)


def test_a_joint_that_the_ct_does_not_show_has_no_width() -> None:
    ct, joint = MadeFacet(2.0).made()
    hidden = replace(joint, outlined_on="labels: no joint space was found on the CT")
    (found,) = signs_of(ct, hidden)
    assert (found.status, found.status_reason) == (
        "not_measurable",
        "no joint space was found on the CT",
    )
    coarse, _ = MadeFacet(2.0).made((1.6, 1.6, 1.6))
    assert np.isnan(signs_of(coarse, joint)[0].space_mm)
    assert np.isnan(signs_of(ct * 0 + 60, joint)[0].space_mm)
    away = sitk.Image(ct)
    away.SetOrigin((500.0, 0.0, 0.0))
    assert not signs_of(away, joint)[0].measured
