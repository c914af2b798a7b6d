"""Rows of a study that a spreadsheet, an editor or a full disk has changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from study_rows import joint_row, patient_row

from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.validation.rows import (
    JOINTS_FILE,
    PATIENTS_FILE,
    append,
    begin,
    read_study,
)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    begin(tmp_path, resume=False)
    append(tmp_path, patient_row("standard-000"), [joint_row("standard-000")])
    return tmp_path


@pytest.mark.parametrize("name", [JOINTS_FILE, PATIENTS_FILE])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b",", b";"),
        (b"\n", b"\r\n\xff"),
        (b"standard,", b'"standard,'),
        (b"standard-000,", b"standard-000,,"),
        (b"set_name", b"name"),
        (b"\n", b"\x00\n"),
    ],
)
def test_a_study_that_was_changed_is_refused_in_one_line(
    name: str,
    old: bytes,
    new: bytes,
    rows: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = rows / name
    path.write_bytes(path.read_bytes().replace(old, new))
    code = main(["validate", "--resume", "--count", "1", "--sets", "x", "--out", str(tmp_path)])
    error = capsys.readouterr().err
    assert code == 2, error
    assert len(error.splitlines()) == 1
    code = main(["validate", "--document-only", "--out", str(tmp_path)])
    error = capsys.readouterr().err
    assert code == 2, error
    assert name in error


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("true_ratio", "Mrz 78"), ("true_ratio", "1e999"), ("seed", "1.5"), ("seed", "")),
        *(("level", "L-L5"), ("kind", "rib"), ("side", "links"), ("split", "both")),
    ],
)
def test_a_cell_that_is_no_number_or_word_is_named(column: str, value: str, rows: Path) -> None:
    path = rows / JOINTS_FILE
    head, line, *_ = path.read_text(encoding="utf-8").splitlines()
    cells = line.split(",")
    cells[head.split(",").index(column)] = value
    path.write_text("\n".join((head, ",".join(cells))) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=rf"{JOINTS_FILE}, row 2, column {column}: '{value}'"):
        read_study(rows)


def test_tuning_patients_alone_make_a_document_or_a_sentence(
    rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["validate", "--document-only", "--split", "tuning", "--out", str(rows)]
    assert main(arguments) == 2
    assert "no patients of the tuning split" in capsys.readouterr().err
