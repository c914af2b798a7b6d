"""Numbers of the study, from its rows: bias, discrimination, coverage, verdicts, failures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.integrate import trapezoid
from scipy.stats import binomtest

from CTSpectSpineLib.anatomy import vertebrae
from CTSpectSpineLib.model import STABLE_SHARE, FloatArray, JointKind
from CTSpectSpineLib.phantom.product import POSITIVE_RATIO
from CTSpectSpineLib.validation.patient import INCREASED_RATIO, NEAR_MM, NORMAL_RATIO

KINDS: tuple[JointKind, ...] = ("disc", "facet")
CORRECTED, UNCORRECTED, MAXIMUM = "ratio_corrected", "ratio_mean", "ratio_max"
WORDS = {
    CORRECTED: "corrected",
    UNCORRECTED: "mean, uncorrected",
    MAXIMUM: "maximum, uncorrected",
}
RATIO_BINS = (0.0, 1.2, 2.0, 3.0, 4.5, np.inf)
"""Bins of the true ratio. Judgement: normal, in between, and three of increased joints."""
RATIO_NAMES = ["< 1.2", "1.2 to 2", "2 to 3", "3 to 4.5", "≥ 4.5"]
FWHM_BINS_MM = (7.0, 8.5, 9.75, 10.25, 11.5, 13.01)
"""Bins of the true resolution. Judgement: the standard 10 mm in a bin of its own, the rest of the
range in two on either side."""
FWHM_NAMES = [
    "7 to 8.5 mm",
    "8.5 to 9.75 mm",
    "9.75 to 10.25 mm",
    "10.25 to 11.5 mm",
    "11.5 to 13 mm",
]
REGIONS = ("cervical", "thoracic", "lumbar")
CONFIDENT = STABLE_SHARE
WITHHELD = ("indeterminate", "no_verdict")
_FAR_MM, _POOR_DICE = 2.0, 0.7
"""Registration error and Dice overlap that may explain an error. Judgement: at 2 mm the mean in a
hot facet joint has fallen by 5 to 7 %; good labels reach 0.84 or more (discs)."""


@dataclass(frozen=True)
class Bias:
    """Relative error of a ratio against the truth, (found - true) / true.

    Attributes
    ----------
    joints
        How many.
    mean, median, spread, root_mean_square
        Of the relative error; the spread is its standard deviation.
    """

    joints: int
    mean: float
    median: float
    spread: float
    root_mean_square: float


@dataclass(frozen=True)
class Roc:
    """How well a number tells increased from normal joints.

    Attributes
    ----------
    increased, normal
        Number of joints with a true ratio of at least 2.5, of at most 1.2.
    area
        Under the curve; NaN unless there are both.
    false_positive, true_positive
        The curve, from (0, 0) to (1, 1).
    """

    increased: int
    normal: int
    area: float
    false_positive: FloatArray
    true_positive: FloatArray


@dataclass(frozen=True)
class Share:
    """A share of a number, with Wilson's 95 % interval (Wilson, JASA 1927;22:209)."""

    count: int
    of: int

    @property
    def value(self) -> float:
        """The share; NaN of nothing."""
        return self.count / self.of if self.of else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper bound; NaN of nothing."""
        if not self.of:
            return float("nan"), float("nan")
        bounds = binomtest(self.count, self.of).proportion_ci(method="wilson")
        return float(bounds.low), float(bounds.high)


@dataclass(frozen=True)
class Coverage:
    """How often the interval holds the truth.

    Attributes
    ----------
    covered
        Share of the joints.
    truth_above, truth_below
        Share of the joints whose truth lies above, below the interval.
    width
        Median width of the interval over the true ratio.
    """

    covered: Share
    truth_above: float
    truth_below: float
    width: float


@dataclass(frozen=True)
class Verdicts:
    """Verdicts against the truth.

    Attributes
    ----------
    patients
        How many.
    right
        Verdicts equal to the truth.
    withheld
        ``indeterminate`` or ``no_verdict``, where the truth is not; failed analyses as well.
    wrong
        Another disposition than the true one.
    wrong_confident
        Wrong ones with a stability of at least 0.8.
    """

    patients: int
    right: Share
    withheld: Share
    wrong: Share
    wrong_confident: Share


def measured(joints: pd.DataFrame, column: str = CORRECTED) -> pd.DataFrame:
    """Joints that have a truth and a number."""
    found: pd.DataFrame = joints[joints.true_ratio.notna() & joints[column].notna()]
    return found


def of_kind(joints: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Joints of one kind."""
    found: pd.DataFrame = joints[joints.kind == kind]
    return found


