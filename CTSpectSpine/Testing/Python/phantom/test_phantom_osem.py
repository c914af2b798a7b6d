"""Reconstruction: convergence, corrections, counts, presets."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import SimpleITK as sitk
from projection_support import centred, coordinates, cylinder
from scipy import ndimage

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.phantom.scanner.projections.acquisition import Counted, project
from CTSpectSpineLib.phantom.scanner.projections.osem import osem, projector_of, reconstruct
from CTSpectSpineLib.phantom.scanner.projections.projector import Orbit, Projector, Response
from CTSpectSpineLib.phantom.scanner.projections.settings import (
    Reconstruction,
    load_camera,
    load_reconstruction,
    reconstruction_names,
)
from CTSpectSpineLib.phantom.scanner.projections.subject import Subject

LEHR = load_camera("lehr")


@pytest.fixture(scope="module")
def counted() -> Counted:
    """A cylinder of water with a hot rod, noise-free."""
    shape, spacing = (30, 50, 50), 3.0
    x, y, _ = coordinates(shape, spacing)
    water = np.hypot(x, y) <= 60
    activity = np.where(np.hypot(x - 25, y) <= 9, 4.0, water).astype(np.float32)
    hu = np.where(water, 0, -1000).astype(np.int16)
    subject = Subject(centred(hu, spacing), centred(activity, spacing), np.eye(4))
    return project(subject, LEHR, views=48).noise_free(2e6)


def test_osem_of_exact_projections_converges_to_the_truth():
    n, planes = 36, 11
    line = np.arange(n) - 0.5 * (n - 1)
    body = np.hypot(line[:, None], line[None, :]) <= 14
    truth = np.zeros((n, n, planes), dtype=np.float32)
    truth[body] = 1.0
    truth[20:25, 12:17, 3:8] = 4.0
    per_mm = np.where(body, 0.015, 0.0).astype(np.float32)[:, :, None] * np.ones_like(truth)
    orbit = Orbit((100.0,) * 32)
    projector = Projector(truth.shape, 4.0, orbit, per_mm, Response(LEHR.collimator), cubic=False)
    measured = np.zeros((32, n, planes), dtype=np.float32)
    for pair in range(16):
        measured[pair], measured[pair + 16] = projector.forward(truth, pair)
    errors, misfits = [], []

    def watch(_: int, volume: np.ndarray) -> None:
        errors.append(np.sqrt(np.mean((volume - truth) ** 2) / np.mean(truth**2)))
        seen = np.array([projector.forward(volume, pair)[0] for pair in range(16)])
        misfits.append(np.linalg.norm(seen - measured[:16]) / np.linalg.norm(measured[:16]))

    osem(projector, measured, None, 40, 4, watch)
    assert all(b < a for a, b in pairwise(errors))
    assert misfits[-1] < 6e-3 < 0.05 < misfits[0]
    assert errors[-1] < 0.16
    # A flat start and scatter that is known are taken off exactly.
    scatter = np.full_like(measured, float(measured.mean()) * 0.3)
    other = osem(projector, measured + scatter, scatter, 10, 4)
    plain = osem(projector, measured, None, 10, 4)
    assert np.linalg.norm(other - plain) < 0.1 * np.linalg.norm(plain)


def rod_contrast(image: sitk.Image) -> float:
    """Rod over water, in the middle planes."""
    array = sitk.GetArrayFromImage(image)
    spacing, n = image.GetSpacing()[0], array.shape[1]
    x = (np.arange(n) - 0.5 * (n - 1)) * spacing
    rod = np.hypot(x[None, :] - 25, x[:, None]) <= 5
    water = np.hypot(x[None, :] + 25, x[:, None]) <= 15
    middle = slice(array.shape[0] // 2 - 3, array.shape[0] // 2 + 3)
    return float(array[middle][:, rod].mean() / array[middle][:, water].mean())


def test_corrections_do_what_they_are_for(counted):
    images = {
        name: reconstruct(counted, load_reconstruction(name))
        for name in ("recovery", "no-recovery", "no-attenuation-correction")
    }
    contrast = {name: rod_contrast(image) for name, image in images.items()}
    assert contrast["recovery"] > contrast["no-recovery"] + 0.3
    assert contrast["recovery"] == pytest.approx(4.0, abs=0.8)
    # Without the correction of attenuation the middle of the cylinder reads low.
    profile = {}
    for name, image in images.items():
        array = sitk.GetArrayFromImage(image)
        n = array.shape[1]
        middle = array[array.shape[0] // 2 - 3 : array.shape[0] // 2 + 3].mean(axis=0)
        column = middle[:, n // 2 - 1 : n // 2 + 1].mean(axis=1)
        edge = int(48 / 4.42)
        low, high = n // 2 - edge, n // 2 + edge
        rim = np.mean([column[low - 1 : low + 2], column[high - 2 : high + 1]])
        profile[name] = column[n // 2 - 2 : n // 2 + 2].mean() / rim
    assert profile["no-attenuation-correction"] < 0.85 * profile["no-recovery"]
    for image in images.values():
        assert sitk.GetArrayViewFromImage(image).sum(dtype=float) == pytest.approx(2e6, rel=1e-3)
        assert sitk.GetArrayViewFromImage(image).min() >= 0


def test_a_displaced_map_is_displaced_towards_the_given_side(counted):
    shifted = replace(load_reconstruction("recovery"), attenuation_shift_mm=(13.26, 0.0, 8.84))
    plain = projector_of(counted, load_reconstruction("recovery"))._per_voxel
    moved = projector_of(counted, shifted)._per_voxel
    # Volumes are [y, x, z]; voxels of 4.42 mm.
    assert moved[:, 3:, 2:] == pytest.approx(plain[:, :-3, :-2], abs=1e-6)
    assert not np.allclose(moved, plain)


def test_the_response_of_the_model_can_be_wrong(counted):
    right = load_reconstruction("recovery")
    wide = replace(right, response_scale=1.1)
    assert rod_contrast(reconstruct(counted, wide)) > rod_contrast(reconstruct(counted, right))


def test_presets_load_and_say_their_family():
    families = {name: load_reconstruction(name).family for name in reconstruction_names()}
    assert families["recovery"] == families["displaced-attenuation"] == "recovery"
    assert families["no-recovery"] == families["no-attenuation-correction"] == "no-recovery"
    for name in families:
        settings = load_reconstruction(name)
        camera = load_camera(settings.camera)
        assert settings.scatter_window is None or settings.scatter_window in camera.windows
        assert settings.record()["name"] == name


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"iterations": 0}, "iterations 0; give 1 to 200"),
        ({"views": 61}, "61 views; give an even number"),
        ({"attenuation_shift_mm": (0.0, 200.0, 0.0)}, "at most 100 mm"),
        ({"response_scale": float("nan")}, "response_scale nan"),
    ],
)
def test_impossible_settings_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        Reconstruction(
            "x",
            **{
                **{
                    "iterations": 2,
                    "subsets": 4,
                    "resolution_recovery": True,
                    "filter_fwhm_mm": 5.0,
                },
                **values,
            },
        )


def test_unknown_names_are_refused(counted):
    with pytest.raises(InputError, match="no reconstruction 'x'; there are recovery"):
        load_reconstruction("x")
    with pytest.raises(InputError, match="no camera 'x'; there are lehr"):
        load_camera("x")
    with pytest.raises(InputError, match="has no scatter estimate 'x'; it has triple-energy"):
        reconstruct(counted, replace(load_reconstruction("recovery"), scatter_window="x"))


def test_the_image_lies_where_the_patient_is():
    subject = cylinder(40.0, 80.0)
    image = reconstruct(
        project(subject, LEHR, views=16).noise_free(1e6), load_reconstruction("no-recovery")
    )
    array = sitk.GetArrayFromImage(image)
    index = ndimage.center_of_mass(array)
    centre = image.TransformContinuousIndexToPhysicalPoint(index[::-1])
    assert centre == pytest.approx((0.0, 0.0, 0.0), abs=0.3)
