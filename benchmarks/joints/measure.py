"""All measurements of one spine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from benchmarks.joints import cohort
from benchmarks.joints.cohort import Case
from benchmarks.joints.grids import GRIDS
from benchmarks.joints.mixing import Mixed, mixed_levels
from benchmarks.joints.scores import Score, scores
from CTSpectSpineLib.joints import build_joints, joints_of
from CTSpectSpineLib.model import SpineJoints
from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.model import Anatomy

AS_BUILT = "as built, 1 mm voxels"
BUILDS: Mapping[str, Callable[[Case], Case | None]] = {
    "scoliosis of 60 degrees": cohort.scoliotic,
    "slices of 5 mm": lambda case: cohort.sliced(case, 5.0),
    "slices of 3 mm": lambda case: cohort.sliced(case, 3.0),
    "voxels of 1.5 mm": lambda case: cohort.coarse(case, 1.5),
    "degenerate joints": cohort.degenerate,
    "transitional anatomy (L6, T13, 11 ribs)": cohort.transitional,
}
"""Conditions for which the spine is built again; not every spine can have each. Judgement: what
clinical CTs differ in most."""

CONDITIONS = (AS_BUILT, *GRIDS, *BUILDS)

HALF = (
    "axes permuted and flipped",
    "slices of 3 mm",
    "voxels of 1.5 mm",
    "degenerate joints",
)
"""Conditions measured on every second spine of each region only, as wrong labels are."""


def measure_spine(first_seed: int, number: int) -> tuple[list[Score], list[Mixed]]:
    """All conditions and all wrong labels of one spine of the cohort."""
    case = cohort.case(first_seed, number)
    base = make_anatomy(case.config)
    right = build_joints(base.labels, base.ct)
    found = list(_conditions(case, base, right))
    where = ("phantom", case.region, case.number)
    if not _in_half(case):
        return found, []
    return found, list(mixed_levels(base.labels, base.ct, *where, right=right))


def _conditions(case: Case, base: Anatomy, right: SpineJoints) -> Iterator[Score]:
    where = (case.region, case.number)
    yield from scores(right, base.joints, AS_BUILT, *where)
    for name, change in GRIDS.items():
        if name in HALF and not _in_half(case):
            continue
        rng = np.random.default_rng([case.config.seed, 3, list(GRIDS).index(name)])
        yield from scores(joints_of(change(base.labels, rng)), base.joints, name, *where)
    for name, build in BUILDS.items():
        changed = build(case)
        if changed is None or (name in HALF and not _in_half(case)):
            continue
        other = make_anatomy(changed.config)
        yield from scores(build_joints(other.labels, other.ct), other.joints, name, *where)


def _in_half(case: Case) -> bool:
    return case.number // len(cohort.REGIONS) % 2 == 0
