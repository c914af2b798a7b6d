"""The patient that the benchmark scans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from benchmarks.meter import metered
from CTSpectSpineLib import anatomy as names
from CTSpectSpineLib.geometry import apply_matrix, grid_of, ijk_to_lps, image_centre_mm, inverse
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.phantom import Specimen, SpectConfig, load_case, load_reconstruction
from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.model import Tissue
from CTSpectSpineLib.phantom.scanner.projections.acquisition import Projected, project
from CTSpectSpineLib.phantom.scanner.projections.osem import reconstruct
from CTSpectSpineLib.phantom.scanner.projections.settings import load_camera
from CTSpectSpineLib.phantom.scanner.projections.subject import Subject
from CTSpectSpineLib.phantom.scanner.spect import rigid_matrix
from CTSpectSpineLib.phantom.scanning import specimen_of

LEVELS = ("L2", "L4")
"""Vertebrae in whose bodies the reconstructed response is measured."""
PRESETS = (
    "recovery",
    "no-recovery",
    "recovery-wide",
    "recovery-narrow",
    "recovery-sharp",
    "recovery-smooth",
    "no-recovery-sharp",
    "no-recovery-smooth",
    "no-attenuation-correction",
)
"""Reconstructions whose resolution differs, of the usual camera, views and voxels."""
POINT_SHARE = 0.001
"""Activity of the added points over that of the patient. Numerical: small, so that they do not
change how the patient converges, and far above rounding."""
COUNTS = 8.0e6
"""Counts of the scans. Judgement: a usual bone SPECT."""


@dataclass(frozen=True)
class Case:
    """A patient with and without two points of activity in vertebral bodies.

    Attributes
    ----------
    specimen, matrix
        The patient and its pose.
    points_mm
        Positions of the points in the SPECT, LPS mm, shape (2, 3).
    plain, pointed
        The patient as it is, and with the points.
    """

    specimen: Specimen
    matrix: FloatArray
    points_mm: FloatArray
    plain: Subject
    pointed: Subject


def make_case(ct_spacing_mm: float) -> Case:
    """The lumbar phantom."""
    case = load_case("lumbar-disc")
    spine = replace(case.spine, spacing_mm=ct_spacing_mm, lateral_mm=360.0, ap_mm=265.0)
    anatomy = make_anatomy(replace(spine, seed=case.spect.seed))
    specimen = specimen_of(anatomy, case.hot, case.spect.seed)
    spect: SpectConfig = case.spect
    centre = image_centre_mm(anatomy.ct).tolist()
    matrix = rigid_matrix(spect.translation_mm, spect.rotation_deg, centre)
    activity = sitk.GetArrayFromImage(specimen.painted.image)
    label, tissue = (sitk.GetArrayViewFromImage(i) for i in (anatomy.labels, anatomy.tissue))
    impulse, points = np.zeros_like(activity), []
    for level in LEVELS:
        body = (label == names.vertebra(level).id) & (tissue == Tissue.BODY)
        place = tuple(round(v) for v in ndimage.center_of_mass(body))
        impulse[place] = 1.0
        points.append(place[::-1])
    impulse *= POINT_SHARE * float(activity.sum()) / len(LEVELS)
    brighter = sitk.GetImageFromArray(activity + impulse.astype(np.float32))
    brighter.CopyInformation(specimen.painted.image)
    in_ct = apply_matrix(grid_of(anatomy.ct).ijk_to_lps, np.array(points, dtype=float))
    plain = Subject(anatomy.ct, specimen.painted.image, matrix)
    return Case(
        specimen, matrix, apply_matrix(matrix, in_ct), plain, replace(plain, activity=brighter)
    )


@dataclass(frozen=True)
class Preset:
    """What a reconstruction does.

    Attributes
    ----------
    name
        The preset.
    fwhm_mm
        Level to the FWHM along x, y, z of the difference that a point makes.
    seconds
        CPU time of one reconstruction.
    """

    name: str
    fwhm_mm: Mapping[str, tuple[float, float, float]]
    seconds: float


def measured_presets(case: Case, presets: tuple[str, ...]) -> tuple[list[Preset], float, Projected]:
    """Response and time of presets; CPU time of the projections; and these."""
    camera = load_camera("lehr")
    cost = metered(lambda: project(case.plain, camera))
    plain, pointed = cost.result, project(case.pointed, camera)
    rows = []
    for name in presets:
        settings = load_reconstruction(name)
        spent = metered(partial(reconstruct, plain.noise_free(COUNTS), settings))
        # So many more counts that the patient's own are the same in both.
        more = COUNTS * _brightness(plain, pointed)
        with_points = reconstruct(pointed.noise_free(more), settings)
        fwhm = {
            level: _widths(spent.result, with_points, point)
            for level, point in zip(LEVELS, case.points_mm, strict=True)
        }
        rows.append(Preset(name, fwhm, spent.cpu_s))
    return rows, cost.cpu_s, plain


def _brightness(plain: Projected, pointed: Projected) -> float:
    """All counts with the points over those without, from a pixel that no point reaches."""
    seen = plain.primary + plain.scatter
    edge = seen.sum(axis=(0, 1))[-8:].sum()
    other = (pointed.primary + pointed.scatter).sum(axis=(0, 1))[-8:].sum()
    return float(edge / other)


def _widths(
    plain: sitk.Image, pointed: sitk.Image, point: FloatArray
) -> tuple[float, float, float]:
    """FWHM along x, y and z through a point, of the difference of two images."""
    difference = sitk.GetArrayFromImage(pointed) - sitk.GetArrayFromImage(plain)
    matrix = ijk_to_lps(plain)
    steps = np.linspace(-25, 25, 501)
    widths = []
    for axis in np.eye(3):
        index = apply_matrix(inverse(matrix), point + steps[:, None] * axis)
        values = ndimage.map_coordinates(difference, index[:, ::-1].T, order=3)
        widths.append(_half_maximum(steps, values))
    return widths[0], widths[1], widths[2]


def _half_maximum(at: FloatArray, values: FloatArray) -> float:
    top = int(np.argmax(np.where(np.abs(at) < 8, values, -np.inf)))
    low = top - int(np.argmax(values[top::-1] < 0.5 * values[top]))
    high = top + int(np.argmax(values[top:] < 0.5 * values[top]))
    return float(at[high] - at[low])
