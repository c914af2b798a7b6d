"""A registration that is kept: only on the images it was found on, with what was decided on it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import SimpleITK as sitk

from CTSpectSpineLib import Results, analyze
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.phantom import example
from CTSpectSpineLib.results.decision import Decision, decided
from CTSpectSpineLib.results.shown import read_record
from CTSpectSpineLib.volumes.identity import ImageIdentity, identity_of


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept") / "earlier"
    again(folder)
    return folder


def again(folder: Path | None, spect: sitk.Image | None = None, **settings: object) -> Results:
    phantom = example()
    moving = phantom.spect if spect is None else spect
    labels = phantom.anatomy.labels
    return analyze(phantom.ct, moving, vertebrae=labels, out=folder, **settings)


def moved(image: sitk.Image, by_mm: float) -> sitk.Image:
    result = sitk.Image(image)
    x, y, z = image.GetOrigin()
    result.SetOrigin((x, y, z + by_mm))
    return result


@pytest.mark.slow
def test_it_is_refused_on_other_images(earlier: Path, tmp_path: Path) -> None:
    spect = example().spect
    for other, words in (
        (moved(spect, 15.0), r"SPECT: the one given lies elsewhere \(up to 15.0 mm away\)"),
        (spect * 1.5, "SPECT: the one given has other values"),
        (spect[:-1, :, :], "SPECT: the one given has another number of voxels"),
    ):
        with pytest.raises(InputError, match=words):
            again(None, other, registration=earlier)
    silent = tmp_path / "silent"
    shutil.copytree(earlier, silent)
    record = json.loads((silent / "registration.json").read_text(encoding="utf-8"))
    del record["images"]
    (silent / "registration.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(InputError, match="does not say which images it was found on"):
        again(None, registration=silent)


@pytest.mark.slow
def test_a_rejection_stays_until_it_is_taken_back(earlier: Path, tmp_path: Path) -> None:
    folder = tmp_path / "rejected"
    shutil.copytree(earlier, folder)
    texts = decided(read_record(folder).texts, Decision.now("rejected", "good", adjusted=False))
    for name, text in texts.items():
        (folder / name).write_bytes(text.encode("utf-8"))
    shown = read_record(folder)
    assert shown.verdict["disposition"] == "no_verdict"
    assert "lumbar_disc" not in texts["verdict.json"]
    assert not any("counted as" in row.verdict for row in shown.rows)
    kept = again(None, registration=folder)
    assert kept.refused
    assert "rejected" in kept.verdict.reasons[-2]
    assert kept.manifest["registration_check"]["decision"] == "rejected"
    back = again(None, registration=folder, accept_registration=True)
    assert back.verdict.disposition == "lumbar_disc"
    assert "registration_check" not in back.manifest, "the caller records the new decision"


@pytest.mark.slow
def test_an_acceptance_goes_along(earlier: Path, tmp_path: Path) -> None:
    folder = tmp_path / "accepted"
    shutil.copytree(earlier, folder)
    for name in ("registration.json", "manifest.json"):
        values = json.loads((folder / name).read_text(encoding="utf-8"))
        values |= {"quality": "failed", "reasons": ["It looks odd."]}
        check = {"decision": "accepted", "quality": "failed", "adjusted_by_hand": True, "time": ""}
        values["registration_check"] = check
        (folder / name).write_text(json.dumps(values), encoding="utf-8")
    kept = again(None, registration=folder)
    assert kept.verdict.disposition == "lumbar_disc"
    assert any("accepted it nevertheless" in caveat for caveat in kept.verdict.caveats)
    assert kept.manifest["registration_check"]["adjusted_by_hand"] is True


def test_identity_does_not_depend_on_the_storage(tmp_path: Path) -> None:
    spect = example().spect
    known = identity_of(spect)
    assert ImageIdentity.from_record(json.loads(json.dumps(known.record()))) == known
    turned = sitk.DICOMOrient(spect, "RAI")
    for name in ("spect.nrrd", "spect.nii.gz", "spect.mha"):
        sitk.WriteImage(turned, str(tmp_path / name))
        assert known.difference(identity_of(sitk.ReadImage(str(tmp_path / name)))) == "", name
