"""The spines that joints are measured on: parts of phantoms, each from a seed of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from CTSpectSpineLib.phantom.config import SpineConfig

UNSEEN_FROM = 40000
"""First seed of the benchmark. Convention: the method was tuned on 30000 to 39999 only, so that it
has not seen these spines."""

REGIONS: Mapping[str, tuple[str, str]] = {
    "cervical": ("C1", "T2"),
    "thoracic": ("T1", "L1"),
    "lumbar": ("T11", "sacrum"),
}
_FIELD_MM = {"cervical": (110.0, 130.0), "thoracic": (130.0, 160.0), "lumbar": (140.0, 170.0)}
"""Width and depth of the field of view, mm. Judgement: the vertebrae with some muscle around
them."""
_APEX = {"cervical": "C5", "thoracic": "T7", "lumbar": "L2"}


@dataclass(frozen=True)
class Case:
    """One spine in one condition.

    Attributes
    ----------
    number
        Its place in the cohort; the region follows from it.
    region
        Key of `REGIONS`.
    config
        What to build.
    """

    number: int
    region: str
    config: SpineConfig


def case(first_seed: int, number: int) -> Case:
    """A spine of about 1 mm voxels, of any size, curvature and bone density."""
    region = list(REGIONS)[number % len(REGIONS)]
    seed = first_seed + number
    rng = np.random.default_rng([seed, 1])
    first, last = REGIONS[region]
    lateral, depth = _FIELD_MM[region]
    config = SpineConfig(
        seed=seed,
        spacing_mm=1.0,
        first=first,
        last=last,
        lateral_mm=lateral,
        ap_mm=depth,
        size=float(rng.uniform(0.88, 1.12)),
        bone_density=float(rng.uniform(0.6, 1.2)),
    )
    return Case(number, region, config)


def scoliotic(base: Case) -> Case:
    """The spine with a Cobb angle of 60 degrees, to the left or the right."""
    sign = 1.0 if base.number % 2 else -1.0
    lateral, depth = _FIELD_MM[base.region]
    config = replace(
        base.config,
        scoliosis_cobb_deg=sign * 60.0,
        scoliosis_apex=_APEX[base.region],
        lateral_mm=lateral + 70.0,
        ap_mm=depth + 20.0,
    )
    return replace(base, config=config)


def sliced(base: Case, slice_mm: float) -> Case:
    """The spine scanned with slices of that thickness and 0.9 mm pixels."""
    return replace(base, config=replace(base.config, spacing_mm=(0.9, 0.9, slice_mm)))


def coarse(base: Case, spacing_mm: float) -> Case:
    """The spine on isotropic voxels of that size."""
    return replace(base, config=replace(base.config, spacing_mm=spacing_mm))


def degenerate(base: Case) -> Case:
    """The spine with about every third joint degenerated, by 0.3 to 1."""
    rng = np.random.default_rng([base.config.seed, 2])
    joints = [j for j in base.config.joint_ids if not j.startswith("C1")]
    severity = {j: float(rng.uniform(0.3, 1.0)) for j in joints if rng.uniform() < 1 / 3}
    return replace(base, config=replace(base.config, degenerate=severity))


def transitional(base: Case) -> Case | None:
    """Six lumbar vertebrae or a sacralised L5; thirteen or eleven ribs; None for necks."""
    odd = bool(base.number // len(REGIONS) % 2)
    if base.region == "cervical":
        return None
    if base.region == "lumbar":
        config = replace(base.config, sixth_lumbar=odd, sacralised_l5=not odd)
    else:
        config = replace(base.config, thirteenth_thoracic=odd, eleven_ribs=not odd)
    return replace(base, config=config)
