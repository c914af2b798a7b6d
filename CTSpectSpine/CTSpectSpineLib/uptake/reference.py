"""The patient's reference uptake, the denominator of every ratio.

The reference is a *corrected* uptake: the true mean of bone as the transfer matrix solves it
(bodies observed in their eroded cores). A raw core mean would still hold spill-in of hot
endplates and spill-out to cold discs, by an amount that depends on the size of the vertebra and
on the point spread, and the corrected ratio would inherit that as a bias.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import MAD_TO_SD
from CTSpectSpineLib.model import (
    FloatArray,
    Joint,
    JointKind,
    ReferenceUptake,
    UptakeBounds,
    VertebraFrame,
)
from CTSpectSpineLib.uptake.lattice import PartKind
from CTSpectSpineLib.uptake.partition import Partition
from CTSpectSpineLib.uptake.sampling import SpectField

CONTRALATERAL = "contralateral"
REFERENCES = anatomy.REFERENCE_BONES
MIN_COVERAGE = 0.9
"""Share of a region that must lie inside the SPECT field. Judgement: what is missing from a region
cut by more would weigh on its mean."""
_FEWEST_BODIES = 2
"""Bodies away from hot joints. Judgement: a single one could be diseased unnoticed."""
_USUAL_SPREAD = 0.05
"""Relative spread of bodies where too few serve to estimate it. Judgement: a little below the least
published spread between normal vertebrae, 7 %."""
_OUTLIER_SDS = 3.5
"""Convention: the usual bound of the modified z-score, which rests on the median deviation."""
_OUTLIER_SHARE = 0.3
"""Least relative distance from the median of an outlier. Judgement: a few bodies can agree by
chance, and then the bound above would leave out normal ones."""
# No body, or one too small for a core that the blur spares.
_NO_BODY = frozenset({"C1", "C2", "S1", anatomy.SACRUM})


@dataclass(frozen=True)
class Bodies:
    """Corrected uptake of the bodies that may serve, and why others may not."""

    uptake: Mapping[str, float]
    left_out: Mapping[str, str]


def eligible_bodies(
    field: SpectField,
    frames: Mapping[str, VertebraFrame],
    partition: Partition,
    corrected: Iterable[float],
) -> Bodies:
    """Bodies that are whole and inside the SPECT, with their corrected uptake."""
    values = list(corrected)
    uptake: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for level in anatomy.sort_levels(frames):
        if level in _NO_BODY:
            continue
        frame = frames[level]
        number = partition.position("body", level)
        coverage = field.coverage(frame.core.points_mm())
        if not frame.reliable:
            left_out[level] = "the vertebra is truncated or its frame is uncertain"
        elif not frame.core.mask.any():
            left_out[level] = "its body has no cancellous core"
        elif coverage < MIN_COVERAGE:
            left_out[level] = f"only {coverage:.0%} of its core lies inside the SPECT"
        elif number is None:
            left_out[level] = "nothing of its body is left beside the joints"
        else:
            uptake[level] = values[number]
    return Bodies(uptake, left_out)


def choose_reference(
    bodies: Bodies,
    joints: Iterable[Joint],
    numerators: Mapping[str, float],
    bounds: Mapping[JointKind, UptakeBounds],
) -> tuple[ReferenceUptake, tuple[str, ...]]:
    """Median over bodies that neither stand out nor lie next to a hot joint.

    Which joints are hot depends on the reference, so both are settled in turn.

    Parameters
    ----------
    bodies
        From `eligible_bodies`.
    joints
        All joints.
    numerators
        Joint id to the deciding uptake, SPECT units; joints that were not measured are absent.
    bounds
        Per kind; a joint at or above ``positive`` is hot.

    Returns
    -------
    The reference (value NaN when no body can serve) and warnings.
    """
    joints = tuple(joints)
    used = tuple(bodies.uptake)
    reasons: dict[str, str] = {}
    seen: set[tuple[str, ...]] = set()
    while used and used not in seen:
        seen.add(used)
        value = float(np.median([bodies.uptake[level] for level in used]))
        beside = _beside_hot(bodies, joints, numerators, bounds, value)
        if len(bodies.uptake) - len(beside) < _FEWEST_BODIES:
            # A facet joint lies far from the core: bodies beside hot facets are the next best.
            discs = tuple(joint for joint in joints if joint.kind == "disc")
            beside = _beside_hot(bodies, discs, numerators, bounds, value)
        reasons = beside | _outliers(bodies, [lv for lv in bodies.uptake if lv not in beside])
        used = tuple(level for level in bodies.uptake if level not in reasons)
    warnings: tuple[str, ...] = ()
    if len(used) < min(_FEWEST_BODIES, len(bodies.uptake)):
        # The lower half: disease raises the uptake of bone far more often than it lowers it.
        order = sorted(bodies.uptake, key=bodies.uptake.__getitem__)
        used = anatomy.sort_levels(order[: max(1, (len(order) + 1) // 2)])
        reasons = {
            level: reasons.get(level, "its uptake is in the upper half")
            for level in bodies.uptake
            if level not in used
        }
        warnings = (
            "Fewer than two vertebral bodies are away from hot discs; the reference is the"
            f" median of the bodies with the lower uptake ({', '.join(used)}).",
        )
    values = np.array([bodies.uptake[level] for level in used])
    value = float(np.median(values)) if len(values) else np.nan
    if not value > 0.0:
        value = np.nan
        warnings += ("No vertebral body can serve as reference, so there are no ratios.",)
    reference = ReferenceUptake(
        value=value,
        name="vertebral_bodies",
        used=used,
        left_out={**bodies.left_out, **reasons},
        spread=relative_spread(values),
    )
    return reference, warnings


def bone_reference(name: str, partition: Partition, corrected: Iterable[float]) -> ReferenceUptake:
    """Sacrum or iliac bone (as far as it lies near the spine) as reference, weighted by volume.

    Raises
    ------
    InputError
        If the labels do not hold that bone inside the SPECT.
    """
    values = list(corrected)
    kind = "sacrum" if name == "sacrum" else "hip"
    numbers = [n for n, p in enumerate(partition.parts) if p.kind == kind]
    uptake = np.array([values[n] for n in numbers])
    middle = np.average(uptake, weights=partition.sizes[numbers]) if numbers else 0.0
    if not middle > 0.0:
        raise InputError(
            f"The reference '{name}' cannot be used: the labels hold no such bone with uptake"
            " inside the SPECT; use 'vertebral_bodies' or add the bone to the labels."
        )
    owners = tuple(partition.parts[n].owner for n in numbers)
    return ReferenceUptake(float(middle), name, owners, {}, relative_spread(uptake))


def draw_reference(
    reference: ReferenceUptake,
    partition: Partition,
    true: FloatArray,
    rng: np.random.Generator,
) -> FloatArray:
    """Draws of the reference uptake, shape (repetitions,).

    The choice of bodies errs as well, by their spread over the square root of their number.

    Parameters
    ----------
    reference
        What was chosen.
    true
        Draws of the regions' uptake, shape (repetitions, regions).
    """
    kinds: dict[str, PartKind] = {"sacrum": "sacrum", "iliac": "hip"}
    kind = kinds.get(reference.name, "body")
    places = [partition.position(kind, owner) for owner in reference.used]
    numbers = [n for n in places if n is not None]
    used = true[:, numbers]
    middle: FloatArray = (
        np.median(used, axis=1)
        if kind == "body"
        else np.average(used, axis=1, weights=partition.sizes[numbers])
    )
    spread = _USUAL_SPREAD if np.isnan(reference.spread) else reference.spread
    chance = spread / np.sqrt(max(1, used.shape[1])) * rng.standard_normal(len(true))
    return np.asarray(np.maximum(middle, 0.05 * reference.value) * np.exp(chance))


def relative_spread(values: np.ndarray) -> float:
    """Standard deviation estimated from the median absolute deviation, over the median."""
    if len(values) < 2:
        return float("nan")
    centre = float(np.median(values))
    return (
        float(MAD_TO_SD * np.median(np.abs(values - centre)) / centre) if centre else float("nan")
    )


def _beside_hot(
    bodies: Bodies,
    joints: tuple[Joint, ...],
    numerators: Mapping[str, float],
    bounds: Mapping[JointKind, UptakeBounds],
    value: float,
) -> dict[str, str]:
    reasons: dict[str, str] = {}
    for joint in joints:
        ratio = numerators.get(joint.id, np.nan) / value if value > 0 else np.nan
        if not ratio >= bounds[joint.kind].positive:
            continue
        for level in (joint.upper, joint.lower):
            if level in bodies.uptake:
                reasons.setdefault(level, f"next to a hot joint ({joint.id}, ratio {ratio:.2f})")
    return reasons


def _outliers(bodies: Bodies, levels: list[str]) -> dict[str, str]:
    values = np.array([bodies.uptake[level] for level in levels])
    if len(values) < 3:
        return {}
    centre = float(np.median(values))
    limit = max(_OUTLIER_SDS * relative_spread(values), _OUTLIER_SHARE) * centre
    return {
        level: f"its uptake stands out ({value / centre:.2f} times the median of the bodies)"
        for level, value in zip(levels, values, strict=True)
        if abs(value - centre) > limit
    }
