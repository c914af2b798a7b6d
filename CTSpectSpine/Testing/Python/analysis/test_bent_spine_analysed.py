"""A bent spine through the whole analysis: measured where it lies, written down, and kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from CTSpectSpineLib import Results, analyze
from CTSpectSpineLib.geometry import apply_matrix, registration_errors_mm
from CTSpectSpineLib.phantom import Phantom, bend, load_case, make_phantom
from CTSpectSpineLib.phantom.scanner.spect import simulate_spect

HOT = "L3-L4 facet left"


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    case = load_case("negative")
    spine = replace(case.spine, first="T11", spacing_mm=3.0, degenerate={HOT: 0.5})
    return make_phantom(replace(case, spine=spine, hot={HOT: 4.0}))


@pytest.mark.slow
def test_bend_spine(phantom: Phantom, tmp_path: Path) -> None:
    joints = np.array([j.centre_mm for j in phantom.joints if j.centre_mm is not None])
    bent = bend(phantom.activity, joints, 3.0, 2)
    spect = simulate_spect(bent.image, phantom.ct_to_spect, 10.0, 8e6, 4.42, seed=7)
    straight = simulate_spect(phantom.activity, phantom.ct_to_spect, 10.0, 8e6, 4.42, seed=7)

    def results_of(image: sitk.Image, folder: Path | None, **settings: object) -> Results:
        labels = phantom.anatomy.labels
        return analyze(phantom.ct, image, vertebrae=labels, out=folder, threads=1, **settings)

    folder = tmp_path / "bent"
    moved = results_of(spect, folder, bend_spine=True, save_volumes=True)
    rigid = results_of(spect, None)
    plain = results_of(straight, None)

    posture = moved.registration.posture
    assert posture is not None
    assert rigid.registration.posture is None
    true = apply_matrix(phantom.ct_to_spect, bent.displaced_mm)
    here = apply_matrix(moved.registration.matrix, posture.moved(joints))
    refined = np.linalg.norm(here - true, axis=1)
    before = np.linalg.norm(apply_matrix(rigid.registration.matrix, joints) - true, axis=1)
    assert refined.mean() < 0.5 * before.mean()
    assert moved.registration.expected_error_mm < rigid.registration.expected_error_mm
    # The rigid transform is the same, and it is what the file of the transform holds.
    assert registration_errors_mm(
        moved.registration.matrix, rigid.registration.matrix, joints
    ).max() < 1e-6

    # Measured where it lies, the hot joint reads as it does without a bend.
    ratio = [r.table.set_index("joint").loc[HOT, "ratio_corrected"] for r in (plain, rigid, moved)]
    assert abs(ratio[2] / ratio[0] - 1.0) < abs(ratio[1] / ratio[0] - 1.0)
    assert abs(ratio[2] / ratio[0] - 1.0) < 0.12
    for axis in ("x_mm", "y_mm", "z_mm"):
        np.testing.assert_allclose(moved.table[axis], rigid.table[axis], atol=1e-6)

    record = json.loads((folder / "registration.json").read_text(encoding="utf-8"))
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert record["posture"] == manifest["posture"]
    assert record["posture"]["largest_shift_mm"] == pytest.approx(posture.largest_shift_mm)
    assert manifest["parameters"]["bend_spine"] is True
    assert "Each vertebra was moved on its own" in (folder / "report.html").read_text("utf-8")
    on_ct = sitk.ReadImage(str(folder / "spect_on_ct.nrrd"))
    centre = phantom.anatomy.joints[[j.id for j in phantom.anatomy.joints].index(HOT)].centre_mm
    assert centre is not None
    around = centre + np.stack(np.meshgrid(*[np.arange(-12, 13, 3)] * 3), -1).reshape(-1, 3)
    values = np.array([on_ct.EvaluateAtPhysicalPoint(p.tolist(), sitk.sitkLinear) for p in around])
    brightest = around[values > 0.8 * values.max()].mean(axis=0)
    assert np.linalg.norm(brightest - centre) < 4.0

    # Kept, the registration keeps the motions.
    kept = results_of(spect, None, registration=folder)
    assert kept.registration.posture is not None
    np.testing.assert_array_equal(kept.table["ratio_corrected"], moved.table["ratio_corrected"])
