"""The built-in labeller as it is shipped: phantoms, orientation, bad input, real CTs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.errors import Cancelled, InputError
from CTSpectSpineLib.labelling import available_labellers, label_vertebrae
from CTSpectSpineLib.labelling.builtin.network import MODEL, load_network, what_is_missing
from CTSpectSpineLib.model import VertebraLabels
from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.config import SpineConfig
from CTSpectSpineLib.phantom.model import Anatomy
from CTSpectSpineLib.progress import Progress


def dice(found: sitk.Image, true: sitk.Image, number: int, other: int | None = None) -> float:
    a = sitk.GetArrayViewFromImage(found) == number
    b = sitk.GetArrayViewFromImage(true) == (other or number)
    return 2 * float(np.count_nonzero(a & b)) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.fixture(scope="module")
def lumbar() -> Anatomy:
    return make_anatomy(
        SpineConfig(
            seed=80_000_001,
            spacing_mm=2.0,
            first="T11",
            last="sacrum",
            lateral_mm=190,
            ap_mm=150,
            scoliosis_cobb_deg=20,
            scoliosis_apex="L2",
        )
    )


@pytest.fixture(scope="module")
def labelled(lumbar: Anatomy) -> VertebraLabels:
    return label_vertebrae(lumbar.ct, "builtin")


def test_every_level_of_a_phantom_is_found_and_named(
    lumbar: Anatomy, labelled: VertebraLabels
) -> None:
    assert labelled.engine == "builtin"
    assert labelled.levels_confirmed
    # Thoracic names rest on the last ribs.
    assert labelled.doubted_levels == tuple(n for n in labelled.levels if n[0] == "T")
    for name in ("T12", "L1", "L2", "L3", "L4", "L5", "sacrum"):
        assert dice(labelled.image, lumbar.labels, anatomy.vertebra(name).id) > 0.75, name
        if name != "sacrum":
            assert labelled.confidence[name] > 0.3


def test_labels_do_not_depend_on_the_order_of_the_axes(
    lumbar: Anatomy, labelled: VertebraLabels
) -> None:
    turned = sitk.DICOMOrient(lumbar.ct, "PIR")
    found = label_vertebrae(turned, "builtin")
    assert found.levels == labelled.levels
    back = sitk.DICOMOrient(found.image, "LPS")
    for name in ("L1", "L4"):
        assert dice(back, labelled.image, anatomy.vertebra(name).id) > 0.95


def test_an_anchor_renames_the_whole_column(lumbar: Anatomy, labelled: VertebraLabels) -> None:
    number = anatomy.vertebra("L3").id
    index = np.argwhere(sitk.GetArrayViewFromImage(labelled.image) == number)
    middle = index[np.linalg.norm(index - index.mean(axis=0), axis=1).argmin()][::-1]
    x, y, z = lumbar.ct.TransformIndexToPhysicalPoint(middle.tolist())
    found = label_vertebrae(lumbar.ct, "builtin", anchor=f"L2@{x},{y},{z}")
    shifted = anatomy.vertebra("L2").id
    assert dice(found.image, labelled.image, shifted, number) > 0.95


def test_a_ct_without_a_spine_is_refused_in_one_sentence() -> None:
    rng = np.random.default_rng(1)
    ct = sitk.GetImageFromArray(rng.normal(40, 20, (40, 40, 40)).astype(np.float32))
    ct.SetSpacing((3, 3, 3))
    with pytest.raises(InputError, match="found no vertebra"):
        label_vertebrae(ct, "builtin")


def test_it_can_be_cancelled(lumbar: Anatomy) -> None:
    def cancel(progress: Progress) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        label_vertebrae(lumbar.ct, "builtin", progress=cancel)


def test_it_is_there_after_installation_and_small() -> None:
    assert "builtin" in available_labellers()
    assert MODEL.stat().st_size < 10e6


def test_a_missing_or_broken_network_is_said_in_one_sentence(tmp_path: Path) -> None:
    assert "missing from this installation" in what_is_missing(tmp_path / "builtin.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(MODEL.read_bytes()[:1000])
    with pytest.raises(InputError, match="cannot be read as the labeller's network"):
        load_network(broken)


@pytest.mark.slow
def test_levels_and_overlap_on_a_real_ct(shared_data: Path) -> None:
    """Never seen in training. S1 is part of the sacrum here, as it is one bone."""
    folder = shared_data / "totalsegmentator_example"
    found = label_vertebrae(sitk.ReadImage(str(folder / "ct.nii.gz")), "builtin")
    true = sitk.ReadImage(str(folder / "vertebrae_total.nii.gz"))
    assert found.levels == ("T12", "L1", "L2", "L3", "L4", "L5", "sacrum")
    assert found.levels_confirmed
    overlap = [dice(found.image, true, anatomy.vertebra(f"L{n}").id) for n in range(1, 6)]
    assert np.mean(overlap) >= 0.90
    assert min(overlap) > 0.86
    fast = sitk.ReadImage(str(folder / "total_fast.nii.gz"))
    whole = sitk.Cast((fast == 25) + (fast == 26), sitk.sitkUInt8)
    assert dice(found.image, whole, anatomy.vertebra("sacrum").id, 1) > 0.85


@pytest.mark.slow
def test_a_crop_without_landmarks_is_separated_but_not_confirmed(shared_data: Path) -> None:
    folder = shared_data / "tptbox_L2-L4"
    ct = sitk.ReadImage(str(folder / "sub-ct_label-22_ct.nii.gz"))
    true = sitk.ReadImage(str(folder / "sub-ct_seg-vert_label-22_msk.nii.gz"))
    found = label_vertebrae(ct, "builtin")
    assert not found.levels_confirmed
    assert any("not confirmed" in sentence for sentence in found.warnings)
    present, given = (sitk.GetArrayViewFromImage(i) for i in (found.image, true))
    owners = []
    for number in (21, 22, 23):
        counts = np.bincount(present[given == number])
        counts[0] = 0
        owners.append(int(counts.argmax()))
        assert counts.max() > 0.55 * np.count_nonzero(given == number)
    assert len(set(owners)) == 3
