"""Concatenations: an enhanced CT whose frames are spread over several files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import CT_VOXELS, NM_CLASS, NM_VOXELS, array, nm_tags, save
from test_volumes_dicom_enhanced import COUNT, enhanced, frame

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.volumes import Volume, read_volume
from CTSpectSpineLib.volumes.dicom.study import list_study

STARTS = (0, 3, 5)


def parts(folder: Path, *, total: bool = True, **changes: dict[str, Any]) -> Path:
    """Three parts of 3, 2 and 3 frames; ``changes`` are tags of the parts ``one``, ``two`` …"""
    for number, name in enumerate(("one", "two", "three")):
        first, last = STARTS[number], (*STARTS[1:], COUNT)[number]
        tags: dict[str, Any] = {
            "ConcatenationUID": "1.4",
            "InConcatenationNumber": number + 1,
            "InConcatenationTotalNumber": 3 if total else None,
            "ConcatenationFrameOffsetNumber": first,
            **changes.get(name, {}),
        }
        voxels = CT_VOXELS[first:last]
        # Names in no useful order.
        enhanced(
            folder,
            lambda n, first=first: frame(n + first),
            voxels=voxels,
            name=f"{7 - 3 * number % 5}.dcm",
            **tags,
        )
    return folder


def check(volume: Volume) -> None:
    assert np.array_equal(array(volume), CT_VOXELS - 1024)
    assert volume.image.GetSpacing() == pytest.approx((0.9, 0.8, 2.5))
    assert volume.image.GetOrigin() == pytest.approx((-10, 20, 100))
    assert len(volume.files) == 3


def test_the_parts_are_one_volume(tmp_path: Path) -> None:
    folder = parts(tmp_path)
    check(read_volume(folder, "ct"))
    # One of its files stands for all, as a slice stands for its series.
    check(read_volume(min(folder.iterdir()), "ct"))
    assert [(item.role, item.facts.slices) for item in list_study(folder)[0]] == [("ct", COUNT)]


def test_two_concatenations_of_one_series_are_two_volumes(tmp_path: Path) -> None:
    parts(tmp_path / "a")
    other = {"ConcatenationUID": "1.5"}
    parts(tmp_path / "b", one=other, two=other, three=other)
    with pytest.raises(InputError, match="2 series that could be the CT"):
        read_volume(tmp_path, "ct")
    check(read_volume(tmp_path / "b", "ct"))


def test_a_number_of_parts_that_is_not_stated_is_told(tmp_path: Path) -> None:
    volume = read_volume(parts(tmp_path, total=False), "ct")
    check(volume)
    assert any("(InConcatenationTotalNumber): 3 were found" in note for note in volume.notes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"two": {"ConcatenationUID": "1.9"}}, "lacks part 2 of 3 of a concatenation"),
        ({"one": {"ConcatenationUID": "1.9"}}, "lacks part 1 of 3 of a concatenation"),
        ({"three": {"ConcatenationUID": "1.9"}}, "lacks part 3 of 3 of a concatenation"),
        ({"two": {"InConcatenationNumber": 1}}, "has part 1 of a concatenation twice"),
        ({"two": {"InConcatenationNumber": None}}, "without InConcatenationNumber"),
        ({"two": {"InConcatenationTotalNumber": 4}}, "different InConcatenationTotalNumber"),
        ({"two": {"ConcatenationFrameOffsetNumber": 4}}, "ConcatenationFrameOffsetNumber 4 in"),
        ({"one": {"InConcatenationNumber": 0}}, "lacks part 1 of 3"),
    ],
)
def test_what_is_not_whole_is_refused_by_the_name_of_the_tag(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    parts(tmp_path / "study", **changes)
    with pytest.raises(InputError, match=re.escape(words)) as refused:
        read_volume(tmp_path / "study", "ct")
    assert len(str(refused.value).splitlines()) == 1
    assert "oncatenation" in str(refused.value)


def test_a_part_whose_concatenation_has_no_name_is_refused(tmp_path: Path) -> None:
    nameless = {"ConcatenationUID": None}
    parts(tmp_path, one=nameless, two=nameless, three=nameless)
    with pytest.raises(InputError, match=r"\(InConcatenationNumber\) that names no"):
        read_volume(tmp_path, "ct")


def test_parts_of_other_pixels_are_refused(tmp_path: Path) -> None:
    wide = np.pad(CT_VOXELS[:3], ((0, 0), (0, 0), (0, 4)))
    folder = parts(tmp_path)
    enhanced(
        folder, voxels=wide, name="7.dcm", ConcatenationUID="1.4", InConcatenationNumber=1,
        InConcatenationTotalNumber=3, ConcatenationFrameOffsetNumber=0,
    )  # fmt: skip
    with pytest.raises(InputError, match="different Rows and Columns"):
        read_volume(folder, "ct")


@pytest.mark.parametrize("tag", ["ConcatenationUID", "InConcatenationNumber"])
def test_a_part_of_a_spect_is_refused(tag: str, tmp_path: Path) -> None:
    value = "1.4" if tag == "ConcatenationUID" else 1
    path = save(tmp_path / "nm.dcm", NM_CLASS, NM_VOXELS, **nm_tags(**{tag: value}))
    with pytest.raises(InputError, match=rf"nm\.dcm.*part of a concatenation .*{tag}"):
        read_volume(path, "spect")
