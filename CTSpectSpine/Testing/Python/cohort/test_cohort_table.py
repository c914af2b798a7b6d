"""The cohort file as people write it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from CTSpectSpineLib.cohort.table import CohortPatient, read_cohort
from CTSpectSpineLib.errors import InputError


def cohort(folder: Path, *lines: str, encoding: str = "utf-8") -> tuple[CohortPatient, ...]:
    path = folder / "cohort.csv"
    path.write_bytes("\n".join(lines).encode(encoding))
    return read_cohort(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    "lines",
    [
        ("id,ct,spect,age_years,radicular_pain", "p1,a/ct.nii,b.nii,54.5,no"),
        ("id;ct;spect;age_years;radicular_pain", "p1;a/ct.nii;b.nii;54,5;nein"),
        ("sep=;", "id;ct;spect;age_years;radicular_pain", "p1;a/ct.nii;b.nii;54,5;FALSE", ""),
        ("age_years\tid\tct\tspect\tradicular_pain", "54.5\tp1\ta/ct.nii\tb.nii\t0"),
    ],
)
def test_as_spreadsheets_save_it(lines: tuple[str, ...], encoding: str, tmp_path: Path) -> None:
    (patient,) = cohort(tmp_path, *lines, encoding=encoding)
    assert patient.paths() == {"ct": tmp_path / "a/ct.nii", "spect": tmp_path / "b.nii"}
    assert patient.context == {"age_years": 54.5, "radicular_pain": False}
    assert patient.arguments() == [f"--ct={tmp_path}/a/ct.nii", f"--spect={tmp_path}/b.nii"]


@pytest.mark.parametrize(
    ("column", "cell", "value"),
    [
        ("pain_region", "lumbar", "lumbar"),
        ("instability_mm", '"L4-L5=2.5; L5-S1 = 3"', {"L4-L5": 2.5, "L5-S1": 3.0}),
        ("instability_mm", '"{""L4-L5"": 2.5}"', {"L4-L5": 2.5}),
        ("exclusions", "fracture|infection", ["fracture", "infection"]),
        ("injection_time", "2024-05-31T13:45", "2024-05-31T13:45"),
        ("vas_axial", "", None),
        ("vas_axial", "n/a", None),
        ("surgery_declined", "Yes", True),
    ],
)
def test_cells_of_the_context(column: str, cell: str, value: Any, tmp_path: Path) -> None:
    (patient,) = cohort(tmp_path, f"id,study,{column}", f"p1,s,{cell}")
    assert patient.context == ({} if value is None else {column: value})
    assert patient.study == tmp_path / "s"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("id,ct,spect", "a b,c,s"), "row 2, column id: 'a b' cannot name a folder"),
        (("id,ct,spect", "../a,c,s"), "cannot name a folder"),
        (("id,ct,spect", "NUL,c,s"), "cannot name a folder"),
        (("id,ct,spect", "a,c,~nobody-here/s"), "row 2, column spect: '~nobody-here/s' names"),
        (("id,ct,spect", "Review,c,s"), "'Review' is a folder of the batch itself"),
        (("id,ct,spect", "a,c,s", "A,c,s"), "row 3, column id: 'A' stands in row 2"),
        (("id,ct,spect", "a,c,"), "row 2: ct given; give 'ct' and 'spect', or 'study'"),
        (("id,ct,spect,study", "a,c,s,t"), "row 2: ct and spect and study given"),
        (("id,ct,spect,age", "a,c,s,1"), "column 'age', which is not known"),
        (("id,id,study", "a,a,t"), "the column 'id' twice"),
        (("ct,spect", "c,s"), "no column 'id'"),
        (("id,study", "a,t,x"), "row 2: 3 cells where the first row names 2"),
        (("id,study",), "holds no patients"),
        (("id,study,age_years", "a,t,old"), "line 2, column age_years: 'old' is not a number"),
        (("id,study,age_years", "a,t,200"), "row 2 has the value 200"),
        (("id,study,radicular_pain", "a,t,maybe"), "'radicular_pain' in .* has the value 'maybe'"),
        (("id,study,instability_mm", "a,t,L4=2"), "'instability_mm' in .*row 2"),
        (("id,study", 'a,"t'), "cannot be read as a table"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    lines: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words) as refused:
        cohort(tmp_path, *lines)
    assert "cohort.csv" in str(refused.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_cohort(tmp_path / "none.csv")
