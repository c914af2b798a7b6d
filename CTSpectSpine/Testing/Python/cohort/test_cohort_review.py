"""What people decide on patients: recorded, honoured, never lost."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from cohort_case import Analyses, make_patients

from CTSpectSpineLib.cohort.page import write_page
from CTSpectSpineLib.cohort.review import (
    DECISIONS,
    FOLDER,
    ReviewDecision,
    every_decision,
    read_decisions,
    with_decisions,
)
from CTSpectSpineLib.cohort.run import Batch, run_batch
from CTSpectSpineLib.cohort.summary import write_tables
from CTSpectSpineLib.cohort.table import CohortPatient
from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.progress import silent


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("CTSpectSpineLib.cohort.run._LOOK_SECONDS", 0.0)


def batch(base: Path, patients: tuple[CohortPatient, ...]) -> tuple[list[str], Analyses]:
    """One run of a batch over stand-ins; who was analysed, and by what."""
    out, scratch = base / "out", base / "scratch"
    scratch.mkdir(exist_ok=True)
    out.mkdir(exist_ok=True)
    decided = with_decisions(patients, read_decisions(out))
    analyses = Analyses(refused=["p02"])
    done = run_batch(Batch(out, workers=2), decided, analyses, scratch, silent)
    write_page(out, write_tables(out, decided))
    return done, analyses


def decide(out: Path, *words: str) -> int:
    return main(["review", str(out), *words, "--progress", "none"])


def queue(out: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert main(["review", str(out), "--json"]) == 0
    return [row["id"] for row in json.loads(capsys.readouterr().out)]


def cohort(out: Path) -> dict[str, dict[str, str]]:
    with (out / "cohort.csv").open(encoding="utf-8", newline="") as stream:
        return {row["id"]: row for row in csv.DictReader(stream)}


def test_a_result_that_was_seen_waits_no_more_until_it_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    patients, out = make_patients(tmp_path, 3), tmp_path / "out"
    batch(tmp_path, patients)
    assert queue(out, capsys) == ["p02", "p00", "p01"]
    assert decide(out, "p00", "seen", "--by", "A. Reader") == 0
    assert queue(out, capsys) == ["p02", "p01"]
    assert batch(tmp_path, patients)[0] == [], "a decision that changes nothing was redone"
    row = cohort(out)["p00"]
    assert row["reviewed"] == "yes"
    assert row["decisions"].startswith("seen by A. Reader, 20")
    assert queue(out, capsys) == ["p02", "p01"]
    assert patients[0].ct is not None
    # Another result of the same patient was not seen.
    verdict = out / "p00" / "verdict.json"
    verdict.write_text(verdict.read_text(encoding="utf-8").replace("0.9", "0.8"), encoding="utf-8")
    write_tables(out, with_decisions(patients, read_decisions(out)))
    assert "p00" in queue(out, capsys)


def test_decisions_are_honoured_by_the_next_batch(tmp_path: Path) -> None:
    patients, out = make_patients(tmp_path, 3), tmp_path / "out"
    batch(tmp_path, patients)
    assert decide(out, "p00", "confirm-levels", "--by", "B") == 0
    assert decide(out, "p00", "anchor", "--value", "L4@1,2,3", "--by", "B") == 0
    assert decide(out, "p00", "anchor", "--value", "L5@1,2,3", "--by", "C") == 0
    assert decide(out, "p01", "exclude", "--value", "hip, painful", "--by", "B") == 0
    decided = with_decisions(patients, read_decisions(out))
    assert decided[0].decided == ("--anchor=L5@1,2,3", "--confirm-levels")
    assert decided[0].arguments()[-2:] == ["--anchor=L5@1,2,3", "--confirm-levels"]
    assert batch(tmp_path, patients)[0] == ["p00"]
    assert batch(tmp_path, patients)[0] == []
    found = cohort(out)
    assert found["p01"]["status"] == "excluded"
    assert "hip, painful" in found["p01"]["reason"]
    assert "p01" not in (out / "review.csv").read_text(encoding="utf-8")
    assert decide(out, "p01", "withdraw", "--by", "B") == 0
    assert batch(tmp_path, patients)[0] == []
    assert cohort(out)["p01"]["status"] == "complete"
    assert len(every_decision(out)) == 5, "a decision was lost"


def test_what_a_person_wrote_by_hand_counts_and_stays(tmp_path: Path) -> None:
    patients, out = make_patients(tmp_path, 2), tmp_path / "out"
    batch(tmp_path, patients)
    assert decide(out, "p00", "seen", "--by", "B") == 0
    path = out / FOLDER / DECISIONS
    with path.open("a", encoding="utf-8") as stream:
        stream.write("p01,exclude,implant,by hand,2026-01-01,\n")
    assert decide(out, "p00", "confirm-levels", "--by", "B") == 0
    assert [d.id for d in every_decision(out)] == ["p00", "p01", "p00"]
    path.write_text(path.read_text(encoding="utf-8").replace("exclude", "burn"), encoding="utf-8")
    with pytest.raises(InputError, match=r"decisions\.csv, row 3: The decision 'burn' on p01"):
        read_decisions(out)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("p01,exclude,implant, screws,by hand,2026-01-01,", "more cells than the first row names"),
        (",,,,,,x", "more cells than the first row names"),
        ("p01,exclude,implant,,2026-01-01,", "needs the name of who takes it"),
    ],
)
def test_a_wrong_row_is_named_where_it_stands(line: str, told: str, tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    text = f"id,decision,value,by,time,result\n,,,,,\n\n{line}\n"
    (tmp_path / FOLDER / DECISIONS).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=rf"decisions\.csv, row 4: .*{told}"):
        read_decisions(tmp_path)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("p9", "seen", "--by", "B"), "holds no patient 'p9'"),
        (("../out", "seen", "--by", "B"), "holds no patient"),
        (("p00", "seen"), "needs the name of who takes it"),
        (("p00", "maybe", "--by", "B"), "'maybe' on p00 is not known; use one of seen"),
        (("p00", "exclude", "--by", "B"), "needs the reason"),
        (("p00", "anchor", "--by", "B", "--value", "L4"), "Anchor 'L4' is not LEVEL@x,y,z"),
    ],
)
def test_a_decision_that_cannot_be_is_one_sentence(
    words: tuple[str, ...], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch(tmp_path, make_patients(tmp_path, 1))
    assert decide(tmp_path / "out", *words) == 2
    error = capsys.readouterr().err
    assert told in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out" / FOLDER / DECISIONS).exists()


def test_a_queue_that_a_spreadsheet_saved_is_read_and_a_damaged_one_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "review.csv"
    path.write_text("id;why;reason;folder\np00;no verdict;\u00fc;p00\n", encoding="cp1252")
    assert queue(tmp_path, capsys) == ["p00"]
    path.write_text("id,folder\np00,p00\n", encoding="utf-8")
    assert main(["review", str(tmp_path), "--progress", "none"]) == 2
    error = capsys.readouterr().err
    assert "review.csv has no column 'why'" in error
    assert len(error.splitlines()) == 1


def test_a_decision_names_who_and_when() -> None:
    decision = ReviewDecision("a", "exclude", "metal", "B", "2026-01-02T03:04:05+00:00", "")
    assert decision.sentence == "exclude (metal) by B, 2026-01-02T03:04:05+00:00"
