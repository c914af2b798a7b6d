"""Uptake outside the joints on a small phantom with a known truth."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import SimpleITK as sitk

from CTSpectSpineLib import build_joints, finding
from CTSpectSpineLib.finding import Finding
from CTSpectSpineLib.findings import find_findings
from CTSpectSpineLib.model import SpineJoints
from CTSpectSpineLib.phantom import Phantom, SpectConfig
from CTSpectSpineLib.phantom.activity import assign_activity
from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.config import SpineConfig
from CTSpectSpineLib.phantom.lesions import LesionCase, lesion_cases, with_lesions
from CTSpectSpineLib.phantom.model import Anatomy
from CTSpectSpineLib.phantom.product import imaged

CASES = {case.name: case for case in lesion_cases()}
FWHM_MM = 10.0


@cache
def patient() -> tuple[Anatomy, SpineJoints]:
    anatomy = make_anatomy(SpineConfig(seed=3, spacing_mm=3.0, first="L1", lateral_mm=260.0))
    return anatomy, build_joints(anatomy.labels, anatomy.ct)


def phantom_with(case: LesionCase) -> Phantom:
    anatomy, _ = patient()
    painted = assign_activity(anatomy, case.hot, [3, 1])
    painted = with_lesions(anatomy, painted, case.lesions)
    return imaged(anatomy, painted, SpectConfig(seed=3, fwhm_mm=FWHM_MM), {})


@cache
def found_in(name: str) -> tuple[Finding, ...]:
    return found(CASES[name])


def found(case: LesionCase) -> tuple[Finding, ...]:
    _, joints = patient()
    phantom = phantom_with(case)
    return find_findings(
        *(phantom.spect, phantom.ct, phantom.anatomy.labels, joints, phantom.ct_to_spect),
        *(counts_of_bone(), FWHM_MM),
    )


@cache
def counts_of_bone() -> float:
    """Counts of a voxel of reference bone: those of the activity 1, before blur."""
    anatomy, _ = patient()
    painted = assign_activity(anatomy, {}, [3, 1])
    phantom = imaged(anatomy, painted, SpectConfig(seed=3, fwhm_mm=FWHM_MM), {})
    voxels = float(np.prod(phantom.spect.GetSpacing()) / np.prod(phantom.activity.GetSpacing()))
    total = sitk.GetArrayViewFromImage(phantom.spect).sum(dtype=float)
    activity = sitk.GetArrayViewFromImage(phantom.activity).sum(dtype=float)
    return float(total / activity * voxels * painted.truth.reference)


def serious(findings: tuple[Finding, ...]) -> list[Finding]:
    return [f for f in findings if not f.physiologic]


def test_a_patient_without_foci_has_none_but_organs() -> None:
    findings = found(LesionCase("none", "", ()))
    assert not serious(findings)
    assert {f.physiologic for f in findings} <= {"bladder", "kidney"}


@pytest.mark.slow
def test_hot_joints_side_by_side_are_no_findings() -> None:
    hot = {"L3-L4 disc": 5.0, "L4-L5 disc": 4.0, "L4-L5 facet left": 6.0, "L5-S1 facet right": 5.0}
    assert not serious(found(LesionCase("hot", "", (), hot=hot)))


@pytest.mark.parametrize(
    ("name", "where", "level", "side"),
    [
        ("metastasis-l2-corner", "body", "L2", None),
        pytest.param("spinous-l3", "arch", "L3", "", marks=pytest.mark.slow),
        pytest.param("sacroiliac-left", "sacroiliac", "", "left", marks=pytest.mark.slow),
        pytest.param("fracture-sacrum", "sacrum", "", "left", marks=pytest.mark.slow),
    ],
)
def test_a_focus_is_found_and_named(name: str, where: str, level: str, side: str | None) -> None:
    case = CASES[name]
    (only,) = serious(found_in(name))
    assert (only.where, only.level) == (where, level)
    assert side is None or only.side == side
    lesion = case.lesions[0]
    assert only.diameter_mm == pytest.approx(lesion.diameter_mm, abs=10.0)
    assert 2.0 < only.ratio_max < lesion.ratio
    assert only.ratio_max < only.ratio_corrected + 2.0
    assert only.confidence == "high"


def test_a_focus_in_a_body_takes_the_uptake_of_the_discs_beside_it() -> None:
    (only,) = serious(found_in("metastasis-l2-corner"))
    assert "L1-L2 disc" in only.joints


@pytest.mark.slow
def test_a_focus_takes_nothing_from_a_hot_disc_elsewhere() -> None:
    hot = replace(CASES["metastasis-l2-corner"], hot={"L4-L5 disc": 4.0})
    assert "L4-L5 disc" not in serious(found(hot))[0].joints


def test_a_hot_vertebra_is_one_finding() -> None:
    (only,) = serious(found_in("paget-l3"))
    assert (only.where, only.level) == ("vertebra", "L3")
    assert {"L2-L3 disc", "L3-L4 disc"} <= set(only.joints)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ureter-l3", "bladder"])
def test_urine_is_named_as_what_it_looks_like(name: str) -> None:
    findings = found_in(name)
    assert name.split("-")[0] in {f.physiologic for f in findings}
    assert not serious(findings)


def test_nothing_without_a_reference() -> None:
    anatomy, joints = patient()
    images = (anatomy.ct, anatomy.ct, anatomy.labels)
    for reference in (float("nan"), 0.0):
        assert find_findings(*images, joints, np.eye(4), reference, FWHM_MM) == ()


def test_table_of_findings_is_rfc_4180() -> None:
    one = Finding(
        *("finding 1", "body", "L2", "left", (1.0, -2.0, 3.0), 18.0, 4.5, 3.5, 5.0, "high", ""),
        *('left half, "upper"', ("L1-L2 disc", "L2-L3 disc")),
    )
    rows = list(csv.DictReader(io.StringIO(finding.to_csv([one]), newline="")))
    assert tuple(rows[0]) == finding.COLUMNS
    assert rows[0]["nearest"] == 'left half, "upper"'
    assert float(rows[0]["volume_mm3"]) == pytest.approx(np.pi / 6 * 18**3, abs=1e-3)
    assert rows[0]["joints"] == "L1-L2 disc; L2-L3 disc"
    assert list(csv.reader(io.StringIO(finding.to_csv([])))) == [list(finding.COLUMNS)]


def test_there_are_cases_of_every_kind() -> None:
    assert len(CASES) >= 25
    names = " ".join(CASES)
    for word in (
        *("fracture", "metastas", "paget", "spondylolysis", "rib", "sacroiliac", "postoperative"),
        *("kidney", "ureter", "bladder", "injection", "spinous", "costovertebral"),
    ):
        assert word in names
    joined = [case for case in CASES.values() if case.hot]
    assert joined
