"""The linear system: what is observed of the regions, and how it errs.

Observed are, for bone, the voxels of each region's profile weighted by the inverse of the noise's
covariance (generalised least squares), and for what surrounds it the means. What is observed is
``transfer @ uptake`` with errors: noise; the response's width and shape, common to all and
(smaller) each region's own, proportional to its uptake; misregistration; each joint's own position;
uneven uptake.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.uptake.lattice import PartKind
from CTSpectSpineLib.uptake.noise import Noise
from CTSpectSpineLib.uptake.observed_spine import ObservedSpine
from CTSpectSpineLib.uptake.response import Family, Response
from CTSpectSpineLib.uptake.transfer import (
    blurred_profiles,
    scaled_columns,
    shifted_profiles,
    transfer_matrix,
)

OWN_WIDTH_SD, OWN_SHAPE_SD = 0.03, 0.08
"""Relative error of the width, and error of the lift, of each region's own response. Measured on
two simulators: twice that swallows real contrast, none leaves the intervals of hot joints too
narrow."""
REGION_SD_MM = 1.0
"""Error of a joint's own position. Measured on outlined articular processes of a real CT (L2 to
L4): facet joints were 0.9 to 1.3 mm off; on phantoms 0.6 mm on average."""
UNEVEN_SD: Mapping[PartKind, float] = {
    "body": 0.043,
    "posterior": 0.043,
    "disc_bone": 0.019,
    "disc_space": 0.027,
    "facet_bone": 0.021,
    "sacrum": 0.019,
    "hip": 0.021,
    "background": 0.021,
}
"""Error of an observation by uneven uptake within regions, in units of the reference. Measured on
14 simulated patients with the true uptake: from 0.02 (discs) to 0.08 (bodies, posterior elements).
Half of that, and 0.015 at least, is taken: neighbours err together, and all of it would count real
contrast as unevenness."""
SURROUNDINGS = 0.5
"""Uptake around a joint, in units of the reference. Judgement: between soft tissue and bone."""
_STEP = 0.04
"""Relative step of the width's derivative. Numerical."""
_COLUMNS = 16
"""Observations that are filtered at a time. Numerical: bounds the memory."""
_LEAST_OWN = 0.02
"""Least share of itself that a region's observation must hold to be weighted by voxels.
Numerical."""


@dataclass(frozen=True)
class Equations:
    """The system, in units of the reference uptake.

    Attributes
    ----------
    observed
        Shape (observations,); one for each region.
    transfer
        Shape (observations, regions).
    fixed
        Covariance of what does not depend on the uptake, shape (observations, observations).
    common
        Changes with one standard deviation of misregistration, shape (observations, ways).
    widths, shapes
        Change of `transfer` with the logarithm of the width, and with the lift.
    width_sd, shape_sd
        Standard deviations of both that all regions share.
    joints, moved
        Numbers of the joints' bones, shape (m,); change of the observations per mm that a joint
        with uptake 1 is displaced, shape (observations, 3 · m): along i, j, k.
    """

    observed: FloatArray
    transfer: FloatArray
    fixed: FloatArray
    common: FloatArray
    widths: FloatArray
    shapes: FloatArray
    width_sd: float
    shape_sd: float
    joints: NDArray[np.intp]
    moved: FloatArray

    def covariance(self, uptake: FloatArray) -> FloatArray:
        """Covariance of the observations' errors where the regions have the given uptake."""
        contrast = np.tile(uptake[self.joints] - SURROUNDINGS, 3)
        ways = [
            self.moved * contrast * (REGION_SD_MM / np.sqrt(3.0)),
            self.widths * uptake * OWN_WIDTH_SD,
            self.shapes * uptake * OWN_SHAPE_SD,
            (self.widths @ uptake * self.width_sd)[:, None],
            (self.shapes @ uptake * self.shape_sd)[:, None],
            self.common,
        ]
        stacked = np.concatenate(ways, axis=1)
        return np.asarray(self.fixed + stacked @ stacked.T)


