"""``phantom`` with the physical scanner and with drawn patients, as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from CTSpectSpineLib.anatomy import vertebra
from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.command_line.phantom_scan import read_reconstruction
from CTSpectSpineLib.phantom import load_reconstruction, reconstruction_names

QUICK = {"resolution_recovery": True, "views": 12, "iterations": 2, "subsets": 3}


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> str:
    """File of a reconstruction that takes no time."""
    path = tmp_path_factory.mktemp("settings") / "mine.json"
    path.write_text(json.dumps(QUICK), encoding="utf-8")
    return str(path)


def made(folder: Path, *options: str) -> dict[str, Any]:
    """Truth of a phantom that the command line makes."""
    assert main(["phantom", "--out", str(folder), "--progress", "none", *options]) == 0
    truth: dict[str, Any] = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    return truth


def bones_in_air(phantom: Path, folder: Path) -> list[str]:
    """Four vertebrae of a CT with little tissue around them: a small field."""
    ct, labels = (sitk.ReadImage(str(phantom / f"{n}.nii.gz")) for n in ("ct", "vertebrae"))
    label = sitk.GetArrayFromImage(labels)
    label[~np.isin(label, [vertebra(level).id for level in ("L2", "L3", "L4", "L5")])] = 0
    hu = sitk.GetArrayFromImage(ct)
    hu[~ndimage.binary_dilation(label > 0, iterations=7)] = -1000
    k, j, i = (slice(max(int(n.min()) - 9, 0), int(n.max()) + 10) for n in np.nonzero(label))
    options = []
    for name, array in (("ct", hu), ("vertebrae", label)):
        image = sitk.GetImageFromArray(array)
        image.CopyInformation(ct)
        image = image[i, j, k]
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
        options += [f"--{name}", str(folder / f"{name}.nii.gz")]
    return options


def physical(quick: str, *options: str) -> list[str]:
    return ["--scanner", "projections", "--reconstruction", quick, "--spacing", "5", *options]


@pytest.mark.slow
def test_physical_scanner_on_a_real_ct(quick: str, lumbar_phantom: Path, tmp_path: Path) -> None:
    images = bones_in_air(lumbar_phantom, tmp_path)
    options = physical(quick, *images, "--hot", "L3-L4 disc=4", "--seed", "5", "--counts", "1e6")
    truth = made(tmp_path / "a", *options)
    scanner = truth["scanner"]
    assert scanner["name"] == "projections"
    assert scanner["reconstruction"]["name"] == "mine"
    assert scanner["reconstruction"]["family"] == "recovery"
    assert (scanner["views"], scanner["counts"], scanner["seed"]) == (12, 1e6, 5)
    assert truth["joints"]["L3-L4 disc"]["true_ratio"] == pytest.approx(4.0, rel=2e-3)
    spect = sitk.ReadImage(str(tmp_path / "a" / "spect.nii.gz"))
    array = sitk.GetArrayFromImage(spect)
    assert array.sum(dtype=float) == pytest.approx(1e6, rel=1e-3)
    assert spect.GetSpacing() == pytest.approx((5.0, 5.0, 5.0))
    # The hot disc lies where the truth says.
    k, j, i = (int(v) for v in np.unravel_index(array.argmax(), array.shape))
    centre = np.append(truth["joints"]["L3-L4 disc"]["centre_mm"], 1.0)
    where = (np.array(truth["ct_to_spect"]) @ centre)[:3]
    peak = np.array(spect.TransformIndexToPhysicalPoint((i, j, k)))
    assert np.linalg.norm((peak - where) / [1.0, 1.0, 2.0]) < 25
    # A second noise draw of the same scan is another image with the same truth.
    again = made(tmp_path / "b", *options, "--noise", "1")
    assert again["joints"] == truth["joints"]
    other = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "b" / "spect.nii.gz")))
    assert not np.array_equal(array, other)
    assert np.corrcoef(array.ravel(), other.ravel())[0, 1] > 0.8


def test_drawn_patient_with_the_usual_scanner(tmp_path: Path) -> None:
    options = ["--patient", "beside", "--field", "cervical", "--seed", "6", "--fwhm", "9"]
    options += ["--ct-spacing", "3"]
    truth = made(tmp_path / "p", *options)
    assert "scanner" not in truth
    assert truth["config"]["patient"]["kind"] == "beside"
    assert truth["config"]["spect"]["fwhm_mm"] == 9
    ratios = [joint["true_ratio"] for joint in truth["joints"].values()]
    assert sum(ratio >= 2 for ratio in ratios) >= 2
    assert np.std([ratio for ratio in ratios if ratio < 1.5]) > 0.08


def test_a_recorded_reconstruction_can_be_used_again(tmp_path: Path) -> None:
    for name in ("recovery", "no-attenuation-correction"):
        settings = load_reconstruction(name)
        path = tmp_path / "again.json"
        path.write_text(json.dumps(settings.record()), encoding="utf-8")
        assert read_reconstruction(path) == settings
    path.write_text('{"scatter_correction": false}', encoding="utf-8")
    assert read_reconstruction(path).scatter_window is None


def test_help_names_the_presets(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["phantom", "--help"])
    text = "".join(capsys.readouterr().out.split())
    named = text.split("--reconstructionNAME|JSON")[-1].split("andvariants")[0]
    names = [name.strip() for name in named.replace("(default)", "").split(",") if name.strip()]
    assert len(names) == 4
    assert set(names) <= set(reconstruction_names())
