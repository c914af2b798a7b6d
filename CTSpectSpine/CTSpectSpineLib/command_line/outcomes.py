"""The commands ``outcomes`` and ``flow``."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from CTSpectSpineLib.command_line.printing import print_json, print_lines
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import replacing, sha256_of_file
from CTSpectSpineLib.results.folder import check_step_folder, step_folder
from CTSpectSpineLib.results.text_files import write_json, write_text

if TYPE_CHECKING:
    from CTSpectSpineLib.outcomes.analysis import Analysis
    from CTSpectSpineLib.outcomes.flow import Flow

FLOW_FILES = ("flow.svg", "flow.png", "flow.csv")
"""The patient flow."""
_TABLES = ("changes", "responders", "mixed", "dropout", "imputed", "subgroups")
_PAGE, _RECORD, _LAYOUT = "outcomes.html", "outcomes.json", "outcomes_tables.csv"
_CSV = tuple(f"outcomes_{name}.csv" for name in _TABLES)
_SUMMARY = ("summary.html", "summary.json", "summary.csv")
OUTCOME_FILES = (_PAGE, _RECORD, _LAYOUT, *_CSV, *_SUMMARY, *FLOW_FILES)
"""Pages, tables and records; those of a summary where only that is given."""
SCHEMA = "ctspectspine-outcomes-1"


def outcomes(options: Namespace) -> int:
    """``ctspectspine outcomes``."""
    check_step_folder(options.out)
    return _summary(options) if options.table is None else _outcomes(options)


def _outcomes(options: Namespace) -> int:
    from CTSpectSpineLib.cohort.reader import read_rows
    from CTSpectSpineLib.cohort.rows import EXCLUDED
    from CTSpectSpineLib.outcomes.analysis import Plan, analyse
    from CTSpectSpineLib.outcomes.flow import cohort_flow
    from CTSpectSpineLib.outcomes.followed import with_verdicts
    from CTSpectSpineLib.outcomes.packages import check_packages
    from CTSpectSpineLib.outcomes.page import page
    from CTSpectSpineLib.outcomes.paper_tables import before_and_after, operations
    from CTSpectSpineLib.outcomes.table import read_outcomes
    from CTSpectSpineLib.study_pages.content import csv_text, table_csv

    plan = Plan(options.visit, dict(options.least_important), options.seed)
    check_packages()
    read = read_outcomes(options.table)
    flow, inputs = None, [options.table]
    if options.cohort is not None:
        rows = read_rows(options.cohort)
        known = {row.id for row in rows if row.status != EXCLUDED}
        if not any(p.id in known for p in read.patients):
            raise InputError(
                f"No patient of {options.table} is one of {options.cohort}; the column 'id' must "
                "hold the same names."
            )
        inputs.append(options.cohort / "cohort.csv")
        read = with_verdicts(read, rows)
        flow = cohort_flow(rows, read)
    analysis = analyse(read, plan)
    with step_folder(options.out, "outcomes", OUTCOME_FILES, inputs) as folder:
        for name, table in analysis.records().items():
            write_text(folder / f"outcomes_{name}.csv", csv_text(table))
        layout = [operations(read.patients), *before_and_after(analysis)]
        write_text(folder / _LAYOUT, table_csv(layout))
        if flow is not None:
            _write_flow(folder, flow)
        write_json(folder / _RECORD, _record(analysis, flow, inputs))
        files = [_LAYOUT, *_CSV, _RECORD]
        write_text(folder / _PAGE, page(analysis, flow, files))
    if options.json:
        print_json(_record(analysis, flow, inputs))
    else:
        print_lines([*_change_lines(analysis), "", f"Page to open: {options.out / _PAGE}"])
    return 0


def _record(analysis: Analysis, flow: Flow | None, inputs: Sequence[Path]) -> dict[str, Any]:
    from CTSpectSpineLib.version import __version__

    plan = analysis.plan
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "version": __version__,
        "research_use_only": True,
        "inputs": {path.name: sha256_of_file(path) for path in inputs},
        "patients": len(analysis.outcomes.patients),
        "visits": dict(analysis.visits),
        "least_important": dict(plan.least_important or {}),
        "seed": plan.seed,
        "columns_not_read": list(analysis.outcomes.unused),
        **analysis.records(),
    }
    if flow is not None:
        found["flow"] = _flow_record(flow)
    return found


def _change_lines(analysis: Analysis) -> list[str]:
    from CTSpectSpineLib.outcomes.table import measures, visit_title
    from CTSpectSpineLib.study_pages.content import mean_sd, p_text

    lines = []
    for measure in analysis.outcomes.measures():
        row = analysis.change(measure)
        if row is not None and row.change.count:
            c = row.change
            lines.append(
                f"{measures()[measure]['title']}: {mean_sd(c.before_mean, c.before_sd)} before, "
                f"{mean_sd(c.after_mean, c.after_sd)} at {visit_title(row.visit)}; change "
                f"{c.change.text()}, paired t p {p_text(c.p_t)}, {c.count} patients"
            )
    return lines


def _summary(options: Namespace) -> int:
    from CTSpectSpineLib.outcomes.summary import (
        check,
        contradictions,
        published,
        published_rows,
        read_summary,
        whole_numbers,
    )
    from CTSpectSpineLib.outcomes.summary_page import name_of, p_sentences, summary_page
    from CTSpectSpineLib.study_pages.content import csv_text, flat

    if options.cohort is not None:
        raise InputError("--cohort needs each patient's outcomes, not a summary; leave it out.")
    path = Path(options.summary)
    printed: list[float] = []
    if path.is_file():
        rows, source, inputs = read_summary(path), path.name, [path]
    else:
        rows, printed = published_rows(options.summary)
        source, inputs = str(published(options.summary)["source"]), []
    checks = [check(row) for row in rows]
    sentences = [*p_sentences(checks, printed), *contradictions(rows)]
    table = [_summary_cells(flat(c)) for c in checks]
    record = {
        "schema": SCHEMA,
        "research_use_only": True,
        "source": source,
        "rows": table,
        "whole_numbers": {name_of(row): whole_numbers(row) for row in rows},
        "said": sentences,
    }
    with step_folder(options.out, "outcomes", OUTCOME_FILES, inputs) as folder:
        write_text(folder / "summary.csv", csv_text(table))
        write_json(folder / "summary.json", record)
        page = summary_page(checks, printed, source, ["summary.csv", "summary.json"])
        write_text(folder / "summary.html", page)
    if options.json:
        print_json(record)
    else:
        print_lines([*sentences, "", f"Page to open: {options.out / 'summary.html'}"])
    return 0


def _summary_cells(cells: dict[str, Any]) -> dict[str, Any]:
    """Printed numbers by their value."""
    return {name: getattr(value, "value", value) for name, value in cells.items()}


def flow(options: Namespace) -> int:
    """``ctspectspine flow``."""
    from CTSpectSpineLib.cohort.reader import read_rows
    from CTSpectSpineLib.outcomes.flow import cohort_flow, published_flow, read_counts
    from CTSpectSpineLib.outcomes.table import read_outcomes

    inputs: list[Path] = []
    if options.cohort is not None:
        told = None if options.outcomes is None else read_outcomes(options.outcomes)
        found = cohort_flow(read_rows(options.cohort), told)
        inputs = [options.cohort / "cohort.csv", *([options.outcomes] if told else [])]
    elif options.outcomes is not None:
        raise InputError("--outcomes needs the folder of a cohort; counts tell who was operated.")
    elif Path(options.counts).is_file():
        inputs = [Path(options.counts)]
        found = read_counts(inputs[0])
    else:
        found = published_flow(options.counts)
    with step_folder(options.out, "flow", FLOW_FILES, inputs) as folder:
        _write_flow(folder, found)
    if options.json:
        print_json(_flow_record(found))
    else:
        lines = [f"{count:7d}  {title}" for _, _, title, count in found.rows()]
        print_lines([*lines, "", f"Picture: {options.out / FLOW_FILES[0]}"])
    return 0


def _flow_record(flow: Flow) -> list[dict[str, Any]]:
    names = ("box", "above", "title", "patients")
    return [dict(zip(names, row, strict=True)) for row in flow.rows()]


def _write_flow(folder: Path, flow: Flow) -> None:
    from CTSpectSpineLib.outcomes.flow import flow_csv
    from CTSpectSpineLib.outcomes.flow_drawing import flow_png, flow_svg

    write_text(folder / "flow.svg", flow_svg(flow))
    with replacing(folder / "flow.png") as temporary:
        temporary.write_bytes(flow_png(flow))
    write_text(folder / "flow.csv", flow_csv(flow))
