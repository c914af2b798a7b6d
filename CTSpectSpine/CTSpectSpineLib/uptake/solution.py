"""The regions' uptake, given a family of reconstructions: draws, and what they rest on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from CTSpectSpineLib.model import FloatArray, JointKind, SpineJoints
from CTSpectSpineLib.processes import return_memory
from CTSpectSpineLib.uptake.endplates import EndplateUptake, endplate_uptakes, find_endplates
from CTSpectSpineLib.uptake.equations import SURROUNDINGS, Equations, build_equations, voxel_weights
from CTSpectSpineLib.uptake.first_solution import unit_of
from CTSpectSpineLib.uptake.gibbs import Chain, evidence
from CTSpectSpineLib.uptake.lattice import PartKind
from CTSpectSpineLib.uptake.noise import Noise, estimate_noise
from CTSpectSpineLib.uptake.observed_spine import ObservedSpine
from CTSpectSpineLib.uptake.partition import Partition
from CTSpectSpineLib.uptake.prior import GROUPS, Group, Prior, build_prior
from CTSpectSpineLib.uptake.resolution import near_bone
from CTSpectSpineLib.uptake.response import Family
from CTSpectSpineLib.uptake.rigid import rigid_ways

_WARM_UP = (40, 60, 60)
"""Sweeps after each of which the errors are taken anew from the uptake. Numerical: the uptake
hardly moves after the second."""
_SLIP_MM2 = 60.0
"""Twice the variance of a joint's blurred profile: sets what a displacement loses. Measured on hot
facet joints: 5 to 7 % at 2 mm, 10 to 15 % at 3 mm, 31 to 47 % at 6 mm; it gives 6, 14 and 45 %."""
_SWEEPS = 400
"""Numerical: at least; the error of a mean by the chain is then a tenth of its spread."""


@dataclass(frozen=True)
class Solution:
    """Uptake of the regions.

    Attributes
    ----------
    draws
        Of the true uptake, shape (draws, regions), SPECT units.
    unit
        First estimate of the reference uptake, SPECT units.
    noise
        The SPECT's noise.
    condition_number
        Of the bones' transfer matrix, before the prior.
    family
        Family of reconstructions that it rests on.
    endplates
        Uptake of discs' endplates relative to the disc's, by joint id.
    """

    draws: FloatArray
    unit: float
    noise: Noise
    condition_number: float
    family: Family
    endplates: Mapping[str, EndplateUptake]

    @property
    def corrected(self) -> FloatArray:
        """Expected uptake in SPECT units, shape (regions,)."""
        return np.asarray(self.draws.mean(axis=0))


def solve_spine(
    spine: ObservedSpine,
    family: Family,
    fwhm_mm: float,
    joints: SpineJoints,
    error_mm: float,
    repetitions: int,
    rng: np.random.Generator,
    groups: Mapping[PartKind, Group] = GROUPS,
) -> Solution:
    """Solve for the uptake of all regions.

    Parameters
    ----------
    spine
        The regions.
    family, fwhm_mm
        How they are seen.
    joints
        The joints, for their centres.
    error_mm
        Root mean square displacement at the joints by misregistration.
    repetitions
        Draws that are wanted at least.
    rng
        Source of randomness.
    groups
        What is known of the regions' uptake, by kind.
    """
    view = spine.view
    response = family.response(fwhm_mm)
    profiles = view.profiles(response)
    first = view.first(profiles)
    unit = unit_of(spine.partition, first, view.observed())
    fitted = (profiles @ first).reshape(spine.field.array.shape)
    noise = estimate_noise(spine.field, fitted, near_bone(view.field, view.partition))
    centres = np.array([j.centre_mm for j in joints.joints if j.centre_mm is not None])
    if not len(centres):
        centres = np.array([frame.centre_mm for frame in joints.frames.values()])
    ways = rigid_ways(spine.field, fitted, centres, error_mm)
    # Weights have no name here, so that they go as soon as they are not needed any more.
    equations = build_equations(
        spine, family, response, voxel_weights(spine, noise, profiles), noise, unit, ways
    )
    del ways
    return_memory()
    prior = build_prior(spine.partition, first / unit, groups)
    draws = _sample(equations, prior, first / unit, max(repetitions, _SWEEPS), rng)
    endplates = endplate_uptakes(
        find_endplates(view.field, view.partition, joints.joints),
        view,
        profiles,
        response,
        draws.mean(axis=0) * unit,
        unit,
        noise,
    )
    draws = _true(draws, spine.partition, family, error_mm, rng)
    number = condition_number(equations.transfer, spine.partition)
    return Solution(draws * unit, unit, noise, number, family, endplates)


def _sample(
    equations: Equations,
    prior: Prior,
    first: FloatArray,
    sweeps: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Draws of all regions in units of the reference, shape (sweeps, regions)."""
    uptake = np.clip(first, 0.0, None)
    chain = Chain(prior, np.clip(uptake[prior.bone], 0.1, 6.0), rng)
    for count in (*_WARM_UP, sweeps):
        covariance = equations.covariance(uptake)
        found, background = evidence(equations.observed, equations.transfer, covariance, prior)
        draws, _ = chain.run(found, count)
        uptake[prior.bone] = draws[len(draws) // 2 :].mean(axis=0)
        uptake[prior.background] = background(uptake[prior.bone])
    result = np.empty((sweeps, len(first)))
    result[:, prior.bone] = draws
    result[:, prior.background] = uptake[prior.background]
    return result


def _true(
    draws: FloatArray,
    partition: Partition,
    family: Family,
    error_mm: float,
    rng: np.random.Generator,
) -> FloatArray:
    """Draws of the true uptake from those of what the regions hold.

    Bodies overshoot by the family's scale. A joint's outline that is too large holds some of its
    surroundings, and one that is too small lacks bone, so its error acts on the contrast with them.
    """
    result = draws.copy()
    scale = family.scale * np.exp(family.scale_sd * rng.standard_normal(len(draws)))
    bones = partition.of_kind("body", "sacrum", "hip")
    result[:, bones] /= scale[:, None]
    slipped = 1.0 - np.exp(-(error_mm**2) / _SLIP_MM2)
    for number in partition.of_kind("disc_bone", "facet_bone"):
        kind: JointKind = "disc" if partition.parts[number].kind == "disc_bone" else "facet"
        spread = float(np.hypot(family.share_sd[kind], slipped))
        size = np.exp(spread * rng.standard_normal(len(draws))) / family.share[kind]
        contrast = draws[:, number] - SURROUNDINGS
        result[:, number] = np.maximum(0.0, SURROUNDINGS + contrast * size)
    return np.asarray(result)


def condition_number(transfer: FloatArray, partition: Partition) -> float:
    """Condition number of the bone's part of a transfer matrix, before the prior."""
    bone = [n for n, part in enumerate(partition.parts) if part.kind != "background"]
    return float(np.linalg.cond(transfer[np.ix_(bone, bone)])) if bone else float("nan")
