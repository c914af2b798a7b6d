"""Synthetic cases and patches that the built-in labeller is trained on (no torch needed)."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from CTSpectSpineLib.labelling.builtin.network import CLASSES, OFFSET_MM
from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.config import SpineConfig


@pytest.fixture(scope="module")
def training(repository: Path) -> tuple[ModuleType, ModuleType]:
    folder = str(repository / "training" / "labeller")
    sys.path.insert(0, folder)
    try:
        import augmentation
        import synthesis
    finally:
        sys.path.remove(folder)
    return synthesis, augmentation


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
        body = patch.voting & (patch.classes == CLASSES.index("lumbar"))
        if np.count_nonzero(body) < 300:
            continue
        at = np.argwhere(body)
        aims = at + patch.offsets[:, body].T * (OFFSET_MM / 2.5)
        cells = {tuple(cell) for cell in np.rint(aims / 6).astype(int)}
        met += len(cells) < 30
    assert met >= 3


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
