"""The whole chain on the phantom: command line, Python, results folder."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from CTSpectSpineLib import analyze, anatomy, build_joints, label_vertebrae, measure_uptake, triage
from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.errors import Cancelled
from CTSpectSpineLib.geometry import registration_errors_mm
from CTSpectSpineLib.joint_columns import COLUMNS
from CTSpectSpineLib.progress import Progress
from CTSpectSpineLib.volumes.segmentation_nrrd import read_segmentation

FILES = (
    *("manifest.json", "spect_to_ct.tfm", "registration.json", "spect_on_ct.nrrd"),
    *("vertebrae.nii.gz", "vertebrae.seg.nrrd", "joints.seg.nrrd", "joint_parts.seg.nrrd"),
    *("joints.csv", "verdict.json", "report.html"),
)


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def results(lumbar_results: Path) -> Path:
    """Results folder of the small lumbar phantom."""
    return lumbar_results


def test_folder_holds_every_file_of_the_contract(results: Path) -> None:
    assert [name for name in FILES if not (results / name).is_file()] == []
    hidden = [path.name for path in results.iterdir() if path.name.startswith(".")]
    assert hidden == []


def test_page_says_nothing_twice(results: Path) -> None:
    page = (results / "report.html").read_text(encoding="utf-8")
    text = " ".join(re.sub(r"<style.*?</style>|<[^>]*>|data:[^\"]*", " ", page, flags=re.S).split())
    assert "Conclusion: “lumbar disc”" in text
    assert re.findall(r"\b(\w+): \1:|[^.]\.\.(?=\s|$)", text) == []


def test_verdict_equals_the_truth(results: Path, lumbar_phantom: Path) -> None:
    truth, verdict = load(lumbar_phantom / "truth.json"), load(results / "verdict.json")
    assert verdict["disposition"] == truth["dispositions"]["tender-2019"] == "lumbar_disc"
    assert verdict["research_use_only"] is True
    assert [area["joints"] for area in verdict["areas"]] == [["L4-L5 disc"]]
    assert verdict["protocol"]["id"] == "tender-2019"
    assert 0 <= verdict["stability"] <= 1


def test_hot_joint_and_no_other_is_positive(results: Path, lumbar_phantom: Path) -> None:
    table = pd.read_csv(results / "joints.csv")
    truth = load(lumbar_phantom / "truth.json")["joints"]
    hot = [name for name, joint in truth.items() if joint["uptake"] == "positive"]
    assert table.loc[table.uptake == "positive", "joint"].tolist() == hot
    ratio = table.set_index("joint").ratio_corrected
    assert ratio["L4-L5 disc"] == pytest.approx(truth["L4-L5 disc"]["true_ratio"], rel=0.25)


def test_joint_table_has_the_columns_of_the_contract(results: Path) -> None:
    content = (results / "joints.csv").read_bytes()
    assert content.count(b"\r\n") == content.count(b"\n")
    with (results / "joints.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == list(COLUMNS)
    assert len({row["joint"] for row in rows}) == len(rows)
    for row in rows:
        assert row["status"] in ("measured", "not_measurable")
        if row["status"] == "measured":
            assert float(row["ratio_low"]) <= float(row["ratio_high"])
            assert 0 <= float(row["probability_positive"]) <= 1
            expected = float(row["corrected_mean"]) / float(row["reference"])
            assert float(row["ratio_corrected"]) == pytest.approx(expected)
        else:
            assert row["status_reason"]
            assert row["uptake"] == "not_measurable"


def test_transform_file_maps_ct_points_to_spect_points(results: Path, lumbar_phantom: Path) -> None:
    truth, manifest = load(lumbar_phantom / "truth.json"), load(results / "manifest.json")
    transform = sitk.ReadTransform(str(results / "spect_to_ct.tfm"))
    matrix = np.array(truth["ct_to_spect"])
    forward = np.array(manifest["spect_to_ct"]["ct_to_spect_lps"])
    for joint in truth["joints"].values():
        centre = np.array(joint["centre_mm"])
        expected = matrix[:3, :3] @ centre + matrix[:3, 3]
        found = transform.TransformPoint(centre.tolist())
        assert np.linalg.norm(found - expected) < 3.0
        assert forward[:3, :3] @ centre + forward[:3, 3] == pytest.approx(found, abs=1e-3)
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    ras = np.array(manifest["spect_to_ct"]["spect_to_ct_ras"])
    assert flip @ ras @ flip @ forward == pytest.approx(np.eye(4), abs=1e-6)
    centres = np.array([joint["centre_mm"] for joint in truth["joints"].values()])
    assert registration_errors_mm(matrix, forward, centres).max() < 3.0


def test_manifest_records_inputs_versions_and_stages(results: Path) -> None:
    manifest = load(results / "manifest.json")
    assert manifest["status"] == "complete"
    assert len(manifest["inputs"]["ct"]["sha256"]) == 64
    assert manifest["software"]["ctspectspine"]
    assert [stage["name"] for stage in manifest["stages"]] == [
        *("check", "label", "register", "joints", "uptake", "findings"),
        *("triage", "results", "report"),
    ]
    assert manifest["protocol"]["bounds"]["disc"]["provenance"]


def test_segmentations_name_every_vertebra_and_joint(results: Path, lumbar_phantom: Path) -> None:
    vertebrae, _ = read_segmentation(results / "vertebrae.seg.nrrd")
    assert {"vertebrae_L5", "vertebrae_L1", "sacrum"} <= {segment.name for segment in vertebrae}
    joints, _ = read_segmentation(results / "joints.seg.nrrd")
    table = pd.read_csv(results / "joints.csv").set_index("joint")
    located = table.index[table.volume_mm3.notna()]
    assert {segment.id for segment in joints} == set(located)
    assert all(segment.terminology for segment in (*vertebrae, *joints))
    hot = next(segment for segment in joints if segment.id == "L4-L5 disc")
    assert hot.tags["CTSpectSpine.uptake"] == "positive"
    labels = sitk.ReadImage(str(results / "vertebrae.nii.gz"))
    assert labels.GetSize() == sitk.ReadImage(str(lumbar_phantom / "ct.nii.gz")).GetSize()


def test_python_gives_the_same_numbers_as_the_command_line(
    results: Path, lumbar_phantom: Path
) -> None:
    images = [
        sitk.ReadImage(str(lumbar_phantom / f"{name}.nii.gz"))
        for name in ("ct", "spect", "vertebrae")
    ]
    found = analyze(*images, threads=1)
    expected = pd.read_csv(results / "joints.csv", keep_default_na=False, na_values=[""])
    numbers = expected.select_dtypes("number").columns
    pd.testing.assert_frame_equal(
        found.table[numbers].astype(float), expected[numbers].astype(float), rtol=0, atol=1e-12
    )
    assert found.table["uptake"].tolist() == expected["uptake"].tolist()
    assert found.folder is None


@pytest.mark.slow
def test_results_do_not_depend_on_the_order_of_axes(results: Path, lumbar_phantom: Path) -> None:
    images = [
        sitk.DICOMOrient(sitk.ReadImage(str(lumbar_phantom / f"{name}.nii.gz")), code)
        for name, code in (("ct", "PIR"), ("spect", "SAL"), ("vertebrae", "LSA"))
    ]
    found = analyze(*images).table.set_index("joint").ratio_corrected
    expected = pd.read_csv(results / "joints.csv").set_index("joint").ratio_corrected
    pd.testing.assert_series_equal(found, expected, rtol=0.02, atol=0.02)


def test_rooms_work_one_by_one(results: Path, lumbar_phantom: Path) -> None:
    ct = sitk.ReadImage(str(lumbar_phantom / "ct.nii.gz"))
    labels = label_vertebrae(ct, lumbar_phantom / "vertebrae.nii.gz")
    joints = build_joints(labels.image, ct)
    spect = sitk.ReadImage(str(lumbar_phantom / "spect.nii.gz"))
    registration = analyze_registration(results)
    table = measure_uptake(spect, joints, labels.image, registration, repetitions=20)
    assert triage(table).disposition == "lumbar_disc"


def analyze_registration(results: Path) -> Any:
    """The registration of a results folder as a value."""
    from CTSpectSpineLib.model import Registration
    from CTSpectSpineLib.registration import read_transform

    record = load(results / "registration.json")
    return Registration(
        transform=read_transform(results / "spect_to_ct.tfm"),
        method=record["method"],
        metric_start=record["metric_start"],
        metric_end=record["metric_end"],
        expected_error_mm=record["expected_error_mm"],
        quality=record["quality"],
        reasons=tuple(record["reasons"]),
        seconds=record["seconds"],
    )


def test_report_is_rendered_again_from_the_folder(results: Path) -> None:
    before = (results / "report.html").read_bytes()
    (results / "report.html").unlink()
    assert main(["report", str(results)]) == 0
    assert (results / "report.html").read_bytes() == before


def test_triage_of_the_joint_table_gives_the_same_disposition(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "verdict.json"
    assert main(["triage", "--joints", str(results / "joints.csv"), "--out", str(out)]) == 0
    assert load(out)["disposition"] == "lumbar_disc"
    assert "lumbar_disc" in capsys.readouterr().out


def test_joints_command_writes_geometry_from_labels_alone(
    lumbar_phantom: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "joints"
    labels = lumbar_phantom / "vertebrae.nii.gz"
    assert main(["joints", "--vertebrae", str(labels), "--out", str(folder)]) == 0
    table = pd.read_csv(folder / "joints.csv").set_index("joint")
    truth = load(lumbar_phantom / "truth.json")["joints"]
    for name in ("L3-L4 disc", "L4-L5 facet left", "L4-L5 facet right"):
        found = table.loc[name, ["x_mm", "y_mm", "z_mm"]].to_numpy(float)
        assert np.linalg.norm(found - truth[name]["centre_mm"]) < 5.0
    assert table.loc["L4-L5 facet left", "x_mm"] > table.loc["L4-L5 facet right", "x_mm"]
    assert (folder / "joints.seg.nrrd").is_file()


@pytest.mark.slow
def test_label_and_register_commands(lumbar_phantom: Path, tmp_path: Path) -> None:
    ct = ["--ct", str(lumbar_phantom / "ct.nii.gz")]
    labels = ["--vertebrae", str(lumbar_phantom / "vertebrae.nii.gz")]
    assert main(["label", *ct, *labels, "--out", str(tmp_path / "label")]) == 0
    assert (tmp_path / "label" / "vertebrae.seg.nrrd").is_file()
    told = load(tmp_path / "label" / "vertebrae.json")
    assert told["engine"] == "imported"
    assert told["levels_confirmed"]
    assert set(told["confidence"]) == set(told["levels"])
    assert min(told["confidence"].values()) > 0.5
    spect = ["--spect", str(lumbar_phantom / "spect.nii.gz"), "--progress", "none"]
    assert main(["register", *ct, *spect, "--out", str(tmp_path / "register")]) == 0
    record = load(tmp_path / "register" / "registration.json")
    assert set(record) >= {
        *("method", "translation_mm", "rotation_deg", "metric_start", "metric_end"),
        *("expected_error_mm", "quality", "reasons", "seconds"),
    }


@pytest.mark.slow
def test_shift_derives_an_analysis_anew(
    results: Path,
    lumbar_phantom: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = load(results / "manifest.json")["labels"]
    out = tmp_path / "shifted"
    arguments = ["--by", "-1", "--out", str(out), "--json", "--progress", "none"]
    monkeypatch.chdir(tmp_path)
    assert main(["shift", str(results), *arguments]) == 2
    assert "(ct.nii.gz) is neither near it nor here" in capsys.readouterr().err
    monkeypatch.chdir(lumbar_phantom)
    assert main(["shift", str(results), *arguments]) in (0, 1)
    capsys.readouterr()
    order = [row.name for row in anatomy.vertebrae() if row.name not in ("T13", "L6")]
    expected = [n if n in ("S1", "sacrum") else order[order.index(n) - 1] for n in before["levels"]]
    after = load(out / "manifest.json")
    assert after["labels"]["levels"] == expected
    assert after["labels"]["engine"] == before["engine"]
    assert load(out / "vertebrae.json")["levels"] == expected
    kept, first = (load(f / "registration.json") for f in (out, results))
    assert kept["translation_mm"] == pytest.approx(first["translation_mm"], abs=1e-6)
    assert kept["expected_error_mm"] == first["expected_error_mm"]
    old, new = (pd.read_csv(f / "joints.csv").set_index("joint") for f in (results, out))
    # The active disc is the same place under another name.
    for column in ("x_mm", "y_mm", "z_mm", "mean"):
        assert new.loc["L3-L4 disc", column] == pytest.approx(
            old.loc["L4-L5 disc", column], rel=1e-3
        )
    with pytest.raises(SystemExit):
        main(["shift", str(results), "--out", str(out)])
    assert main(["shift", str(results), "--by", "1", "--out", str(results)]) == 2


def test_given_transform_is_used_as_it_stands(
    results: Path, lumbar_phantom: Path, tmp_path: Path
) -> None:
    given = sitk.ReadTransform(str(results / "spect_to_ct.tfm"))
    images = [lumbar_phantom / f"{name}.nii.gz" for name in ("ct", "spect", "two")]
    found = analyze(*images, transform=results / "spect_to_ct.tfm")
    for point in ((0.0, 0.0, 0.0), (50.0, -20.0, 80.0)):
        moved = found.registration.transform.TransformPoint(point)
        assert moved == pytest.approx(given.TransformPoint(point), abs=1e-6)


@pytest.mark.slow
def test_given_transform_that_is_far_off_needs_to_be_accepted(
    results: Path, lumbar_phantom: Path, tmp_path: Path
) -> None:
    off = sitk.Euler3DTransform(sitk.ReadTransform(str(results / "spect_to_ct.tfm")))
    off.SetTranslation([value + 3.3 for value in off.GetTranslation()])
    sitk.WriteTransform(off, str(tmp_path / "off.tfm"))
    images = [lumbar_phantom / f"{name}.nii.gz" for name in ("ct", "spect", "two")]
    refused = analyze(*images, transform=tmp_path / "off.tfm")
    assert refused.registration.quality == "failed"
    assert refused.registration.stated_error_mm is None
    assert "would move it by 5." in refused.registration.reasons[0]
    assert refused.refused
    accepted = analyze(*images, transform=tmp_path / "off.tfm", accept_registration=True)
    # It is measured, and where it is so far off the intervals leave most joints open.
    assert not any("registration" in reason for reason in accepted.verdict.reasons)
    found = accepted.table.set_index("joint").loc["L4-L5 disc"]
    assert found["status"] == "measured"
    assert found["ratio_high"] - found["ratio_low"] > 2.0
    assert any("accepted" in caveat for caveat in accepted.verdict.caveats)


@pytest.mark.slow
def test_failed_registration_gives_no_verdict_unless_accepted(
    lumbar_phantom: Path, tmp_path: Path
) -> None:
    """The SPECT of noise: exit code 1, and the folder says why."""
    spect = sitk.ReadImage(str(lumbar_phantom / "spect.nii.gz"))
    shape = sitk.GetArrayViewFromImage(spect).shape
    noise = sitk.GetImageFromArray(
        np.random.default_rng(3).gamma(2.0, 10.0, shape).astype(np.float32)
    )
    noise.CopyInformation(spect)
    sitk.WriteImage(noise, str(tmp_path / "noise.nii.gz"))
    arguments = ["analyze", "--progress", "none", "--spect", str(tmp_path / "noise.nii.gz")]
    for name in ("ct", "vertebrae"):
        arguments += [f"--{name}", str(lumbar_phantom / f"{name}.nii.gz")]
    folder = tmp_path / "results"
    assert main([*arguments, "--out", str(folder)]) == 1
    assert load(folder / "verdict.json")["disposition"] == "no_verdict"
    manifest = load(folder / "manifest.json")
    assert manifest["status"] == "failed"
    assert "registration" in manifest["status_reason"]
    assert (folder / "report.html").is_file()


def test_cancel_leaves_no_folder_that_looks_complete(lumbar_phantom: Path, tmp_path: Path) -> None:
    def cancel(progress: Progress) -> None:
        if progress.stage == "joints":
            raise Cancelled

    images = [lumbar_phantom / f"{name}.nii.gz" for name in ("ct", "spect", "vertebrae")]
    with pytest.raises(Cancelled):
        analyze(*images, out=tmp_path / "results", progress=cancel)
    manifest = load(tmp_path / "results" / "manifest.json")
    assert manifest["status"] == "failed"
    assert "Cancelled" in manifest["status_reason"]
    assert not (tmp_path / "results" / "verdict.json").exists()


def test_progress_as_json_lines_and_machine_readable_output(
    lumbar_phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = lumbar_phantom / "vertebrae.nii.gz"
    arguments = ["joints", "--vertebrae", str(labels), "--out", str(tmp_path / "joints")]
    assert main([*arguments, "--json", "--progress", "json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["joints"]
    for line in captured.err.splitlines():
        assert set(json.loads(line)) == {"stage", "fraction", "message"}
