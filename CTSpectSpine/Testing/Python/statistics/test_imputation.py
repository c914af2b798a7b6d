"""Missing values imputed: against statsmodels, against the truth, and pooled by hand."""

from __future__ import annotations

import numpy as np
import pytest

from CTSpectSpineLib.statistics.imputation import completed_tables, pool


def study(seed: int, count: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Three visits; who does badly at the second is not seen at the third. Also what is true."""
    rng = np.random.default_rng(seed)
    person = rng.normal(0, 1.5, count)
    whole = np.c_[8 + person, 5 + person, 4 + person] + rng.normal(0, 0.7, (count, 3))
    table = whole.copy()
    table[whole[:, 1] > 5.5, 2] = np.nan
    return table, whole


def change(tables: list[np.ndarray]) -> float:
    return float(np.mean([(t[:, 2] - t[:, 0]).mean() for t in tables]))


def test_values_that_are_there_stay_and_gaps_get_values_that_occur() -> None:
    table, _ = study(1)
    for done in completed_tables(table, 1, 3):
        seen = np.isfinite(table)
        assert np.array_equal(done[seen], table[seen])
        assert np.isin(done[:, 2], table[seen[:, 2], 2]).all()
    full = np.arange(12.0).reshape(4, 3)
    assert len(completed_tables(full, 1)) == 1
    again = [completed_tables(table, 5, 2), completed_tables(table, 5, 2)]
    assert np.array_equal(again[0], again[1])


def test_what_drop_out_hides_comes_back() -> None:
    """Absolute values of those who are seen are too low; those imputed come nearer to the truth."""
    table, whole = study(2, 400)
    (seen, truth) = (np.nanmean(table[:, 2]), whole[:, 2].mean())
    found = float(np.mean([t[:, 2].mean() for t in completed_tables(table, 2, 10)]))
    assert truth - seen > 0.5, "drop-out hides nothing"
    assert abs(found - truth) < 0.5 * (truth - seen)


def test_pooled_by_rubins_rules() -> None:
    """Two tables of four patients by hand."""
    tables = [np.array([1.0, 2, 3, 4]), np.array([2.0, 3, 4, 5])]
    within, between = (5 / 3) / 4, 0.5
    total = within + 1.5 * between
    found, lost = pool(tables)
    assert found.value == 3.0
    assert lost == pytest.approx(1.5 * between / total)
    imputed, complete = 1 / lost**2, 4 / 6 * 3 * (1 - lost)
    freedom = imputed * complete / (imputed + complete)
    from scipy.stats import t

    assert found.high - 3 == pytest.approx(t.ppf(0.975, freedom) * total**0.5)


@pytest.mark.slow  # statsmodels takes its time
def test_as_statsmodels_imputes() -> None:
    import pandas as pd
    from statsmodels.imputation.mice import MICEData

    table, _ = study(3, 80)
    chained = MICEData(
        pd.DataFrame(table, columns=list("abc")), k_pmm=5, rng=np.random.default_rng(1)
    )
    theirs = []
    for _ in range(20):
        chained.update_all(5)
        theirs.append(chained.data.to_numpy())
    ours = completed_tables(table, 1, 40)
    spread = np.std([(t[:, 2] - t[:, 0]).mean() for t in theirs], ddof=1)
    assert spread > 0
    assert change(ours) == pytest.approx(change(theirs), abs=1.5 * spread)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Of 50 studies in which a third is missing by chance."""
    held = 0
    for seed in range(50):
        _, whole = study(100 + seed, 60)
        gaps = np.random.default_rng(seed).random(60) < 0.33
        table = np.where(gaps[:, None] & [False, False, True], np.nan, whole)
        done = completed_tables(table, seed, 8)
        found, lost = pool([t[:, 2] - t[:, 0] for t in done])
        assert lost > 0
        held += found.low <= -4.0 <= found.high
    assert held >= 43
