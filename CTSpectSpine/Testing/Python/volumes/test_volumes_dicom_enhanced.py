"""Enhanced CTs: one file whose frames say themselves where they are and how they are scaled."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_files import CT_VOXELS, NM_CLASS, NM_VOXELS, array, ct_series, nm_tags, save
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import RLELossless

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.volumes import read_volume
from CTSpectSpineLib.volumes.dicom.study import choose_pair, list_study

ENHANCED = "1.2.840.10008.5.1.4.1.1.2.1"
CONVERTED = "1.2.840.10008.5.1.4.1.1.2.2"
TILTED = [1, 0, 0, 0, 0.8, -0.6]
COUNT = len(CT_VOXELS)


def item(**tags: Any) -> Dataset:
    made = Dataset()
    for keyword, content in tags.items():
        setattr(made, keyword, Sequence([content]) if isinstance(content, Dataset) else content)
    return made


def groups(**macros: Dataset | None) -> Dataset:
    """A functional group with these macros."""
    return item(**{f"{name}Sequence": it for name, it in macros.items() if it is not None})


def shared(**changes: Dataset | None) -> Dataset:
    macros: dict[str, Dataset | None] = {
        "PixelMeasures": item(PixelSpacing=[0.8, 0.9], SliceThickness=5.0),
        "PlaneOrientation": item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        "PixelValueTransformation": item(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU"),
        "CTImageFrameType": item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]),
        "CTReconstruction": item(ConvolutionKernel=["Br59f", "3"]),
    }
    return groups(**{**macros, **changes})


def frame(n: int, **changes: Dataset | None) -> Dataset:
    macros: dict[str, Dataset | None] = {
        "FrameContent": item(StackID="1", InStackPositionNumber=n + 1, TemporalPositionIndex=1),
        "PlanePosition": item(ImagePositionPatient=[-10, 20, 100 + 2.5 * n]),
    }
    return groups(**{**macros, **changes})


def enhanced(
    folder: Path,
    frames: Callable[[int], Dataset] = frame,
    common: Dataset | None = None,
    voxels: np.ndarray = CT_VOXELS,
    sop: str = ENHANCED,
    name: str = "e.dcm",
    **tags: Any,
) -> Path:
    """Write an enhanced CT with its frames in no useful order."""
    order = np.random.default_rng(4).permutation(len(voxels))
    content = {
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        "SeriesInstanceUID": "1.2.77",
        "SeriesNumber": 5,
        "SeriesDescription": "enhanced",
        "PatientID": "A",
        "SharedFunctionalGroupsSequence": Sequence([shared() if common is None else common]),
        "PerFrameFunctionalGroupsSequence": Sequence([frames(int(n)) for n in order]),
        **tags,
    }
    return save(folder / name, sop, voxels[order], **content)


def by_pydicom(path: Path) -> dict[tuple[float, ...], np.ndarray]:
    """Measured values of each frame by the position of its first voxel, read without the reader."""
    header = pydicom.dcmread(path)
    common = header.SharedFunctionalGroupsSequence[0]
    found = {}
    for own, stored in zip(
        header.PerFrameFunctionalGroupsSequence, header.pixel_array, strict=True
    ):
        scale = (own if "PixelValueTransformationSequence" in own else common)[
            "PixelValueTransformationSequence"
        ][0]
        position = own.PlanePositionSequence[0].ImagePositionPatient
        values = stored.astype(float) * float(scale.RescaleSlope) + float(scale.RescaleIntercept)
        found[tuple(map(float, position))] = values
    return found


def check(path: Path, tolerance: float = 0.0) -> Any:
    """Every frame lies where its own header puts it, with its values."""
    volume = read_volume(path, "ct")
    voxels = array(volume)
    expected = by_pydicom(path)
    assert len(expected) == len(voxels)
    for position, values in expected.items():
        found = volume.image.TransformPhysicalPointToContinuousIndex(position)
        assert found == pytest.approx(np.round(found), abs=0.01)
        i, j, k = (int(v) for v in np.round(found))
        assert (i, j) == (0, 0)
        assert np.abs(voxels[k] - values).max() <= tolerance
    return volume


@pytest.mark.parametrize("sop", [ENHANCED, CONVERTED])
def test_frames_in_any_order_lie_where_they_say(sop: str, tmp_path: Path) -> None:
    volume = check(enhanced(tmp_path, sop=sop))
    assert volume.unit == "HU"
    assert np.array_equal(array(volume), CT_VOXELS - 1024)
    assert volume.image.GetSpacing() == pytest.approx((0.9, 0.8, 2.5))
    assert volume.image.GetOrigin() == pytest.approx((-10, 20, 100))


def test_compressed_frames_are_read(tmp_path: Path) -> None:
    path = enhanced(tmp_path)
    header = pydicom.dcmread(path)
    header.compress(RLELossless)
    header.save_as(path)
    assert np.array_equal(array(check(path)), CT_VOXELS - 1024)


def test_an_oblique_stack_runs_along_its_normal(tmp_path: Path) -> None:
    def along(n: int) -> Dataset:
        return frame(n, PlanePosition=item(ImagePositionPatient=[3, 1.5 * n, 40 + 2 * n]))

    common = shared(PlaneOrientation=item(ImageOrientationPatient=TILTED))
    volume = check(enhanced(tmp_path, along, common))
    assert volume.image.GetSpacing()[2] == pytest.approx(2.5)


def test_what_is_shared_may_stand_in_each_frame(tmp_path: Path) -> None:
    names = ("PixelMeasures", "PlaneOrientation", "PixelValueTransformation")
    macros = {name: shared()[f"{name}Sequence"][0] for name in names}
    path = enhanced(tmp_path, lambda n: frame(n, **macros), shared(**dict.fromkeys(names)))
    assert np.array_equal(array(check(path)), CT_VOXELS - 1024)


def test_each_frame_has_its_own_scale(tmp_path: Path) -> None:
    def scaled(n: int) -> Dataset:
        scale = item(RescaleSlope=1 + 0.25 * n, RescaleIntercept=-1000 - n, RescaleType="HU")
        return frame(n, PixelValueTransformation=scale)

    voxels = array(check(enhanced(tmp_path, scaled), tolerance=1e-3))
    assert voxels[4] == pytest.approx(CT_VOXELS[4] * 2.0 - 1004, abs=1e-3)


def test_a_converted_series_equals_the_single_slices(tmp_path: Path) -> None:
    """Converted by highdicom, which knows nothing of the reader."""
    legacy = pytest.importorskip("highdicom.legacy")
    identity = {
        "PatientName": "", "PatientBirthDate": "", "PatientSex": "", "AccessionNumber": "",
        "StudyInstanceUID": "1.9", "StudyID": "", "StudyDate": "20260504", "StudyTime": "120000",
        "FrameOfReferenceUID": "1.8", "ReferringPhysicianName": "", "Manufacturer": "m",
        "PositionReferenceIndicator": "", "KVP": 120, "Laterality": "", "SeriesDate": "20260504",
        "ContentDate": "20260504", "ContentTime": "120000", "BodyPartExamined": "LSPINE",
        "AcquisitionDate": "20260504", "AcquisitionTime": "120000", "ConvolutionKernel": "B30f",
        "BurnedInAnnotation": "NO",
    }  # fmt: skip
    single = ct_series(tmp_path / "single", **identity)
    headers = [pydicom.dcmread(path) for path in sorted(single.iterdir())]
    made = legacy.LegacyConvertedEnhancedCTImage(headers, "1.2.9", 9, "1.2.9.1", 1)
    path = tmp_path / "converted" / "c.dcm"
    path.parent.mkdir()
    made.save_as(path)
    before, after = read_volume(single, "ct"), check(path)
    assert np.array_equal(array(before), array(after))
    for name in ("GetOrigin", "GetSpacing", "GetDirection"):
        assert getattr(before.image, name)() == pytest.approx(getattr(after.image, name)())


def moved(**position: Callable[[int], list[float]]) -> Callable[[int], Dataset]:
    at = position["at"]
    return lambda n: frame(n, PlanePosition=item(ImagePositionPatient=at(n)))


def in_content(**content: Callable[[int], Any]) -> Callable[[int], Dataset]:
    return lambda n: frame(n, FrameContent=item(**{key: of(n) for key, of in content.items()}))


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "one frame without position": (
        {"frames": lambda n: frame(n, **({"PlanePosition": None} if n == 3 else {}))},
        "1 of 8 frames without ImagePositionPatient (PlanePositionSequence)",
    ),
    "uneven": (
        {"frames": moved(at=lambda n: [0, 0, 2.5 * n + 0.9 * (n % 2)])},
        "unevenly spaced slices (ImagePositionPatient up to",
    ),
    "gap": (
        {"frames": moved(at=lambda n: [0, 0, 2.5 * (n + 2 * (n > 4))])},
        "lacks 2 slices (ImagePositionPatient",
    ),
    "repeated positions": (
        {"frames": moved(at=lambda n: [0, 0, 2.5 * (n // 2)])},
        "several frames at the same position (ImagePositionPatient",
    ),
    "stacks": (
        {"frames": in_content(StackID=lambda n: str(1 + n // 4))},
        "holds 2 stacks (StackID 1, 2)",
    ),
    "points in time": (
        {"frames": in_content(TemporalPositionIndex=lambda n: 1 + n // 4)},
        "holds 2 points in time (TemporalPositionIndex)",
    ),
    "no orientation": (
        {"common": shared(PlaneOrientation=None)},
        "without ImageOrientationPatient (PlaneOrientationSequence)",
    ),
    "no pixel spacing": (
        {"common": shared(PixelMeasures=None)},
        "without PixelSpacing (PixelMeasuresSequence)",
    ),
    "planes": (
        {
            "frames": lambda n: frame(
                n, PlaneOrientation=item(ImageOrientationPatient=TILTED) if n == 2 else None
            )
        },
        "different ImageOrientationPatient",
    ),
    "pixel sizes": (
        {
            "frames": lambda n: frame(
                n, PixelMeasures=item(PixelSpacing=[0.7, 0.9]) if n == 2 else None
            )
        },
        "different PixelSpacing",
    ),
    "no rescale": (
        {"common": shared(PixelValueTransformation=None)},
        "without RescaleSlope and RescaleIntercept (PixelValueTransformationSequence)",
    ),
    "effective atomic number": (
        {
            "common": shared(
                PixelValueTransformation=item(
                    RescaleSlope=1, RescaleIntercept=0, RescaleType="Z_EFF"
                )
            )
        },
        "RescaleType Z_EFF, not HU",
    ),
    "slope of zero": (
        {"common": shared(PixelValueTransformation=item(RescaleSlope=0, RescaleIntercept=0))},
        "RescaleSlope of 0",
    ),
    "localizer among the frames": (
        {
            "frames": lambda n: frame(
                n,
                CTImageFrameType=item(FrameType=["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"])
                if n == 0
                else None,
            )
        },
        "localizer (FrameType)",
    ),
    "too few items": (
        {"PerFrameFunctionalGroupsSequence": Sequence([frame(0)])},
        "1 items of PerFrameFunctionalGroupsSequence for 8 frames",
    ),
    "none at all": (
        {"PerFrameFunctionalGroupsSequence": None, "SharedFunctionalGroupsSequence": None},
        "0 items of PerFrameFunctionalGroupsSequence",
    ),
    "concatenation": (
        {"ConcatenationUID": "1.4", "InConcatenationNumber": 1, "InConcatenationTotalNumber": 2},
        "lacks part 2 of 2 of a concatenation (InConcatenationNumber)",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_volume_is_refused_by_the_name_of_the_tag(case: str, tmp_path: Path) -> None:
    changes, words = BAD[case]
    enhanced(tmp_path / "study", **changes)
    with pytest.raises(InputError, match=re.escape(words)) as refused:
        read_volume(tmp_path / "study", "ct")
    assert len(str(refused.value).splitlines()) == 1
    assert "study" in str(refused.value)


def test_an_enhanced_pet_is_not_read(tmp_path: Path) -> None:
    path = enhanced(tmp_path, sop="1.2.840.10008.5.1.4.1.1.130", Modality="PT")
    with pytest.raises(InputError, match="stored as enhanced PET"):
        read_volume(path, "spect")


def test_damaged_files_are_refused_or_read(tmp_path: Path) -> None:
    """A byte of the header is another one, anywhere: only documented errors come of it."""
    path = enhanced(tmp_path, voxels=CT_VOXELS[:, :4, :4])
    whole = path.read_bytes()
    rng = np.random.default_rng(11)
    refused = []
    for _ in range(60):
        content = bytearray(whole)
        for at in rng.integers(132, len(whole), 3):
            content[at] = rng.integers(256)
        path.write_bytes(content)
        try:
            read_volume(path, "ct")
        except InputError as error:
            refused.append(str(error))
    assert len(refused) > 10
    assert all(len(sentence.splitlines()) == 1 for sentence in refused)


def test_frames_that_count_their_own_times_are_one_volume(tmp_path: Path) -> None:
    check(enhanced(tmp_path, in_content(TemporalPositionIndex=lambda n: n + 1)))


def test_one_file_per_frame_is_one_volume(tmp_path: Path) -> None:
    for n, voxels in enumerate(CT_VOXELS):
        enhanced(
            tmp_path, lambda _, n=n: frame(n), voxels=voxels[np.newaxis], name=f"{n * 37 % 11}.dcm"
        )
    volume = read_volume(tmp_path, "ct")
    assert np.array_equal(array(volume), CT_VOXELS - 1024)
    assert len(volume.files) == COUNT


def test_a_study_may_hold_an_enhanced_ct(tmp_path: Path) -> None:
    """Its kernel, day and place are read from its frames: the smooth single slices are preferred
    to it, and it to single slices of another day."""
    day = {"FrameOfReferenceUID": "1.8", "AcquisitionDate": "20260504"}
    content = nm_tags(**day, PatientID="A", SpacingBetweenSlices=2.4)
    content["DetectorInformationSequence"][0].ImagePositionPatient = [0, 0, 100]
    save(tmp_path / "nm.dcm", NM_CLASS, NM_VOXELS, **content)
    enhanced(tmp_path / "e", AcquisitionDateTime="20260504101500.00", FrameOfReferenceUID="1.8")
    facts = next(i.facts for i in list_study(tmp_path)[0] if i.role == "ct")
    assert (facts.kernel, facts.date) == ("Br59f/3", "20260504")
    assert (facts.low_mm, facts.high_mm, facts.spacing_mm) == (100, 117.5, 2.5)
    ct_series(tmp_path / "s", SeriesDescription="other day", AcquisitionDate="20260401",
              FrameOfReferenceUID="1.8")  # fmt: skip
    pair = choose_pair(tmp_path)
    assert pair.ct.facts.description == "enhanced"
    assert "the SPECT's day" in pair.reasons[0]
    assert np.array_equal(array(pair.read()[0]), CT_VOXELS - 1024)
    ct_series(tmp_path / "t", "1.2.4", SeriesDescription="smooth", ConvolutionKernel="B30f", **day)
    pair = choose_pair(tmp_path)
    assert pair.ct.facts.description == "smooth"
    assert "does not sharpen" in pair.reasons[0]


def test_a_refused_enhanced_ct_leaves_the_choice_to_others(tmp_path: Path) -> None:
    save(tmp_path / "nm.dcm", NM_CLASS, NM_VOXELS, **nm_tags(PatientID="A"))
    ct_series(tmp_path / "s", SeriesDescription="slices")
    enhanced(tmp_path / "e", in_content(StackID=lambda n: str(1 + n // 4)))
    pair = choose_pair(tmp_path)
    assert pair.ct.facts.description == "slices"
    assert "StackID 1, 2" in pair.others[0]