def hot(joints: pd.DataFrame) -> pd.DataFrame:
    """Joints that are positive in truth."""
    found: pd.DataFrame = joints[joints.true_ratio >= POSITIVE_RATIO]
    return found


def relative_error(joints: pd.DataFrame, column: str = CORRECTED) -> FloatArray:
    """(found - true) / true of the measured joints."""
    part = measured(joints, column)
    true = part.true_ratio.to_numpy(dtype=float)
    return np.asarray(part[column].to_numpy(dtype=float) / true - 1.0)


def bias(joints: pd.DataFrame, column: str = CORRECTED) -> Bias:
    """Bias and spread of a ratio; NaN without joints."""
    error = relative_error(joints, column)
    if not len(error):
        return Bias(0, *[float("nan")] * 4)
    return Bias(
        len(error),
        float(error.mean()),
        float(np.median(error)),
        float(error.std(ddof=1)) if len(error) > 1 else float("nan"),
        float(np.sqrt(np.mean(error**2))),
    )


def roc(joints: pd.DataFrame, column: str = CORRECTED) -> Roc:
    """Increased (true ratio >= 2.5) against normal (<= 1.2) joints.

    The area is the share of pairs in which the increased joint has the higher number, ties
    counting one half (Mann and Whitney; Hanley and McNeil, Radiology 1982;143:29).
    """
    part = measured(joints, column)
    true = part.true_ratio.to_numpy(dtype=float)
    score = part[column].to_numpy(dtype=float)
    positive, negative = score[true >= INCREASED_RATIO], score[true <= NORMAL_RATIO]
    cuts = np.concatenate([[np.inf], np.unique(np.concatenate([positive, negative]))[::-1]])
    if not len(positive) or not len(negative):
        empty = np.zeros(0)
        return Roc(len(positive), len(negative), float("nan"), empty, empty)
    x = 1.0 - np.searchsorted(np.sort(negative), cuts, side="left") / len(negative)
    y = 1.0 - np.searchsorted(np.sort(positive), cuts, side="left") / len(positive)
    return Roc(len(positive), len(negative), float(trapezoid(y, x)), x, y)


def coverage(joints: pd.DataFrame) -> Coverage:
    """Coverage of the 95 % intervals over the joints that have one."""
    part = joints[joints.true_ratio.notna() & joints.ratio_low.notna() & joints.ratio_high.notna()]
    true = part.true_ratio.to_numpy(dtype=float)
    low, high = part.ratio_low.to_numpy(dtype=float), part.ratio_high.to_numpy(dtype=float)
    if not len(part):
        return Coverage(Share(0, 0), *[float("nan")] * 3)
    above, below = true > high, true < low
    return Coverage(
        Share(int(np.sum(~above & ~below)), len(part)),
        float(above.mean()),
        float(below.mean()),
        float(np.median((high - low) / true)),
    )


def grouped(joints: pd.DataFrame, *columns: str) -> list[tuple[str, pd.DataFrame]]:
    """The joints of each group, in order.

    Parameters
    ----------
    columns
        ``kind``, ``spine_region``, ``level``, ``ratio`` or ``resolution`` (bins of the true ratio
        and of the true FWHM).

    Returns
    -------
    list
        Words for each group that has joints, and its joints.
    """
    levels = levels_of(joints)
    joints = joints.assign(
        ratio=pd.cut(joints.true_ratio, RATIO_BINS, right=False, labels=RATIO_NAMES),
        resolution=pd.cut(joints.fwhm_mm, FWHM_BINS_MM, right=False, labels=FWHM_NAMES),
        level=pd.Categorical(joints.level, levels, ordered=True),
        spine_region=pd.Categorical(joints.spine_region, REGIONS, ordered=True),
    )
    groups = joints.groupby(list(columns), observed=True)
    return [(", ".join(map(str, words)), part) for words, part in groups]


