"""A lowest lumbar vertebra that meets the sacrum."""

from __future__ import annotations

from pathlib import Path

import pytest
import SimpleITK as sitk

from CTSpectSpineLib.labelling import label_vertebrae
from CTSpectSpineLib.labelling.levels.fused_sacrum import fusion_findings
from CTSpectSpineLib.labelling.levels.numbering import body_centres
from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.config import SpineConfig
from CTSpectSpineLib.phantom.model import Anatomy


def spine(sacralised: bool, slices: float) -> Anatomy:
    return make_anatomy(
        SpineConfig(
            seed=9_100 + int(slices),
            spacing_mm=(1.5, 1.5, slices),
            first="L2",
            last="sacrum",
            lateral_mm=150,
            ap_mm=110,
            margin_mm=5,
            shape_jitter=1.8,
            sacralised_l5=sacralised,
        )
    )


@pytest.mark.parametrize("slices", [1.5, 5.0])
def test_a_sacralised_l5_is_remarked_with_both_sides_and_a_usual_one_is_not(slices: float) -> None:
    usual, fused = (spine(s, slices).labels for s in (False, True))
    assert not fusion_findings(usual, body_centres(usual))
    (finding,) = fusion_findings(fused, body_centres(fused))
    assert finding.levels == ("L5",)
    assert not finding.doubtful
    assert "left (" in finding.sentence
    assert "right (" in finding.sentence


def test_one_side_alone_is_named() -> None:
    labels = spine(True, 3.0).labels
    array = sitk.GetArrayFromImage(labels)
    right = array[:, :, : array.shape[2] // 2]
    lowest = body_centres(labels)["L5"]
    number = array[tuple(labels.TransformPhysicalPointToIndex(lowest.tolist())[::-1])]
    right[:, :, :40][right[:, :, :40] == number] = 0
    cut = sitk.GetImageFromArray(array)
    cut.CopyInformation(labels)
    (finding,) = fusion_findings(cut, body_centres(labels))
    assert "left (" in finding.sentence
    assert "right" not in finding.sentence


def test_the_remark_is_part_of_the_labels(tmp_path: Path) -> None:
    made = spine(True, 3.0)
    path = tmp_path / "labels.nii.gz"
    sitk.WriteImage(made.labels, str(path))
    found = label_vertebrae(made.ct, path)
    assert any("reaches the sacrum" in sentence for sentence in found.warnings)
    assert found.confidence["L5"] < found.confidence["L3"]


def test_without_a_sacrum_or_lumbar_vertebra_there_is_nothing_to_say() -> None:
    labels = spine(True, 5.0).labels
    centres = body_centres(labels)
    assert not fusion_findings(labels == 0, centres)
    assert not fusion_findings(labels, {"sacrum": centres["sacrum"]})


def test_the_shared_real_ct_has_no_contact(shared_data: Path) -> None:
    path = shared_data / "totalsegmentator_example" / "vertebrae_total.nii.gz"
    labels = sitk.ReadImage(str(path))
    assert not fusion_findings(labels, body_centres(labels))
