"""Synthetic cases and patches that the built-in labeller is trained on (no torch needed)."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from CTSpectSpineLib.labelling.network import CLASSES, OFFSET_MM
from CTSpectSpineLib.phantom.config import SpineConfig
from CTSpectSpineLib.phantom.spine import make_anatomy


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
    return training[0].case_of(make_anatomy(config))


def test_a_case_has_all_its_classes_and_centres(case: object) -> None:
    present = {CLASSES[n] for n in np.unique(case.classes)}  # type: ignore[attr-defined]
    assert {"body", "posterior", "disc", "sacrum", "hip"} <= present
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
        body = patch.voting & (patch.classes == CLASSES.index("body"))
        if np.count_nonzero(body) < 300:
            continue
        at = np.argwhere(body)
        aims = at + patch.offsets[:, body].T * (OFFSET_MM / 2.5)
        cells = {tuple(cell) for cell in np.rint(aims / 6).astype(int)}
        met += len(cells) < 30
    assert met >= 3
