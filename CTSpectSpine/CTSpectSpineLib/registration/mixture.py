"""The local linear model of uptake: the mixture of CT maps that makes up the SPECT, by patch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from CTSpectSpineLib.geometry import MAD_TO_SD
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.registration.sampling import Points

PRIOR_VOXELS = 40.0
"""How many voxels' worth of pull the whole-body mixture has on a patch's own. Judgement: about a
tenth or less of a patch full of bone, and enough to hold a patch at the edge."""


@dataclass(frozen=True)
class Mixture:
    """Linear mixture fitted patch by patch.

    Attributes
    ----------
    columns
        Regressors, a constant first, shape (columns, n).
    coefficients
        Per patch, shape (patches, columns).
    normal
        Normal matrices with the prior, shape (patches, columns, columns).
    predicted
        The model's SPECT, shape (n,).
    """

    columns: FloatArray
    coefficients: FloatArray
    normal: FloatArray
    predicted: FloatArray


def fit_mixture(points: Points, columns: FloatArray, weight: FloatArray) -> Mixture:
    """Weighted least squares per patch, drawn towards the fit over all patches.

    Parameters
    ----------
    points
        SPECT voxels to explain.
    columns
        Regressors, shape (columns, n).
    weight
        Weight of each voxel, shape (n,).
    """
    scatter = points.squares(columns, weight)
    right = points.patch_sum(columns * (weight * points.values))
    total = scatter.sum(axis=0)
    total += 1e-6 * np.trace(total) * np.eye(len(total))
    common = np.linalg.solve(total, right.sum(axis=0))
    prior = PRIOR_VOXELS * np.diag(total) / max(len(weight), 1)
    normal: FloatArray = scatter + np.diag(prior)
    solved = np.linalg.solve(normal, (right + prior * common)[..., None])
    coefficients = solved[..., 0].astype(np.float64)
    predicted = (columns * points.at_points(coefficients.T)).sum(axis=0)
    return Mixture(columns, coefficients, normal, predicted)


def project_out(
    points: Points, mixture: Mixture, weight: FloatArray, jacobian: FloatArray
) -> FloatArray:
    """What of a Jacobian, shape (parameters, n), the mixture of each patch cannot imitate."""
    right = points.products(mixture.columns * weight, jacobian)
    of_patches: FloatArray = np.linalg.solve(mixture.normal, right).astype(np.float64)
    imitation = points.at_points(np.moveaxis(of_patches, 0, -1))
    left: FloatArray = jacobian.copy()
    for column, share in zip(mixture.columns, imitation, strict=True):
        left -= column * share
    return left


def projected_system(
    points: Points,
    mixture: Mixture,
    weight: FloatArray,
    jacobian: FloatArray,
    residual: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Gauss–Newton matrix and right side, over all patches, of a Jacobian.

    What the mixture of each patch can imitate is taken out of the sums instead of the Jacobian;
    see `project_out`.

    Parameters
    ----------
    points, mixture, weight
        As there.
    jacobian
        Shape (parameters, n).
    residual
        SPECT minus the model, shape (n,).
    """
    columns = mixture.columns
    shared = points.products(columns * weight, jacobian)
    imitation = np.linalg.solve(mixture.normal, shared)
    left = 2.0 * shared - points.squares(columns, weight) @ imitation
    hessian = np.empty((len(jacobian), len(jacobian)))
    for n, row in enumerate(jacobian * weight):
        # No BLAS: the last digit must not depend on threads.
        hessian[n, n:] = hessian[n:, n] = np.einsum("n,pn->p", row, jacobian[n:])
    pull = weight * residual
    right = (jacobian * pull).sum(axis=1)
    right -= np.einsum("pbq,pb->q", imitation, points.patch_sum(columns * pull))
    return hessian - np.einsum("pbq,pbr->qr", imitation, left), right


def noise_model(predicted: FloatArray) -> FloatArray:
    """Relative SD of a voxel: counting noise grows with the root of uptake."""
    return np.sqrt(0.15 + np.clip(predicted, 0.0, 4.0))


def robust_scale(residual: FloatArray) -> float:
    """SD of the bulk of the residuals, from their median magnitude."""
    middle = len(residual) // 2
    return max(MAD_TO_SD * float(np.partition(np.abs(residual), middle)[middle]), 1e-4)


def outlier_weights(residual: FloatArray, scale: float) -> FloatArray:
    """Geman–McClure weights, 1 for small residuals, towards 0 for outliers."""
    return 1.0 / (1.0 + (residual / (2.0 * scale)) ** 2) ** 2


def robust_cost(residual: FloatArray, scale: float) -> float:
    """Mean Geman–McClure cost, 0 to 1."""
    squared = (residual / (2.0 * scale)) ** 2
    return float(np.mean(squared / (1.0 + squared)))
