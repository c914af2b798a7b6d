"""The command ``review``: who of a cohort wants eyes, and what a person decides."""

from __future__ import annotations

import webbrowser
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from CTSpectSpineLib.cell_table import read_cells
from CTSpectSpineLib.cohort.record import read_record
from CTSpectSpineLib.cohort.review import (
    DECISIONS,
    FOLDER,
    ReviewDecision,
    every_decision,
    is_seen,
    read_decisions,
    result_print,
    table_of,
)
from CTSpectSpineLib.cohort.summary import REVIEW
from CTSpectSpineLib.command_line.printing import print_json, print_lines
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.results.folder import step_folder
from CTSpectSpineLib.results.manifest import now
from CTSpectSpineLib.results.text_files import write_text

_COLUMNS = ("id", "why", "reason", "folder")
"""Of the queue. By definition: as `cohort.summary` writes them."""
_WAIT_SECONDS = 20.0
"""How long to wait for another decision. Judgement: far longer than one takes to be written."""
_AGAIN = ("accept-registration", "confirm-levels", "anchor", "exclude", "withdraw")
"""Decisions after which a batch has something to do."""


def review(options: Namespace) -> int:
    """``ctspectspine review``."""
    folder: Path = options.folder
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give that of a batch.")
    if options.patient is None:
        _show_queue(folder, options)
        return 0
    _check_patient(folder, options.patient)
    if options.decision is not None:
        _decide(folder, options)
    else:
        _show_patient(folder, options)
    if options.open:
        _open(folder / options.patient / "report.html")
    return 0


def _check_patient(folder: Path, patient: str) -> None:
    named = Path(patient).name == patient
    if not named or (read_record(folder, patient) is None and not (folder / patient).is_dir()):
        raise InputError(
            f"{folder} holds no patient '{patient}'; the ids stand in {folder / 'cohort.csv'}."
        )


def _queue(folder: Path) -> Iterator[dict[str, str]]:
    """Rows of ``review.csv`` that nobody has dealt with since it was written."""
    path = folder / REVIEW
    if not path.is_file():
        raise InputError(f"{path} does not exist; it is written when a batch has ended.")
    cells = read_cells(path, _COLUMNS, _COLUMNS, "the queue of a batch", lambda name: False)
    rows = [dict(zip(cells.columns, row, strict=True)) for row in cells.rows]
    decisions = read_decisions(folder)
    for row in rows:
        mine = decisions.get(row["id"], ())
        done = is_seen(folder, row["id"], mine) or any(d.decision == "exclude" for d in mine)
        if not done:
            yield {**row, "decisions": "; ".join(decision.sentence for decision in mine)}


def _show_queue(folder: Path, options: Namespace) -> None:
    rows = list(_queue(folder))
    if options.json:
        print_json(rows)
        return
    width = max((len(row["id"]) for row in rows), default=0)
    for row in rows:
        print(f"{row['id']:<{width}}  {'; '.join(filter(None, (row['why'], row['decisions'])))}")
    left = f"{len(rows)} patients to look at, the most urgent first." if rows else "Nobody waits."
    print(f"\n{left}")


def _show_patient(folder: Path, options: Namespace) -> None:
    own = [decision for decision in every_decision(folder) if decision.id == options.patient]
    row = next((row for row in _queue(folder) if row["id"] == options.patient), None)
    if options.json:
        print_json({"waits": row is not None, "decisions": [d.sentence for d in own]})
        return
    print(f"{options.patient}: {'nothing to look at' if row is None else row['why']}")
    if row is not None and row["reason"]:
        print(row["reason"])
    print_lines(decision.sentence for decision in own)
    print(f"Report: {folder / options.patient / 'report.html'}")


def _decide(folder: Path, options: Namespace) -> None:
    decision = ReviewDecision(
        options.patient,
        options.decision,
        " ".join(options.value.split()),
        " ".join((options.by or "").split()),
        now(),
        result_print(folder, options.patient),
    )
    if decision.decision == "anchor":
        from CTSpectSpineLib.labelling import parse_anchors

        parse_anchors(decision.value)
    if decision.decision == "seen" and not decision.result:
        raise InputError(f"{options.patient} has no result that could be seen; analyse again.")
    # What people wrote there by hand is theirs, and stays.
    with step_folder(
        folder / FOLDER, "review", [DECISIONS], among=True, adopt=[DECISIONS], clears=False,
        wait_seconds=_WAIT_SECONDS,
    ) as place:  # fmt: skip
        write_text(place / DECISIONS, table_of([*every_decision(folder), decision]))
    if options.json:
        print_json({"recorded": decision.sentence})
        return
    print(f"Recorded: {decision.id}, {decision.sentence}.")
    if decision.decision in _AGAIN:
        print("Run the batch again with --resume to have it done.")


def _open(page: Path) -> None:
    if not page.is_file():
        raise InputError(f"{page} does not exist; the patient has no report.")
    webbrowser.open(page.absolute().as_uri())
