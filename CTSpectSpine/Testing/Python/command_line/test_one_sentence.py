"""What stands beside the one sentence: nothing of libraries, and every note of the reading."""

from __future__ import annotations

import json
import locale
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import CTSpectSpineLib
from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.host import library_call
from CTSpectSpineLib.registration.files import read_transform, write_transform
from CTSpectSpineLib.volumes import reading
from CTSpectSpineLib.volumes.reading import read_volume
from CTSpectSpineLib.volumes.writing import write_image

LIBRARY = Path(CTSpectSpineLib.__file__).parents[1]


def said(*arguments: object) -> tuple[int, str]:
    """Exit code and standard error of a command, with what compiled libraries write there."""
    program = "import sys; from CTSpectSpineLib.command_line.main import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, *map(os.fsencode, map(str, arguments))],  # type: ignore[list-item]
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(LIBRARY)},
        check=False,
    )
    return done.returncode, done.stderr


def damaged(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_hdf5_says_nothing_beside_our_sentence(lumbar_phantom: Path, tmp_path: Path) -> None:
    broken = damaged(tmp_path / "broken.h5", b"\x89HDF\r\n\x1a\n" + bytes(2000))
    images = [f"--{name}={lumbar_phantom / name}.nii.gz" for name in ("ct", "spect")]
    code, error = said("register", *images, "--initial", broken, "--out", tmp_path / "r")
    assert code == 2
    assert error.splitlines() == [line for line in error.splitlines() if "broken.h5" in line]
    assert len(error.splitlines()) == 1


def test_metaio_says_nothing_beside_our_sentence(tmp_path: Path) -> None:
    text = b"ObjectType = Image\nNDims = 3\nDimSize = 9 9 9\nElementType = MET_NONSENSE\n"
    broken = damaged(tmp_path / "broken.mha", text + b"ElementDataFile = LOCAL\n123")
    code, error = said("label", "--ct", broken, "--out", tmp_path / "l")
    assert code == 2
    assert len(error.splitlines()) == 1, error
    assert "broken.mha" in error


@pytest.mark.skipif(os.name == "nt", reason="names are no bytes on Windows")
@pytest.mark.parametrize("name", ["analyze", "joints", "triage"])
def test_a_path_that_is_no_utf8_is_refused_at_once(name: str, tmp_path: Path) -> None:
    """ITK would end the whole process."""
    bad = os.fsdecode(os.fsencode(tmp_path) + b"/M\xfcller")
    if name == "analyze":
        arguments = ["--ct", f"{bad}.nii.gz", "--spect", "s.nii.gz", "--out", str(tmp_path / "r")]
    elif name == "joints":
        arguments = ["--vertebrae", str(tmp_path / "v.nii.gz"), "--out", bad]
    else:
        arguments = ["--joints", f"{bad}.csv"]
    code, error = said(name, *arguments)
    assert (code, len(error.splitlines())) == (2, 1), error
    assert r"M\udcfcller" in error
    assert "bytes that are no UTF-8" in error


@pytest.mark.skipif(os.name == "nt", reason="names are no bytes on Windows")
def test_python_refuses_such_a_path_too(tmp_path: Path) -> None:
    bad = Path(os.fsdecode(os.fsencode(tmp_path) + b"/M\xfcller.nrrd"))
    bad.write_bytes(b"NRRD0004\n")
    with pytest.raises(ValueError, match="no UTF-8"):
        read_volume(bad, "ct")
    with pytest.raises(ValueError, match="no UTF-8"):
        write_image(sitk.Image(3, 3, 3, sitk.sitkUInt8), bad)


@pytest.fixture
def straightened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every CT is read with a note."""

    def noting(path: Path, role: reading.Role) -> reading.Volume:
        volume = read_volume(path, role)
        return replace(volume, notes=("The CT was straightened.",)) if role == "ct" else volume

    monkeypatch.setattr(reading, "read_volume", noting)


@pytest.mark.usefixtures("straightened")
def test_notes_of_the_reading_are_kept(
    lumbar_phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A CT that was straightened says so in what ``label`` prints and writes."""
    arguments = ["label", "--ct", str(lumbar_phantom / "ct.nii.gz"), "--out", str(tmp_path / "l")]
    arguments += ["--vertebrae", str(lumbar_phantom / "vertebrae.nii.gz"), "--progress", "none"]
    assert main(arguments) == 0
    assert "The CT was straightened." in capsys.readouterr().out
    record = json.loads((tmp_path / "l" / "vertebrae.json").read_text(encoding="utf-8"))
    assert record["notes"] == ["The CT was straightened."]


@pytest.mark.slow  # labels and joints of a CT
@pytest.mark.usefixtures("straightened")
def test_a_phantom_of_a_ct_says_what_was_noticed(
    lumbar_phantom: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its scan, which takes long, is left out."""
    monkeypatch.setattr("CTSpectSpineLib.phantom.phantom_of", lambda *_: None)
    monkeypatch.setattr(
        "CTSpectSpineLib.command_line.phantom._write_phantom",
        lambda *_, **__: {"joints": {}, "dispositions": {}},
    )
    arguments = ["phantom", "--ct", str(lumbar_phantom / "ct.nii.gz"), "--out", str(tmp_path / "p")]
    arguments += ["--vertebrae", str(lumbar_phantom / "vertebrae.nii.gz"), "--progress", "none"]
    assert main([*arguments, "--json"]) == 0
    assert "The CT was straightened." in json.loads(capsys.readouterr().out)["notes"]


def test_silence_ends_with_the_call(capfd: pytest.CaptureFixture[str]) -> None:
    with library_call():
        os.write(2, b"chatter")
        os.write(1, b"chatter")
    os.write(2, b"heard")
    assert capfd.readouterr() == ("", "heard")


@pytest.fixture
def decimal_comma(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A host with a decimal comma, where the system has such a locale or can make one."""
    before = locale.setlocale(locale.LC_NUMERIC)
    names = ["de_DE.UTF-8", "de_DE.utf8", "German_Germany.1252"]
    if shutil.which("localedef") and Path("/usr/share/i18n/locales/de_DE").is_file():
        made = ["localedef", "-i", "de_DE", "-f", "UTF-8", str(tmp_path / "de_DE.UTF-8")]
        subprocess.run(made, check=False, capture_output=True)
        monkeypatch.setenv("LOCPATH", str(tmp_path))
    for name in names:
        try:
            locale.setlocale(locale.LC_NUMERIC, name)
        except locale.Error:
            continue
        yield name
        locale.setlocale(locale.LC_NUMERIC, before)
        return
    pytest.skip("this system has no locale with a decimal comma")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii.gz"])
def test_spacings_in_a_host_with_a_decimal_comma(
    suffix: str, decimal_comma: str, tmp_path: Path
) -> None:
    image = sitk.GetImageFromArray(np.arange(8 * 8 * 8, dtype=np.float32).reshape(8, 8, 8))
    image.SetSpacing((4.42, 4.42, 2.5))
    write_image(image, tmp_path / f"a{suffix}")
    found = read_volume(tmp_path / f"a{suffix}", "spect").image
    assert found.GetSpacing() == pytest.approx((4.42, 4.42, 2.5))
    assert locale.localeconv()["decimal_point"] == ",", "the host's locale is put back"


def test_transforms_in_a_host_with_a_decimal_comma(decimal_comma: str, tmp_path: Path) -> None:
    transform = sitk.Euler3DTransform((1.5, 2.5, 3.5), 0.1, 0.2, 0.3, (4.25, 5.5, 6.75))
    write_transform(transform, tmp_path / "a.tfm")
    assert read_transform(tmp_path / "a.tfm").GetTranslation() == pytest.approx((4.25, 5.5, 6.75))
