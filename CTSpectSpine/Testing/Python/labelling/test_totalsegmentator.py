"""TotalSegmentator: the whole real path on tiny models, and what surrounds it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from process_state import gone
from scipy import ndimage
from scipy.spatial.transform import Rotation
from tiny_totalsegmentator import HU_OF_CLASS

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.errors import Cancelled, InputError
from CTSpectSpineLib.geometry import apply_matrix, grid_of, image_from_array, inverse
from CTSpectSpineLib.labelling import Settings, available_labellers, label_vertebrae
from CTSpectSpineLib.labelling.totalsegmentator import install
from CTSpectSpineLib.labelling.totalsegmentator import labeller as engine
from CTSpectSpineLib.progress import Progress
from CTSpectSpineLib.volumes.orthogonal import is_upright, upright

PROMISED = "CTSPECTSPINE_TEST_TOTALSEGMENTATOR"
"""Python with TotalSegmentator that continuous integration promises; its absence is a failure."""
BLOCKS = {
    "sacrum": ((50, 50, 20), (18, 15, 12)),
    "vertebrae_L5": ((50, 46, 48), (18, 12, 9)),
    "vertebrae_L4": ((50, 48, 72), (15, 12, 9)),
    "vertebrae_L3": ((50, 52, 96), (15, 12, 9)),
    "hip_left": ((82, 50, 30), (8, 9, 15)),
}
"""Centre and half size of each block of the CT, mm from its corner along the patient's axes."""
IDS = {"hip_left": 77, "sacrum": 25, "vertebrae_L5": 27, "vertebrae_L4": 28, "vertebrae_L3": 29}
LEVELS = ("L3", "L4", "L5", "sacrum")


