"""Real CT with real labels: the chain with a simulated SPECT, and orientation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.geometry import registration_errors_mm

HOT = ("L4-L5 disc", "L5-S1 facet right")


@pytest.fixture(scope="module")
def analysed(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a SPECT of the real CT (12, -8, 15 mm and 6 degrees off) and its results."""
    folder = tmp_path_factory.mktemp("real")
    source = shared_data / "totalsegmentator_example"
    inputs = [
        *("--ct", str(source / "ct.nii.gz")),
        *("--vertebrae", str(source / "vertebrae_total.nii.gz"), "--progress", "none"),
    ]
    phantom = ["phantom", *inputs, "--out", str(folder / "phantom")]
    phantom += ["--hot", f"{HOT[0]}=4", "--hot", f"{HOT[1]}=4"]
    phantom += ["--translation", "12", "-8", "15", "--rotation", "6", "6", "6"]
    assert main(phantom) == 0
    spect = folder / "phantom" / "spect.nii.gz"
    out = folder / "results"
    assert main(["analyze", *inputs, "--spect", str(spect), "--out", str(out)]) == 0
    return folder


@pytest.mark.slow
def test_only_the_hot_joints_are_positive(analysed: Path) -> None:
    table = pd.read_csv(analysed / "results" / "joints.csv")
    assert set(table.loc[table.uptake == "positive", "joint"]) == set(HOT)


@pytest.mark.slow
def test_verdict_follows_the_protocol(analysed: Path) -> None:
    truth = json.loads((analysed / "phantom" / "truth.json").read_text(encoding="utf-8"))
    verdict = json.loads((analysed / "results" / "verdict.json").read_text(encoding="utf-8"))
    assert verdict["disposition"] == truth["dispositions"]["tender-2019"] == "not_covered"


@pytest.mark.slow
def test_registration_error_at_the_joints(
    analysed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = json.loads((analysed / "phantom" / "truth.json").read_text(encoding="utf-8"))
    manifest = json.loads((analysed / "results" / "manifest.json").read_text(encoding="utf-8"))
    found = np.array(manifest["spect_to_ct"]["ct_to_spect_lps"])
    centres = np.array([joint["centre_mm"] for joint in truth["joints"].values()])
    errors = registration_errors_mm(np.array(truth["ct_to_spect"]), found, centres)
    with capsys.disabled():
        print(f"\nregistration error: mean {errors.mean():.2f} mm, worst {errors.max():.2f} mm")
    assert errors.max() < 3.0


@pytest.mark.slow
def test_without_labels_the_built_in_ones_lead_to_the_same_verdict(
    analysed: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto` where TotalSegmentator cannot run."""
    monkeypatch.setenv("CTSPECTSPINE_TOTALSEGMENTATOR_PYTHON", str(analysed / "absent"))
    ct = shared_data / "totalsegmentator_example" / "ct.nii.gz"
    out = analysed / "unlabelled"
    arguments = ["--ct", str(ct), "--spect", str(analysed / "phantom" / "spect.nii.gz")]
    assert main(["analyze", *arguments, "--out", str(out), "--progress", "none"]) == 0
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["labels"]["engine"] == "builtin"
    assert manifest["labels"]["levels_confirmed"]
    given, found = (
        json.loads((analysed / name / "verdict.json").read_text(encoding="utf-8"))
        for name in ("results", "unlabelled")
    )
    assert found["disposition"] == given["disposition"]
    table = pd.read_csv(out / "joints.csv")
    assert set(table.loc[table.uptake == "positive", "joint"]) == set(HOT)


def test_left_facet_is_the_patients_left_on_pir_data(shared_data: Path, tmp_path: Path) -> None:
    """The left articular processes of the subregion truth lie nearest to the left facet."""
    source = shared_data / "tptbox_L2-L4"
    labels = source / "sub-ct_seg-vert_label-22_msk.nii.gz"
    assert sitk.ReadImage(str(labels)).GetDirection() != (1, 0, 0, 0, 1, 0, 0, 0, 1)
    arguments = ["--vertebrae", str(labels), "--out", str(tmp_path / "joints")]
    assert main(["joints", *arguments, "--label-scheme", "verse", "--progress", "none"]) == 0
    table = pd.read_csv(tmp_path / "joints" / "joints.csv").set_index("joint")
    subregions = sitk.ReadImage(str(source / "sub-ct_seg-subreg_label-22_msk.nii.gz"))
    for side, number in (("left", 45), ("right", 46)):
        index = np.argwhere(sitk.GetArrayViewFromImage(subregions) == number)[:, ::-1].mean(axis=0)
        process = np.array(subregions.TransformContinuousIndexToPhysicalPoint(index.tolist()))
        distance = {
            other: np.linalg.norm(
                table.loc[f"L2-L3 facet {other}", ["x_mm", "y_mm", "z_mm"]].to_numpy(float)
                - process
            )
            for other in ("left", "right")
        }
        assert min(distance, key=lambda name: distance[name]) == side
    assert table.loc["L2-L3 facet left", "x_mm"] > table.loc["L2-L3 facet right", "x_mm"]


def test_dicom_series_is_read_without_axis_confusion(shared_data: Path) -> None:
    """Every voxel of the series lies where the header of its slice says."""
    import pydicom

    from CTSpectSpineLib.volumes.reading import read_volume

    folder = shared_data / "totalsegmentator_example" / "ct_dicom"
    image = read_volume(folder, "ct").image
    slices = [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(folder.iterdir())]
    assert image.GetSize()[2] == len(slices)
    for header in slices:
        position = [float(v) for v in header.ImagePositionPatient]
        index = image.TransformPhysicalPointToContinuousIndex(position)
        assert index[:2] == pytest.approx((0, 0), abs=0.01)
        assert index[2] == pytest.approx(round(index[2]), abs=0.01)
