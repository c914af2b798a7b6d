"""Names that a labeller left in doubt, on the way to the joint table and the verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest

from CTSpectSpineLib.analysis.inputs import as_volume
from CTSpectSpineLib.analysis.level_trust import level_statuses
from CTSpectSpineLib.analysis.options import Options
from CTSpectSpineLib.analysis.stages import label
from CTSpectSpineLib.joints import build_joints
from CTSpectSpineLib.labelling import judge
from CTSpectSpineLib.model import VertebraLabels
from CTSpectSpineLib.phantom import Phantom, example
from CTSpectSpineLib.progress import silent


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return example()


@pytest.fixture(scope="module")
def labels(phantom: Phantom) -> VertebraLabels:
    """A confirmed column whose uppermost name is in doubt."""
    image = phantom.anatomy.labels
    found = judge(VertebraLabels(image, (), "test", confidence={}))
    return replace(found, doubted_levels=found.levels[:1])


def test_joints_of_a_vertebra_in_doubt_are_unconfirmed_and_no_others(
    labels: VertebraLabels,
) -> None:
    joints = build_joints(labels.image)
    status = level_statuses(labels, joints, by_user=False)
    above = f"{labels.levels[0]}-{labels.levels[1]}"
    for joint in joints.joints:
        wanted = "unconfirmed" if joint.level == above else "plausible"
        assert status[joint.id] == wanted, joint.id


def test_a_person_who_confirms_leaves_nothing_in_doubt(
    phantom: Phantom, labels: VertebraLabels
) -> None:
    ct = as_volume(phantom.ct, "ct")
    kept, _ = label(ct, labels, "auto", Options(), silent)
    assert kept.doubted_levels == labels.levels[:1]
    sure, said = label(ct, labels, "auto", Options(confirm_levels=True), silent)
    assert sure.levels_confirmed
    assert not sure.doubted_levels
    assert "The user confirmed the vertebra levels." in said


def test_a_repeated_measurement_keeps_the_doubt(phantom: Phantom, labels: VertebraLabels) -> None:
    """The label map that is handed over does not hold it."""
    ct = as_volume(phantom.ct, "ct")
    alone = replace(labels, doubted_levels=())
    options = Options(keep_levels=True, doubted_levels=f"{labels.levels[0]},T7")
    kept, said = label(ct, alone, "auto", options, silent)
    assert kept.levels_confirmed
    assert kept.doubted_levels == labels.levels[:1]
    assert any("earlier analysis found plausible" in sentence for sentence in said)
