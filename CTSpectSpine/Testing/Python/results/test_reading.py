"""The reader's own form: plain tables that survive a repeated analysis and a copy."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.results.folder import results_folder, save_folder
from CTSpectSpineLib.results.manifest import MANIFEST, SCHEMA
from CTSpectSpineLib.results.reading import (
    COLUMNS,
    TABLE,
    Grade,
    Reading,
    copy_readings,
    read_readings,
    write_reading,
)
from CTSpectSpineLib.results.text_files import write_json, write_text

DISC = Grade("L4-L5 disc", "L4-L5", "disc", "", "positive", 'a "note", with\nall', "2026-01-02")
FACET = Grade("L4-L5 facet left", "L4-L5", "facet", "left", "negative", "", "2026-01-03")


def reading_of(reader: str, *grades: Grade) -> Reading:
    return Reading("p1", reader, True, grades).with_decision("registration", "accepted")


def test_two_readers_share_a_folder_and_each_replaces_their_own_part(tmp_path: Path) -> None:
    ann, bob = reading_of("Ann", DISC, FACET), reading_of("Bob", FACET)
    for reading in (ann, bob):
        write_reading(tmp_path, reading)
    assert read_readings(tmp_path) == {"Ann": ann, "Bob": bob}
    changed = ann.with_grade(Grade("L4-L5 disc", "L4-L5", "disc", "", ""))
    write_reading(tmp_path, changed)
    assert read_readings(tmp_path) == {"Ann": changed, "Bob": bob}
    assert [grade.joint for grade in changed.grades] == ["L4-L5 facet left"]


def test_the_table_has_the_documented_columns_and_words(tmp_path: Path) -> None:
    write_reading(tmp_path, reading_of("Ann", DISC))
    with (tmp_path / TABLE).open(encoding="utf-8", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert tuple(row) == COLUMNS
    assert list(row.values()) == [
        "p1", "L4-L5 disc", "L4-L5", "disc", "", "positive", DISC.note, "Ann", "2026-01-02",
    ]  # fmt: skip


def analysed(folder: Path) -> None:
    with results_folder(folder):
        write_json(folder / MANIFEST, {"schema": SCHEMA, "status": "running"})
        write_text(folder / "joints.csv", "joint\n")
        write_json(folder / MANIFEST, {"schema": SCHEMA, "status": "complete"})


def test_an_analysis_repeated_in_the_folder_leaves_what_readers_said(tmp_path: Path) -> None:
    analysed(tmp_path)
    ann = reading_of("Ann", DISC)
    write_reading(tmp_path, ann)
    analysed(tmp_path)
    write_reading(tmp_path, ann)
    assert read_readings(tmp_path) == {"Ann": ann}


def test_a_copy_of_the_results_holds_the_readings_and_they_can_be_changed_there(
    tmp_path: Path,
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    analysed(here)
    ann, bob = reading_of("Ann", DISC), reading_of("Bob", FACET)
    write_reading(here, ann)
    save_folder(here, there)
    copy_readings(here, there)
    write_reading(there, bob)
    analysed(there)
    assert read_readings(there) == {"Ann": ann, "Bob": bob}
    save_folder(here, there)
    copy_readings(here, there)
    assert read_readings(there) == {"Ann": ann, "Bob": bob}


def test_a_table_that_is_not_ours_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / TABLE).write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"reading\.csv"):
        write_reading(tmp_path, reading_of("Ann", DISC))
    assert (tmp_path / TABLE).read_text(encoding="utf-8") == ",".join(COLUMNS) + "\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("positive", "maybe"), r"row 2, column grade: 'maybe' is not one of"),
        (("L4-L5 disc", ""), r"row 2, column joint: is empty"),
        (("grade", "score"), r"has no column 'grade'"),
    ],
)
def test_what_cannot_be_read_is_named_by_row_and_column(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    plain = Grade(*(DISC.joint, DISC.level, DISC.kind, "", "positive", "n", "2026"))
    write_reading(tmp_path, reading_of("Ann", plain))
    text = (tmp_path / TABLE).read_text(encoding="utf-8").replace(*change)
    (tmp_path / TABLE).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_readings(tmp_path)


def test_a_reader_has_a_name_and_uses_the_known_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="type the name"):
        write_reading(tmp_path, reading_of(" ", DISC))
    with pytest.raises(ValueError, match="'hot'"):
        Reading().with_grade(Grade("j", "l", "disc", "", "hot"))
    with pytest.raises(ValueError, match="'maybe'"):
        Reading().with_decision("levels", "maybe")
