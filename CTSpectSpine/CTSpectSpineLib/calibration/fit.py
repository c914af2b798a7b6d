"""Fit of a response to the spheres of a phantom.

All spheres hold the same activity, so what each shows less of it is the response's doing. Fitted
are the phantom's place, the circle, and the width and shape of the response; activity, background
and its slopes follow linearly (variable projection; Golub and Pereyra, SIAM J Numer Anal
1973;10:413). The error is that of the fits that leave out each sphere in turn (jackknife; Efron and
Tibshirani, An Introduction to the Bootstrap, 1993, chapter 11), as noise is correlated and the
model is one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation

from CTSpectSpineLib.calibration.blurred_sphere import blurred_sphere
from CTSpectSpineLib.calibration.find import Pose
from CTSpectSpineLib.calibration.layouts import Layout
from CTSpectSpineLib.geometry import ijk_to_lps
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.uptake.response import Response

_AROUND_MM = 22.0
"""How far around a sphere voxels are compared. Judgement: two widths of a usual point spread."""
_FWHM_MM = (3.0, 30.0)
"""Widths that are allowed. Judgement: far beyond those of bone SPECT, so that an end is a sign that
the fit failed."""
_LIFT = (-0.6, 4.0)
"""Shapes that are allowed. Judgement: below, the response is negative; above, it exceeds twice."""
_USUAL_LIFT, _LIFT_SD = 0.5, 1.0
"""What is known of the shape before. Judgement: from 0 without resolution recovery to 1 and more
with it."""
_PRIOR_WEIGHT = 1e-3
"""Weight of that knowledge: the root mean square misfit, relative to the SPECT, that a shape one
standard deviation off is worth. Judgement: it decides only where the spheres do not."""
_REACH = 2.5
"""Reach of a sphere beyond its radius, in widths. Numerical: 1e-6 of a Gaussian lies beyond 2."""
_TOLERANCE = 1e-6
"""Of the optimisation. Numerical: far below the jackknife's spread."""
_PLACE_SD_MM = 3.0
"""Scale of the place in the optimisation. Numerical."""


@dataclass(frozen=True)
class Sphere:
    """A sphere as it is seen.

    Attributes
    ----------
    diameter_mm
        Inner diameter.
    centre_mm
        LPS.
    recovery, fitted
        Recovery coefficient (mean over the sphere above background, over the true one) as it is
        measured, and as the fitted response gives it.
    """

    diameter_mm: float
    centre_mm: tuple[float, float, float]
    recovery: float
    fitted: float


@dataclass(frozen=True)
class SphereFit:
    """A response fitted to spheres.

    Attributes
    ----------
    response
        The response.
    fwhm_sd_mm, lift_sd
        Errors of its width and shape (jackknife over spheres).
    contrast
        Activity of the spheres over that of the background; infinite without background.
    misfit
        Root mean square difference between SPECT and fit, relative to the spheres above background.
    spheres
        The spheres, in the layout's order.
    """

    response: Response
    fwhm_sd_mm: float
    lift_sd: float
    contrast: float
    misfit: float
    spheres: tuple[Sphere, ...]


@dataclass(frozen=True)
class _Voxels:
    """Voxels that are compared.

    Attributes
    ----------
    points, values
        LPS mm, shape (n, 3); SPECT units, shape (n,).
    nearest
        Number of the nearest sphere, shape (n,).
    voxel_mm
        Voxel sizes, shape (3,).
    """

    points: FloatArray
    values: FloatArray
    nearest: NDArray[np.intp]
    voxel_mm: FloatArray

    def without(self, sphere: int) -> _Voxels:
        """Those of the other spheres."""
        kept = self.nearest != sphere
        return _Voxels(self.points[kept], self.values[kept], self.nearest[kept], self.voxel_mm)


