"""The paper's counts, means and printed p values."""

from __future__ import annotations

from pathlib import Path

import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from CTSpectSpineLib.cohort.reader import read_rows
from CTSpectSpineLib.cohort.rows import CohortRow
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.outcomes.flow import (
    Flow,
    cohort_flow,
    flow_csv,
    flow_of,
    published_flow,
    read_counts,
)
from CTSpectSpineLib.outcomes.flow_drawing import flow_png, flow_svg
from CTSpectSpineLib.outcomes.summary import (
    Printed,
    SummaryRow,
    check,
    contradictions,
    published,
    published_rows,
    read_summary,
    whole_numbers,
)
from CTSpectSpineLib.outcomes.summary_page import p_sentences
from CTSpectSpineLib.outcomes.table import Outcomes, Patient, measures, tables


def counts(flow: Flow) -> dict[str, int]:
    return {name: count for name, _, _, count in flow.rows()}


def test_the_flow_of_the_paper() -> None:
    found = counts(published_flow("tender-2019"))
    assert found["scanned"] == 315 == 126 + 103 + 38 + 48
    assert (found["negative"], found["multiple_areas"], found["declined"]) == (126, 103, 38)
    assert (found["operated"], found["operated_cervical"], found["operated_lumbar"]) == (48, 25, 23)
    assert found["offered"] == 86


def test_the_operations_of_the_paper_are_its_patients() -> None:
    listed = published("tender-2019")["operations"]
    for region, count in (("cervical", 25), ("lumbar", 23)):
        assert sum(o["patients"] for o in listed if o["region"] == region) == count  # type: ignore[attr-defined]


def test_the_printed_p_values_do_not_follow() -> None:
    """With the extreme correlation -1 and the unfavourable rounding the test is still clearer."""
    rows, printed = published_rows("tender-2019")
    assert printed == [0.026, 0.019, 0.008]
    checks = [check(row) for row in rows]
    whole = checks[0]
    assert (whole.row.count, whole.row.group, whole.row.measure) == (48, "all", "vas_axial")
    assert whole.independent_t == pytest.approx(12.09, abs=0.01)
    largest = scipy.stats.t.sf((4.70 - 0.01) * 48**0.5 / (1.45 + 2.35), 47) * 2
    assert whole.most_p == pytest.approx(largest)
    for found in checks:
        if found.row.measure == "vas_axial":
            assert found.most_p < 1e-5 < min(printed)
    said = " ".join(p_sentences(checks, printed))
    assert "The printed p of 0.026 does not follow from any" in said
    assert said.count("VAS axial, all") == 2, "0.019 and 0.008 are not those of axial pain"


def test_the_page_says_what_the_command_says(repository: Path) -> None:
    page = (repository / "docs" / "outcomes.md").read_text(encoding="utf-8")
    rows, printed = published_rows("tender-2019")
    said = [*p_sentences([check(row) for row in rows], printed), *contradictions(rows)]
    assert "\n".join(said) in page
    for points in ("arms 2.5", "back 1.2, legs 1.6, ODI 12.8", "not told 1.5 and ODI 10"):
        assert points in page
    least = tables()["least_important"]
    assert least["cervical"]["vas_axial"]["points"] == 2.5
    assert [least["lumbar"][m]["points"] for m in measures()] == [1.2, 1.6, 12.8]
    assert [least[""][m]["points"] for m in measures()] == [1.5, 1.5, 10]


def test_what_else_does_not_fit() -> None:
    rows, _ = published_rows("tender-2019")
    (said,) = contradictions(rows)
    assert "give 4.38 for all 48, not the printed 4.34" in said
    assert round((25 * 3.92 + 23 * 4.87) / 48, 2) == 4.38
    assert whole_numbers(rows[0]) == {"before": True, "after": False}


def summary_row(n: int, *values: str, **more: float) -> SummaryRow:
    return SummaryRow("vas_axial", "all", n, *map(Printed.of, values), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "column"),
    [("na,all,10,7.0,1.0,3.0,1.0", "measure"), ("vas_axial,all,10,7.0,n/a,3.0,1.0", "pre_sd")],
)
def test_a_word_for_nothing_is_no_value_of_a_summary(row: str, column: str, tmp_path: Path) -> None:
    path = tmp_path / "means.csv"
    path.write_text(f"measure,group,n,pre_mean,pre_sd,post_mean,post_sd\n{row}\n", encoding="utf-8")
    with pytest.raises(InputError, match=rf"row 2, column {column} is empty"):
        read_summary(path)


def test_with_the_spread_of_the_changes_the_test_itself() -> None:
    found = check(summary_row(20, "8.00", "1.00", "5.00", "2.00", change_sd=1.5, p=0.03))
    assert found.t == pytest.approx(-3 / (1.5 / 20**0.5))
    assert found.p == pytest.approx(2 * scipy.stats.t.sf(abs(found.t), 19))
    assert found.change.high == pytest.approx(-3 + scipy.stats.t.ppf(0.975, 19) * 1.5 / 20**0.5)
    assert found.follows is False
    same = check(summary_row(20, "8.00", "1.00", "5.00", "2.00", correlation=0.6875))
    assert same.t == pytest.approx(found.t), "the correlation gives the same spread"


