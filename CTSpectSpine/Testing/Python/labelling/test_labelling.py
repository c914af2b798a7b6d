"""Labels that the user brings: names, schemes and forms."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_column import (
    COLUMN,
    LUMBAR,
    V2,
    canonical,
    column,
    expected,
    numbers,
    save_masks,
)

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.labelling import (
    SCHEMES,
    import_labels,
)
from CTSpectSpineLib.labelling.importing.level_names import level_of_name
from CTSpectSpineLib.labelling.importing.schemes import scheme_table
from CTSpectSpineLib.volumes import (
    Segment,
    write_image,
    write_segmentation,
)


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("vertebrae_L5", "L5"),
        ("vertebrae_T12", "T12"),
        ("L5", "L5"),
        ("l5", "L5"),
        ("L5 vertebra", "L5"),
        ("vertebra L05", "L5"),
        ("Th12", "T12"),
        ("D7", "T7"),
        ("C1", "C1"),
        ("L6", "L6"),
        ("Lumbar vertebra 3", "L3"),
        ("Fifth lumbar vertebra", "L5"),
        ("vertebrae_S1", "S1"),
        ("sacrum", "sacrum"),
        ("Os sacrum", "sacrum"),
        ("hip_left", "hip_left"),
        ("Right hip", "hip_right"),
        ("L4-L5 disc", None),
        ("L4-L5", None),
        ("vertebrae_body", None),
        ("intervertebral_discs", None),
        ("rib_left_12", None),
        ("T12 rib", None),
        ("L5 nerve root", None),
        ("L5 vertebral body", None),
        ("C8", None),
        ("L7", None),
        ("hip", None),
        ("spinal_cord", None),
        ("aorta", None),
        ("Segment_1", None),
    ],
)
def test_names(name: str, level: str | None) -> None:
    assert level_of_name(name) == level


def test_scheme_tables_are_those_of_the_programs() -> None:
    v2, v1, verse = (scheme_table(s) for s in ("totalsegmentator", "totalsegmentator_v1", "verse"))
    assert (v2[25], v2[26], v2[27], v2[50], v2[77]) == ("sacrum", "S1", "L5", "C1", "hip_left")
    assert (v1[18], v1[22], v1[23], v1[41], v1[92]) == ("L5", "L1", "T12", "C1", "sacrum")
    # 88 and 89 are the femurs in version 1.
    assert (v1[90], v1[91]) == ("hip_left", "hip_right")
    assert 88 not in v1
    assert (verse[1], verse[8], verse[20], verse[25]) == ("C1", "T1", "L1", "L6")
    assert (verse[26], verse[28]) == ("sacrum", "T13")
    assert scheme_table("totalsegmentator_v3")[26] == "L6"


@pytest.mark.parametrize("scheme", ["totalsegmentator", "totalsegmentator_v1", "verse"])
@given(first=st.integers(0, 18), count=st.integers(3, 9))
@settings(max_examples=20, deadline=None)
def test_schemes_are_told_apart(scheme: str, first: int, count: int) -> None:
    """Any run of three or more levels, at typical distances, with the numbers of any scheme."""
    order = [r.name for r in anatomy.vertebrae() if r.name not in ("T13", "L6", "S1", "sacrum")]
    levels = tuple(order[first : first + count])
    if len(levels) < 3:
        return
    source = column(levels)
    labels = import_labels(source.labels(numbers(scheme, levels)), None)
    if labels.levels_confirmed:
        assert labels.levels == levels
        assert labels.engine_version == scheme
    else:
        assert any("label scheme" in text for text in labels.warnings)
    # What the numbers cannot tell, the user can.
    told = import_labels(source.labels(numbers(scheme, levels)), None, scheme)
    assert told.levels == levels
    assert told.levels_confirmed


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_lumbar_column_in_every_scheme(scheme: str) -> None:
    image = COLUMN.labels(numbers(scheme, LUMBAR), np.uint16)
    labels = import_labels(image, COLUMN.ct, scheme)
    assert labels.levels == LUMBAR
    assert np.array_equal(canonical(labels), expected())
    assert labels.image.GetPixelID() == sitk.sitkUInt8
    assert (labels.engine, labels.engine_version) == ("imported", scheme)


def test_unambiguous_numbers_need_no_scheme(tmp_path: Path) -> None:
    for scheme in ("totalsegmentator", "totalsegmentator_v1", "verse"):
        write_image(COLUMN.labels(numbers(scheme, LUMBAR)), tmp_path / "labels.nii.gz")
        labels = import_labels(tmp_path / "labels.nii.gz", COLUMN.ct)
        assert labels.levels == LUMBAR
        assert labels.levels_confirmed
        assert labels.engine_version == scheme
        assert labels.warnings == ()


def test_whole_numbers_in_floating_point() -> None:
    labels = import_labels(COLUMN.labels(V2, np.float64), COLUMN.ct)
    assert np.array_equal(canonical(labels), expected())


def test_names_in_the_nifti_header_decide(tmp_path: Path) -> None:
    """Numbers that mean something else in every scheme, with the names of TotalSegmentator."""
    odd = {level: 60 + n for n, level in enumerate(LUMBAR)}
    rows = "".join(
        f'<Label Key="{n}" Red="1" Green="0" Blue="0" Alpha="1"><![CDATA['
        f"{level if level == 'sacrum' else 'vertebrae_' + level}]]></Label>\n"
        for level, n in odd.items()
    )
    table = f"<CaretExtension><LabelTable>\n{rows}</LabelTable></CaretExtension>"
    image = COLUMN.labels(odd)
    affine = np.diag([-3.0, -3.0, 3.0, 1.0])
    affine[:3, 3] = [60, 200, -700]
    nifti = nibabel.Nifti1Image(sitk.GetArrayFromImage(image).T, affine)
    nifti.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, table.encode()))
    nibabel.save(nifti, tmp_path / "named.nii.gz")
    labels = import_labels(tmp_path / "named.nii.gz", COLUMN.ct)
    assert labels.levels == LUMBAR
    assert labels.engine_version == "names"
    assert np.array_equal(canonical(labels), expected())


def test_a_folder_with_one_mask_per_class(tmp_path: Path) -> None:
    folder = save_masks(tmp_path / "masks")
    for name in ("liver", "vertebrae_C3"):
        write_image(COLUMN.labels({}), folder / f"{name}.nii.gz")
    labels = import_labels(folder, COLUMN.ct)
    assert labels.levels == LUMBAR
    assert np.array_equal(canonical(labels), expected())
    assert labels.warnings == ("1 files of other structures were ignored.",)


def test_overlapping_masks(tmp_path: Path) -> None:
    folder = save_masks(tmp_path / "masks")
    mask = COLUMN.labels({"L4": 1})
    array = sitk.GetArrayFromImage(mask)
    below = np.argwhere(COLUMN.masks["L5"])
    array[below[:, 0].max(), 15:27, 14:28] = 1
    spoilt = sitk.GetImageFromArray(array)
    spoilt.CopyInformation(mask)
    write_image(spoilt, folder / "vertebrae_L4.nii.gz")
    labels = import_labels(folder, COLUMN.ct)
    assert "vertebrae_L5.nii.gz and vertebrae_L4.nii.gz (168 voxels)" in labels.warnings[0]


def test_a_seg_nrrd_with_names(tmp_path: Path) -> None:
    segments = [
        Segment(f"s{n}", f"{level} vertebra", (1, 0, 0), COLUMN.masks[level])
        for n, level in enumerate(LUMBAR[:-1])
    ]
    segments.append(Segment("sacrum", "Sacrum", (1, 1, 0), COLUMN.masks["sacrum"]))
    segments.append(Segment("x", "L4-L5 disc", (0, 0, 1), COLUMN.masks["L4"]))
    write_segmentation(tmp_path / "spine.seg.nrrd", segments, COLUMN.ct)
    labels = import_labels(tmp_path / "spine.seg.nrrd", COLUMN.ct)
    assert labels.levels == LUMBAR
    assert np.array_equal(canonical(labels), expected())
    assert "1 segments of other structures" in labels.warnings[0]


def test_another_grid_in_the_same_space() -> None:
    """A label map with other axes and only a part of the CT: it lands on the same voxels."""
    source = sitk.PermuteAxes(COLUMN.labels(V2), [2, 0, 1])
    flipped = sitk.Flip(source, [True, False, True])
    labels = import_labels(flipped[3:, 2:, 4:], COLUMN.ct)
    assert np.array_equal(canonical(labels), expected())
    assert labels.image.GetSize() == COLUMN.ct.GetSize()
    assert "another grid" in labels.warnings[0]


def test_hips_are_kept_and_others_ignored() -> None:
    source = column((*LUMBAR[:-1], "sacrum"))
    array = sitk.GetArrayFromImage(source.labels(V2))
    array[2:9, 15:27, 2:12], array[2:9, 15:27, 30:38] = 78, 77
    array[40:44, 30:34, 30:34] = 5
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(source.ct)
    labels = import_labels(image, None)
    present = set(np.unique(canonical(labels)).tolist())
    assert {77, 78} <= present
    assert 5 not in present
    assert "1 labels of other structures were ignored." in labels.warnings
