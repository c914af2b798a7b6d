"""Registration of simulated pairs: accuracy, invariances, refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
import SimpleITK as sitk
from simulated_pair import Pair, make_pair, with_values

from CTSpectSpineLib.errors import Cancelled, InputError
from CTSpectSpineLib.geometry import (
    apply_matrix,
    image_centre_mm,
    transform_matrix,
)
from CTSpectSpineLib.model import Registration
from CTSpectSpineLib.progress import Progress
from CTSpectSpineLib.registration import register, registration_record


@pytest.fixture
def itk_threads() -> Iterator[None]:
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    yield
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def test_known_transform_is_found(pair: Pair, result: Registration) -> None:
    errors = pair.errors(result.transform)
    assert errors.max() < 1.0
    assert result.quality == "good", result.reasons
    assert result.metric_end > result.metric_start
    assert errors.mean() < 3 * result.expected_error_mm < 3.0
    assert result.transform.GetCenter() == pytest.approx(image_centre_mm(pair.ct), abs=1e-5)
    assert any("correction is large" in reason for reason in result.reasons)


@pytest.mark.parametrize(
    ("seed", "translation", "rotation"),
    [(12, (0, 0, 0), (0, 0, 0)), (13, (-25, 22, 25), (-12, 11, 12))],
    ids=["none", "large"],
)
def test_from_no_to_large_misalignment(
    seed: int, translation: tuple[float, float, float], rotation: tuple[float, float, float]
) -> None:
    case = make_pair(seed, translation, rotation)
    result = register(case.ct, case.spect)
    assert case.errors(result.transform).max() < 1.0
    assert result.quality == "good", result.reasons
    large = any("correction is large" in reason for reason in result.reasons)
    assert large == any(translation)


def test_frames_of_reference_far_apart(pair: Pair) -> None:
    """Two scanners may put their origins anywhere."""
    shift = np.array([400.0, -250.0, 900.0])
    moved = sitk.Image(pair.spect)
    moved.SetOrigin((np.array(moved.GetOrigin()) + shift).tolist())
    result = register(pair.ct, moved)
    back = sitk.TranslationTransform(3, (-shift).tolist())
    assert pair.errors(sitk.CompositeTransform([back, result.transform])).max() < 1.0


def test_axis_order_does_not_matter(pair: Pair, result: Registration) -> None:
    """The same images stored with other axes give the same transform."""
    ct = sitk.Flip(sitk.PermuteAxes(pair.ct, [2, 0, 1]), [True, False, True])
    spect = sitk.Flip(sitk.PermuteAxes(pair.spect, [0, 2, 1]), [False, False, True])
    turned = register(ct, spect)
    assert pair.errors(turned.transform) == pytest.approx(pair.errors(result.transform), abs=1e-4)
    assert turned.quality == result.quality


def test_voxel_size_does_not_matter(pair: Pair) -> None:
    fine = sitk.Expand(pair.ct, [2, 2, 2])
    assert pair.errors(register(fine, pair.spect).transform).max() < 1.0


def test_scale_of_spect_does_not_matter(pair: Pair, result: Registration) -> None:
    scaled = register(pair.ct, pair.spect * 1e-3)
    assert pair.errors(scaled.transform) == pytest.approx(pair.errors(result.transform), abs=0.05)
    assert scaled.quality == result.quality


def test_initial_is_refined_locally(pair: Pair) -> None:
    near = sitk.Euler3DTransform(pair.truth)
    near.SetTranslation(np.add(pair.truth.GetTranslation(), [6, -5, 7]).tolist())
    result = register(pair.ct, pair.spect, initial=near)
    assert pair.errors(result.transform).max() < 1.0
    assert result.quality == "good", result.reasons


def test_initial_replaces_the_search(pair: Pair) -> None:
    """From a start 90 mm away the global search would find the truth; a local one cannot."""
    far = sitk.Euler3DTransform(pair.truth)
    far.SetTranslation(np.add(pair.truth.GetTranslation(), [0, 0, 90]).tolist())
    result = register(pair.ct, pair.spect, initial=far)
    moved = apply_matrix(result.matrix, pair.joints)
    start = apply_matrix(transform_matrix(far), pair.joints)
    assert np.linalg.norm(moved - start, axis=1).mean() < 60
    assert pair.errors(result.transform).mean() > 20
    assert result.quality != "good"


def test_same_result_whatever_the_threads(
    pair: Pair, result: Registration, itk_threads: None
) -> None:
    one = result
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(4)
    four = register(pair.ct, pair.spect, threads=4)
    assert one.transform.GetParameters() == four.transform.GetParameters()
    assert one.expected_error_mm == four.expected_error_mm
    assert (one.metric_end, one.quality, one.reasons) == (
        four.metric_end,
        four.quality,
        four.reasons,
    )


def test_noise_fails(pair: Pair) -> None:
    rng = np.random.default_rng(3)
    noise = rng.poisson(20.0, size=sitk.GetArrayViewFromImage(pair.spect).shape)
    result = register(pair.ct, with_values(pair.spect, noise.astype(np.float32)))
    assert result.quality == "failed"
    assert any("do not seem to show the same body part" in r for r in result.reasons)


def test_constant_spect_fails(pair: Pair) -> None:
    flat = with_values(pair.spect, np.full_like(sitk.GetArrayFromImage(pair.spect), 7.0))
    result = register(pair.ct, flat)
    assert result.quality == "failed"
    assert "constant" in result.reasons[0]
    record = registration_record(result)
    assert record["expected_error_mm"] is None
    assert "NaN" not in json.dumps(record, allow_nan=False)


@pytest.mark.parametrize(("axes", "name"), [((2,), "mirrored"), ((0, 1), "upside down")])
def test_turned_spect_is_not_good(pair: Pair, axes: tuple[int, ...], name: str) -> None:
    turned = np.flip(sitk.GetArrayFromImage(pair.spect), axis=axes)
    result = register(pair.ct, with_values(pair.spect, turned))
    assert result.quality != "good", name
    if name == "mirrored":
        assert any("left and right swapped" in reason for reason in result.reasons)


def test_other_patient_fits_less(pair: Pair, result: Registration) -> None:
    """Another body in the SPECT: smaller vertebrae, and another curve."""
    other = register(pair.ct, make_pair(15, pitch=29.0).spect)
    assert other.metric_end < 0.95 * result.metric_end
    assert other.quality != "good", other.reasons


def test_progress_rises_and_cancels(pair: Pair) -> None:
    seen: list[Progress] = []
    register(pair.ct, pair.spect, initial=pair.truth, progress=seen.append)
    fractions = [p.fraction for p in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert {p.stage for p in seen} == {"register"}

    def cancel(progress: Progress) -> None:
        if progress.fraction > 0.1:
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        register(pair.ct, pair.spect, progress=cancel)


def test_bad_images_are_named(pair: Pair) -> None:
    with pytest.raises(InputError, match="CT shows no bone"):
        register(pair.ct * 0 - 1000, pair.spect)
    with pytest.raises(InputError, match="SPECT has 60 x 50 x 1 voxels"):
        register(pair.ct, pair.spect[:, :, :1])
    with pytest.raises(InputError, match="CT is not a scalar 3D volume"):
        register(pair.ct[:, :, 0], pair.spect)
    stretched = sitk.AffineTransform(3)
    stretched.Scale(1.1)
    with pytest.raises(InputError, match=r"initial transform: .* not rigid"):
        register(pair.ct, pair.spect, initial=stretched)
