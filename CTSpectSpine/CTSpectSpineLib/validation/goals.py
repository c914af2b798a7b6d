"""The goals of the study, and whether its rows meet them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from CTSpectSpineLib.validation import summary
from CTSpectSpineLib.validation.markdown import number, percent, signed
from CTSpectSpineLib.validation.rows import Study

LEAST_PATIENTS = 100
"""Fewest patients for a goal to be met. Judgement: the 95 % interval of a share of 90 % is then 83
to 94 %."""
LEAST_JUDGED = 30
"""Fewest joints (increased ones for a ROC curve) or patients for a number to be judged at all.
Judgement: with fewer a single one moves a share by more than 3 %."""
MOST_BIAS = 0.10
"""Largest mean relative error. Judgement: below the 14 % by which normal vertebrae differ (mean + 2
SD)."""
COVERAGE = (0.90, 0.98)
"""Least and most coverage of a 95 % interval. Judgement: neither overconfident nor uselessly
wide."""
LEAST_AREA = {"disc": 0.98, "facet": 0.95}
"""Least area under the ROC curve. Judgement: facet joints, as small as the blur, may be harder."""
LEAST_RIGHT = 0.90
"""Least share of verdicts equal to the truth. Judgement: one in ten may be withheld or wrong."""
MOST_WRONG_CONFIDENT = 0.03
"""Most wrong verdicts that are stable. Judgement: these mislead, so far fewer than the others."""

Outcome = Literal["met", "not met", "too few"]


@dataclass(frozen=True)
class Goal:
    """A goal and what was found.

    Attributes
    ----------
    subject, quantity
        Which set, which number.
    wanted, found
        In words, rounded; the outcome rests on the exact numbers.
    beside
        The same number without correction, where there is one.
    size
        What it rests on.
    outcome
        ``"too few"`` where the number rests on fewer than 30 joints or patients, or where it
        would meet the goal but comes from fewer than 100 patients.
    """

    subject: str
    quantity: str
    wanted: str
    found: str
    beside: str
    size: str
    outcome: Outcome


def goals(study: Study) -> list[Goal]:
    """All goals, on each set that they are for and that was run."""
    found = []
    for info, part in study.sets():
        if info.goals:
            found += _of_set(info.title, part)
    return found


def _of_set(subject: str, study: Study) -> list[Goal]:
    patients = len(study.patients)
    rows: list[Goal] = []

    def add(
        quantity: str,
        wanted: str,
        found: tuple[str, bool, int],
        size: str,
        beside: str = "",
    ) -> None:
        words, met, judged = found
        outcome: Outcome = "not met"
        if judged < LEAST_JUDGED or (met and patients < LEAST_PATIENTS):
            outcome = "too few"
        elif met:
            outcome = "met"
        rows.append(Goal(subject, quantity, wanted, words, beside, size, outcome))

    for kind in summary.KINDS:
        all_joints = summary.of_kind(study.joints, kind)
        for words, joints in (("all", all_joints), ("hot", summary.hot(all_joints))):
            value = summary.bias(joints)
            plain = summary.bias(joints, summary.UNCORRECTED)
            add(
                f"bias of the corrected ratio, {words} {kind}s",
                f"within ± {percent(MOST_BIAS, 0)}",
                (signed(value.mean), abs(value.mean) <= MOST_BIAS, value.joints),
                f"{value.joints} joints",
                signed(plain.mean),
            )
    for kind in summary.KINDS:
        all_joints = summary.of_kind(study.joints, kind)
        for words, joints in (("all", all_joints), ("hot", summary.hot(all_joints))):
            share = summary.coverage(joints).covered
            add(
                f"coverage of the 95 % interval, {words} {kind}s",
                f"{percent(COVERAGE[0], 0)} to {percent(COVERAGE[1], 0)}",
                (percent(share.value), COVERAGE[0] <= share.value <= COVERAGE[1], share.of),
                f"{share.of} joints",
            )
    for kind in summary.KINDS:
        curve = summary.roc(summary.of_kind(study.joints, kind))
        plain_curve = summary.roc(summary.of_kind(study.joints, kind), summary.UNCORRECTED)
        add(
            f"area under the ROC curve, {kind}s",
            f"≥ {LEAST_AREA[kind]:g}",
            (number(curve.area, 3), curve.area >= LEAST_AREA[kind], curve.increased),
            f"{curve.increased} increased, {curve.normal} normal joints",
            number(plain_curve.area, 3),
        )
    cases = (
        ("all patients", study.patients),
        ("patients without a joint between 1.2 and 2.5", summary.without_grey(study.patients)),
    )
    for words, part in cases:
        value_of = summary.verdicts(part)
        add(
            f"verdict equal to the truth, {words}",
            f"≥ {percent(LEAST_RIGHT, 0)}",
            (
                percent(value_of.right.value),
                value_of.right.value >= LEAST_RIGHT,
                value_of.patients,
            ),
            f"{value_of.patients} patients",
        )
    confident = summary.verdicts(study.patients).wrong_confident
    add(
        f"verdict wrong and confident (stability ≥ {summary.CONFIDENT:g})",
        f"≤ {percent(MOST_WRONG_CONFIDENT, 0)}",
        (percent(confident.value), confident.value <= MOST_WRONG_CONFIDENT, confident.of),
        f"{confident.of} patients",
    )
    return rows
