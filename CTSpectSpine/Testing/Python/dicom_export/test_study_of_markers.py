"""A whole analysis of a DICOM study full of markers: none is in what it leaves and says."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from study_files import write_ct, write_spect
from test_export_copies import change, every_text, full_of_markers
from test_export_deidentified import DATES, MARKER, STUDY_UID, leaks, markers

from CTSpectSpineLib.command_line.main import main

WORDS = (MARKER, *DATES, "1933-09-21", "1992-08-17", "1992-08-18", "081533", STUDY_UID)
TECHNICAL = (
    "Manufacturer", "ManufacturerModelName", "ReconstructionMethod", "ProcessingFunction",
    "ConvolutionKernel", "FilterType", "CorrectedImage", "DecayCorrection", "Radiopharmaceutical",
    "TimezoneOffsetFromUTC", "Units",
)  # fmt: skip
"""What the manifest holds as it was read, as the documents say: how the scan was made."""
PLACE = "QZXPLACE"
"""Stands in the paths of study and results, and in no name of a file."""


def study_of_markers(folder: Path, phantom: Path) -> None:
    """The phantom's CT and SPECT as DICOM, with a marker in everything that can hold one."""
    tags, texts = markers(), every_text()
    for keyword in TECHNICAL:
        tags.pop(keyword, None)
        texts.pop(keyword, None)
    del tags["Modality"]
    write_ct(folder / "ct", sitk.ReadImage(str(phantom / "ct.nii.gz")), **tags)
    (folder / "nm").mkdir()
    write_spect(folder / "nm" / "spect.dcm", sitk.ReadImage(str(phantom / "spect.nii.gz")), **tags)
    for path in folder.rglob("*.dcm"):
        full_of_markers(path, texts)
    tracer = Dataset()
    tracer.Radiopharmaceutical = "Tc-99m HDP"
    tracer.RadiopharmaceuticalStartDateTime = f"{DATES[1]}070000"
    note = Dataset()
    note.CodeValue = note.CodingSchemeDesignator = note.CodeMeaning = MARKER
    tracer.AdministrationRouteCodeSequence = [note]
    change(folder / "nm" / "spect.dcm", RadiopharmaceuticalInformationSequence=[tracer])


def plain(path: Path) -> bytes:
    """The bytes of a file; what is compressed is unpacked."""
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        return gzip.decompress(content)
    head, _, rest = content.partition(b"\n\n")
    if content[:4] == b"NRRD" and b"encoding: gzip" in head:
        return head + zlib.decompressobj(wbits=31).decompress(rest)
    return content


@pytest.mark.slow
def test_a_whole_analysis_names_no_patient_and_no_place(
    lumbar_phantom: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    study, out = tmp_path / PLACE / "study", tmp_path / PLACE / "results"
    study_of_markers(study, lumbar_phantom)
    words = ["analyze", "--study", str(study), "--out", str(out), "--threads", "1"]
    words += ["--vertebrae", str(lumbar_phantom / "two.nii.gz")]
    capfd.readouterr()
    assert main(words) in (0, 1)
    said = capfd.readouterr()
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {"manifest.json", "report.html", "joints.csv"} <= {path.name for path in files}
    for path in files:
        found = leaks(plain(path), [*WORDS, PLACE])
        assert not found, f"{path.name}: {found}"
        assert not leaks(path.name.encode(), list(WORDS))
    assert not leaks((said.out + said.err).encode(), list(WORDS))
