"""What people decide on single patients of a cohort: a table that a batch honours.

``review/decisions.csv`` has one row per decision, the newest last, and never loses one. Decisions
that change an analysis become words of ``analyze`` for that patient alone, so that a batch analyses
the patient again; that a result was seen holds for that result only.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Literal, get_args

from CTSpectSpineLib.cohort.table import CohortPatient
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.spreadsheet import decoded, separated

FOLDER, DECISIONS = "review", "decisions.csv"
"""The table and the folder that holds it, in that of a batch: a batch that runs holds its own."""
Kind = Literal["seen", "accept-registration", "confirm-levels", "anchor", "exclude", "withdraw"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""``seen``: the result may stand as it is. ``accept-registration``, ``confirm-levels`` and
``anchor`` are those of ``analyze``; ``exclude`` leaves the patient out; ``withdraw`` takes all
earlier decisions on the patient back."""
_OF_VALUE = {"anchor": "LEVEL@x,y,z, a point in a vertebra (LPS mm)", "exclude": "the reason"}
"""Decisions that need a value, and what it is."""
_RESULT = ("verdict.json", "joints.csv", "registration.json")
"""Files by which a result is known."""


@dataclass(frozen=True)
class ReviewDecision:
    """One decision.

    Attributes
    ----------
    id
        The patient.
    decision
        One of `KINDS`.
    value
        Of ``anchor`` the point, of ``exclude`` the reason; else empty.
    by, time
        Who decided, and when (ISO 8601).
    result
        What `result_print` said of the result then.
    """

    id: str
    decision: Kind
    value: str
    by: str
    time: str
    result: str

    def __post_init__(self) -> None:
        """Check the values.

        Raises
        ------
        InputError
            If one is missing or unknown.
        """
        if self.decision not in KINDS:
            raise InputError(
                f"The decision '{self.decision}' on {self.id} is not known; use one of "
                f"{', '.join(KINDS)}."
            )
        if not self.by.strip():
            raise InputError(f"The decision on {self.id} needs the name of who takes it.")
        wanted = _OF_VALUE.get(self.decision)
        if wanted is not None and not self.value.strip():
            raise InputError(f"The decision '{self.decision}' on {self.id} needs {wanted}.")

    @property
    def sentence(self) -> str:
        """What was decided, by whom and when."""
        value = f" ({self.value})" if self.value else ""
        return f"{self.decision}{value} by {self.by}, {self.time}"


def result_print(folder: Path, patient: str) -> str:
    """What tells the result of a patient from another one; empty where there is none."""
    digest = hashlib.sha256()
    for name in _RESULT:
        path = folder / patient / name
        if not path.is_file():
            return ""
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def read_decisions(folder: Path) -> dict[str, tuple[ReviewDecision, ...]]:
    """Decisions that hold, by patient, the oldest first; of each kind only the last.

    Raises
    ------
    InputError
        Naming the row, if the table cannot be read.
    """
    found: dict[str, dict[str, ReviewDecision]] = {}
    for decision in every_decision(folder):
        mine = found.setdefault(decision.id, {})
        if decision.decision == "withdraw":
            mine.clear()
        else:
            mine.pop(decision.decision, None)
            mine[decision.decision] = decision
    return {patient: tuple(mine.values()) for patient, mine in found.items() if mine}


def every_decision(folder: Path) -> tuple[ReviewDecision, ...]:
    """All decisions of the table, in its order.

    Raises
    ------
    InputError
        Naming the row, if the table cannot be read.
    """
    path = folder / FOLDER / DECISIONS
    if not path.is_file():
        return ()
    names = [field.name for field in fields(ReviewDecision)]
    try:
        text, separator = separated(decoded(path.read_bytes()), names)
        reader = csv.DictReader(io.StringIO(text), delimiter=separator, strict=True)
        rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read ({error}); correct it or move it away.") from error
    if not set(names) <= set(reader.fieldnames or ()):
        raise InputError(f"{path} needs the columns {', '.join(names)}; correct it.")
    decisions = []
    for number, row in rows:
        if None in row:
            raise InputError(
                f"{path}, row {number}: more cells than the first row names columns; put a value "
                "that holds a comma into quotes."
            )
        cells = {name: (row[name] or "").strip() for name in names}
        if not any(cells.values()):
            continue
        try:
            decisions.append(ReviewDecision(**cells))  # type: ignore[arg-type]
        except InputError as error:
            raise InputError(f"{path}, row {number}: {error}") from error
    return tuple(decisions)


def table_of(decisions: Iterable[ReviewDecision]) -> str:
    """The text of ``decisions.csv``."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(field.name for field in fields(ReviewDecision))
    writer.writerows(astuple(decision) for decision in decisions)
    return buffer.getvalue()


def with_decisions(
    patients: Sequence[CohortPatient], decisions: Mapping[str, Sequence[ReviewDecision]]
) -> tuple[CohortPatient, ...]:
    """The patients, with what people decided on them."""
    return tuple(_decided(patient, decisions.get(patient.id, ())) for patient in patients)


def _decided(patient: CohortPatient, decisions: Sequence[ReviewDecision]) -> CohortPatient:
    words = []
    excluded = ""
    # Sorted: the same decisions in another order are the same analysis.
    for decision in sorted(decisions, key=lambda d: d.decision):
        if decision.decision == "exclude":
            excluded = decision.value
        elif decision.decision == "anchor":
            words.append(f"--anchor={decision.value}")
        elif decision.decision != "seen":
            words.append(f"--{decision.decision}")
    return replace(patient, decided=tuple(words), excluded=excluded)


def is_seen(folder: Path, patient: str, decisions: Sequence[ReviewDecision]) -> bool:
    """Whether somebody saw the very result that is there."""
    seen = [decision.result for decision in decisions if decision.decision == "seen"]
    return bool(seen) and seen[-1] == result_print(folder, patient)