@dataclass(frozen=True)
class _Model:
    """Layout and known contrast, and how parameters become images.

    Parameters of a fit: displacement of the centre (3, mm), rotation vector (3), logarithm of the
    circle's relative size, logarithm of the width, lift.
    """

    layout: Layout
    pose: Pose
    contrast: float | None

    def centres(self, values: FloatArray) -> FloatArray:
        """Centres of the spheres, LPS mm, shape (spheres, 3)."""
        local = self.layout.centres_mm(self.layout.circle_mm * float(np.exp(values[6])))
        turn = Rotation.from_rotvec(values[3:6]).as_matrix() @ self.pose.turn
        return np.asarray(local @ turn.T + self.pose.centre_mm + values[:3])

    def response(self, values: FloatArray) -> Response:
        """The response."""
        return Response(float(np.exp(values[7])), float(values[8]))

    def columns(self, values: FloatArray, voxels: _Voxels) -> FloatArray:
        """Images whose sum the SPECT is: spheres and background, and the background's slopes."""
        response = self.response(values)
        spheres, walls = np.zeros(len(voxels.points)), np.zeros(len(voxels.points))
        for centre, diameter in zip(self.centres(values), self.layout.diameters_mm, strict=True):
            distance = np.linalg.norm(voxels.points - centre, axis=1)
            radius = 0.5 * diameter
            outer = radius + self.layout.wall_mm
            near = distance < outer + _REACH * response.fwhm_mm
            for image, size in ((spheres, radius), (walls, outer)):
                image[near] += blurred_sphere(distance[near], size, response, voxels.voxel_mm)
        around = 1.0 - walls
        away = (voxels.points - self.pose.centre_mm) / self.layout.circle_mm
        slopes = away * around[:, None]
        if self.contrast is None:
            return np.column_stack([spheres, around, slopes])
        return np.column_stack([self.contrast * spheres + around, slopes])

    def solved(self, values: FloatArray, voxels: _Voxels) -> tuple[FloatArray, FloatArray]:
        """Amounts of the columns, and what they leave of the SPECT."""
        columns = self.columns(values, voxels)
        amounts = np.linalg.lstsq(columns, voxels.values, rcond=None)[0]
        return np.asarray(amounts), np.asarray(voxels.values - columns @ amounts)

    def levels(self, amounts: FloatArray) -> tuple[float, float]:
        """Activity of the spheres and of the background."""
        if self.contrast is None:
            return float(amounts[0]), float(amounts[1])
        return float(self.contrast * amounts[0]), float(amounts[0])


def fit_spheres(
    spect: sitk.Image, layout: Layout, pose: Pose, contrast: float | None = None
) -> SphereFit:
    """Fit the response to the spheres.

    Parameters
    ----------
    spect
        SPECT of the phantom.
    layout, pose
        The phantom, and about where it is.
    contrast
        True activity of the spheres over that of the background; None to fit it, and for a phantom
        without background.
    """
    model = _Model(layout, pose, contrast)
    start = np.zeros(9)
    start[7], start[8] = np.log(11.0), _USUAL_LIFT
    # A first fit finds the place; voxels are then chosen about it.
    start = _fitted(model, _voxels(spect, layout, model.centres(start)), start)
    voxels = _voxels(spect, layout, model.centres(start))
    values = _fitted(model, voxels, start)
    amounts, left = model.solved(values, voxels)
    activity, background = model.levels(amounts)
    others = [_fitted(model, voxels.without(n), values) for n in range(len(layout.diameters_mm))]
    response = model.response(values)
    spheres = _recoveries(spect, model, values, activity, background, amounts[-3:])
    return SphereFit(
        response=response,
        fwhm_sd_mm=_jackknife([float(np.exp(o[7])) for o in others]),
        lift_sd=_jackknife([float(o[8]) for o in others]),
        contrast=activity / background if background > 1e-3 * activity else float("inf"),
        misfit=float(np.sqrt(np.mean(left**2))) / max(activity - background, 1e-30),
        spheres=spheres,
    )


def at_edge(fit: SphereFit) -> bool:
    """Whether a width or shape lies at the edge of what is allowed."""
    low, high = _FWHM_MM
    width = fit.response.fwhm_mm
    return not (1.02 * low < width < 0.98 * high) or fit.response.lift > 0.98 * _LIFT[1]


