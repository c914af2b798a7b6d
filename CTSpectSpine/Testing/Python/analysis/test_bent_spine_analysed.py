"""A bent spine through the whole analysis: measured where it lies, written down, and kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from CTSpectSpineLib import analyze, measure_uptake
from CTSpectSpineLib.geometry import apply_matrix
from CTSpectSpineLib.model import Registration
from CTSpectSpineLib.phantom import Phantom, bend, load_case, make_phantom
from CTSpectSpineLib.phantom.scanner.spect import simulate_spect
from CTSpectSpineLib.results.stage_files import read_registration

HOT = "L3-L4 facet left"


def _phantom() -> Phantom:
    case = load_case("negative")
    spine = replace(case.spine, first="T11", spacing_mm=3.0, degenerate={HOT: 0.5})
    return make_phantom(replace(case, spine=spine, hot={HOT: 4.0}))


@pytest.mark.slow
def test_bend_spine(tmp_path: Path) -> None:
    phantom = _phantom()
    joints = np.array([j.centre_mm for j in phantom.joints if j.centre_mm is not None])
    bent = bend(phantom.activity, joints, 3.0, 2)
    spect = simulate_spect(bent.image, phantom.ct_to_spect, 10.0, 8e6, 4.42, seed=7)
    straight = simulate_spect(phantom.activity, phantom.ct_to_spect, 10.0, 8e6, 4.42, seed=7)

    folder = tmp_path / "bent"
    labels = phantom.anatomy.labels
    moved = analyze(
        phantom.ct,
        spect,
        vertebrae=labels,
        out=folder,
        threads=1,
        bend_spine=True,
        save_volumes=True,
    )
    rigid = replace(moved.registration, posture=None)

    def measured(image: sitk.Image, found: Registration) -> pd.DataFrame:
        return measure_uptake(image, moved.joints, labels, found, threads=1).set_index("joint")

    posture = moved.registration.posture
    assert posture is not None
    true = apply_matrix(phantom.ct_to_spect, bent.displaced_mm)
    here = apply_matrix(moved.registration.matrix, posture.moved(joints))
    refined = np.linalg.norm(here - true, axis=1)
    before = np.linalg.norm(apply_matrix(rigid.matrix, joints) - true, axis=1)
    assert refined.mean() < 0.5 * before.mean()
    assert moved.registration.expected_error_mm < 2.0
    assert moved.registration.deformation_mm > 1.8

    # Measured where it lies, the hot joint reads as it does without a bend.
    tables = measured(straight, rigid), measured(spect, rigid), moved.table.set_index("joint")
    ratio = [table.loc[HOT, "ratio_corrected"] for table in tables]
    assert abs(ratio[2] / ratio[0] - 1.0) < abs(ratio[1] / ratio[0] - 1.0)
    assert abs(ratio[2] / ratio[0] - 1.0) < 0.12
    for axis in ("x_mm", "y_mm", "z_mm"):
        np.testing.assert_allclose(tables[2][axis], tables[1][axis], atol=1e-6)

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
    kept = measured(spect, read_registration(folder).registration)
    np.testing.assert_allclose(kept["mean"], tables[2]["mean"], rtol=1e-9)
