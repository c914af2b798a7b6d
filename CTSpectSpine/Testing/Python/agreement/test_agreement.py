"""Readers against the software, repeated measurements, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from results_case import PLACES, drawn_ratio, joint_name, uptake_of, write_results
from statsmodels.stats.inter_rater import cohens_kappa

from CTSpectSpineLib.agreement.compare import compare_readings, retest
from CTSpectSpineLib.agreement.form import form
from CTSpectSpineLib.agreement.readings import CLASSES, Reading, read_readings, software_reading
from CTSpectSpineLib.cohort.reader import read_joints
from CTSpectSpineLib.command_line.agreement import AGREEMENT_FILES
from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.results.reading import COLUMNS as PANEL_COLUMNS

PATIENTS = 8


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first")
    return write_results(folder, PATIENTS, drawn_ratio(1, 0.1), lambda p, n: (p, n) == (0, 0))


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("second"), PATIENTS, drawn_ratio(2, 0.1))


def write_reading(path: Path, reader: str = "A", seed: int = 3) -> Path:
    rng = np.random.default_rng(seed)
    lines = ["reader,id,joint,grade,read_at"]
    for patient in range(PATIENTS):
        for place, names in enumerate(PLACES):
            grade = uptake_of(drawn_ratio(1)(patient, place) + rng.normal(0, 0.4))
            lines.append(f"{reader},p{patient:02d},{joint_name(*names)},{grade},")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_kappa_of_each_kind_is_that_of_statsmodels(results: Path, tmp_path: Path) -> None:
    joints = read_joints(results)
    (reading,) = read_readings(write_reading(tmp_path / "a.csv"), joints)
    software = software_reading(joints)
    rows = {row.group: row for row in compare_readings([reading, software])}
    assert list(rows) == ["all", "disc", "facet"]
    assert rows["all"].joints == PATIENTS * len(PLACES) - 1
    assert rows["all"].left_out == rows["disc"].left_out == 1
    for group, row in rows.items():
        table = np.zeros((3, 3))
        for place, grade in reading.grades.items():
            theirs = software.grades[place]
            if theirs != "not_measurable" and (group == "all" or group in place[1]):
                table[CLASSES.index(grade), CLASSES.index(theirs)] += 1
        assert np.array_equal(table, row.table)
        assert row.kappa.value == pytest.approx(cohens_kappa(table).kappa)
        assert row.kappa_linear.value == pytest.approx(cohens_kappa(table, wt="linear").kappa)
        squares = cohens_kappa(table, wt="quadratic").kappa
        assert row.kappa_quadratic.value == pytest.approx(squares)
        two = np.array(
            [[table[:2, :2].sum(), table[:2, 2].sum()], [table[2, :2].sum(), table[2, 2]]]
        )
        assert row.kappa_positive.value == pytest.approx(cohens_kappa(two).kappa)
        assert row.kappa.low < row.kappa.value < row.kappa.high


def test_the_same_reading_agrees_fully() -> None:
    grades = {(f"p{n}", "L4-L5 disc"): CLASSES[n % 3] for n in range(9)}
    row = next(compare_readings([Reading("a", grades), Reading("b", grades)]))
    assert row.kappa.value == row.kappa_quadratic.value == row.same.value == 1


def test_a_measurement_repeated(results: Path, again: Path) -> None:
    rows, classes = retest(read_joints(results), read_joints(again))
    disc, facet = rows
    assert (disc.joints, disc.once) == (PATIENTS * 3 - 1, 1)
    assert facet.joints == PATIENTS * 6
    difference = facet.second - facet.first
    limits = facet.limits
    assert limits.bias.value == pytest.approx(difference.mean())
    assert limits.upper.value == pytest.approx(
        difference.mean() + 1.959964 * difference.std(ddof=1)
    )
    within = np.sqrt((difference**2).mean() / 2)
    assert limits.repeatability.value == pytest.approx(1.959964 * np.sqrt(2) * within)
    # The error that was put in is 0.1.
    true = 1.96 * np.sqrt(2) * 0.1
    assert limits.repeatability.low < true < limits.repeatability.high
    factor = np.log(facet.second / facet.first)
    assert facet.relative.upper.value == pytest.approx(
        np.exp(factor.mean() + 1.959964 * factor.std(ddof=1))
    )
    # Variances of the two parts give what the correlation should be.
    both = np.c_[facet.first, facet.second]
    between = np.cov(both.T)[0, 1] / both.var(axis=0, ddof=1).mean()
    assert facet.reliability.consistent.value == pytest.approx(between, abs=0.01)
    assert {row.group for row in classes} == {"all", "disc", "facet"}


def test_results_sets_without_common_patients(results: Path, tmp_path: Path) -> None:
    other = write_results(tmp_path / "x", 1, drawn_ratio(1))
    (other / "p00").rename(other / "somebody")
    with pytest.raises(InputError, match="must have the same names"):
        retest(read_joints(results), read_joints(other))


def test_a_reading_of_the_panel_is_read(results: Path, tmp_path: Path) -> None:
    """The panel writes other columns, and `patient` in place of `id`."""
    columns = ",".join(PANEL_COLUMNS)
    rows = (
        "p00,L4-L5 disc,L4-L5,disc,,positive,both endplates,A,2026-11-27T10:00:00+00:00",
        "p00,L4-L5 facet left,L4-L5,facet,left,negative,,A,2026-11-27T10:01:00+00:00",
    )
    path = tmp_path / "reading.csv"
    path.write_text("\r\n".join((columns, *rows)) + "\r\n", encoding="utf-8")
    (reading,) = read_readings(path, read_joints(results))
    assert reading.reader == "A"
    assert reading.grades == {
        ("p00", "L4-L5 disc"): "positive",
        ("p00", "L4-L5 facet left"): "negative",
    }
    path.write_text("reader,joint,grade\nA,L4-L5 disc,positive\n", encoding="utf-8")
    with pytest.raises(InputError, match="no column 'id'"):
        read_readings(path, read_joints(results))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A,p00,L4-L5 disc,warm,", "row 2, column grade: 'warm': give positive or"),
        ("A,p00,L1-L2 disc,negative,", "row 2, column joint: the results have no joint"),
        ("A,p99,L4-L5 disc,negative,", "no joint 'L4-L5 disc' of 'p99'"),
        (",p00,L4-L5 disc,negative,", "row 2, column reader is empty"),
        ("Software,p00,L4-L5 disc,negative,", "is what the software is called"),
        ("A,p00,L4-L5 disc,negative,\nA,p00,L4-L5 disc,positive,", "row 3, column joint: 'p00 L4"),
        ("A,p00,L4-L5 disc,,", "holds no grades"),
        ("A,p00,L4-L5 disc", "row 2: 3 cells where the first row names 5"),
    ],
)
def test_a_wrong_reading_is_named_with_its_place(
    text: str, words: str, results: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"reader,id,joint,grade,read_at\n{text}\n", encoding="utf-8")
    with pytest.raises(InputError) as refused:
        read_readings(path, read_joints(results))
    assert words in str(refused.value)
    assert "a.csv" in str(refused.value)


def test_the_command(
    results: Path, again: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = write_reading(tmp_path / "a.csv"), write_reading(tmp_path / "b.csv", "B", 4)
    out = tmp_path / "out"
    words = ["agreement", "--reader", one, "--reader", other, "--results", results]
    words += ["--retest", results, again, "--out", out]
    assert main(list(map(str, words))) == 0
    said = capsys.readouterr().out
    for pair in ("A and B", "A and software", "B and software"):
        assert f"{pair}, facet: kappa" in said
    assert {p.name for p in out.iterdir()} - {".ctspectspine-files.json"} == set(AGREEMENT_FILES)
    record = json.loads((out / "agreement.json").read_text(encoding="utf-8"))
    assert len(record["readers"]) == 9
    first = record["readers"][0]
    names = [f"{a}_{b}" for a in CLASSES for b in CLASSES]
    assert sum(first[name] for name in names) == first["joints"]
    page = (out / "agreement.html").read_text(encoding="utf-8")
    assert page.count('role="img"') == 2
    assert str(tmp_path) not in page


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Nothing to compare"),
        (["--reader", "a.csv"], "belong together"),
        (["--results", "x"], "Nothing to compare"),
        (["--retest", "none", "none"], "none holds no joints.csv"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["agreement", *words, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_the_form_holds_nothing_of_the_results(results: Path, again: Path, tmp_path: Path) -> None:
    """Other ratios, classes and statuses give the same form, byte for byte."""
    text = form(read_joints(results))
    assert text == form(read_joints(again))
    cold = write_results(tmp_path / "cold", PATIENTS, lambda p, n: 1.0)
    assert text == form(read_joints(cold))
    assert "://" not in text, "the page names a network"


def test_the_order_of_patients_can_be_left_to_chance(results: Path) -> None:
    joints = read_joints(results)
    plain, one, same, other = (form(joints, seed=seed) for seed in (None, 1, 1, 2))
    assert one == same
    assert len({plain, one, other}) == 3


def test_hostile_names_stay_text(results: Path) -> None:
    text = form(read_joints(results), reader="</script><b>")
    assert "</script><b>" not in text
