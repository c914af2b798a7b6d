"""Every named phantom through the whole chain: no verdict contradicts the truth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.phantom import case_names, load_case, make_phantom


def test_labels_of_a_neck_alone_are_certain(tmp_path: Path) -> None:
    """Ids 39 to 50 are cervical in one numbering only, although another one has some of them."""
    from CTSpectSpineLib import label_vertebrae

    case = load_case("cervical-facet")
    made = make_phantom(replace(case, spine=replace(case.spine, spacing_mm=3.0)))
    labels = label_vertebrae(made.ct, made.anatomy.labels)
    assert labels.levels_confirmed
    assert labels.levels[:3] == ("C1", "C2", "C3")


@pytest.mark.slow
@pytest.mark.parametrize("case", case_names())
def test_no_case_gets_a_verdict_against_its_truth(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict is the truth's, or indeterminate with the truth among the candidates.

    Of a short column the registration may be refused, which is no verdict. The CT has voxels of
    2 mm, not 1.5, since a dozen demonstrations take long.
    """
    loaded = load_case(case)
    coarse = replace(loaded, spine=replace(loaded.spine, spacing_mm=2.0))
    monkeypatch.setattr("CTSpectSpineLib.phantom.load_case", lambda name: coarse)
    code = main(["demo", "--case", case, "--out", str(tmp_path), "--progress", "none"])
    results = tmp_path / "results"
    manifest = json.loads((results / "manifest.json").read_text(encoding="utf-8"))
    verdict = json.loads((results / "verdict.json").read_text(encoding="utf-8"))
    truth = json.loads((tmp_path / "phantom" / "truth.json").read_text(encoding="utf-8"))
    expected = truth["dispositions"]["tender-2019"]
    assert manifest["labels"]["levels_confirmed"], manifest["labels"]["warnings"]
    if case == "limited-fov" and verdict["disposition"] == "no_verdict":
        registration = json.loads((results / "registration.json").read_text(encoding="utf-8"))
        assert (code, registration["quality"]) == (1, "failed")
        return
    assert manifest["status"] == "complete"
    possible = {verdict["disposition"], *verdict.get("candidate_dispositions", ())}
    assert expected in possible
    assert code == (0 if verdict["disposition"] == expected else 1)