def block_ct(matrix: np.ndarray, size: tuple[int, int, int]) -> sitk.Image:
    """Blocks of known HU in water, sampled on any grid."""
    k, j, i = np.indices(size[::-1], dtype=float)
    points = np.stack([i, j, k], axis=-1) @ matrix[:3, :3].T + matrix[:3, 3]
    voxels = np.zeros(size[::-1], dtype=np.int16)
    for name, (centre, half) in BLOCKS.items():
        voxels[(np.abs(points - centre) <= half).all(axis=-1)] = HU_OF_CLASS[name]
    return image_from_array(voxels, matrix)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of tiny models, and the Python that runs them set."""
    python = os.environ.get(PROMISED, "")
    if not python:
        pytest.skip(f"TotalSegmentator is not set up: {PROMISED} names no Python that has it")
    folder = tmp_path_factory.mktemp("models")
    program = Path(__file__).with_name("tiny_totalsegmentator.py")
    done = subprocess.run([python, program, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{PROMISED} is set, but {python} fails:\n{done.stderr}"
    return folder


@pytest.fixture
def tiny(models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv(install.PYTHON_VARIABLE, os.environ[PROMISED])
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(models))
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    (tmp_path / "user").mkdir()
    return tmp_path / "home"


def overlap(found: np.ndarray, truth: np.ndarray) -> float:
    return 2 * float((found & truth).sum()) / float(found.sum() + truth.sum())


@pytest.mark.slow
def test_the_whole_path_gives_back_every_voxel_of_a_feet_first_ct(tiny: Path) -> None:
    # Axes: i runs to the head, j to the right, k to the back.
    matrix = np.eye(4)
    matrix[:3, :3] = 1.5 * np.array([[0.0, -1, 0], [0, 0, 1], [1, 0, 0]])
    matrix[:3, 3] = (97.0, 0.5, 0.5)
    ct = block_ct(matrix, (75, 66, 66))
    said: list[Progress] = []
    labels = label_vertebrae(
        ct, "totalsegmentator", settings=Settings(device="cpu"), progress=said.append
    )
    assert labels.levels == LEVELS
    assert labels.engine == "totalsegmentator"
    assert labels.engine_version.startswith("2.")
    assert labels.levels_confirmed
    assert labels.image.GetSize() == ct.GetSize()
    assert np.allclose(labels.image.GetDirection(), ct.GetDirection())
    found, voxels = (sitk.GetArrayFromImage(image) for image in (labels.image, ct))
    for name, number in IDS.items():
        assert overlap(found == number, voxels == HU_OF_CLASS[name]) > 0.98, name
    fractions = [p.fraction for p in said]
    assert fractions == sorted(fractions)
    assert fractions[-1] >= 0.9
    assert not tiny.exists(), "the user's own settings are not touched"
    left = [path.name for path in (tiny.parent / "user").rglob("*") if path.is_file()]
    assert left == [], "its packages left something in the user's folder"


@pytest.mark.slow
def test_the_fast_path_on_an_oblique_ct(tiny: Path) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = 3.0 * Rotation.from_euler("xyz", (12, -8, 15), degrees=True).as_matrix()
    middle = np.array([50.0, 50, 56])
    matrix[:3, 3] = middle - matrix[:3, :3] @ np.array([24.0, 22, 25])
    ct = block_ct(matrix, (49, 45, 51))
    assert not is_upright(ct)
    labels = label_vertebrae(ct, "totalsegmentator", settings=Settings(device="cpu", fast=True))
    assert labels.levels == LEVELS
    assert "upright" in " ".join(labels.warnings)
    assert labels.engine_version.endswith("fast")
    found, voxels = (sitk.GetArrayFromImage(image) for image in (labels.image, ct))
    for name, number in IDS.items():
        # Voxels at the edge of a block are between two HU, which is another class.
        core = ndimage.binary_erosion(voxels == HU_OF_CLASS[name], iterations=2)
        assert core.sum() >= 8
        assert (found[core] == number).mean() > 0.97, name
    assert (found[voxels == 0] > 0).mean() < 0.05


# --- without TotalSegmentator ---


def test_what_is_missing_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = tmp_path / "python"
    sentence = install.what_is_missing(environment={install.PYTHON_VARIABLE: str(none)})
    assert "not installed" in sentence
    assert str(none) in sentence
    monkeypatch.setattr(install, "installed_version", lambda values: "2.4.0")
    assert "2.17" in install.what_is_missing(environment={})
    monkeypatch.setattr(install, "installed_version", lambda values: "2.18.0")
    weights = {"TOTALSEG_WEIGHTS_PATH": str(tmp_path)}
    assert "292 and 298" in install.what_is_missing(environment=weights)
    # An interrupted download leaves a folder; that is not a model.
    (tmp_path / "Dataset298_x").mkdir()
    assert "297 and 298" in install.what_is_missing(True, weights)
    for number in (292, 298):
        model = tmp_path / f"Dataset{number}_x" / "trainer" / "fold_0"
        model.mkdir(parents=True)
        (model / "checkpoint_final.pth").touch()
    assert install.what_is_missing(environment=weights) == ""
    assert "-t total_fast" in install.what_is_missing(True, weights)
    assert install.what_is_there(environment=weights).endswith(f"the models 292, 298 in {tmp_path}")
    assert install.what_is_there(True, weights) == ""


def test_the_command_that_fetches_models_is_named_with_its_path_and_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "bin" / "python"
    program = tmp_path / "bin" / "totalseg_download_weights"
    program.parent.mkdir()
    program.touch()
    monkeypatch.setattr(install, "installed_version", lambda values: "2.18.0")
    values = {install.PYTHON_VARIABLE: str(python), "TOTALSEG_WEIGHTS_PATH": str(tmp_path)}
    said = install.what_is_missing(environment=values)
    assert f"'{program} -t total'" in said
    assert "about 1.4 GB: 6 models of 230 MB" in said
    assert "about 0.5 GB: 2 models" in install.what_is_missing(True, values)


def test_the_engine_check_of_the_command_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(install.PYTHON_VARIABLE, str(tmp_path / "python"))
    assert main(["label", "--engine-check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("totalsegmentator: cannot run: the package TotalSegmentator is not")
    assert lines[1] == "builtin: ready."
    assert lines[-1].startswith("auto: Labeller chosen automatically: builtin, since totalsegm")
    assert main(["label", "--engine-check", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["engines"]) >= {"builtin", "auto"}
    assert main(["label", "--out", str(tmp_path / "out")]) == 2
    assert "--ct is missing" in capsys.readouterr().err


def test_where_models_are(tmp_path: Path) -> None:
    assert install.weights_folder({"TOTALSEG_WEIGHTS_PATH": "w"}) == Path("w")
    assert install.weights_folder({"TOTALSEG_HOME_DIR": "h"}) == Path("h/nnunet/results")
    assert install.weights_folder({}).parts[-3:] == (".totalsegmentator", "nnunet", "results")


def test_not_there_is_not_available(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(install.PYTHON_VARIABLE, str(tmp_path / "none"))
    assert "totalsegmentator" not in available_labellers()
    with pytest.raises(InputError, match=f"cannot run: .*{install.PYTHON_VARIABLE}"):
        label_vertebrae(sitk.Image(4, 4, 4, sitk.sitkInt16), "totalsegmentator")


def test_an_unknown_device() -> None:
    ct = sitk.Image(4, 4, 4, sitk.sitkInt16)
    with pytest.raises(InputError, match="Device 'tpu'"):
        engine.label(Settings(device="tpu"), ct, None, lambda progress: None)


def program(folder: Path, text: str) -> str:
    """A program that stands where Python with TotalSegmentator is expected."""
    path = folder / "program"
    asked = '[ "$1" = -c ] && { echo 2.18.0; exit 0; }'
    path.write_text(f"#!/bin/sh\n{asked}\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@pytest.mark.skipif(os.name == "nt", reason="shell script")
def test_cancel_ends_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 600 & echo $$ $! > {pids}.part; mv {pids}.part {pids}; wait"
    monkeypatch.setenv(install.PYTHON_VARIABLE, program(tmp_path, script))

    def cancel(progress: Progress) -> None:
        if pids.exists():
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        engine.label(Settings(), sitk.Image(4, 4, 4, sitk.sitkInt16), None, cancel)
    deadline = time.monotonic() + 10
    for pid in pids.read_text(encoding="utf-8").split():
        while not gone(int(pid)):
            assert time.monotonic() < deadline, "a process survived the cancel"
            time.sleep(0.05)


@pytest.mark.skipif(os.name == "nt", reason="asks /proc")
def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    package = tmp_path / "totalsegmentator"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "python_api.py").write_text(
        "import os, time\n"
        "def totalsegmentator(pid):\n"
        "    open(pid + '.part', 'w').write(str(os.getpid()))\n"
        "    os.rename(pid + '.part', pid)\n"
        "    time.sleep(600)\n",
        encoding="utf-8",
    )
    pid, request = tmp_path / "pid", tmp_path / "request.json"
    request.write_text(f'{{"pid": "{pid}"}}', encoding="utf-8")
    child = subprocess.Popen(
        [sys.executable, str(engine._PROGRAM), str(request)],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        start_new_session=True,
    )
    deadline = time.monotonic() + 20
    while not pid.exists():
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait(20) != 0


@pytest.mark.skipif(os.name == "nt", reason="shell script")
@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("echo 'torch.OutOfMemoryError: CUDA out of memory.'; exit 1", "not enough memory"),
        ("kill -9 $$", "lack of memory"),
        ("echo 'ValueError: wrong'; exit 1", "ValueError: wrong"),
        ("exit 0", "wrote no labels"),
    ],
)
def test_failures_are_one_sentence(
    script: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(install.PYTHON_VARIABLE, program(tmp_path, script))
    with pytest.raises(InputError, match=sentence) as error:
        engine.label(Settings(), sitk.Image(4, 4, 4, sitk.sitkInt16), None, lambda p: None)
    assert "\n" not in str(error.value)


def test_the_subset_are_the_bones_of_the_spine() -> None:
    full = engine.subset(fast=False, hips=True)
    assert len(full) == 24 + 4
    assert {"vertebrae_C1", "vertebrae_L5", "vertebrae_S1", "sacrum", "hip_left"} <= set(full)
    assert not {"vertebrae_L6", "vertebrae_T13"} & set(full)
    assert "rib_right_12" in engine.subset(fast=True, hips=True)
    assert len(engine.subset(fast=False, hips=False)) == 24 + 2
    assert all(anatomy.vertebra(n.removeprefix("vertebrae_")) for n in full if "hip" not in n)


@given(
    angles=st.tuples(*[st.floats(-40, 40)] * 3),
    spacing=st.tuples(*[st.floats(0.7, 4.0)] * 3),
)
@settings(max_examples=25, deadline=None)
def test_an_upright_copy_holds_the_same_values(
    angles: tuple[float, float, float], spacing: tuple[float, float, float]
) -> None:
    """A linear image is the same function of space before and after."""
    turned = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turned * np.array(spacing), (5.0, -3.0, 11.0)
    k, j, i = np.indices((9, 8, 7), dtype=float)
    slope = np.array([1.0, -2.0, 0.5])
    values = (np.stack([i, j, k], axis=-1) @ matrix[:3, :3].T + matrix[:3, 3]) @ slope
    copy = upright(image_from_array(values, matrix), outside=-1e6)
    assert is_upright(copy)
    grid = grid_of(copy)
    found = sitk.GetArrayFromImage(copy)
    places = apply_matrix(grid.ijk_to_lps, np.argwhere(np.ones(found.shape))[:, ::-1])
    index = apply_matrix(inverse(matrix), places)
    inside = ((index >= 0) & (index <= (6, 7, 8))).all(axis=1)
    assert inside.any()
    assert np.allclose(found.ravel()[inside], places[inside] @ slope, atol=1e-6)
    outside = ((index < -0.6) | (index > np.array([6, 7, 8]) + 0.6)).any(axis=1)
    assert (found.ravel()[outside] == -1e6).all()
