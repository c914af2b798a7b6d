"""Synthetic cases and patches that the built-in labeller is trained on (no torch needed)."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import SimpleITK as sitk

from CTSpectSpineLib.labelling.builtin.network import CLASSES, OFFSET_MM
from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.config import SpineConfig
from CTSpectSpineLib.phantom.model import Anatomy


@pytest.fixture(scope="module")
def scripts(repository: Path) -> tuple[ModuleType, ModuleType, ModuleType]:
    folder = str(repository / "training" / "labeller")
    sys.path.insert(0, folder)
    try:
        import augmentation
        import real_case
        import synthesis
    finally:
        sys.path.remove(folder)
    return synthesis, augmentation, real_case


@pytest.fixture(scope="module")
def training(
    scripts: tuple[ModuleType, ModuleType, ModuleType],
) -> tuple[ModuleType, ModuleType]:
    return scripts[:2]


@pytest.fixture(scope="module")
def real_case(scripts: tuple[ModuleType, ModuleType, ModuleType]) -> ModuleType:
    return scripts[2]


@pytest.fixture(scope="module")
def case(training: tuple[ModuleType, ModuleType]) -> object:
    config = SpineConfig(
        seed=5, spacing_mm=2.5, first="L4", last="sacrum", lateral_mm=200, ap_mm=160, noise_hu=0
    )
    return training[0].case_of(make_anatomy(config), 5)


def test_a_case_has_all_its_classes_and_centres(case: object) -> None:
    present = {CLASSES[n] for n in np.unique(case.classes)}  # type: ignore[attr-defined]
    assert {"lumbar", "posterior", "disc", "sacrum", "hip"} <= present
    count = int(case.instances.max())  # type: ignore[attr-defined]
    assert len(case.centres) == count + 1  # type: ignore[attr-defined]


def test_a_patch_rests_on_its_seed_alone(
    training: tuple[ModuleType, ModuleType], case: object
) -> None:
    one, two, other = (
        training[1].random_patch(case, 32, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(one.image, two.image)
    assert np.array_equal(one.classes, two.classes)
    assert not np.array_equal(one.image, other.image)


def test_offsets_of_a_patch_meet_in_one_point_per_vertebra(
    training: tuple[ModuleType, ModuleType], case: object
) -> None:
    """Whatever the patch's rotation and scale, unless it is bent too."""
    met = 0
    for seed in range(12):
        patch = training[1].random_patch(case, 48, np.random.default_rng(seed))
        assert set(np.unique(patch.classes)) <= set(range(len(CLASSES)))
        assert np.isfinite(patch.image).all()
        body = (patch.voting > 0) & (patch.classes == CLASSES.index("lumbar"))
        if np.count_nonzero(body) < 300:
            continue
        at = np.argwhere(body)
        aims = at + patch.offsets[:, body].T * (OFFSET_MM / 2.5)
        cells = {tuple(cell) for cell in np.rint(aims / 6).astype(int)}
        met += len(cells) < 30
    assert met >= 3


def test_offsets_weigh_more_where_two_vertebrae_are_near(
    training: tuple[ModuleType, ModuleType], case: object
) -> None:
    """Facet regions hang on them; nothing but vertebrae counts at all."""
    patch = training[1].random_patch(case, 48, np.random.default_rng(3), at_vertebrae=1.0)
    assert set(np.unique(patch.voting).tolist()) == {0.0, 1.0, 3.0}
    assert not patch.voting[patch.classes == 0].any()
    near = np.mean(patch.voting[patch.voting > 0] == 3)
    assert 0.01 < near < 0.3


@pytest.fixture(scope="module")
def as_a_patients(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Anatomy]:
    """A phantom's CT whose top cuts a vertebra, with its labels as TotalSegmentator gives them."""
    made = make_anatomy(
        SpineConfig(
            seed=7,
            spacing_mm=(1.5, 1.5, 2.5),
            first="T11",
            last="L3",
            margin_mm=8,
            crop_mm=(25, 0),
            lateral_mm=160,
            ap_mm=140,
        )
    )
    folder = tmp_path_factory.mktemp("patient")
    paths = folder / "ct.nii.gz", folder / "labels.nii.gz"
    for image, path in zip((made.ct, made.labels), paths, strict=True):
        sitk.WriteImage(image, str(path))
    return *paths, made


def test_a_patients_ct_with_labels_becomes_a_case(
    training: tuple[ModuleType, ModuleType],
    real_case: ModuleType,
    as_a_patients: tuple[Path, Path, Anatomy],
) -> None:
    ct, labels, made = as_a_patients
    case = real_case.real_case(ct, labels, 2.5)
    other = training[0].case_of(made, 1)
    assert {CLASSES[n] for n in np.unique(case.classes)} >= {"thoracic", "lumbar", "disc"}
    assert case.hu.shape[0] < other.hu.shape[0]
    assert np.array_equal(case.hu.shape, case.instances.shape)
    centres = case.centres[np.isfinite(case.centres).all(axis=1)] * 2.5
    true = other.centres[np.isfinite(other.centres).all(axis=1)] * other.spacing
    assert len(centres) >= 2
    # The two grids begin at most a voxel apart.
    apart = np.linalg.norm(centres[:, None] - true[None], axis=2).min(axis=1)
    assert apart.max() < 6.0
    body = case.classes == CLASSES.index("lumbar")
    assert np.median(case.hu[body]) > 80
    space = case.classes == CLASSES.index("disc")
    assert np.median(case.hu[space]) < np.median(case.hu[body])


def test_a_vertebra_that_the_top_cuts_is_left_out_of_a_case(
    real_case: ModuleType, as_a_patients: tuple[Path, Path, Anatomy]
) -> None:
    """Its body cannot be told from its arch; one that its arch reaches down to has no centre."""
    ct, labels, _ = as_a_patients
    case = real_case.real_case(ct, labels, 2.5)
    whole = real_case.coarse_ct(sitk.ReadImage(str(ct)), 2.5)[0]
    assert 3 <= len(whole) - len(case.hu) <= 25
    cut = [n for n in np.unique(case.instances[-1]) if n]
    assert cut
    assert np.isnan(case.centres[cut]).all()
    first = min(int(n) for n in np.unique(case.instances) if n)
    assert first > 1


def test_a_neck_gets_a_head_that_is_background_and_leaves_the_vertebrae_alone(
    training: tuple[ModuleType, ModuleType],
) -> None:
    config = SpineConfig(
        seed=6,
        spacing_mm=2.5,
        first="C1",
        last="C4",
        lateral_mm=200,
        ap_mm=200,
        margin_mm=40,
        noise_hu=0,
    )
    synthesis = training[0]
    made = make_anatomy(config)
    with_head, without = (
        max((synthesis.case_of(made, seed) for seed in range(20)), key=key)
        for key in (brightness, lambda c: -brightness(c))
    )
    assert brightness(with_head) > brightness(without) + 2000
    assert np.array_equal(with_head.classes, without.classes)
    bone = with_head.instances > 0
    changed = np.abs(with_head.hu[bone].astype(float) - without.hu[bone])
    assert np.median(changed) == 0


def brightness(case: object) -> int:
    return int(np.count_nonzero(case.hu[-12:] > 500))  # type: ignore[attr-defined]


def test_bodies_are_told_by_region(training: tuple[ModuleType, ModuleType]) -> None:
    names = {level: training[0].body_class(level) for level in ("C3", "T13", "L6")}
    assert names == {"C3": "cervical", "T13": "thoracic", "L6": "lumbar"}