def test_a_spread_that_a_scale_does_not_allow() -> None:
    (said,) = contradictions([summary_row(10, "9.5", "4.0", "5.0", "2.0")])
    assert "a standard deviation of 4 is not possible with a mean of 9.5" in said


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 10), min_size=3, max_size=40), st.integers(1, 3))
def test_true_means_of_whole_numbers_are_never_suspected(values: list[int], digits: int) -> None:
    mean = f"{sum(values) / len(values):.{digits}f}"
    row = summary_row(len(values), mean, "1", mean, "1")
    assert whole_numbers(row) == {"before": True, "after": True}


@given(
    st.dictionaries(st.sampled_from(["negative", "multiple_areas", "declined", "no_verdict"]),
                    st.integers(0, 500)),
    st.integers(0, 50), st.integers(0, 50),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_nobody_is_lost_in_a_flow(leaving: dict[str, int], neck: int, back: int) -> None:
    operated = {"cervical": neck, "lumbar": back}
    whole = sum(leaving.values()) + neck + back
    found = counts(flow_of(whole, leaving, operated))
    assert found["scanned"] == whole
    assert found["operated"] == neck + back
    if neck + back:
        with pytest.raises(InputError, match="does not add up"):
            flow_of(whole + 1, leaving, operated)


def test_the_flow_of_a_cohort() -> None:
    def row(n: int, disposition: str, status: str = "complete") -> CohortRow:
        return CohortRow(f"p{n}", status, disposition)

    rows = [
        row(0, "", "error"), row(1, "no_verdict", "failed"), row(2, "negative"),
        row(3, "negative"), row(4, "lumbar_disc"), row(5, "cervical_disc"), row(6, "declined"),
        row(7, "lumbar_disc"), row(8, "", "excluded"),
    ]  # fmt: skip
    plain = counts(cohort_flow(rows))
    assert (plain["not_analysed"], plain["no_verdict"], plain["negative"]) == (1, 1, 2)
    assert plain["excluded"] == 1
    assert (plain["not_told"], plain["declined"], plain["operated"]) == (3, 1, 0)
    nan = float("nan")
    told = Outcomes(
        (Patient("p4", "lumbar", levels=("L4-L5",)), Patient("p5", "cervical", procedure="fusion"),
         Patient("p2", "lumbar", levels=("L4-L5",)), Patient("p7", "lumbar", procedure="none")),
        {("odi", "pre"): [50, 40, 50, 50], ("odi", "12m"): [20, nan, 20, 20]},  # type: ignore[dict-item]
    )  # fmt: skip
    flow = cohort_flow(rows, told)
    found = counts(flow)
    assert (found["operated_lumbar"], found["operated_cervical"], found["not_told"]) == (1, 1, 1)
    lines = {box.name: box.lines for box in (*flow.parts, *flow.steps[0].leaving)}
    assert lines["negative"] == ("of them operated: 1",)
    assert lines["operated_cervical"] == ("seen before: 1", "seen at 12 months: 0")


def test_a_cohort_of_an_earlier_version_or_with_a_column_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "cohort.csv").write_text(
        "id,status,disposition,stability,quality,expected_error_mm,level_status,positive_joints,"
        "findings,seconds,folder,reason,note\n"
        "a,complete,lumbar_disc,0.9,good,1.2,plausible,L4-L5 disc,,30.0,a,,mine\n",
        encoding="utf-8",
    )
    (row,) = read_rows(tmp_path)
    assert (row.id, row.disposition, row.stability, row.reviewed) == ("a", "lumbar_disc", 0.9, "")
    (tmp_path / "cohort.csv").write_text("id,status\na,complete\n", encoding="utf-8")
    with pytest.raises(InputError, match="has no column 'disposition'"):
        read_rows(tmp_path)


def test_a_flow_from_counts_and_its_files(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text(
        "box,patients\nscanned,315\nnegative,126\nmultiple_areas,103\ndeclined,38\n"
        "operated_cervical,25\noperated_lumbar,23\n", encoding="utf-8",
    )  # fmt: skip
    found = read_counts(path)
    assert found == published_flow("tender-2019")
    assert "multiple_areas,scanned,Multiple areas of increased uptake,103" in flow_csv(found)
    svg = flow_svg(found)
    assert 'role="img" aria-labelledby="flow-title flow-words"' in svg
    assert "SPECT/CT: 315. Leaving: Negative scan 126, Multiple areas" in svg
    assert "n = 103" in svg
    assert flow_png(found).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("box,patients\nscanned,10\nnegative,4\noperated_lumbar,5\n", "does not add up: 10 pat"),
        ("box,patients\nnegative,4\n", "no row 'scanned'"),
        ("box,patients\nscanned,4.5\n", "row 2, column patients: give a whole number"),
        ("box,patients\nscanned,-4\n", "row 2, column patients: -4 is not possible"),
        ("box,patients\nscanned,4\nscanned,4\n", "row 3, column box: 'scanned' stands in row 2"),
        ("box,count\nscanned,4\n", "no column 'patients'"),
        ("box,patients\nscanned,4\noperated,4\n", "row 3, column box: 'operated' is added up"),
        (
            "box,patients\nscanned,4\ncervical,1\noperated_cervical,4\n",
            "4 patients ('SPECT/CT') are not 1 who leave and 4 who go on",
        ),
    ],
)
def test_wrong_counts_are_named_with_their_place(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as refused:
        read_counts(path)
    assert words in str(refused.value)
