"""Every named phantom through the whole chain: the verdict is the truth's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from CTSpectSpineLib.cli import main
from CTSpectSpineLib.phantom import case_names, load_case, make_phantom


def demo(case: str, folder: Path) -> dict[str, object]:
    code = main(["demo", "--case", case, "--out", str(folder), "--progress", "none"])
    manifest = json.loads((folder / "results" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["labels"]["levels_confirmed"], manifest["labels"]["warnings"]
    assert code == 0
    return dict(manifest)


def test_labels_of_a_neck_alone_are_certain(tmp_path: Path) -> None:
    """Ids 39 to 50 are cervical in one numbering only, although another one has some of them."""
    from dataclasses import replace

    from CTSpectSpineLib import label_vertebrae

    case = load_case("cervical-facet")
    made = make_phantom(replace(case, spine=replace(case.spine, spacing_mm=3.0)))
    labels = label_vertebrae(made.ct, made.anatomy.labels)
    assert labels.levels_confirmed
    assert labels.levels[:3] == ("C1", "C2", "C3")


@pytest.mark.slow
@pytest.mark.parametrize("case", case_names())
def test_demo_of_every_case_equals_its_truth(case: str, tmp_path: Path) -> None:
    assert demo(case, tmp_path)["status"] == "complete"
