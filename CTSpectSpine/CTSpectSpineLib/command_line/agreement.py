"""The commands ``agreement`` and ``reader-form``."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from CTSpectSpineLib.command_line.printing import print_json, print_lines
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.results.folder import check_step_folder, output_file, step_folder
from CTSpectSpineLib.results.text_files import write_json, write_text

if TYPE_CHECKING:
    from CTSpectSpineLib.agreement.compare import AgreementRow, RetestRow

_PAGE, _RECORD, _CLASSES, _RETEST, _PAIRS = (
    *("agreement.html", "agreement.json", "agreement_classes.csv"),
    *("agreement_ratios.csv", "agreement_pairs.csv"),
)
AGREEMENT_FILES = (_PAGE, _RECORD, _CLASSES, _RETEST, _PAIRS)
"""Page, record, and tables of the classes and of the ratios."""
SCHEMA = "ctspectspine-agreement-1"


def agreement(options: Namespace) -> int:
    """``ctspectspine agreement``."""
    from CTSpectSpineLib.agreement.compare import retest
    from CTSpectSpineLib.agreement.page import page
    from CTSpectSpineLib.cohort.reader import read_joints
    from CTSpectSpineLib.study_pages.content import csv_text

    check_step_folder(options.out)
    if not options.reader and not options.retest:
        raise InputError(
            "Nothing to compare; give --reader with --results, or --retest with two folders."
        )
    if bool(options.reader) != (options.results is not None):
        raise InputError("--reader and --results belong together: give the results that were read.")
    readers = _readers(options) if options.reader else []
    repeated: list[RetestRow] = []
    classes: list[AgreementRow] = []
    if options.retest:
        first, second = (read_joints(folder) for folder in options.retest)
        repeated, classes = retest(first, second, options.seed)
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "research_use_only": True,
        "seed": options.seed,
        "readers": [_class_cells(row) for row in readers],
        "ratios": [_ratio_cells(row) for row in repeated],
        "classes": [_class_cells(row) for row in classes],
    }
    with step_folder(options.out, "agreement", AGREEMENT_FILES, options.reader) as folder:
        tables = [*record["readers"], *record["classes"]]
        write_text(folder / _CLASSES, csv_text(tables))
        if repeated:
            write_text(folder / _RETEST, csv_text(record["ratios"]))
            write_text(folder / _PAIRS, csv_text(_pairs(repeated)))
        write_json(folder / _RECORD, record)
        names = [_CLASSES, *([_RETEST, _PAIRS] if repeated else []), _RECORD]
        write_text(folder / _PAGE, page(readers, repeated, classes, names))
    if options.json:
        print_json(record)
    else:
        print_lines(
            [*_lines([*readers, *classes], repeated), "", f"Page to open: {options.out / _PAGE}"]
        )
    return 0


def _readers(options: Namespace) -> list[AgreementRow]:
    from CTSpectSpineLib.agreement.compare import compare_readings
    from CTSpectSpineLib.agreement.readings import read_readings, software_reading
    from CTSpectSpineLib.cohort.reader import read_joints

    joints = read_joints(options.results)
    readings = [reading for path in options.reader for reading in read_readings(path, joints)]
    names = [reading.reader for reading in readings]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"Two readings are of '{name}'; give each its own name in the column 'reader'."
            )
    return list(compare_readings([*readings, software_reading(joints)], options.seed))


def _class_cells(row: AgreementRow) -> dict[str, Any]:
    from CTSpectSpineLib.agreement.readings import CLASSES
    from CTSpectSpineLib.study_pages.content import flat

    cells = flat(row)
    table = cells.pop("table")
    for one, counts in zip(CLASSES, table.tolist(), strict=True):
        for other, count in zip(CLASSES, counts, strict=True):
            cells[f"{one}_{other}"] = count
    return cells


def _ratio_cells(row: RetestRow) -> dict[str, Any]:
    from CTSpectSpineLib.study_pages.content import flat

    cells: dict[str, Any] = {
        "group": row.group,
        "metric": row.metric,
        "patients": row.patients,
        "joints": row.joints,
        "once": row.once,
    }
    cells |= {f"icc_{name}": value for name, value in flat(row.reliability).items()}
    cells |= flat(row.limits)
    return cells | {f"factor_{name}": value for name, value in flat(row.relative).items()}


def _pairs(rows: Sequence[RetestRow]) -> list[dict[str, Any]]:
    return [
        {"id": owner, "kind": row.group, "first": float(one), "second": float(other)}
        for row in rows
        for owner, one, other in zip(row.owners, row.first, row.second, strict=True)
    ]


def _lines(classes: Sequence[AgreementRow], ratios: Sequence[RetestRow]) -> list[str]:
    lines = [
        f"{row.first} and {row.second}, {row.group}: kappa {row.kappa.text()}, {row.joints} joints"
        for row in classes
    ]
    return lines + [
        f"{row.group}s measured twice: ICC {row.reliability.absolute.text(3)}, repeatability "
        f"{row.limits.repeatability.text(3)}, {row.joints} joints"
        for row in ratios
    ]


def reader_form(options: Namespace) -> int:
    """``ctspectspine reader-form``."""
    from CTSpectSpineLib.agreement.form import form
    from CTSpectSpineLib.cohort.reader import read_joints

    joints = read_joints(options.results)
    with output_file(options.out, "reader-form") as path:
        write_text(path, form(joints, options.reader, options.shuffle))
    record = {"form": str(options.out), "patients": len(joints)}
    if options.json:
        print_json(record)
    else:
        print_lines([f"Form of {len(joints)} patients to open: {options.out}"])
    return 0
