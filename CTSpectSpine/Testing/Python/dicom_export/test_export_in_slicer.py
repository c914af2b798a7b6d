"""Exported segmentation and report in Slicer.

Slicer (from 5.13 on; before, its extension QuantitativeReporting) reads both by programs of dcmqi.
It takes the columns of its table from the first measurement group, and the segment of a group by
their place: the ``n``-th group measures the ``n``-th segment.
"""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from study_files import Case
from test_export_conformance import errors_of, program, run
from test_export_objects import groups, items

from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.results.text_files import write_text

COLUMNS = 7
SOURCES = os.environ.get("SLICER_SOURCES", "")


def by_dcmqi(out: Path, place: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Segments and measurement groups, in the order in which Slicer gets them."""
    place.mkdir()
    words = ("--outputDirectory", place, "--mergeSegments")
    reader = program("segimage2itkimage", "package dcmqi")
    run(reader, "--inputDICOM", out / "seg-joints-1.dcm", *words)
    meta = json.loads((place / "meta.json").read_text(encoding="utf-8"))
    assert len(list(place.glob("*.nrrd"))) == len(meta["segmentAttributes"])
    reader, found = program("tid1500reader", "package dcmqi"), place / "report.json"
    run(reader, "--inputDICOM", out / "report.dcm", "--outputMetadata", found)
    measured = json.loads(found.read_text(encoding="utf-8"))["Measurements"]
    return [item for layer in meta["segmentAttributes"] for item in layer], measured


def check(out: Path, place: Path) -> None:
    segments, measured = by_dcmqi(out, place)
    names = [segment["SegmentLabel"] for segment in segments]
    assert names == [group["TrackingIdentifier"] for group in measured]
    assert len(names) == 3
    tracked = [segment["TrackingUniqueIdentifier"] for segment in segments]
    assert tracked == [group["TrackingUniqueIdentifier"] for group in measured]
    widths = [len(group["measurementItems"]) for group in measured]
    assert widths == sorted(widths, reverse=True)
    columns = [item["quantity"]["CodeValue"] for item in measured[0]["measurementItems"]]
    for group in measured:
        own = [item["quantity"]["CodeValue"] for item in group["measurementItems"]]
        assert own == columns[: len(own)]


def test_groups_come_in_the_order_of_the_segments(study: Case, tmp_path: Path) -> None:
    check(study.out, tmp_path / "dcmqi")


@pytest.mark.parametrize(
    ("joint", "emptied"),
    [("L4-L5 disc", None), ("L4-L5 facet left", None), ("L4-L5 disc", "suv_mean")],
)
def test_joints_with_fewer_numbers_come_later(
    joint: str, emptied: str | None, fresh: Case, tmp_path: Path
) -> None:
    """A joint that is not measurable, or has no SUV, shifts no number into another column."""
    path = fresh.results / "joints.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        if row["joint"] == joint:
            row.update({emptied: ""} if emptied else {"uptake": "not_measurable"})
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    write_text(path, "\n".join(lines) + "\n")
    out = tmp_path / "out"
    assert main(["export", str(fresh.results), "--dicom", str(out)]) == 0
    check(out, tmp_path / "dcmqi")


def test_joints_without_a_segment_stand_apart(fresh: Case, tmp_path: Path) -> None:
    """As those that the end of the scan cuts off: Slicer wants one group for each segment."""
    path = fresh.results / "joints.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    first = lines[1].replace("L4-L5", "L3-L4").replace(",negative,", ",not_measurable,")
    write_text(path, "\n".join([lines[0], first, *lines[1:]]) + "\n")
    out = tmp_path / "out"
    assert main(["export", str(fresh.results), "--dicom", str(out)]) == 0
    check(out, tmp_path / "dcmqi")
    found = groups(dcmread(out / "report.dcm"))
    assert set(found) == {"Verdict", "L3-L4 disc", *(line.split(",")[0] for line in lines[1:])}
    assert not items(found["L3-L4 disc"], "IMAGE")
    assert not errors_of(out / "report.dcm")


@pytest.mark.skipif(not SOURCES, reason="SLICER_SOURCES names no folder of Slicer's sources")
def test_slicers_own_plugins_load_segments_and_table(study: Case, tmp_path: Path) -> None:
    import slicer
    from slicer_dicom import plugins
    from vtk import mutable

    files = [*study.out.glob("*.dcm"), *study.ct.iterdir(), study.spect]
    with plugins(Path(SOURCES), files, tmp_path) as (report, segmentation):
        reader = segmentation()
        found = reader.examineFiles([str(study.out / "seg-vertebrae.dcm")])
        assert len(found) == 1
        assert reader.load(found[0])
        (vertebrae,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        shown = vertebrae.GetSegmentation()
        names = {shown.GetNthSegment(n).GetName() for n in range(shown.GetNumberOfSegments())}
        assert names == {"L4", "L5", "sacrum"}
        reader = report()
        found = reader.examineFiles([str(study.out / "report.dcm")])
        assert len(found) == 1
        assert reader.load(found[0])
        (table,) = slicer.util.getNodesByClass("vtkMRMLTableNode")
        joints = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")[-1].GetSegmentation()
        with (study.results / "joints.csv").open(encoding="utf-8", newline="") as stream:
            rows = {row["joint"]: row for row in csv.DictReader(stream)}
        assert table.GetNumberOfColumns() == COLUMNS
        assert table.GetNumberOfRows() == joints.GetNumberOfSegments() == len(rows)
        for n in range(len(rows)):
            segment, uid, terms = joints.GetNthSegment(n), mutable(""), mutable("")
            row = rows[table.GetCellText(n, 0)]
            assert segment.GetName() == row["joint"]
            assert segment.GetTag("TrackingUniqueIdentifier", uid)
            assert segment.GetTag("TerminologyEntry", terms)
            assert row["level"] in str(terms)
            numbers = [float(table.GetCellText(n, column)) for column in range(1, COLUMNS)]
            for column in ("mean", "ratio_low", "ratio_high", "suv_mean"):
                assert any(v == pytest.approx(float(row[column])) for v in numbers)
