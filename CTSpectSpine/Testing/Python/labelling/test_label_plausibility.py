"""Labels that are doubted, and those that cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from labelled_column import (
    COLUMN,
    V2,
    canonical,
    column,
    expected,
    numbers,
    save_masks,
)

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.labelling import (
    import_labels,
)
from CTSpectSpineLib.volumes import (
    Segment,
    read_volume,
    write_image,
    write_segmentation,
)


def test_specks_are_removed() -> None:
    array = sitk.GetArrayFromImage(COLUMN.labels(V2))
    array[5, 35, 35] = V2["T11"]
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(COLUMN.ct)
    labels = import_labels(image, COLUMN.ct)
    assert np.array_equal(canonical(labels), expected())
    assert labels.levels_confirmed
    assert "T11" in labels.warnings[0]


def test_one_level_in_two_places() -> None:
    labels = import_labels(COLUMN.labels({**V2, "L1": V2["L3"]}), COLUMN.ct)
    assert not labels.levels_confirmed
    assert any("L3 is labelled in two places" in text for text in labels.warnings)


def test_levels_out_of_order() -> None:
    labels = import_labels(COLUMN.labels({**V2, "L2": V2["L3"], "L3": V2["L2"]}), COLUMN.ct)
    assert not labels.levels_confirmed
    assert any("out of order" in text for text in labels.warnings)


def test_a_skipped_number_is_doubted() -> None:
    """L2 follows T12 without room for L1: everything below may be one too low."""
    shifted = {**{n: V2[n] for n in ("L3", "L4", "L5", "sacrum")}, "T11": 34, "T12": 33, "L1": 32}
    labels = import_labels(COLUMN.labels({**shifted, "L2": 30}), COLUMN.ct)
    assert not labels.levels_confirmed
    assert any("L1 is missing between T12 and L2" in text for text in labels.warnings)


def test_an_unlabelled_vertebra_is_only_mentioned() -> None:
    labels = import_labels(COLUMN.labels({n: v for n, v in V2.items() if n != "L2"}), COLUMN.ct)
    assert labels.levels_confirmed
    assert any("L2 is not labelled between L1 and L3" in text for text in labels.warnings)


def test_transitional_anatomy_is_mentioned() -> None:
    source = column(("T10", "T11", "L1", "L2", "L3", "L4", "L5", "sacrum"))
    labels = import_labels(
        source.labels(numbers("totalsegmentator", tuple(source.masks))), source.ct
    )
    assert labels.levels_confirmed
    assert any("T12 is missing" in t and "transitional" in t for t in labels.warnings)


def test_numbers_that_fit_two_schemes() -> None:
    """One vertebra has no neighbours to tell the scheme by."""
    source = column(("L3",))
    labels = import_labels(source.labels({"L3": 29}), None)
    assert labels.levels == ("L3",)
    assert not labels.levels_confirmed
    assert "totalsegmentator_v1" in labels.warnings[0]


def moved(image: sitk.Image, *offset: float) -> sitk.Image:
    result = sitk.Image(image)
    result.SetOrigin([o + d for o, d in zip(image.GetOrigin(), offset, strict=True)])
    return result


def fractions() -> sitk.Image:
    return sitk.Cast(COLUMN.labels(V2), sitk.sitkFloat32) * 0.37


BAD_IMAGES: dict[str, tuple[Callable[[], sitk.Image], str]] = {
    "empty": (lambda: COLUMN.labels({}), "is empty"),
    "no vertebra": (lambda: COLUMN.labels({"L1": 200, "L2": 201}), "not clearly those of"),
    "fractions": (fractions, "not a label"),
    "not a number": (lambda: fractions() * np.nan, "not a label"),
    "the ct itself": (lambda: COLUMN.ct, "not the CT"),
    "huge numbers": (lambda: COLUMN.labels({"L1": 60000}, np.uint16), "60000"),
    "two-dimensional": (lambda: COLUMN.labels(V2)[:, :, 20], "3D"),
    "colour": (lambda: sitk.Compose([COLUMN.labels(V2)] * 3), "one number per voxel"),
    "far away": (lambda: moved(COLUMN.labels(V2), 0, 0, 900), "outside of the CT"),
    "in soft tissue": (lambda: moved(COLUMN.labels(V2), 42, 0, 0), "not lie on the bones"),
    "hips only": (lambda: COLUMN.labels({"L1": 77, "L2": 78}), "not clearly those of"),
}


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_label_maps_that_cannot_be_used(case: str) -> None:
    make, words = BAD_IMAGES[case]
    with pytest.raises(InputError) as caught:
        import_labels(make(), COLUMN.ct)
    message = str(caught.value)
    assert words in message
    assert "the label map" in message
    assert "\n" not in message


def empty_folder(path: Path) -> Path:
    path.mkdir()
    return path


def other_classes(path: Path) -> Path:
    path.mkdir()
    for name in ("liver", "spleen"):
        write_image(COLUMN.labels({"L1": 1}), path / f"{name}.nii.gz")
    return path


def all_empty(path: Path) -> Path:
    path.mkdir()
    write_image(COLUMN.labels({}), path / "vertebrae_L1.nii.gz")
    return path


def twice(path: Path) -> Path:
    save_masks(path)
    write_image(COLUMN.labels({"L4": 1}), path / "L4.nrrd")
    return path


def same_bone(path: Path) -> Path:
    save_masks(path)
    write_image(COLUMN.labels({"L3": 1}), path / "vertebrae_L4.nii.gz")
    return path


def other_grid(path: Path) -> Path:
    save_masks(path)
    write_image(COLUMN.labels({"L4": 1})[2:], path / "vertebrae_L4.nii.gz")
    return path


def many_labels(path: Path) -> Path:
    save_masks(path)
    write_image(COLUMN.labels(V2), path / "vertebrae_L4.nii.gz")
    return path


def unnamed_segments(path: Path) -> Path:
    segment = Segment("s", "Segment_1", (1, 0, 0), COLUMN.masks["L1"])
    write_segmentation(path, [segment], COLUMN.ct)
    return path


BAD_PATHS: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "missing": (lambda p: p, "none.nii.gz", "does not exist"),
    "missing segmentation": (lambda p: p, "none.seg.nrrd", "does not exist"),
    "empty folder": (empty_folder, "masks", "no file is named after a vertebra"),
    "other classes": (other_classes, "masks", "no file is named after a vertebra"),
    "empty masks": (all_empty, "masks", "all masks of vertebrae are empty"),
    "level twice": (twice, "masks", "are both L4"),
    "same bone twice": (same_bone, "masks", "overlap by 100%"),
    "other grid": (other_grid, "masks", "vertebrae_L4.nii.gz: its grid differs"),
    "label map as mask": (many_labels, "masks", "holds 8 labels"),
    "unnamed segments": (unnamed_segments, "a.seg.nrrd", "no vertebra by level"),
}


@pytest.mark.parametrize("case", BAD_PATHS)
def test_sources_that_cannot_be_used(case: str, tmp_path: Path) -> None:
    make, name, words = BAD_PATHS[case]
    with pytest.raises(InputError) as caught:
        import_labels(make(tmp_path / name), COLUMN.ct)
    message = str(caught.value)
    assert words in message
    assert name in message
    assert "\n" not in message


def test_unknown_scheme() -> None:
    with pytest.raises(InputError, match="'roman' is unknown"):
        import_labels(COLUMN.labels(V2), None, "roman")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_small_shift_is_doubted_and_a_larger_one_refused(axis: int, shared_data: Path) -> None:
    folder = shared_data / "totalsegmentator_example"
    ct = read_volume(folder / "ct.nii.gz", "ct").image
    image = read_volume(folder / "vertebrae_total.nii.gz", "labels").image
    labels = import_labels(moved(image, *(6.0 * np.eye(3)[axis])), ct)
    assert not labels.levels_confirmed
    assert any("fit the bones of the CT poorly" in text for text in labels.warnings)
    with pytest.raises(InputError, match="do not lie on the bones"):
        import_labels(moved(image, *(12.0 * np.eye(3)[axis])), ct)
