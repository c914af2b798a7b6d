"""Labels that users bring: every form they come in, and what can be wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import image_from_array
from CTSpectSpineLib.labelling import (
    SCHEMES,
    Anchor,
    Labeller,
    Settings,
    available_labellers,
    import_labels,
    label_vertebrae,
    parse_anchor,
    register_labeller,
)
from CTSpectSpineLib.labelling import labellers as engine_registry
from CTSpectSpineLib.labelling.importing.level_names import level_of_name
from CTSpectSpineLib.labelling.importing.placement import bone_content
from CTSpectSpineLib.labelling.importing.schemes import scheme_table, typical_steps_mm
from CTSpectSpineLib.model import VertebraLabels
from CTSpectSpineLib.volumes import (
    Segment,
    read_volume,
    write_image,
    write_segmentation,
)

LUMBAR = ("T11", "T12", "L1", "L2", "L3", "L4", "L5", "sacrum")


@dataclass
class Column:
    """A column of blocks of bone in soft tissue, one block per vertebra, LPS axes."""

    ct: sitk.Image
    masks: Mapping[str, np.ndarray]

    def labels(self, numbers: Mapping[str, int], dtype: type = np.uint8) -> sitk.Image:
        array = np.zeros(next(iter(self.masks.values())).shape, dtype=dtype)
        for level, number in numbers.items():
            array[self.masks[level]] = number
        image = sitk.GetImageFromArray(array)
        image.CopyInformation(self.ct)
        return image


def column(levels: tuple[str, ...] = LUMBAR, spacing: float = 3.0) -> Column:
    """Blocks at the typical distances of their levels, the first one on top."""
    steps = [typical_steps_mm().get(level, 45.0) for level in levels]
    height = int((sum(steps) + 30) / spacing)
    shape = (height, 40, 40)
    values = np.full(shape, 40.0)
    values[:, :6], values[:, -6:] = -100.0, -100.0
    masks = {}
    top = height - 5
    for level, step in zip(levels, steps, strict=True):
        size = round(step / spacing)
        mask = np.zeros(shape, dtype=bool)
        mask[max(0, top - size + 2) : top, 15:27, 14:28] = True
        masks[level] = mask
        values[mask] = 320.0
        top -= size
    values += np.random.default_rng(0).normal(0, 15, shape)
    matrix = np.diag([spacing, spacing, spacing, 1.0])
    matrix[:3, 3] = [-60, -200, -700]
    return Column(image_from_array(values.astype(np.int16), matrix), masks)


def numbers(scheme: str, levels: tuple[str, ...]) -> dict[str, int]:
    table = {name: number for number, name in scheme_table(scheme).items()}
    return {level: table[level] for level in levels}


COLUMN = column()
V2 = numbers("totalsegmentator", LUMBAR)


def canonical(labels: VertebraLabels) -> np.ndarray:
    return sitk.GetArrayFromImage(labels.image)


def expected(levels: tuple[str, ...] = LUMBAR, source: Column = COLUMN) -> np.ndarray:
    return sitk.GetArrayFromImage(source.labels({n: anatomy.vertebra(n).id for n in levels}))


# --- names and tables ---


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


# --- forms ---


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


def save_masks(folder: Path, levels: tuple[str, ...] = LUMBAR) -> Path:
    folder.mkdir(exist_ok=True)
    for level in levels:
        name = level if level == "sacrum" else f"vertebrae_{level}"
        write_image(COLUMN.labels({level: 1}), folder / f"{name}.nii.gz")
    return folder


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


# --- plausibility ---


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


# --- what cannot be used ---


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


# --- the dispatcher ---


def test_an_engine_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'crystal-ball'.*--vertebrae"):
        label_vertebrae(COLUMN.ct, "crystal-ball")
    monkeypatch.setattr(engine_registry, "_MODULES", ())
    monkeypatch.setattr(engine_registry, "_LABELLERS", {})
    register_labeller(Labeller("toy", _never, lambda: "the package toy is not installed"))
    with pytest.raises(InputError, match=r"--vertebrae\. toy: the package toy is not installed"):
        label_vertebrae(COLUMN.ct, "auto")


def _never(*_: object) -> VertebraLabels:
    raise AssertionError("asked for although it cannot run")


def test_engines_register(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_registry, "_MODULES", ())
    monkeypatch.setattr(engine_registry, "_LABELLERS", {})
    made = VertebraLabels(COLUMN.labels(V2), LUMBAR, "toy", confidence={"L5": 0.5})
    calls: list[Anchor | None] = []

    def label(ct: sitk.Image, anchor: Anchor | None, progress: object) -> VertebraLabels:
        calls.append(anchor)
        return made

    def variant(wanted: Settings) -> Labeller:
        name = "toy on " + wanted.device
        return Labeller("toy", lambda *a: replace(label(*a), engine=name), lambda: "", variant)

    register_labeller(Labeller("broken", label, lambda: "the package toy is not installed"))
    register_labeller(variant(Settings()))
    assert available_labellers() == ("toy",)
    labels = label_vertebrae(COLUMN.ct, "auto", anchor=f"L5@{at('L5')}", settings=Settings("cpu"))
    assert labels.engine == "toy on cpu"
    assert labels.levels == LUMBAR
    assert labels.confidence["L5"] == pytest.approx(0.5)
    assert labels.confidence["L4"] == pytest.approx(1.0)
    assert calls == [parse_anchor(f"L5@{at('L5')}")]
    with pytest.raises(InputError, match=r"toy is not installed .*available: toy"):
        label_vertebrae(COLUMN.ct, "broken")


def at(level: str) -> str:
    """A point in a vertebra of the column, as an anchor has it."""
    index = np.argwhere(COLUMN.masks[level]).mean(axis=0)[::-1]
    return ",".join(
        str(v) for v in COLUMN.ct.TransformContinuousIndexToPhysicalPoint(index.tolist())
    )


def test_paths_and_images_are_imported(tmp_path: Path) -> None:
    path = tmp_path / "labels.nii.gz"
    write_image(COLUMN.labels(V2), path)
    for source in (path, str(path), COLUMN.labels(V2)):
        assert label_vertebrae(COLUMN.ct, source).levels == LUMBAR
    with pytest.raises(InputError, match="Anchor"):
        label_vertebrae(COLUMN.ct, path, anchor="L5@0,0,0")
    one_up = label_vertebrae(COLUMN.ct, path, anchor=f"L4@{at('L5')}")
    assert one_up.levels == ("T10", "T11", "T12", "L1", "L2", "L3", "L4", "sacrum")
    with pytest.raises(InputError, match="does not exist"):
        label_vertebrae(COLUMN.ct, "none.nii.gz")


# --- real data ---


def test_real_labels_with_names(shared_data: Path) -> None:
    folder = shared_data / "totalsegmentator_example"
    ct = read_volume(folder / "ct.nii.gz", "ct").image
    labels = import_labels(folder / "vertebrae_total.nii.gz", ct)
    assert labels.levels == ("T11", "T12", "L1", "L2", "L3", "L4", "L5", "S1")
    assert labels.levels_confirmed
    assert labels.warnings == ()
    original = np.asarray(nibabel.load(folder / "vertebrae_total.nii.gz").dataobj).T
    assert np.array_equal(canonical(labels), original)
    whole = import_labels(folder / "total_fast.nii.gz", ct)
    assert whole.levels == (*labels.levels, "sacrum")
    assert {77, 78} <= set(np.unique(canonical(whole)).tolist())
    with pytest.raises(InputError, match="no vertebra by level among its classes"):
        import_labels(folder / "vertebrae_body.nii.gz", ct)
    assert bone_content(labels.image, ct).contrast > 20


def test_real_labels_without_names(shared_data: Path) -> None:
    folder = shared_data / "totalsegmentator_example"
    for name in ("vertebrae_total", "total_fast"):
        image = read_volume(folder / f"{name}.nii.gz", "labels").image
        labels = import_labels(image, None)
        assert labels.levels[:7] == ("T11", "T12", "L1", "L2", "L3", "L4", "L5")
        assert labels.engine_version == "totalsegmentator"
        assert labels.levels_confirmed


def test_real_verse_numbers(shared_data: Path) -> None:
    folder = shared_data / "tptbox_L2-L4"
    ct = read_volume(folder / "sub-ct_label-22_ct.nii.gz", "ct").image
    labels = import_labels(folder / "sub-ct_seg-vert_label-22_msk.nii.gz", ct)
    assert labels.levels == ("L2", "L3", "L4")
    assert labels.engine_version == "verse"
    assert labels.levels_confirmed
    alone = import_labels(shared_data / "verse004" / "sub-verse004_seg-vert_msk.nii.gz", None)
    assert alone.levels == ("T9", "T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5")
    with pytest.raises(InputError, match="not clearly those of"):
        import_labels(folder / "sub-ct_seg-subreg_label-22_msk.nii.gz", ct)


def test_labels_of_another_patient(shared_data: Path) -> None:
    ct = read_volume(shared_data / "tptbox_L2-L4" / "sub-ct_label-22_ct.nii.gz", "ct").image
    other = shared_data / "totalsegmentator_example" / "vertebrae_total.nii.gz"
    with pytest.raises(InputError, match=r"vertebrae_total\.nii\.gz: the labels lie outside"):
        import_labels(other, ct)
