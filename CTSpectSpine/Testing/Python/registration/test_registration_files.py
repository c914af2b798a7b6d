"""Transform files: what is written is read back, and what is not rigid is refused."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import transform_matrix
from CTSpectSpineLib.registration import read_transform, write_transform
from CTSpectSpineLib.registration.files import as_rigid, centred

CENTRE = (12.5, -130.0, 260.25)


def euler() -> sitk.Euler3DTransform:
    transform = sitk.Euler3DTransform()
    transform.SetCenter(CENTRE)
    transform.SetRotation(0.1, -0.05, 0.2)
    transform.SetTranslation((12.0, -8.0, 15.0))
    return transform


def versor() -> sitk.Transform:
    source = euler()
    transform = sitk.VersorRigid3DTransform()
    transform.SetCenter(CENTRE)
    transform.SetMatrix(source.GetMatrix())
    transform.SetTranslation(source.GetTranslation())
    return transform


def affine() -> sitk.Transform:
    source = euler()
    transform = sitk.AffineTransform(3)
    transform.SetCenter((1.0, 2.0, 3.0))
    matrix = transform_matrix(source)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    centre = np.array([1.0, 2.0, 3.0])
    shift = matrix[:3, :3] @ centre + matrix[:3, 3] - centre
    transform.SetTranslation(shift.tolist())
    return transform


def composite() -> sitk.Transform:
    return sitk.CompositeTransform([versor()])


def test_round_trip_is_exact_and_text(tmp_path: Path) -> None:
    path = tmp_path / "spect_to_ct.tfm"
    write_transform(euler(), path)
    assert "Transform: Euler3DTransform" in path.read_text()
    again = read_transform(path)
    assert again.GetCenter() == pytest.approx(CENTRE)
    assert transform_matrix(again) == pytest.approx(transform_matrix(euler()), abs=1e-9)
    assert again.GetTranslation() == pytest.approx((12.0, -8.0, 15.0))


@pytest.mark.parametrize("make", [versor, affine, composite])
@pytest.mark.parametrize("suffix", [".tfm", ".h5"])
def test_rigid_transforms_of_other_classes(make, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"other{suffix}"
    sitk.WriteTransform(make(), str(path))
    assert transform_matrix(read_transform(path)) == pytest.approx(
        transform_matrix(euler()), abs=1e-6
    )


def test_translation_alone_is_rigid() -> None:
    shift = sitk.TranslationTransform(3, (1.0, 2.0, 3.0))
    assert as_rigid(shift, "shift").TransformPoint((0, 0, 0)) == pytest.approx((1, 2, 3))


def scaled() -> sitk.Transform:
    transform = sitk.AffineTransform(3)
    transform.Scale(1.01)
    return transform


def mirror() -> sitk.Transform:
    transform = sitk.AffineTransform(3)
    transform.SetMatrix((-1, 0, 0, 0, 1, 0, 0, 0, 1))
    return transform


def bent() -> sitk.Transform:
    return sitk.BSplineTransform(3, 3)


def flat() -> sitk.Transform:
    return sitk.Euler2DTransform()


def two() -> sitk.Transform:
    return sitk.CompositeTransform([euler(), euler()])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (scaled, "scales or shears"),
        (mirror, "mirrors"),
        (bent, "BSplineTransform"),
        (flat, "2 dimensions"),
        (two, "holds 2 transforms"),
    ],
)
def test_anything_else_is_refused_by_name(make, words: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.tfm"
    sitk.WriteTransform(make(), str(path))
    with pytest.raises(InputError, match=words) as caught:
        read_transform(path)
    assert str(path) in str(caught.value)


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.tfm: there is no such"):
        read_transform(tmp_path / "none.tfm")
    broken = tmp_path / "broken.tfm"
    broken.write_text("hello")
    with pytest.raises(InputError, match=r"broken\.tfm: "):
        read_transform(broken)
    with pytest.raises(InputError, match="cannot be written"):
        write_transform(euler(), broken / "a.tfm")
    with pytest.raises(InputError, match=r"name the file \*\.tfm"):
        write_transform(euler(), tmp_path / "a.nii")


EULER = "Euler3DTransform_double_3_3"


def text(kind: str, parameters: str, fixed: str = "0 0 0 0") -> str:
    return (
        f"#Insight Transform File V1.0\n#Transform 0\nTransform: {kind}\n"
        f"Parameters: {parameters}\nFixedParameters: {fixed}\n"
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (text(EULER, "nan 0 0 0 0 0"), "'nan' among the Parameters"),
        (text(EULER, "0 0 0 inf 0 0"), "'inf' among"),
        (text(EULER, "0 0 0 1e999 0 0"), "'1e999' among"),
        (text(EULER, "0 0 0 1,5 0 0"), "'1,5' among"),
        (text(EULER, "0 0 0 \u0661 0 0"), "'\u0661' among"),
        (text(EULER, "0 0 0 1_0 0 0"), "'1_0' among"),
        (text(EULER, "0 0 0"), "3 numbers are the Parameters"),
        (text(EULER, ""), "0 numbers are"),
        (text(EULER, "0 0 0 0 0 0 0"), "7 numbers"),
        (text(EULER, "0 0 0 0 0 0", "nan 0 0 0"), "'nan' among the FixedParameters"),
        (text(EULER, "0 0 0 0 0 0", "0"), "1 numbers are the FixedParameters"),
        (text(EULER, "0 0 0 1e9 0 0"), "moves points by"),
        (text("AffineTransform_double_3_3", "1 0 0 0 1 0 0 0 1 0 0", "0 0 0"), "11 numbers"),
        (text("SomeTransform_double_3_3", "1"), "SomeTransform"),
        (text("Euler3DTransform_double_3", "1"), "unknown class"),
        (f"#Insight Transform File V1.0\nTransform: {EULER}\n", "no parameters"),
        ("#Insight Transform File V1.0\n", "no parameters"),
        (text(EULER, "0 0 0 0 0 0") + "Junk: 5\n", "unexpected line 'Junk: 5'"),
        ("\x00\x01\x02", "unexpected line"),
    ],
)
def test_damaged_text_is_refused_before_itk_reads_it(
    content: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.tfm"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=words) as caught:
        read_transform(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
@pytest.mark.parametrize("suffix", [".tfm", ".h5"])
def test_a_path_that_is_not_utf8(suffix: str, tmp_path: Path) -> None:
    whole = tmp_path / f"whole{suffix}"
    sitk.WriteTransform(euler(), str(whole))
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xe9" + suffix.encode()))
    whole.rename(strange)
    with pytest.raises(InputError, match="no UTF-8"):
        read_transform(strange)


@pytest.mark.parametrize("suffix", [".h5", ".mat"])
def test_damaged_binary_files_end_no_process(
    suffix: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"bad{suffix}"
    sitk.WriteTransform(euler(), str(path))
    content = bytearray(path.read_bytes())
    content[len(content) // 3 :] = bytes(len(content) - len(content) // 3)
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=rf"bad\{suffix}"):
        read_transform(path)
    assert capfd.readouterr() == ("", "")


angle = st.floats(-1.2, 1.2)
shift = st.floats(-200, 200)


@given(angles=st.tuples(angle, angle, angle), move=st.tuples(shift, shift, shift))
@settings(max_examples=50, deadline=None)
def test_centred_keeps_the_map(
    angles: tuple[float, float, float], move: tuple[float, float, float]
) -> None:
    transform = sitk.Euler3DTransform()
    transform.SetRotation(*angles)
    transform.SetTranslation(move)
    matrix = transform_matrix(transform)
    again = centred(matrix, np.array(CENTRE))
    assert transform_matrix(again) == pytest.approx(matrix, abs=1e-4)
    assert again.GetCenter() == pytest.approx(CENTRE)
