"""Estimates and intervals against R's results, published tables and other programs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import statsmodels.stats.api as sms
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import cohens_kappa

from CTSpectSpineLib.statistics import agreement, paired, proportions, roc
from CTSpectSpineLib.statistics.estimate import Estimate, bootstrap

SLEEP = (
    np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]),
    np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]),
)
"""The data set ``sleep`` of R (Student 1908)."""
JUDGES = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float
)
"""Shrout and Fleiss 1979, table 2."""


def ends(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


def test_paired_test_as_r_has_it() -> None:
    """``t.test(extra ~ group, data = sleep, paired = TRUE)``."""
    found = paired.paired_change(*SLEEP)
    assert found.d_z.low < 0.5 < 2.0 < found.d_z.high
    assert ends(found.change) == pytest.approx((1.58, 0.7001142, 2.4598858), abs=1e-7)
    assert (found.t, found.p_t) == pytest.approx((4.0621, 0.002833), rel=1e-3)
    assert found.degrees == 9
    assert found.d_z.value == pytest.approx(1.2846, abs=1e-4)


def test_signed_ranks_as_scipy_has_them() -> None:
    rng = np.random.default_rng(1)
    before, after = rng.normal(8, 1, 30), rng.normal(5, 2, 30)
    found = paired.paired_change(before, after)
    test = scipy.stats.wilcoxon(after, before)
    assert (found.signed_rank, found.p_signed_rank) == (test.statistic, test.pvalue)
    positive = scipy.stats.wilcoxon(after, before, alternative="less").statistic
    total = 30 * 31 / 2
    assert found.rank_biserial.value == pytest.approx((2 * positive - total) / total)
    assert found.rank_biserial.low <= found.rank_biserial.value <= found.rank_biserial.high


def test_the_interval_of_the_effect_is_where_the_noncentral_t_says() -> None:
    for t, count in ((3.0, 20), (8.63, 46), (25.0, 48)):
        found = paired.d_z(-t, count)
        for end, chance in ((found.low, 0.975), (found.high, 0.025)):
            # At either end a t as observed or larger has this chance.
            beyond = scipy.stats.nct.sf(t, count - 1, -end * math.sqrt(count))
            assert beyond == pytest.approx(chance, abs=1e-6)
        assert found.low < found.value < found.high < 0


def test_groups_as_scipy_and_statsmodels_have_them() -> None:
    rng = np.random.default_rng(2)
    one, other = rng.normal(0, 1, 25), rng.normal(1, 2, 23)
    found = paired.group_difference(np.r_[one, np.nan], other)
    low, high = sms.CompareMeans.from_data(one, other).tconfint_diff(usevar="unequal")
    assert ends(found.difference) == pytest.approx((one.mean() - other.mean(), low, high))
    assert found.p_t == pytest.approx(scipy.stats.ttest_ind(one, other, equal_var=False).pvalue)
    assert found.p_rank == scipy.stats.mannwhitneyu(one, other).pvalue
    from statsmodels.stats.meta_analysis import effectsize_smd

    # Exact moments there, the usual approximation here.
    g, variance = effectsize_smd(
        one.mean(), one.std(ddof=1), 25, other.mean(), other.std(ddof=1), 23
    )
    assert found.hedges_g.value == pytest.approx(g, rel=1e-3)
    assert found.hedges_g.high - g == pytest.approx(1.96 * math.sqrt(variance), rel=0.02)


@pytest.mark.parametrize(
    ("before", "after"), [([], []), ([1.0], [2.0]), ([1.0, 2.0], [1.0, 2.0]), ([1, 2], [2, 3])]
)
def test_too_little_gives_no_number_instead_of_a_wrong_one(
    before: list[float], after: list[float]
) -> None:
    found = paired.paired_change(np.array(before, float), np.array(after, float))
    assert math.isnan(found.t)
    assert math.isnan(found.d_z.value)
    group = paired.group_difference(np.array(before, float), np.array(before[:1], float))
    assert math.isnan(group.t)
    assert math.isnan(group.hedges_g.value)


def test_the_same_change_in_all_patients_has_no_test_whatever_its_decimals() -> None:
    before, after = np.array([7.1, 6.3, 8.2, 9.7]), np.array([5.1, 4.3, 6.2, 7.7])
    assert np.ptp(after - before) > 0, "binary numbers are off"
    found = paired.paired_change(before, after)
    assert math.isnan(found.t)
    assert math.isnan(found.d_z.value)
    assert (found.change.value, found.change_sd) == (-2.0, 0.0)
    group = paired.group_difference(
        paired.change_of(before, after), paired.change_of(before[:3] + 1, after[:3])
    )
    assert math.isnan(group.t)
    assert group.difference.value == 1.0


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 40), st.integers(0, 10_000), st.floats(-0.95, 0.95))
def test_a_summary_bounds_the_test_of_the_data(count: int, seed: int, correlation: float) -> None:
    rng = np.random.default_rng(seed)
    one = rng.normal(8, 1.5, count)
    other = 5 + correlation * (one - 8) + rng.normal(0, 1, count)
    means = (one.mean(), one.std(ddof=1), other.mean(), other.std(ddof=1))
    bounds = paired.summary_t(count, *means)
    test = scipy.stats.ttest_rel(one, other)
    assert bounds.least <= abs(test.statistic) * (1 + 1e-9)
    assert abs(test.statistic) <= bounds.most * (1 + 1e-9)
    assert bounds.p_least * (1 - 1e-9) <= test.pvalue <= bounds.p_most * (1 + 1e-9)


def test_likelihood_ratios() -> None:
    """Table 1 of Simel 1991 by its formula, with other letters."""
    cells = proportions.FourCells(30, 10, 20, 90)
    assert ends(cells.sensitivity)[0] == 0.6
    low = math.exp(math.log(0.6 / 0.1) - 1.959964 * math.sqrt(0.4 / 30 + 0.9 / 10))
    high = math.exp(math.log(0.6 / 0.1) + 1.959964 * math.sqrt(0.4 / 30 + 0.9 / 10))
    assert ends(cells.likelihood_positive) == pytest.approx((6.0, low, high))
    assert cells.likelihood_negative.value == pytest.approx(0.4 / 0.9)
    low, high = sms.proportion_confint(30, 50, method="wilson")
    assert ends(cells.sensitivity) == pytest.approx((0.6, low, high))
    empty = proportions.FourCells(5, 0, 0, 5)
    assert math.isfinite(empty.likelihood_positive.high)
    assert math.isnan(proportions.FourCells(0, 1, 0, 1).sensitivity.value)


def test_the_area_is_the_chance_of_the_right_order_and_delong_its_error() -> None:
    rng = np.random.default_rng(3)
    condition = rng.random(60) < 0.4
    score = np.round(rng.normal(condition, 1.0), 1)
    x, y = score[condition], score[~condition]
    pairs = (x[:, None] > y) + 0.5 * (x[:, None] == y)
    value, error = roc.delong(condition, score)
    assert value == pytest.approx(pairs.mean())
    assert value == pytest.approx(roc.area(condition, score))
    variance = pairs.mean(axis=1).var(ddof=1) / len(x) + pairs.mean(axis=0).var(ddof=1) / len(y)
    assert error == pytest.approx(math.sqrt(variance))
    curve = roc.roc(condition, score)
    trapezoid = np.trapezoid(curve.sensitivity, 1 - curve.specificity)
    assert value == pytest.approx(trapezoid)


def test_the_best_cut_off() -> None:
    condition = np.array([0, 0, 0, 1, 0, 1, 1, 1], dtype=bool)
    score = np.arange(8.0)
    # 3 and 5 are equally good, the higher one is taken.
    assert roc.best_cut_off(condition, score) == 5.0
    assert roc.best_cut_off(condition, score, least_specificity=1.0) == 5.0
    assert math.isnan(roc.best_cut_off(np.ones(8, bool), score))


def test_net_benefit_by_hand() -> None:
    """20 of 100 have it; the test finds 15 of them and 8 others."""
    condition = np.arange(100) < 20
    positive = (np.arange(100) < 15) | (np.arange(100) >= 92)
    found = roc.net_benefit(condition, positive, np.array([0.2, 0.5]))
    assert found.test == pytest.approx([0.15 - 0.08 / 4, 0.15 - 0.08])
    assert found.everybody == pytest.approx([0.2 - 0.8 / 4, 0.2 - 0.8])


@pytest.mark.parametrize("weights", ["none", "linear", "quadratic"])
def test_kappa_as_statsmodels_has_it(weights: agreement.Weights) -> None:
    rng = np.random.default_rng(4)
    names = np.array(["negative", "indeterminate", "positive"])
    one = rng.integers(0, 3, 90)
    other = np.where(rng.random(90) < 0.6, one, rng.integers(0, 3, 90))
    table = agreement.cross_table(list(names[one]), list(names[other]), list(names))
    kind = {"none": None, "linear": "linear", "quadratic": "quadratic"}[weights]
    expected = cohens_kappa(table, wt=kind)
    found = agreement.kappa_interval(
        list(names[one]), list(names[other]), list(names), range(90), weights
    )
    assert found.value == pytest.approx(expected.kappa)
    assert (found.low, found.high) == pytest.approx((expected.kappa_low, expected.kappa_upp))


def test_joints_of_one_patient_make_no_narrower_interval() -> None:
    """Each patient's answer repeated ten times holds no more than the answer once."""
    rng = np.random.default_rng(5)
    one = rng.integers(0, 2, 40).astype(str)
    other = np.where(rng.random(40) < 0.75, one, rng.integers(0, 2, 40).astype(str))
    once = agreement.kappa_interval(list(one), list(other), ["0", "1"], range(40))
    often = agreement.kappa_interval(
        list(np.repeat(one, 10)), list(np.repeat(other, 10)), ["0", "1"], np.repeat(range(40), 10)
    )
    assert often.value == pytest.approx(once.value)
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.15)


