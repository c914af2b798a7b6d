"""The SPECT around the spine, its regions, and how their means are observed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import sparse

from CTSpectSpineLib.model import FloatArray, SpineJoints
from CTSpectSpineLib.uptake.partition import Partition, build_partition
from CTSpectSpineLib.uptake.reference import MIN_COVERAGE
from CTSpectSpineLib.uptake.sampling import SpectField
from CTSpectSpineLib.uptake.transfer import (
    TransferSystem,
    blurred_profiles,
    mean_weights,
    point_weights,
    prior_rows,
    transfer_system,
)

MARGIN_MM = 40.0
"""How much SPECT is kept around the spine: the modelled surroundings and the blur's reach."""


@dataclass(frozen=True)
class Scene:
    """The SPECT around the spine, its regions, and how their means are observed."""

    field: SpectField
    partition: Partition
    weights: sparse.csc_matrix
    priors: tuple[FloatArray, FloatArray]
    cores: Mapping[int, FloatArray]
    """Region number of a body to the SPECT indices of its core's points."""

    def observed(self) -> FloatArray:
        """Mean of the SPECT over each region (bodies: over the core)."""
        means: FloatArray = self.weights.T @ self.field.array.ravel()
        return means

    def system(self, fwhm_mm: float) -> TransferSystem:
        """Transfer system for a point spread."""
        profiles = blurred_profiles(self.partition, self.field, fwhm_mm)
        return transfer_system(self.weights, profiles, self.priors, fwhm_mm)


def make_scene(whole: SpectField, joints: SpineJoints, labels: sitk.Image) -> Scene | None:
    """Set the scene; None when nothing of the spine lies inside the SPECT."""
    regions = [joint.region for joint in joints.joints if joint.region is not None]
    regions += [frame.body for frame in joints.frames.values()]
    points = [region.points_mm() for region in regions if region.mask.any()]
    seen = [p for p in points if whole.coverage(p) > 0.0]
    if not seen:
        return None
    field = whole.cropped(np.concatenate(seen), MARGIN_MM)
    partition = build_partition(field, joints, labels)
    if not partition.parts:
        return None
    weights = mean_weights(partition, field).tolil()
    cores: dict[int, FloatArray] = {}
    for number, part in enumerate(partition.parts):
        if part.kind != "body":
            continue
        core = joints.frames[part.owner].core
        index = field.index(core.points_mm())
        if len(index) and field.coverage(core.points_mm()) >= MIN_COVERAGE:
            cores[number] = index
    replaced = _replace_columns(weights.tocsc(), field, cores)
    neighbours = {joint.id: (joint.upper, joint.lower) for joint in joints.joints}
    return Scene(field, partition, replaced, prior_rows(partition, neighbours), cores)


def _replace_columns(
    weights: sparse.csc_matrix, field: SpectField, cores: Mapping[int, FloatArray]
) -> sparse.csc_matrix:
    """Weights in which bodies are observed in their cores."""
    if not cores:
        return weights
    count = weights.shape[1]
    keep = sparse.diags([0.0 if n in cores else 1.0 for n in range(count)])
    rows, columns, values = [], [], []
    for number, index in cores.items():
        flat, share = point_weights(field, index)
        rows.append(flat)
        values.append(share)
        columns.append(np.full(len(flat), number))
    observed = sparse.csc_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
        shape=weights.shape,
    )
    return sparse.csc_matrix(weights @ keep + observed)
