"""No anchor confirms a column that cannot be counted through; anchors must agree."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import SimpleITK as sitk

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.labelling import Anchor, anchored, judge, label_vertebrae
from CTSpectSpineLib.labelling.levels.numbering import body_centres
from CTSpectSpineLib.model import VertebraLabels
from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.config import SpineConfig


@cache
def spine() -> tuple[sitk.Image, sitk.Image]:
    made = make_anatomy(SpineConfig(seed=2, spacing_mm=3.0, first="C2", last="T4"))
    return made.ct, made.labels


def merged(upper: str, lower: str) -> sitk.Image:
    """The labels with two vertebrae in one label, those above named as a labeller would count."""
    array = sitk.GetArrayFromImage(spine()[1])
    ids = {row.name: row.id for row in anatomy.vertebrae()}
    array[array == ids[upper]] = ids[lower]
    order = [row.name for row in anatomy.vertebrae()]
    for name in reversed(order[: order.index(upper)]):
        if name != "C1":
            array[array == ids[name]] = ids[order[order.index(name) + 1]]
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(spine()[1])
    return image


def anchor(level: str, image: sitk.Image, labelled: str) -> Anchor:
    x, y, z = (float(v) for v in body_centres(image)[labelled])
    return Anchor(level, (x, y, z))


def labels_of(image: sitk.Image) -> VertebraLabels:
    levels = tuple(body_centres(image))
    return VertebraLabels(image, levels, "imported", levels_confirmed=False)


def test_a_right_anchor_confirms_a_whole_column() -> None:
    ct, image = spine()
    found = label_vertebrae(ct, image, anchor("C5", image, "C5"))
    assert found.levels_confirmed


@pytest.mark.parametrize(("upper", "lower"), [("C4", "C5"), ("C6", "C7"), ("T1", "T2")])
def test_an_anchor_does_not_confirm_two_vertebrae_in_one_label(upper: str, lower: str) -> None:
    image = merged(upper, lower)
    below = {"C5": "C7", "C7": "T2", "T2": "T3"}[lower]
    found = judge(anchored(labels_of(image), anchor(below, image, below)))
    assert not found.levels_confirmed
    assert f"{lower} is" in " ".join(found.warnings)
    assert "two vertebrae may carry one label" in " ".join(found.warnings)


def test_anchors_that_contradict_each_other_are_refused() -> None:
    image = merged("C4", "C5")
    above, below = anchor("C3", image, "C4"), anchor("C7", image, "C7")
    with pytest.raises(InputError, match="contradict each other"):
        anchored(labels_of(image), below, above)
    right = spine()[1]
    agree = anchored(labels_of(right), anchor("C7", right, "C7"), anchor("C3", right, "C3"))
    assert agree.levels_confirmed


def test_several_anchors_on_the_command_line() -> None:
    ct, image = spine()
    texts = [str(anchor(level, image, level)) for level in ("C4", "T1")]
    assert label_vertebrae(ct, image, ";".join(texts)).levels_confirmed
    wrong = str(anchor("C7", image, "T1"))
    with pytest.raises(InputError, match="contradict each other"):
        label_vertebrae(ct, image, f"{texts[0]};{wrong}")


def test_correct_labels_are_not_twice_as_large() -> None:
    found = judge(labels_of(spine()[1]))
    assert "two vertebrae may carry" not in " ".join(found.warnings)
    assert np.isfinite(list(found.confidence.values())).all()


def test_an_anchor_does_not_confirm_two_merged_pairs_in_a_row() -> None:
    """As on a real neck: C3 with C4 and C5 with C6, so that neighbours are alike in size."""
    array = sitk.GetArrayFromImage(spine()[1])
    ids = {row.name: row.id for row in anatomy.vertebrae()}
    true = {name: array == ids[name] for name in ("C2", "C3", "C4", "C5", "C6")}
    for name, named in (("C2", "C4"), ("C3", "C5"), ("C4", "C5"), ("C5", "C6"), ("C6", "C6")):
        array[true[name]] = ids[named]
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(spine()[1])
    for known in ("C7", "T3"):
        found = judge(anchored(labels_of(image), anchor(known, image, known)))
        assert not found.levels_confirmed, found.warnings
