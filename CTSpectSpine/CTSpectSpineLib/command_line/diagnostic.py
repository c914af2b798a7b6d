"""The command ``diagnostic``."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from CTSpectSpineLib.command_line.printing import print_json, print_lines
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import sha256_of_file
from CTSpectSpineLib.results.folder import check_step_folder, step_folder
from CTSpectSpineLib.results.text_files import write_json, write_text

if TYPE_CHECKING:
    from CTSpectSpineLib.diagnostic.accuracy import Diagnosis

_PAGE, _RECORD = "diagnostic.html", "diagnostic.json"
_ACCURACY, _CURVE, _DECISION, _OBSERVED = (
    *("diagnostic_accuracy.csv", "diagnostic_roc.csv"),
    *("diagnostic_decision.csv", "diagnostic_observations.csv"),
)
DIAGNOSTIC_FILES = (_PAGE, _RECORD, _ACCURACY, _CURVE, _DECISION, _OBSERVED)
"""Page, record and tables."""
SCHEMA = "ctspectspine-diagnostic-1"


def diagnostic(options: Namespace) -> int:
    """``ctspectspine diagnostic``."""
    from CTSpectSpineLib.cohort.reader import read_joints
    from CTSpectSpineLib.diagnostic.accuracy import bounds_of, diagnose
    from CTSpectSpineLib.diagnostic.page import page
    from CTSpectSpineLib.diagnostic.reference import read_reference
    from CTSpectSpineLib.study_pages.content import csv_text, flat

    check_step_folder(options.out)
    if options.least_specificity is not None and not 0 < options.least_specificity <= 1:
        raise InputError(
            f"The least specificity is {options.least_specificity:g}; give more than 0, at most 1."
        )
    observations = read_reference(options.reference, read_joints(options.cohort))
    found = diagnose(observations, options.least_specificity, options.seed)
    if not found.accuracy:
        raise InputError(
            f"Of the joints of {options.reference} that were measured, all have the same "
            "reference; add others."
        )
    record = {
        "schema": SCHEMA,
        "research_use_only": True,
        "reference": {options.reference.name: sha256_of_file(options.reference)},
        "seed": options.seed,
        "least_specificity": options.least_specificity,
        "accuracy": [flat(row) for row in found.accuracy],
        "ratios": _ratio_records(found),
        "bounds": bounds_of(found),
    }
    with step_folder(options.out, "diagnostic", DIAGNOSTIC_FILES, [options.reference]) as folder:
        write_text(folder / _ACCURACY, csv_text([flat(row) for row in found.accuracy]))
        write_text(folder / _OBSERVED, csv_text([flat(row) for row in found.observations]))
        write_text(folder / _CURVE, csv_text(_curve(found)))
        write_text(folder / _DECISION, csv_text(_decision(found)))
        write_json(folder / _RECORD, record)
        write_text(folder / _PAGE, page(found, DIAGNOSTIC_FILES[1:]))
    if options.json:
        print_json(record)
    else:
        print_lines([*_lines(found), "", f"Page to open: {options.out / _PAGE}"])
    return 0


def _ratio_records(found: Diagnosis) -> list[dict[str, Any]]:
    from CTSpectSpineLib.study_pages.content import flat

    records = []
    for row in found.ratios:
        cut = (
            {} if row.cut_off is None else {f"cut_off_{k}": v for k, v in flat(row.cut_off).items()}
        )
        records.append(
            {
                "group": row.group,
                "metric": row.metric,
                "with_condition": row.with_condition,
                "without_condition": row.without_condition,
                "area": row.area.value,
                "area_low": row.area.low,
                "area_high": row.area.high,
                **cut,
            }
        )
    return records


def _curve(found: Diagnosis) -> list[dict[str, Any]]:
    return [
        {"group": row.group, "ratio": float(at), "sensitivity": float(y), "specificity": float(x)}
        for row in found.ratios
        for at, y, x in zip(
            row.curve.cut_offs, row.curve.sensitivity, row.curve.specificity, strict=True
        )
    ]


def _decision(found: Diagnosis) -> list[dict[str, Any]]:
    rows = []
    for row in found.decisions:
        for place, chance in enumerate(row.benefit.chances):
            rows.append(
                {
                    "group": row.group,
                    "chance": float(chance),
                    "positive_uptake": float(row.benefit.test[place]),
                    "low": float(row.low[place]),
                    "high": float(row.high[place]),
                    "own_bound": None if row.own is None else float(row.own[place]),
                    "always": float(row.benefit.everybody[place]),
                    "never": 0.0,
                }
            )
    return rows


def _lines(found: Diagnosis) -> list[str]:
    lines = [
        f"{row.group}, {row.reading}: sensitivity {row.sensitivity.text()}, specificity "
        f"{row.specificity.text()}"
        for row in found.accuracy
    ]
    return lines + [f"{row.group}: area under the curve {row.area.text()}" for row in found.ratios]