def build_equations(
    spine: ObservedSpine,
    family: Family,
    response: Response,
    weights: sparse.csc_matrix,
    noise: Noise,
    unit: float,
    ways: FloatArray,
) -> Equations:
    """Build the system.

    Parameters
    ----------
    spine
        The regions.
    family, response
        How they are seen.
    weights
        How each region is observed, from `voxel_weights`.
    noise
        The SPECT's noise.
    unit
        Reference uptake, SPECT units.
    ways
        Changes of the SPECT with one standard deviation of each rigid motion, SPECT units, shape
        (voxels, motions).
    """
    view = spine.view
    counting = _counting(weights, noise) / unit**2
    # Row by row, as all that follows reads them.
    rows = sparse.csr_matrix(weights)
    del weights

    @cache
    def of_gaussian(fwhm_mm: float) -> FloatArray:
        return transfer_matrix(rows, blurred_profiles(view.partition, view.field, fwhm_mm))

    # One Gaussian after the other: profiles are many times as large as their transfer matrix.
    def seen(other: Response) -> FloatArray:
        return np.asarray(sum(weight * of_gaussian(fwhm) for weight, fwhm in other.gaussians()))

    wider = Response(response.fwhm_mm * (1.0 + _STEP), response.lift, response.bend)
    lifted = Response(response.fwhm_mm, response.lift + 1.0, response.bend)
    transfer = seen(response)
    joints = np.array(view.partition.of_kind("disc_bone", "facet_bone"), dtype=np.intp)
    uneven = np.array([UNEVEN_SD[part.kind] for part in view.partition.parts])
    moved = np.zeros((len(transfer), 0))
    if len(joints):
        shifts = shifted_profiles(view.partition, view.field, response.fwhm_mm, joints.tolist())
        moved = transfer_matrix(rows, shifts)
    return Equations(
        observed=np.asarray(rows.T @ view.field.array.ravel()) / unit,
        transfer=transfer,
        fixed=0.5 * (counting + counting.T) + np.diag(uneven**2),
        common=np.asarray(rows.T @ ways) / unit,
        widths=(seen(wider) - transfer) / float(np.log1p(_STEP)),
        shapes=seen(lifted) - transfer,
        width_sd=family.width_sd,
        shape_sd=family.lift_sd,
        joints=joints,
        moved=moved,
    )


def _counting(weights: sparse.csc_matrix, noise: Noise) -> FloatArray:
    """Covariance of the observations by noise, shape (observations, observations).

    Some columns at a time: filtered by the noise's covariance they are several times as large.
    """
    rows = sparse.csr_matrix(weights)
    parts = [
        (noise.correlated(weights[:, first : first + _COLUMNS]).T @ rows).toarray()
        for first in range(0, weights.shape[1], _COLUMNS)
    ]
    return np.asarray(np.concatenate(parts).T)


def voxel_weights(
    spine: ObservedSpine, noise: Noise, profiles: sparse.csc_matrix
) -> sparse.csc_matrix:
    """Weights of generalised least squares for bone; surroundings keep their means.

    Each column is scaled so that it holds as much of its own region as the region's mean does.

    Parameters
    ----------
    spine
        The regions.
    noise
        The SPECT's noise.
    profiles
        What each region with uptake 1 looks like, shape (voxels, regions).

    Returns
    -------
    Matrix of shape (voxels, regions).
    """
    means = spine.view.weights
    bone = np.array([part.kind != "background" for part in spine.partition.parts])
    seen = sparse.csc_matrix(profiles[:, bone])
    weights = noise.weighted(seen)
    own = np.asarray(weights.multiply(seen).sum(axis=0)).ravel()
    wanted = np.asarray(means[:, bone].multiply(seen).sum(axis=0)).ravel()
    del seen
    weights = scaled_columns(weights, wanted / np.maximum(own, 1e-30))
    # Means of all regions come first: a region's own column is its weighted one where that is good.
    order = np.arange(len(bone))
    good = wanted >= _LEAST_OWN
    order[np.flatnonzero(bone)[good]] = len(bone) + np.flatnonzero(good)
    weights = sparse.hstack([means, weights], format="csc")
    return sparse.csc_matrix(weights[:, order])