def _fitted(model: _Model, voxels: _Voxels, start: FloatArray) -> FloatArray:
    scale = float(np.sqrt(np.mean(voxels.values**2)))
    weight = _PRIOR_WEIGHT * np.sqrt(len(voxels.values))

    def misfit(values: FloatArray) -> FloatArray:
        left = model.solved(values, voxels)[1] / scale
        prior = weight * (values[8] - _USUAL_LIFT) / _LIFT_SD
        return np.append(left, prior)

    low = np.array([-20.0] * 3 + [-0.6] * 3 + [-0.2, np.log(_FWHM_MM[0]), _LIFT[0]])
    high = np.array([20.0] * 3 + [0.6] * 3 + [0.2, np.log(_FWHM_MM[1]), _LIFT[1]])
    sizes = np.array([_PLACE_SD_MM] * 3 + [0.05] * 3 + [0.03, 0.1, 0.3])
    found = optimize.least_squares(
        misfit,
        np.clip(start, low, high),
        bounds=(low, high),
        x_scale=sizes,
        max_nfev=60,
        ftol=_TOLERANCE,
        xtol=_TOLERANCE,
    )
    return np.asarray(found.x)


def _voxels(spect: sitk.Image, layout: Layout, centres: FloatArray) -> _Voxels:
    """Voxels around the spheres."""
    array, matrix = sitk.GetArrayViewFromImage(spect), ijk_to_lps(spect)
    back = np.linalg.inv(matrix)
    at = centres @ back[:3, :3].T + back[:3, 3]
    reach = (0.5 * max(layout.diameters_mm) + _AROUND_MM) / np.array(spect.GetSpacing())
    low = np.maximum(np.floor(at.min(axis=0) - reach), 0).astype(int)
    high = np.minimum(np.ceil(at.max(axis=0) + reach) + 1, spect.GetSize()).astype(int)
    index = np.stack(
        np.meshgrid(*[np.arange(a, b) for a, b in zip(low, high, strict=True)], indexing="ij"),
        axis=-1,
    ).reshape(-1, 3)
    points = index @ matrix[:3, :3].T + matrix[:3, 3]
    away = np.linalg.norm(points[:, None] - centres[None], axis=2)
    beyond = away - 0.5 * np.array(layout.diameters_mm)
    near = beyond.min(axis=1) < _AROUND_MM
    i, j, k = index[near].T
    return _Voxels(
        points[near],
        array[k, j, i].astype(np.float64),
        beyond[near].argmin(axis=1),
        np.array(spect.GetSpacing()),
    )


def _recoveries(
    spect: sitk.Image,
    model: _Model,
    values: FloatArray,
    activity: float,
    background: float,
    slopes: FloatArray,
) -> tuple[Sphere, ...]:
    """Recovery coefficients of the spheres, measured and fitted."""
    matrix = ijk_to_lps(spect)
    back = np.linalg.inv(matrix)
    array = sitk.GetArrayFromImage(spect).astype(np.float64)
    voxel, free = np.array(spect.GetSpacing()), replace(model, contrast=None)
    result = []
    centres = model.centres(values)
    for number, diameter in enumerate(model.layout.diameters_mm):
        offsets = _ball(0.5 * diameter)
        points = centres[number] + offsets
        index = points @ back[:3, :3].T + back[:3, 3]
        seen = ndimage.map_coordinates(array, index[:, ::-1].T, order=1, mode="nearest")
        away = (points - model.pose.centre_mm) / model.layout.circle_mm
        under = background + away @ slopes
        ball = _Voxels(points, seen, np.zeros(len(points), dtype=np.intp), voxel)
        fitted = free.columns(values, ball) @ np.concatenate([[activity, background], slopes])
        above = activity - background
        result.append(
            Sphere(
                diameter,
                (float(centres[number][0]), float(centres[number][1]), float(centres[number][2])),
                float(np.mean(seen - under) / above),
                float(np.mean(fitted - under) / above),
            )
        )
    return tuple(result)


def _ball(radius_mm: float) -> FloatArray:
    """Points in a ball on a 1 mm grid, shape (n, 3)."""
    reach = np.arange(-np.ceil(radius_mm), np.ceil(radius_mm) + 1.0)
    grid = np.stack(np.meshgrid(reach, reach, reach), axis=-1).reshape(-1, 3)
    return np.asarray(grid[np.linalg.norm(grid, axis=1) <= radius_mm])


def _jackknife(values: list[float]) -> float:
    """Standard error of an estimate from those that leave out one part each."""
    spread = np.array(values) - np.mean(values)
    return float(np.sqrt((len(values) - 1.0) / len(values) * np.sum(spread**2)))