def levels_of(joints: pd.DataFrame) -> list[str]:
    """Levels that occur, cranial to caudal."""
    order = {vertebra.name: place for place, vertebra in enumerate(vertebrae())}
    return sorted(set(joints.level), key=lambda level: [order[name] for name in level.split("-")])


def called(joints: pd.DataFrame, uptake: str) -> Share:
    """Share of the joints of a class, of those that have a truth."""
    part = joints[joints.true_ratio.notna()]
    return Share(int((part.uptake == uptake).sum()), len(part))


def is_right(patients: pd.DataFrame) -> pd.Series[bool]:
    """Whose verdict equals the truth."""
    return patients.disposition == patients.true_disposition


def is_wrong(patients: pd.DataFrame) -> pd.Series[bool]:
    """Whose verdict is another disposition than the true one; withholding one is not wrong."""
    return ~is_right(patients) & ~patients.disposition.isin(WITHHELD) & (patients.disposition != "")


def verdicts(patients: pd.DataFrame) -> Verdicts:
    """Verdicts against the truth."""
    total = len(patients)
    right, wrong = is_right(patients), is_wrong(patients)
    confident = wrong & (patients.stability >= CONFIDENT)
    return Verdicts(
        total,
        Share(int(right.sum()), total),
        Share(int((~right & ~wrong).sum()), total),
        Share(int(wrong.sum()), total),
        Share(int(confident.sum()), total),
    )


def confusion(patients: pd.DataFrame) -> pd.DataFrame:
    """Number of patients by true (rows) and found (columns) disposition."""
    found = patients.disposition.where(patients.disposition != "", "failed")
    table = pd.crosstab(patients.true_disposition, found)
    order = [*table.index, *(c for c in table.columns if c not in table.index)]
    rows = list(table.index)
    result: pd.DataFrame = table.reindex(index=rows, columns=order, fill_value=0)
    return result


def without_grey(patients: pd.DataFrame) -> pd.DataFrame:
    """Patients all of whose joints are in truth either normal or clearly increased."""
    found: pd.DataFrame = patients[patients.grey_joints == 0]
    return found


def causes(joints: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Groups of joints by what may go wrong with them; a joint may be in several."""
    near = joints.hottest_near.fillna(0.0) >= POSITIVE_RATIO
    is_hot = joints.true_ratio >= POSITIVE_RATIO
    flagged = joints.status_reason != ""
    far = joints.registration_mm > _FAR_MM
    poor = joints.dice < _POOR_DICE
    degenerate = joints.degenerate >= 0.5
    plain = ~(near | flagged | far | poor | degenerate)
    groups = {
        "none of these": plain,
        f"another joint within {NEAR_MM:g} mm is hot (≥ {POSITIVE_RATIO:g})": near & ~is_hot,
        "hot itself, another one near as well": near & is_hot,
        f"registration error above {_FAR_MM:g} mm": far,
        f"overlap with the true region below {_POOR_DICE:g} (Dice)": poor,
        "degenerated (severity ≥ 0.5)": degenerate,
        "flagged by the analysis (`status_reason`)": flagged,
    }
    return [(name, joints[chosen]) for name, chosen in groups.items()]


def not_measured(joints: pd.DataFrame) -> pd.DataFrame:
    """Joints with a truth and without a corrected ratio."""
    found: pd.DataFrame = joints[joints.true_ratio.notna() & joints[CORRECTED].isna()]
    return found


def worst(joints: pd.DataFrame, number: int) -> pd.DataFrame:
    """The measured joints with the largest errors of the corrected ratio."""
    part = measured(joints)
    size = (part[CORRECTED] - part.true_ratio).abs()
    found: pd.DataFrame = part.loc[size.sort_values(ascending=False, kind="stable").index[:number]]
    return found
