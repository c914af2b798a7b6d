"""The SPECT around the spine, its regions, and how their means are observed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.model import SpineJoints, VertebraFrame
from CTSpectSpineLib.uptake.nodes import Nodes, nodes_of
from CTSpectSpineLib.uptake.partition import Partition, build_partition, nodes_inside
from CTSpectSpineLib.uptake.reference import MIN_COVERAGE
from CTSpectSpineLib.uptake.resolution import View
from CTSpectSpineLib.uptake.sampling import SpectField
from CTSpectSpineLib.uptake.transfer import mean_weights

MARGIN_MM = 40.0
"""How much SPECT is kept around the spine. Judgement: a little more than the modelled surroundings,
which reach 34 mm (`surroundings.SHELL_MM`, `surroundings.BEYOND_MM`)."""
VOXEL_MM = 4.9
"""Smaller voxels are averaged up to this size. Numerical: the blur leaves hardly anything finer
(waves of twice this length keep 3 % of their height at 10 mm FWHM)."""


@dataclass(frozen=True)
class ObservedSpine:
    """The SPECT around the spine, its regions, and how they are observed."""

    view: View

    @property
    def field(self) -> SpectField:
        """The SPECT around the spine, in voxels of about `VOXEL_MM`."""
        return self.view.field

    @property
    def partition(self) -> Partition:
        """Its regions."""
        return self.view.partition


def observe_spine(
    whole: SpectField, joints: SpineJoints, labels: sitk.Image
) -> ObservedSpine | None:
    """Crop and divide the SPECT around the spine; None when nothing of it lies inside."""
    regions = [joint.region for joint in joints.joints if joint.region is not None]
    regions += [frame.body for frame in joints.frames.values()]
    points = [region.points_mm() for region in regions if region.mask.any()]
    seen = [p for p in points if whole.coverage(p) > 0.0]
    if not seen:
        return None
    field = whole.cropped(np.concatenate(seen), MARGIN_MM).binned(VOXEL_MM)
    partition = build_partition(field, joints, labels)
    if not partition.parts:
        return None
    weights = mean_weights(partition, field, _observed_in(field, partition, joints.frames))
    return ObservedSpine(View(field, partition, weights))


def _observed_in(
    field: SpectField, partition: Partition, frames: Mapping[str, VertebraFrame]
) -> tuple[Nodes, ...]:
    """All of each region, but of bodies the core."""
    observed = list(partition.nodes)
    for number, part in enumerate(partition.parts):
        if part.kind != "body":
            continue
        core = frames[part.owner].core
        if not core.mask.any() or field.coverage(core.points_mm()) < MIN_COVERAGE:
            continue
        box, body = partition.mask(number)
        inside = nodes_inside(field, core, box) & body
        if inside.any():
            observed[number] = nodes_of(box, inside)
    return tuple(observed)
