"""Statistics of outcomes against scipy and statsmodels called directly."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from outcome_case import write_table

from CTSpectSpineLib.cohort.rows import EXCLUDED, CohortRow
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.outcomes.analysis import Analysis, Plan, analyse
from CTSpectSpineLib.outcomes.changes import groups
from CTSpectSpineLib.outcomes.followed import with_verdicts
from CTSpectSpineLib.outcomes.over_time import mixed_model
from CTSpectSpineLib.outcomes.paper_tables import before_and_after, operations
from CTSpectSpineLib.outcomes.table import Outcomes, Patient, read_outcomes


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, Outcomes]:
    path = write_table(tmp_path_factory.mktemp("table") / "t.csv", 40, lost=0.4)
    return pd.read_csv(path), read_outcomes(path)


@pytest.fixture(scope="module")
def analysis(frame: tuple[pd.DataFrame, Outcomes]) -> Analysis:
    return analyse(frame[1], Plan())


def test_changes_are_those_of_scipy(
    frame: tuple[pd.DataFrame, Outcomes], analysis: Analysis
) -> None:
    for region in ("cervical", "lumbar"):
        part = frame[0][frame[0].region == region].dropna(subset=["vas_axial_12m"])
        test = scipy.stats.ttest_rel(part.vas_axial_12m, part.vas_axial_pre)
        found = analysis.change("vas_axial", region)
        assert found is not None
        c = found.change
        assert c.count == len(part) < 20
        assert (c.t, c.p_t) == pytest.approx((test.statistic, test.pvalue))
        interval = test.confidence_interval(0.95)
        assert (c.change.low, c.change.high) == pytest.approx((interval.low, interval.high))
        assert (c.before_mean, c.before_sd) == pytest.approx(
            (part.vas_axial_pre.mean(), part.vas_axial_pre.std())
        )
        ranks = scipy.stats.wilcoxon(part.vas_axial_12m, part.vas_axial_pre)
        assert c.p_signed_rank == pytest.approx(ranks.pvalue)


def test_groups_are_compared_as_scipy_does(
    frame: tuple[pd.DataFrame, Outcomes], analysis: Analysis
) -> None:
    data = frame[0].assign(change=frame[0].vas_axial_12m - frame[0].vas_axial_pre).dropna()
    test = scipy.stats.ttest_ind(
        data[data.region == "cervical"].change,
        data[data.region == "lumbar"].change,
        equal_var=False,
    )
    (row,) = [r for r in analysis.subgroups if (r.measure, r.visit) == ("vas_axial", "12m")]
    assert row.comparison.p_t == pytest.approx(test.pvalue)
    assert (row.first, row.second) == ("cervical", "lumbar")


def test_the_mixed_model_of_complete_data_is_an_analysis_of_variance(tmp_path: Path) -> None:
    """Where nobody is missing, visits differ by their means, with the error within patients."""
    found = read_outcomes(write_table(tmp_path / "t.csv", 30))
    rows = list(mixed_model(found, "vas_axial"))
    table = np.c_[[found.of("vas_axial", v) for v in ("pre", "2m", "12m")]].T
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    within = math.sqrt((rest**2).sum() / (2 * 29))
    for row, mean in zip(rows, (table[:, 1:] - table[:, :1]).mean(axis=0), strict=True):
        assert row.change.value == pytest.approx(mean, abs=1e-6)
        assert row.within_sd == pytest.approx(within, rel=1e-3)
        half = 1.959964 * within * math.sqrt(2 / 30)
        assert row.change.high - row.change.value == pytest.approx(half, rel=1e-3)
        assert row.converged


def test_the_mixed_model_of_the_sleep_data_as_r_has_it() -> None:
    """``lme4::lmer(extra ~ group + (1 | ID), sleep)``: 1.58 with standard error 0.389."""
    before = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
    after = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
    sleep = Outcomes(
        tuple(Patient(str(n)) for n in range(10)),
        {("vas_axial", "pre"): before, ("vas_axial", "2m"): after},
    )
    (row,) = mixed_model(sleep, "vas_axial")
    assert row.change.value == pytest.approx(1.58, abs=1e-6)
    assert (row.change.high - row.change.value) / 1.959964 == pytest.approx(0.3890, abs=2e-4)
    assert (row.between_sd, row.within_sd) == pytest.approx((1.6877, 0.8697), abs=2e-3)


def test_responders_by_hand() -> None:
    patients = tuple(Patient(str(n), region=r) for n, r in enumerate(("cervical", "lumbar") * 3))
    values = {
        ("vas_axial", "pre"): np.array([7.0, 10, 8, 6, 0, 9]),
        ("vas_axial", "12m"): np.array([4.9, 5.0, 7, 4.8, 0, np.nan]),
    }
    found = analyse(Outcomes(patients, values), Plan()).responders
    of = {(r.group, r.rule): r for r in found}
    # Exactly 30 % counts; a value of 0 before takes no part; the last one was not seen.
    thirty = of["all", "30 % relief"]
    assert (thirty.responders, thirty.seen, thirty.treated) == (2, 4, 5)
    assert thirty.share_of_treated.value == pytest.approx(2 / 5)
    assert of["all", "50 % relief"].responders == 1
    # 2.5 points for the neck, 1.2 for the back.
    assert of["cervical", "least important difference"].responders == 0
    assert of["lumbar", "least important difference"].responders == 2
    own = analyse(Outcomes(patients, values), Plan(least_important={"vas_axial": 2.0}))
    of = {(r.group, r.rule): r for r in own.responders}
    assert of["cervical", "least important difference"].responders == 1


def test_drop_out_and_imputation_count_everybody(analysis: Analysis) -> None:
    (row,) = [r for r in analysis.dropout if (r.measure, r.visit) == ("vas_axial", "12m")]
    (done,) = [r for r in analysis.imputed if (r.measure, r.visit) == ("vas_axial", "12m")]
    assert row.seen + row.missing == row.treated == done.patients == 40
    assert done.imputed == row.missing > 3
    assert done.change.low < done.observed < done.change.high
    assert 0 < done.missing_information < 1


def test_a_table_comes_out_the_same_twice(frame: tuple[pd.DataFrame, Outcomes]) -> None:
    one, other = (repr(analyse(frame[1], Plan(seed=3)).records()) for _ in range(2))
    assert one == other


def row(name: str, disposition: str, joints: str = "") -> CohortRow:
    return CohortRow(name, "complete", disposition, positive_joints=joints)


@pytest.mark.parametrize(
    ("patient", "verdict", "followed"),
    [
        (Patient("a", levels=("L4-L5",)), row("a", "lumbar_disc", "L4-L5 disc"), True),
        (Patient("a", levels=("L5-S1",)), row("a", "lumbar_disc", "L4-L5 disc"), False),
        (Patient("a", procedure="fusion"), row("a", "lumbar_disc", "L4-L5 disc"), None),
        (Patient("a", levels=("L4-L5",)), row("a", "negative"), False),
        (Patient("a", procedure="none"), row("a", "negative"), True),
        (Patient("a", procedure="none"), row("a", "lumbar_disc", "L4-L5 disc"), False),
        (Patient("a", procedure="none"), row("a", "cervical_facet", "C3-C4 facet left"), True),
        (Patient("a"), row("a", "negative"), None),
        (Patient("a", levels=("L4-L5",)), row("a", "no_verdict"), None),
        (Patient("a", levels=("L4-L5",)), row("b", "lumbar_disc", "L4-L5 disc"), None),
        (Patient("a", levels=("L4-L5",), followed=False),
         row("a", "lumbar_disc", "L4-L5 disc"), False),
    ],
)  # fmt: skip
def test_whose_verdict_was_followed(
    patient: Patient, verdict: CohortRow, followed: bool | None
) -> None:
    found = with_verdicts(Outcomes((patient,), {}), [verdict])
    assert found.patients[0].followed is followed


def test_patients_whom_a_person_excluded_do_not_count() -> None:
    patients = (Patient("a", levels=("L4-L5",)), Patient("b", levels=("L4-L5",)), Patient("c"))
    rows = [CohortRow("a", EXCLUDED), row("b", "lumbar_disc", "L4-L5 disc")]
    found = with_verdicts(Outcomes(patients, {}), rows).patients
    assert [(p.id, p.followed) for p in found] == [("b", True), ("c", None)]


def test_groups_by_verdict(frame: tuple[pd.DataFrame, Outcomes]) -> None:
    half = tuple(
        replace(p, followed=n < 10 if n < 30 else None) for n, p in enumerate(frame[1].patients)
    )
    found = groups(replace(frame[1], patients=half))
    assert found["verdict followed"].sum() == 10
    assert found["verdict not followed"].sum() == 20
    rows = analyse(replace(frame[1], patients=half), Plan()).subgroups
    assert ("verdict followed", "verdict not followed") in {(r.first, r.second) for r in rows}


def test_tables_in_the_layout_of_the_paper(analysis: Analysis) -> None:
    first = operations(analysis.outcomes.patients)
    assert first.rows[0] == ("Cervical", "all", "20", "0", "0", "0", "20")
    assert first.rows[2] == ("Lumbar", "all", "0", "20", "0", "0", "20")
    second, third = before_and_after(analysis)
    assert second.caption == "Table 2. Before and after, cervical spine"
    assert third.caption == "Table 3. Before and after, lumbar spine"
    found = analysis.change("vas_axial", "lumbar")
    assert found is not None
    assert third.rows[0][3] == f"{found.change.before_mean:.2f} ± {found.change.before_sd:.2f}"


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"visit": "1y"}, "visit '1y' is not known"),
        ({"least_important": {"pain": 1.0}}, "measure 'pain' is not known"),
        ({"least_important": {"odi": 200.0}}, "200 in odi is not possible"),
    ],
)
def test_a_plan_that_cannot_be(plan: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Plan(**plan)  # type: ignore[arg-type]


def test_a_single_patient_gives_dashes_and_no_error(tmp_path: Path) -> None:
    found = analyse(read_outcomes(write_table(tmp_path / "t.csv", 1)), Plan())
    assert math.isnan(found.changes[0].change.t)
    assert len(list(before_and_after(found))) == 1
