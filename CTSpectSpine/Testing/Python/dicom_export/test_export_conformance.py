"""Exported objects before independent judges: dicom3tools, dcmtk and dcmqi."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from study_files import Case

from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.geometry import apply_matrix, ijk_to_lps
from CTSpectSpineLib.volumes import read_segmentation

pytestmark = pytest.mark.slow


def program(name: str, source: str) -> str:
    """Path of a program; without it the test is skipped, in continuous integration it fails."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        message = f"{name} is not installed ({source})"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


def run(*words: object) -> str:
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, errors="replace", timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def errors_of(path: Path) -> list[str]:
    """What dciodvfy finds wrong with a file."""
    judge = program("dciodvfy", "Debian package dicom3tools")
    said = subprocess.run([judge, str(path)], capture_output=True, text=True, errors="replace")
    return [line for line in said.stderr.splitlines() if "Error" in line]


@pytest.mark.parametrize("option", ["", "--deidentify"])
def test_dciodvfy_finds_no_error(study: Case, option: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["export", str(study.results), "--dicom", str(out), *filter(None, [option])]
    assert main(words) == 0
    files = sorted(out.glob("*.dcm"))
    assert len(files) == 6
    for path in files:
        assert not errors_of(path), path.name


def test_dsrdump_prints_the_report(study: Case) -> None:
    text = run(program("dsrdump", "Debian package dcmtk"), study.out / "report.dcm")
    assert "Imaging Measurement Report" in text
    assert "Corrected uptake ratio" in text


def test_tid1500reader_reads_the_numbers(study: Case, tmp_path: Path) -> None:
    reader, found = program("tid1500reader", "package dcmqi"), tmp_path / "report.json"
    run(reader, "--inputDICOM", study.out / "report.dcm", "--outputMetadata", found)
    groups = json.loads(found.read_text(encoding="utf-8"))["Measurements"]
    named = {group["TrackingIdentifier"]: group for group in groups}
    with (study.results / "joints.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3
    for row in rows:
        numbers = {
            item["quantity"]["CodeValue"]: float(item["value"])
            for item in named[row["joint"]]["measurementItems"]
        }
        for code, column in (("UPTAKE_MEAN", "mean"), ("RATIO_LOW", "ratio_low")):
            assert numbers[code] == pytest.approx(float(row[column]), rel=1e-12)


@pytest.mark.parametrize("name", ["seg-vertebrae", "seg-joints-1"])
def test_segimage2itkimage_reads_the_geometry(study: Case, name: str, tmp_path: Path) -> None:
    reader = program("segimage2itkimage", "package dcmqi")
    source = study.out / f"{name}.dcm"
    run(reader, "--inputDICOM", source, "--outputDirectory", tmp_path, "-t", "nrrd", "-p", "s")
    meta = json.loads((tmp_path / "s-meta.json").read_text(encoding="utf-8"))
    described = [item for layer in meta["segmentAttributes"] for item in layer]
    truth = _truth(study)
    assert described
    for item in described:
        image = sitk.ReadImage(str(tmp_path / f"s-{item['labelID']}.nrrd"))
        voxels = np.argwhere(sitk.GetArrayFromImage(image) > 0)[:, ::-1]
        points = apply_matrix(ijk_to_lps(image), voxels)
        expected = truth[item["SegmentLabel"]]
        assert len(points) == len(expected)
        order = [np.lexsort(np.round(p, 1).T) for p in (points, expected)]
        np.testing.assert_allclose(points[order[0]], expected[order[1]], atol=0.01)


def _truth(study: Case) -> dict[str, np.ndarray]:
    """Points of every structure, LPS mm."""
    segments, _ = read_segmentation(study.results / "joints.seg.nrrd")
    found = {s.id: s.region.points_mm() for s in segments}  # type: ignore[union-attr]
    labels = sitk.GetArrayFromImage(study.made.labels)
    for name, label in (("L4", 28), ("L5", 27), ("sacrum", 25)):
        voxels = np.argwhere(labels == label)[:, ::-1]
        found[name] = apply_matrix(ijk_to_lps(study.made.labels), voxels)
    return found
