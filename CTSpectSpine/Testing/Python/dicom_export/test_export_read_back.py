"""Objects that were exported, read again: what is refused, and the verdict."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread
from study_files import Case

from CTSpectSpineLib.dicom_export.read_back import read_report, read_segments
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.results.text_files import read_json


def test_the_verdict_comes_back(study: Case) -> None:
    found, verdict = (
        read_report(study.out / "report.dcm"),
        read_json(study.results / "verdict.json"),
    )
    assert found.verdict["disposition"] == verdict["disposition"]
    assert found.verdict["stability"] == verdict["stability"]
    assert found.verdict["reasons"] == verdict["reasons"]
    assert found.verdict["protocol"] == {"id": "tender-2019", "version": "1"}
    assert {row["status"] for row in found.joints} == {"measured"}


def test_other_objects_and_damaged_ones_are_refused(study: Case, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="this is of modality SR, not SEG"):
        read_segments([study.out / "report.dcm"])
    with pytest.raises(InputError, match="no object of CTSpectSpine; load it with another reader"):
        read_report(study.spect)
    (tmp_path / "empty.dcm").write_bytes(b"no DICOM")
    with pytest.raises(InputError, match="cannot be read as DICOM"):
        read_report(tmp_path / "empty.dcm")
    header = dcmread(study.out / "seg-vertebrae.dcm")
    for name in ("PerFrameFunctionalGroupsSequence", "PixelData", "SegmentSequence"):
        damaged = dcmread(study.out / "seg-vertebrae.dcm")
        del damaged[name]
        damaged.save_as(tmp_path / "damaged.dcm")
        with pytest.raises(InputError, match="this segmentation is damaged"):
            read_segments([tmp_path / "damaged.dcm"])
    assert len(read_segments([study.out / "seg-vertebrae.dcm"])) == len(header.SegmentSequence)
    report = dcmread(study.out / "report.dcm")
    del report.ContentSequence
    report.save_as(tmp_path / "report.dcm")
    with pytest.raises(InputError, match="this report is damaged"):
        read_report(tmp_path / "report.dcm")
