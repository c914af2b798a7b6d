"""What is known of the regions' uptake before the SPECT is looked at.

Uptake is in units of the patient's vertebral bodies. Ordinary joints of a kind are spread around a
mean with a spread, both of the patient's own and learnt (partial pooling); some are mildly raised
and a few hot. Bodies are alike; posterior elements and disc spaces have their own levels. Soft
tissue around is left nearly free upwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from CTSpectSpineLib.calibration_file import OrdinaryJoints
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.uptake.lattice import PartKind
from CTSpectSpineLib.uptake.partition import Partition


@dataclass(frozen=True)
class Component:
    """A share of regions with a Gaussian of their own."""

    share: float
    mean: float
    sd: float


@dataclass(frozen=True)
class Group:
    """Regions that resemble each other.

    Attributes
    ----------
    mean, mean_sd
        Mean of ordinary regions, and how far a patient's own one may be from it.
    sd, log_sd
        Spread of ordinary regions in a patient, and the standard deviation of its logarithm.
    others
        Components that are not ordinary.
    """

    mean: float
    mean_sd: float
    sd: float
    log_sd: float
    others: tuple[Component, ...] = ()


_RAISED = (Component(0.07, 1.6, 0.35), Component(0.04, 2.7, 0.8), Component(0.025, 4.8, 1.6))
"""Mild and hot joints. Judgement: patients with active facet joints have 2.4 ± 1.9 of them
(Perez-Roman et al. 2020, 190 patients), about one joint in ten; by how much they are raised is left
wide."""
GROUPS: Mapping[PartKind, Group] = {
    "disc_bone": Group(1.0, 0.15, 0.2, 0.35, _RAISED),
    "facet_bone": Group(1.0, 0.15, 0.2, 0.35, _RAISED),
    "body": Group(1.0, 0.0, 0.06, 0.0, (Component(0.06, 1.2, 0.6),)),
    "posterior": Group(0.8, 0.15, 0.15, 0.35, (Component(0.06, 1.2, 0.8),)),
    "disc_space": Group(0.2, 0.06, 0.06, 0.0),
    "sacrum": Group(1.0, 0.2, 0.3, 0.35, (Component(0.1, 1.5, 1.0),)),
    "hip": Group(1.0, 0.3, 0.4, 0.0, (Component(0.1, 1.5, 1.0),)),
}
"""Judgement: normal vertebrae differ by 7 to 14 % between and within patients; ordinary facet
joints and endplates range from 0.6 to 1.5 of the bodies; discs take up little. Widths were tried on
simulated patients with ordinary joints so spread."""
BACKGROUND_SD = 0.25
"""Spread of soft tissue above its median. Judgement: where it stands out (kidneys) it is free."""
BACKGROUND_LOW, _LEAST_LOW_SD = 0.5, 0.05
"""Spread of soft tissue below its median, as a share of that, and at least. Judgement: uptake is
not negative. Tried on 14 simulated patients: a block that may fall below nothing beside a kidney
makes an ordinary disc between two kidneys read twice its uptake; 0.75, and a smaller spread above,
do no better."""


@dataclass(frozen=True)
class Prior:
    """The prior of a partition.

    Attributes
    ----------
    bone, background
        Numbers of the regions with groups, and of the others.
    group
        Place in `groups` of each bone region, shape (len(bone),).
    groups
        The groups that occur.
    background_mean, background_sd
        Of the others, in units of the reference.
    """

    bone: NDArray[np.intp]
    background: NDArray[np.intp]
    group: NDArray[np.intp]
    groups: tuple[Group, ...]
    background_mean: FloatArray
    background_sd: FloatArray


def groups_of(ordinary: Mapping[str, OrdinaryJoints]) -> Mapping[PartKind, Group]:
    """`GROUPS` with the ordinary joints that a site measured in its normals."""
    kinds: Mapping[str, PartKind] = {"disc": "disc_bone", "facet": "facet_bone"}
    changed = {
        kinds[kind]: replace(
            GROUPS[kinds[kind]], mean=values.mean, mean_sd=values.mean_sd, sd=values.sd
        )
        for kind, values in ordinary.items()
    }
    return {**GROUPS, **changed}


def build_prior(
    partition: Partition, first: FloatArray, groups: Mapping[PartKind, Group] = GROUPS
) -> Prior:
    """The prior of a partition.

    Parameters
    ----------
    partition
        The regions.
    first
        A first solution in units of the reference, shape (regions,).
    groups
        What is known of the kinds.
    """
    kinds = [kind for kind in GROUPS if partition.of_kind(kind)]
    bone = [n for n, part in enumerate(partition.parts) if part.kind in GROUPS]
    background = partition.of_kind("background")
    around = first[background]
    middle = float(np.clip(np.median(around), 0.0, 1.0)) if len(around) else 0.0
    return Prior(
        bone=np.array(bone, dtype=np.intp),
        background=np.array(background, dtype=np.intp),
        group=np.array([kinds.index(partition.parts[n].kind) for n in bone], dtype=np.intp),
        groups=tuple(groups[kind] for kind in kinds),
        background_mean=np.full(len(background), middle),
        background_sd=np.where(
            around < middle,
            max(BACKGROUND_LOW * middle, _LEAST_LOW_SD),
            np.hypot(BACKGROUND_SD, around - middle),
        ),
    )
