"""Changes from before treatment to each visit: in all, in groups, between groups; who responded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from CTSpectSpineLib.geometry import FloatArray
from CTSpectSpineLib.outcomes.table import BASELINE, REGIONS, Outcomes, tables
from CTSpectSpineLib.statistics.estimate import Estimate
from CTSpectSpineLib.statistics.paired import (
    GroupDifference,
    PairedChange,
    change_of,
    group_difference,
    paired_change,
)
from CTSpectSpineLib.statistics.proportions import share

EVERYBODY = "all"
FOLLOWED, NOT_FOLLOWED = "verdict followed", "verdict not followed"
SHARES = (0.3, 0.5)
"""Relief, as a share of the value before, that counts as response. Convention: moderate and
substantial benefit of IMMPACT (Dworkin 2008)."""
LEAST_IMPORTANT = "least important difference"


@dataclass(frozen=True)
class ChangeRow:
    """Change of a measure in a group from before treatment to a visit."""

    measure: str
    group: str
    visit: str
    change: PairedChange


@dataclass(frozen=True)
class ResponderRow:
    """Who responded by one rule.

    Attributes
    ----------
    seen, responders
        Patients with both values, and responders among them.
    share
        Of those seen.
    treated
        Patients with a value before treatment.
    share_of_treated
        Of these, where nobody who was not seen responded.
    """

    measure: str
    group: str
    visit: str
    rule: str
    seen: int
    responders: int
    share: Estimate
    treated: int
    share_of_treated: Estimate


@dataclass(frozen=True)
class SubgroupRow:
    """Changes of two groups of patients compared."""

    measure: str
    visit: str
    first: str
    second: str
    comparison: GroupDifference


@dataclass(frozen=True)
class DropoutRow:
    """Who was seen, and whether those who were not began otherwise.

    Attributes
    ----------
    treated, seen, missing
        Patients with a value before treatment; with one at the visit as well; without it.
    baseline
        Values before treatment of those missing against those seen.
    """

    measure: str
    visit: str
    treated: int
    seen: int
    missing: int
    baseline: GroupDifference


def groups(outcomes: Outcomes) -> dict[str, np.ndarray]:
    """Name of each group that has patients to which of them belong, shape (patients,), bool.

    Groups that hold everybody are left out.
    """
    everybody = np.ones(len(outcomes.patients), bool)
    found = {
        region: np.array([p.region == region for p in outcomes.patients]) for region in REGIONS
    }
    for name, value in ((FOLLOWED, True), (NOT_FOLLOWED, False)):
        found[name] = np.array([p.followed is value for p in outcomes.patients])
    kept = {name: of for name, of in found.items() if of.any() and not of.all()}
    return {EVERYBODY: everybody, **kept}


def changes(outcomes: Outcomes, seed: int) -> Iterator[ChangeRow]:
    """Changes of every measure and group at every visit that somebody came to."""
    for measure in outcomes.measures():
        for group, of in groups(outcomes).items():
            before = outcomes.of(measure, BASELINE)[of]
            for visit in outcomes.after(measure):
                after = outcomes.of(measure, visit)[of]
                yield ChangeRow(measure, group, visit, paired_change(before, after, seed))


def least_important(outcomes: Outcomes, measure: str, own: Mapping[str, float]) -> FloatArray:
    """Least important difference of each patient, shape (patients,), by the region treated.

    Parameters
    ----------
    own
        Differences by measure that the user gave; they hold for everybody.
    """
    if measure in own:
        return np.full(len(outcomes.patients), own[measure])
    listed = tables()["least_important"]
    return np.array(
        [
            float((listed.get(p.region, {}).get(measure) or listed[""][measure])["points"])
            for p in outcomes.patients
        ]
    )


def responders(outcomes: Outcomes, own: Mapping[str, float]) -> Iterator[ResponderRow]:
    """Who responded, by every rule; of a value of 0 before there is no relief."""
    for measure in outcomes.measures():
        before = outcomes.of(measure, BASELINE)
        rules = {f"{part:.0%} relief".replace("%", " %"): part * before for part in SHARES}
        rules[LEAST_IMPORTANT] = least_important(outcomes, measure, own)
        for group, of in groups(outcomes).items():
            for visit in outcomes.after(measure):
                relief = before - outcomes.of(measure, visit)
                treated = of & (before > 0)
                seen = treated & np.isfinite(relief)
                for rule, needed in rules.items():
                    # 7 - 4.9 is a little less than 30 % of 7 in binary numbers.
                    count = int((seen & (relief >= needed - 1e-9)).sum())
                    yield ResponderRow(
                        measure, group, visit, rule, int(seen.sum()), count,
                        share(count, int(seen.sum())), int(treated.sum()),
                        share(count, int(treated.sum())),
                    )  # fmt: skip


def subgroups(outcomes: Outcomes) -> Iterator[SubgroupRow]:
    """Changes of cervical against lumbar patients, of those whose verdict was followed or not."""
    there = groups(outcomes)
    for first, second in (("cervical", "lumbar"), (FOLLOWED, NOT_FOLLOWED)):
        if first not in there or second not in there:
            continue
        for measure in outcomes.measures():
            for visit in outcomes.after(measure):
                change = change_of(outcomes.of(measure, BASELINE), outcomes.of(measure, visit))
                found = group_difference(change[there[first]], change[there[second]])
                yield SubgroupRow(measure, visit, first, second, found)


def dropout(outcomes: Outcomes) -> Iterator[DropoutRow]:
    """Who was not seen at each visit."""
    for measure in outcomes.measures():
        before = outcomes.of(measure, BASELINE)
        treated = np.isfinite(before)
        for visit in outcomes.after(measure):
            seen = treated & np.isfinite(outcomes.of(measure, visit))
            lost = treated & ~seen
            yield DropoutRow(
                measure, visit, int(treated.sum()), int(seen.sum()), int(lost.sum()),
                group_difference(before[lost], before[seen]),
            )  # fmt: skip
