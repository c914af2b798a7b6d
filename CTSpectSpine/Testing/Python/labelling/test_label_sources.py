"""Labels by a labeller, from a path, and of real patients."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from labelled_column import (
    COLUMN,
    LUMBAR,
    V2,
    canonical,
    column,
    expected,
    numbers,
)

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.labelling import (
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
from CTSpectSpineLib.labelling.importing.placement import bone_content
from CTSpectSpineLib.model import VertebraLabels
from CTSpectSpineLib.volumes import (
    read_volume,
    write_image,
)


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
    with pytest.raises(InputError, match="seg-vert"):
        import_labels(folder / "sub-ct_seg-subreg_label-22_msk.nii.gz", ct)


def test_labels_of_another_patient(shared_data: Path) -> None:
    ct = read_volume(shared_data / "tptbox_L2-L4" / "sub-ct_label-22_ct.nii.gz", "ct").image
    other = shared_data / "totalsegmentator_example" / "vertebrae_total.nii.gz"
    with pytest.raises(InputError, match=r"vertebrae_total\.nii\.gz: the labels lie outside"):
        import_labels(other, ct)


def test_a_vertebra_map_of_spineps_is_read_with_its_endplates_and_without_its_discs() -> None:
    levels = ("T12", "L1", "L2", "L3", "L4", "L5")
    made = column(levels)
    ids = numbers("verse", levels)
    array = sitk.GetArrayFromImage(made.labels(ids, np.uint8)).astype(np.int16)
    for level in levels:
        rows = np.flatnonzero((array == ids[level]).any(axis=(1, 2)))
        for row, plus in ((rows[0] - 1, 100), (rows[0], 200), (rows[-1], 200)):
            array[row][made.masks[level][rows[len(rows) // 2]]] = ids[level] + plus
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(made.ct)
    found = import_labels(image, made.ct)
    assert found.levels == levels
    assert found.engine_version == "spineps"
    assert found.levels_confirmed
    assert np.array_equal(canonical(found), expected(levels, made))


def test_a_subregion_map_of_spineps_is_refused_with_what_to_give() -> None:
    array = np.zeros((80, 30, 30), dtype=np.uint8)
    for vertebra in range(4):
        # Every vertebra has all parts, so that each number is found along the whole column.
        for place, number in enumerate((41, 42, 45, 46, 47, 48, 49, 60, 62, 100)):
            array[20 * vertebra : 20 * vertebra + 18, 3 * place : 3 * place + 3, 5:20] = number
    with pytest.raises(InputError, match=r"seg-vert"):
        import_labels(sitk.GetImageFromArray(array), None)
