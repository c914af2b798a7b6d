"""The statistics of the truth study."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu
from study_rows import joint_row, patient_row

from CTSpectSpineLib.validation.markdown import percent
from CTSpectSpineLib.validation.summary import (
    Share,
    bias,
    confusion,
    coverage,
    relative_error,
    roc,
    verdicts,
)


def test_bias_is_the_mean_relative_error() -> None:
    table = pd.DataFrame([joint_row(ratio_corrected=v, true_ratio=2.0) for v in (1.8, 2.0, 2.8)])
    value = bias(table)
    assert value.joints == 3
    assert value.mean == pytest.approx(0.1)
    assert value.median == pytest.approx(0.0)
    assert value.spread == pytest.approx(np.std([-0.1, 0.0, 0.4], ddof=1))
    assert value.root_mean_square == pytest.approx(np.sqrt((0.01 + 0.16) / 3))


def test_joints_without_a_truth_or_a_number_do_not_count() -> None:
    table = pd.DataFrame([joint_row(), joint_row(true_ratio=None), joint_row(ratio_corrected=None)])
    assert len(relative_error(table)) == 1


def test_area_is_the_share_of_ordered_pairs() -> None:
    rng = np.random.default_rng(1)
    increased, normal = np.round(rng.normal(2, 1, 40), 1), np.round(rng.normal(1, 1, 60), 1)
    rows = [joint_row(true_ratio=3.0, ratio_corrected=float(v)) for v in increased]
    rows += [joint_row(true_ratio=1.0, ratio_corrected=float(v)) for v in normal]
    rows += [joint_row(true_ratio=2.0, ratio_corrected=9.0)]
    pairs = [(a > b) + 0.5 * (a == b) for a in increased for b in normal]
    curve = roc(pd.DataFrame(rows))
    assert curve.area == pytest.approx(np.mean(pairs))
    assert (curve.increased, curve.normal) == (40, 60)
    assert (curve.false_positive[0], curve.true_positive[0]) == (0, 0)
    assert (curve.false_positive[-1], curve.true_positive[-1]) == (1, 1)


@given(
    increased=st.lists(st.integers(-4, 4), min_size=1, max_size=20),
    normal=st.lists(st.integers(-4, 4), min_size=1, max_size=20),
)
def test_area_is_mann_and_whitneys(increased: list[int], normal: list[int]) -> None:
    rows = [joint_row(true_ratio=3.0, ratio_corrected=float(v)) for v in increased]
    rows += [joint_row(true_ratio=1.0, ratio_corrected=float(v)) for v in normal]
    pairs = len(increased) * len(normal)
    wanted = mannwhitneyu(increased, normal, method="asymptotic").statistic / pairs
    assert roc(pd.DataFrame(rows)).area == pytest.approx(wanted, abs=1e-12)


def test_area_is_missing_without_increased_joints() -> None:
    assert np.isnan(roc(pd.DataFrame([joint_row()])).area)


def test_coverage_counts_truths_within_above_and_below() -> None:
    rows = [joint_row(true_ratio=v) for v in (0.7, 0.8, 1.0, 1.2, 1.3)]
    value = coverage(pd.DataFrame([*rows, joint_row(ratio_low=None)]))
    assert (value.covered.count, value.covered.of) == (3, 5)
    assert value.truth_above == value.truth_below == pytest.approx(0.2)
    low, high = value.covered.interval
    assert low == pytest.approx(0.2307, abs=1e-3)
    assert high == pytest.approx(0.8824, abs=1e-3)


@given(st.integers(1, 5000).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_interval_of_a_share_is_wilsons(counts: tuple[int, int]) -> None:
    count, of = counts
    z, p = 1.959964, count / of
    centre = (p + z**2 / (2 * of)) / (1 + z**2 / of)
    half = z / (1 + z**2 / of) * np.sqrt(p * (1 - p) / of + z**2 / (4 * of**2))
    low, high = Share(count, of).interval
    assert low == pytest.approx(max(0.0, centre - half), abs=1e-8)
    assert high == pytest.approx(min(1.0, centre + half), abs=1e-8)


@pytest.mark.parametrize(
    ("count", "of", "words"),
    [(6, 7, "49 % to 97 %"), (9, 17, "31 % to 74 %"), (16, 16, "81 % to 100 %")],
)
def test_interval_of_a_share_as_it_is_printed(count: int, of: int, words: str) -> None:
    assert " to ".join(percent(end, 0) for end in Share(count, of).interval) == words


def test_interval_of_nothing_is_missing() -> None:
    assert np.isnan(Share(0, 0).interval).all()


def test_verdicts_are_right_withheld_or_wrong() -> None:
    rows = [
        patient_row("a"),
        patient_row("b", disposition="indeterminate"),
        patient_row("c", disposition="", failed=True),
        patient_row("d", disposition="negative", stability=0.8),
        patient_row("e", disposition="negative", stability=0.7),
        patient_row("f", disposition="indeterminate", true_disposition="indeterminate"),
    ]
    table = pd.DataFrame(rows)
    value = verdicts(table)
    shares = (value.right, value.withheld, value.wrong, value.wrong_confident)
    assert [share.count for share in shares] == [2, 2, 2, 1]
    matrix = confusion(table)
    assert matrix.loc["lumbar_disc", "negative"] == 2
    assert matrix.loc["lumbar_disc", "failed"] == 1
    assert matrix.to_numpy().sum() == len(rows)
