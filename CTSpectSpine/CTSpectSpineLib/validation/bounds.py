"""Uptake bounds from joints whose truth is known: simulated ones, or a site's normal patients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, inf
from typing import Any

import numpy as np
import pandas as pd

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.model import FloatArray, UptakeBounds
from CTSpectSpineLib.phantom.product import POSITIVE_RATIO
from CTSpectSpineLib.validation.patient import NORMAL_RATIO
from CTSpectSpineLib.validation.rows import Study
from CTSpectSpineLib.validation.summary import CORRECTED, FWHM_BINS_MM, KINDS, Share

LEAST_NORMALS = 20
"""Normal patients below which a site gets no bounds. Standard: CLSI EP28-A3c asks for 20 to
verify a reference interval."""
ENOUGH_NORMALS = 120
"""Normal patients that are enough. Standard: CLSI EP28-A3c asks for 120 reference individuals
to establish a nonparametric interval."""
_REPETITIONS = 1000
"""Bootstrap repetitions. Numerical: 25 of them lie beyond either end of a 95 % interval."""


@dataclass(frozen=True)
class Shares:
    """The shares of joints that the bounds may get wrong.

    Attributes
    ----------
    false_positive
        Of normal joints at or above the positive bound.
    missed
        Of increased joints below the indeterminate bound (a truth study).
    borderline
        Of normal joints at or above the indeterminate bound (a site's normal patients).
    normal_ratio, increased_ratio
        True ratio up to which a joint is normal, and at or above which it is increased. The latter
        is by default the one that makes a joint positive in the truth of the verdicts.

    Notes
    -----
    The default shares are judgements: a false positive weighs more than a joint that is missed
    or left open.
    """

    false_positive: float = 0.01
    missed: float = 0.05
    borderline: float = 0.05
    normal_ratio: float = NORMAL_RATIO
    increased_ratio: float = POSITIVE_RATIO

    def __post_init__(self) -> None:
        """Check the values.

        Raises
        ------
        InputError
            If one is not a share, or they do not fit together.
        """
        for name in ("false_positive", "missed", "borderline"):
            value = getattr(self, name)
            if not 0 < value < 0.5:
                raise InputError(
                    f"The share '{name}' is {value:g}; give more than 0 and less than 0.5."
                )
        if self.borderline < self.false_positive:
            raise InputError(
                f"The share of borderline joints, {self.borderline:g}, is below that of false "
                f"positives, {self.false_positive:g}; give at least as much."
            )
        if not 0 < self.normal_ratio < self.increased_ratio:
            raise InputError(
                f"Normal joints end at {self.normal_ratio:g} and increased ones begin at "
                f"{self.increased_ratio:g}; give the latter a larger true ratio."
            )


@dataclass(frozen=True)
class Limit:
    """A value with its 95 % bootstrap interval; patients are drawn, not joints."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class GroupBounds:
    """Bounds for one group of joints.

    Attributes
    ----------
    name, kind
        What the group is, and the kind of its joints.
    patients, normal, increased
        How many patients and joints the limits rest on.
    upper
        Value that no more than the given share of normal joints reaches; None with too few.
    lower
        Value below which no more than the given share of just increased joints lies (truth
        study), or that no more than the borderline share of normal joints reaches (site); None
        with too few.
    middle
        Median of just increased joints (truth study); None for a site.
    """

    name: str
    kind: str
    patients: int
    normal: int
    increased: int
    upper: Limit | None
    lower: Limit | None
    middle: Limit | None = None

    @property
    def positive(self) -> float | None:
        """The positive bound, rounded up to 0.01; None with too few joints."""
        if self.upper is None or self.lower is None:
            return None
        middle = self.upper if self.middle is None else self.middle
        return ceil(round(100 * max(self.upper.value, middle.value), 6)) / 100

    @property
    def indeterminate(self) -> float | None:
        """The indeterminate bound, rounded to 0.01 to the safe side; None with too few joints."""
        if self.upper is None or self.lower is None:
            return None
        to_safe_side = floor if self.increased else ceil
        return to_safe_side(round(100 * self.lower.value, 6)) / 100


def exceeded_by(values: FloatArray, patients: Sequence[str], share: float, seed: int = 0) -> Limit:
    """The smallest observed value that at most a share of the joints reaches.

    Parameters
    ----------
    values
        One for each joint, shape (n,).
    patients
        Patient of each joint; the joints of a patient stay together in the bootstrap, as they share
        reference, registration and resolution.
    share
        The share; times n it must be at least 1.
    seed
        Seed of the bootstrap.

    Raises
    ------
    InputError
        If there are too few joints for the share.
    """
    if len(values) * share < 1:
        raise InputError(f"{len(values)} joints are too few for a share of {share:g}.")
    order = np.argsort(values, kind="stable")[::-1]
    falling = np.asarray(values, dtype=float)[order]
    owner = np.unique(patients, return_inverse=True)[1][order]
    count = int(owner.max()) + 1
    rng = np.random.default_rng(seed)
    found = np.empty(_REPETITIONS)
    for number in range(_REPETITIONS):
        weight = rng.multinomial(count, np.full(count, 1.0 / count))[owner].astype(float)
        found[number] = _exceeded(falling, weight, share)
    low, high = np.quantile(found, [0.025, 0.975])
    return Limit(_exceeded(falling, np.ones(len(falling)), share), float(low), float(high))


def _exceeded(falling: FloatArray, weight: FloatArray, share: float) -> float:
    """Smallest of the falling values whose weight, with all above it, is within the share."""
    total = np.cumsum(weight)
    within = int(np.searchsorted(total, share * total[-1] * (1 + 1e-12), side="right"))
    # A tie with the next one would let that one reach the bound as well.
    while within > 1 and within < len(falling) and falling[within] == falling[within - 1]:
        within -= 1
    return float(falling[max(within - 1, 0)])


def study_bounds(
    study: Study, shares: Shares, metric: str = CORRECTED, seed: int = 0
) -> list[GroupBounds]:
    """Bounds from a truth study, for each kind and for parts of it.

    Increased joints are treated as if each were just increased: a corrected ratio is scaled by
    the increased ratio over the true one, so that the bounds do not depend on how hot the study's
    joints were drawn. At or above the positive bound a joint is more likely increased than not:
    it is the median of just increased joints, or where normal joints end if that is higher. Below
    the indeterminate bound lie at most ``missed`` of them. So at most ``false_positive`` of the
    normal joints are positive and at most ``missed`` of the increased ones negative.

    Returns
    -------
    list
        First one entry per kind, then parts by region, resolution and counts.
    """
    joints = study.joints.merge(study.patients[["patient", "counts"]], on="patient")
    joints = joints[joints.true_ratio.notna() & joints[metric].notna()]
    found = []
    for name, kind, part in _groups(joints):
        normal = part[part.true_ratio <= shares.normal_ratio]
        increased = part[part.true_ratio >= shares.increased_ratio]
        upper = _limit(normal, metric, shares.false_positive, seed)
        just = _just_increased(increased, shares.increased_ratio, metric)
        mirrored = _limit(just.assign(**{metric: -just[metric]}), metric, shares.missed, seed)
        lower = None if mirrored is None else Limit(-mirrored.value, -mirrored.high, -mirrored.low)
        middle = _limit(just, metric, 0.5, seed)
        patients = int(part.patient.nunique())
        found.append(
            GroupBounds(name, kind, patients, len(normal), len(just), upper, lower, middle)
        )
    return found


def _just_increased(increased: pd.DataFrame, ratio: float, metric: str) -> pd.DataFrame:
    """Increased joints with the ratios they would have if they were just increased.

    Corrected ratios err in proportion; others hold the uptake of the surroundings and stay.
    """
    if metric != CORRECTED:
        return increased
    scaled: pd.DataFrame = increased.assign(
        **{metric: increased[metric] * ratio / increased.true_ratio}
    )
    return scaled


def site_bounds(
    normals: pd.DataFrame, shares: Shares, metric: str = CORRECTED, seed: int = 0
) -> list[GroupBounds]:
    """Bounds from the joints of a site's normal patients, for each kind and by region.

    Parameters
    ----------
    normals
        The columns ``patient``, ``kind``, ``spine_region`` and the metric.

    Raises
    ------
    InputError
        If there are too few patients, or a kind has too few joints for the shares.
    """
    patients = int(normals.patient.nunique())
    if patients < LEAST_NORMALS:
        raise InputError(
            f"There are {patients} normal patients; bounds from fewer than {LEAST_NORMALS} would "
            f"be guesses ({ENOUGH_NORMALS} or more are advisable): add results folders of normal "
            "patients, or use a truth study."
        )
    found = []
    for name, kind, part in _groups(normals[normals[metric].notna()]):
        upper = _limit(part, metric, shares.false_positive, seed)
        lower = _limit(part, metric, shares.borderline, seed)
        group = GroupBounds(name, kind, int(part.patient.nunique()), len(part), 0, upper, lower)
        if name == kind and group.positive is None:
            raise InputError(
                f"The normal patients have {len(part)} measured {kind}s; a share of "
                f"{shares.false_positive:g} needs at least {ceil(1 / shares.false_positive)}; add "
                "patients or allow a larger share."
            )
        found.append(group)
    return found


def _groups(joints: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Name, kind and joints of each kind, then of its parts."""
    of_kind = {kind: joints[joints.kind == kind] for kind in KINDS}
    for kind, part in of_kind.items():
        yield kind, kind, part
    for kind, part in of_kind.items():
        for region in ("cervical", "thoracic", "lumbar"):
            yield f"{kind}, {region}", kind, part[part.spine_region == region]
    if "counts" not in joints:
        return
    edges = [*pairwise(FWHM_BINS_MM)]
    counts = [(0.0, 5e6, "below 5 million counts"), (5e6, inf, "5 million counts or more")]
    for kind, part in of_kind.items():
        for low, high in edges:
            here = part[(part.fwhm_mm >= low) & (part.fwhm_mm < high)]
            if 0 < len(here) < len(part):
                yield f"{kind}, FWHM {low:g} to {high:g} mm", kind, here
        for low, high, words in counts:
            yield f"{kind}, {words}", kind, part[(part.counts >= low) & (part.counts < high)]


def _limit(joints: pd.DataFrame, metric: str, share: float, seed: int) -> Limit | None:
    values = joints[metric].to_numpy(dtype=float)
    if len(values) * share < 1:
        return None
    return exceeded_by(values, list(joints.patient), share, seed)


@dataclass(frozen=True)
class Calls:
    """What bounds make of a study's joints of one kind.

    Attributes
    ----------
    false_positive, borderline
        Normal joints called positive, called indeterminate.
    found, missed
        Increased joints called positive, called negative.
    patients
        Patients with at least one normal joint (of this kind) called positive.
    """

    false_positive: Share
    borderline: Share
    found: Share
    missed: Share
    patients: Share


def calls(study: Study, kind: str, bounds: UptakeBounds, shares: Shares) -> Calls:
    """How a study's joints of one kind would be called under some bounds."""
    joints = study.joints[(study.joints.kind == kind) & study.joints[bounds.metric].notna()]
    normal = joints[joints.true_ratio <= shares.normal_ratio]
    increased = joints[joints.true_ratio >= shares.increased_ratio]

    def share(part: pd.DataFrame, low: float, high: float = inf) -> Share:
        inside = (part[bounds.metric] >= low) & (part[bounds.metric] < high)
        return Share(int(inside.sum()), len(part))

    positive = normal[normal[bounds.metric] >= bounds.positive]
    return Calls(
        share(normal, bounds.positive),
        share(normal, bounds.indeterminate, bounds.positive),
        share(increased, bounds.positive),
        share(increased, -inf, bounds.indeterminate),
        Share(int(positive.patient.nunique()), int(joints.patient.nunique())),
    )


def snippet(
    groups: Sequence[GroupBounds], metric: str, source: Mapping[str, str]
) -> dict[str, Any]:
    """The ``bounds`` of a protocol file, of kinds that have them; `source` is their sentence."""
    return {
        group.kind: {
            "metric": metric,
            "positive": group.positive,
            "indeterminate": group.indeterminate,
            "provenance": "computed",
            "source": source[group.kind],
        }
        for group in groups
        if group.name == group.kind and group.positive is not None
    }