def test_the_joints_of_a_single_patient_have_no_interval() -> None:
    one, other = ["a", "b", "a", "b", "b"], ["a", "b", "b", "b", "b"]
    found = agreement.kappa_interval(one, other, ("a", "b"), ["p"] * 5)
    assert math.isfinite(found.value)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    values = np.array([[1.0, 1.1], [2.0, 2.3], [3.0, 2.9]])
    twice = agreement.intraclass(values, ["p"] * 3)
    assert math.isfinite(twice.absolute.value)
    assert math.isnan(twice.absolute.low)
    assert math.isnan(bootstrap(lambda at: float(values[at, 0].mean()), ["p"] * 3).low)


def test_intraclass_correlations_of_shrout_and_fleiss() -> None:
    """As R's ``psych::ICC`` prints them."""
    found = agreement.intraclass(JUDGES)
    assert ends(found.absolute) == pytest.approx((0.2898, 0.0188, 0.7611), abs=2e-4)
    assert ends(found.consistent) == pytest.approx((0.7148, 0.3425, 0.9459), abs=2e-4)


def test_the_same_twice_agrees_fully() -> None:
    values = np.array([1.1, 2.3, 3.7, 0.4])
    found = agreement.intraclass(np.c_[values, values])
    assert found.absolute.value == found.consistent.value == 1
    limits = agreement.limits_of_agreement(values, values)
    assert limits.repeatability.value == limits.bias.value == 0


def test_limits_hold_what_they_promise() -> None:
    """Of many small studies the intervals hold the true values as often as they say."""
    rng = np.random.default_rng(6)
    limit = repeatability = 0
    for _ in range(400):
        truth = rng.normal(0, 3, 25)
        found = agreement.limits_of_agreement(
            truth + rng.normal(0, 1, 25), truth + rng.normal(0, 1, 25)
        )
        limit += found.upper.low <= 1.96 * math.sqrt(2) <= found.upper.high
        repeatability += found.repeatability.low <= 1.96 * math.sqrt(2) <= found.repeatability.high
    assert 0.92 < limit / 400 < 0.98
    assert 0.92 < repeatability / 400 < 0.98


def test_a_bootstrap_of_a_mean_is_students_interval() -> None:
    values = np.random.default_rng(7).normal(0, 1, 200)
    found = bootstrap(lambda at: float(values[at].mean()), range(200), 1)
    half = 1.96 * values.std(ddof=1) / math.sqrt(200)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.06)
    assert math.isnan(bootstrap(lambda at: math.nan if 0 in at else 1.0, range(5)).low)
