"""The CT and the SPECT of a study folder, chosen by their headers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from dicom_files import NM_CLASS, NM_VOXELS, ct_series, nm_tags, save

from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.volumes import read_volume
from CTSpectSpineLib.volumes.dicom.study import choose_pair, list_study

HERE = {"StudyInstanceUID": "1.9", "FrameOfReferenceUID": "1.8", "AcquisitionDate": "20260504"}


def add_ct(folder: Path, uid: str, **tags: Any) -> None:
    ct_series(folder / uid, uid, **{**HERE, "SeriesDescription": uid, **tags})


def add_spect(folder: Path, name: str, **tags: Any) -> None:
    tags = {
        **HERE,
        "SeriesInstanceUID": f"9.{sum(map(ord, name))}",
        "SeriesDescription": name,
        **tags,
    }
    known = {"PatientID": "A", "ImagePositionPatient": [0, 0, 100], "CorrectedImage": ["ATTN"]}
    content = nm_tags(**{**known, **tags})
    position = content.pop("ImagePositionPatient")
    content["DetectorInformationSequence"][0].ImagePositionPatient = position
    save(folder / f"{name}.dcm", NM_CLASS, NM_VOXELS, **content)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    add_ct(tmp_path, "1.1")
    add_spect(tmp_path, "osem")
    return tmp_path


def chosen(folder: Path, numbers: tuple[int, int] | None = None) -> tuple[str, str]:
    pair = choose_pair(folder, numbers)
    return pair.ct.facts.description, pair.spect.facts.description


def test_the_only_pair_is_taken_and_read_as_if_it_was_named(study: Path) -> None:
    pair = choose_pair(study)
    assert not pair.others
    assert "is the only CT" in pair.reasons[0]
    for volume, path in zip(pair.read(), (study / "1.1", study / "osem.dcm"), strict=True):
        alone = read_volume(path, volume.role)
        assert volume.sha256 == alone.sha256
        assert volume.image.GetDirection() == alone.image.GetDirection()
        again = read_volume(str(volume.path), volume.role)
        assert again.sha256 == volume.sha256, "shift could not find the image again"


@pytest.mark.parametrize(
    ("worse", "why"),
    [
        ({"CorrectedImage": ["DECY"]}, "attenuation is corrected"),
        ({"SeriesDescription": "osem NoAC"}, "attenuation is corrected"),
        ({"SeriesDescription": "NAC", "CorrectedImage": ["ATTN", "SCAT"]}, "attenuation"),
        ({"BodyPartExamined": "HEAD"}, "shows the spine"),
        ({"ImageType": ["DERIVED", "SECONDARY", "RECON TOMO", "EMISSION"]}, "reconstructed it"),
    ],
)
def test_the_better_spect_is_chosen(study: Path, worse: dict[str, Any], why: str) -> None:
    add_spect(study, "a", **worse)
    add_spect(study, "z", **worse)
    assert chosen(study) == ("1.1", "osem")
    pair = choose_pair(study)
    assert why in pair.reasons[1]
    assert len(pair.others) == 2
    assert "Not used of the study" in " ".join(pair.read()[1].notes)


@pytest.mark.parametrize(
    ("worse", "why"),
    [
        ({"step": (0, 0, -0.5)}, "covers more of the SPECT"),
        ({"FrameOfReferenceUID": "7.7"}, "frame of reference"),
        ({"StudyInstanceUID": "7.7"}, "the SPECT's study"),
        ({"AcquisitionDate": "20260401"}, "the SPECT's day"),
        ({"ImageType": ["DERIVED", "PRIMARY", "MPR"]}, "reconstructed it"),
        ({"ConvolutionKernel": "BONE"}, "does not sharpen"),
        ({"ConvolutionKernel": ["Br59f", "3"]}, "does not sharpen"),
        ({"step": (0, 0, 5.0)}, "thinner slices"),
        ({"BodyPartExamined": "KNEE"}, "shows the spine"),
    ],
)
def test_the_better_ct_is_chosen(tmp_path: Path, worse: dict[str, Any], why: str) -> None:
    add_spect(tmp_path, "osem", SpacingBetweenSlices=2.4)
    add_ct(tmp_path, "1.5", ConvolutionKernel="B30f", SeriesNumber=9)
    add_ct(tmp_path, "1.1", **worse)
    add_ct(tmp_path, "1.7", **worse)
    assert chosen(tmp_path) == ("1.5", "osem")
    assert why in choose_pair(tmp_path).reasons[0]


def test_where_headers_leave_two_alike_the_user_is_asked(study: Path) -> None:
    add_spect(study, "other")
    with pytest.raises(InputError, match="do not tell which series is the SPECT") as refused:
        choose_pair(study)
    sentence = str(refused.value)
    numbers = {name: int(n) for n, name in re.findall(r"\[(\d+)\] series \d+ '([^']*)'", sentence)}
    assert set(numbers) == {"1.1", "osem", "other"}
    pair = numbers["other"], numbers["1.1"]
    assert chosen(study, pair) == ("1.1", "other")
    assert "was named" in choose_pair(study, pair).reasons[1]


def test_the_day_is_for_the_one_who_chooses_and_is_not_written(study: Path) -> None:
    add_ct(study, "1.5", step=(0, 0, 5.0))
    numbers = {item.facts.description: item.number for item in list_study(study)[0]}
    for pair in (choose_pair(study), choose_pair(study, (numbers["1.1"], numbers["osem"]))):
        written = [note for volume in pair.read() for note in volume.notes]
        assert "[" in " ".join(written)
        assert not any("2026" in note for note in (*written, *pair.reasons, *pair.others))
    add_spect(study, "other")
    with pytest.raises(InputError, match="2026-05-04"):
        choose_pair(study)


def test_numbers_do_not_depend_on_the_names_of_files(study: Path, tmp_path: Path) -> None:
    before = [item.series.first.header.SeriesDescription for item in list_study(study)[0]]
    (study / "osem.dcm").rename(study / "0.dcm")
    assert [i.series.first.header.SeriesDescription for i in list_study(study)[0]] == before


@pytest.mark.parametrize(
    ("numbers", "words"),
    [((1, 1), "one CT and one SPECT"), ((1, 9), "no series [9]"), ((1, 3), "raw projections")],
)
def test_numbers_that_name_no_pair(study: Path, numbers: tuple[int, int], words: str) -> None:
    add_spect(study, "raw", ImageType=["ORIGINAL", "PRIMARY", "TOMO", "EMISSION"])
    with pytest.raises(InputError, match=re.escape(words)):
        choose_pair(study, numbers)


def test_several_patients_are_refused_and_not_named(study: Path) -> None:
    add_ct(study, "1.2", PatientID="Mueller-1950")
    with pytest.raises(InputError, match="2 patients") as refused:
        choose_pair(study)
    assert "1950" not in str(refused.value)
    add_spect(study, "b", PatientID="Mueller-1950")
    listed = {item.facts.description: item.number for item in list_study(study)[0]}
    with pytest.raises(InputError, match="2 patients"):
        choose_pair(study, (listed["1.1"], listed["b"]))
    assert chosen(study, (listed["1.2"], listed["b"])) == ("1.2", "b")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--study S --ct S", "leave out --ct"),
        ("--choose 1,2 --ct S --spect S", "give --study"),
        ("--ct S", "--spect is missing"),
        ("--study S --choose 1", "is not two numbers"),
        ("--study S/none", "no such folder"),
    ],
)
def test_both_ways_to_name_the_images(
    study: Path, arguments: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [
        word.replace("S", str(study), 1) if word[0] == "S" else word for word in arguments.split()
    ]
    try:
        code: Any = main(["analyze", *given, "--out", str(study / "out")])
    except SystemExit as end:
        code = end.code
    error = capsys.readouterr().err
    assert (code, len(error.splitlines())) == (2, 1), error
    assert words in error


def test_register_reads_the_study(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its few slices of noise are refused, by the name of the file that was found."""
    assert main(["register", "--study", str(study), "--out", str(study.parent / "r")]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1, error
    assert "1.1-" in error
