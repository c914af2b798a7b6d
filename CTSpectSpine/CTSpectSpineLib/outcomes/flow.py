"""How many patients went which way, from the scan to the operation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from CTSpectSpineLib.cell_table import read_cells
from CTSpectSpineLib.cohort.rows import EXCLUDED, NOT_ANALYSED, CohortRow
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.outcomes.followed import DECLINED, is_operated, surgical_dispositions
from CTSpectSpineLib.outcomes.summary import published
from CTSpectSpineLib.outcomes.table import BASELINE, REGIONS, Outcomes, visit_title
from CTSpectSpineLib.study_pages.content import csv_text
from CTSpectSpineLib.wording import disposition

OPERATED, NOT_TOLD, FAILED, NO_VERDICT = "operated", "not_told", "not_analysed", "no_verdict"
_UNKNOWN = "region not told"
_TITLES = {
    EXCLUDED: "Excluded by a person",
    FAILED: "Could not be analysed",
    NO_VERDICT: "No verdict",
    NOT_TOLD: "Not operated, or not told",
    DECLINED: "Surgery declined",
}
_MOST = 1e9
"""Most patients of a count. Judgement: more than there are."""


@dataclass(frozen=True)
class Box:
    """A box of the flow.

    Attributes
    ----------
    name, title, count
        The box, and its patients.
    lines
        Further lines, such as who was seen when.
    """

    name: str
    title: str
    count: int
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """A box of the trunk, and who leaves after it."""

    box: Box
    leaving: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Flow:
    """A patient flow: steps from top to bottom, and the parts of the last one.

    Every patient of a step leaves after it or is in the next; the parts sum up to the last.
    """

    steps: tuple[Step, ...]
    parts: tuple[Box, ...]

    def __post_init__(self) -> None:
        """Check that nobody is lost.

        Raises
        ------
        InputError
            If the numbers do not add up.
        """
        following = [step.box for step in self.steps[1:]]
        for step, after in zip(self.steps, [*following, None], strict=True):
            last = sum(part.count for part in self.parts) if after is None else after.count
            if after is None and not self.parts:
                continue
            out = sum(box.count for box in step.leaving)
            if step.box.count != out + last:
                raise InputError(
                    f"The flow does not add up: {step.box.count} patients ('{step.box.title}') are "
                    f"not {out} who leave and {last} who go on; correct the counts."
                )

    def rows(self) -> Iterator[tuple[str, str, str, int]]:
        """Box, the one above it, its title and its count."""
        above = ""
        for step in self.steps:
            yield step.box.name, above, step.box.title, step.box.count
            above = step.box.name
            for box in step.leaving:
                yield box.name, above, box.title, box.count
        for part in self.parts:
            yield part.name, above, part.title, part.count


def flow_csv(flow: Flow) -> str:
    """``flow.csv``."""
    names = ("box", "above", "title", "patients")
    return csv_text([dict(zip(names, row, strict=True)) for row in flow.rows()], names)


def flow_of(
    scanned: int,
    leaving: Mapping[str, int],
    operated: Mapping[str, int],
    lines: Mapping[str, tuple[str, ...]] | None = None,
) -> Flow:
    """A flow from its counts.

    Parameters
    ----------
    scanned
        Patients.
    leaving
        Disposition, or `FAILED`, `NO_VERDICT`, `DECLINED` or `NOT_TOLD`, to patients without an
        operation.
    operated
        Region to patients with one.
    lines
        Further lines of boxes, by their names.

    Raises
    ------
    InputError
        If they do not add up.
    """
    told = lines or {}

    def box(name: str, count: int, title: str = "") -> Box:
        title = title or _TITLES.get(name) or disposition(name)["title"]
        return Box(name, title, count, told.get(name, ()))

    late = [name for name in (DECLINED, NOT_TOLD) if leaving.get(name)]
    early = [name for name in leaving if name not in (DECLINED, NOT_TOLD) and leaving[name]]
    whole = sum(operated.values())
    offered = whole + sum(leaving[name] for name in late)
    parts = tuple(
        box(f"{OPERATED}_{region}", count, f"{region.capitalize()} spine")
        for region, count in operated.items()
        if count
    )
    steps = (
        Step(box("scanned", scanned, "SPECT/CT"), tuple(box(n, leaving[n]) for n in early)),
        Step(
            box("offered", offered, "Surgery considered"), tuple(box(n, leaving[n]) for n in late)
        ),
        Step(box(OPERATED, whole, "Operated")),
    )
    return Flow(steps, parts)


def published_flow(name: str) -> Flow:
    """Flow of a published study.

    Raises
    ------
    InputError
        If it is not known.
    """
    counts = dict(published(name)["counts"])  # type: ignore[call-overload]
    return flow_of(counts.pop("scanned"), {k: v for k, v in counts.items() if k != OPERATED},
                   counts[OPERATED])  # fmt: skip


def read_counts(path: Path) -> Flow:
    """Flow from a table with the columns ``box`` and ``patients``.

    Boxes are ``scanned``, dispositions, ``declined``, ``no_verdict``, ``not_analysed``,
    ``not_told`` and ``operated_cervical``, ``operated_lumbar`` …

    Raises
    ------
    InputError
        Naming row and column, if a cell is not allowed or the counts do not add up.
    """
    cells = read_cells(path, ("box", "patients"), ("box", "patients"), "a table of counts")
    boxes = cells.unique("box", "box")
    numbers = cells.numbers({"patients": (0.0, _MOST)})["patients"]
    for row, number in enumerate(numbers):
        if not number.is_integer():
            raise InputError(f"{cells.where(row, 'patients')}: give a whole number of patients.")
    counts = {name: int(number) for name, number in zip(boxes, numbers, strict=True)}
    if "scanned" not in counts:
        raise InputError(f"{path} has no row 'scanned'; give the number of all patients.")
    for name in (OPERATED, "offered"):
        if name in counts:
            raise InputError(
                f"{cells.where(boxes.index(name), 'box')}: '{name}' is added up from the others; "
                f"give {OPERATED}_cervical, {OPERATED}_lumbar … instead."
            )
    prefix = f"{OPERATED}_"
    operated = {k.removeprefix(prefix): v for k, v in counts.items() if k.startswith(prefix)}
    leaving = {k: v for k, v in counts.items() if k != "scanned" and not k.startswith(prefix)}
    try:
        return flow_of(counts["scanned"], leaving, operated)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def cohort_flow(rows: Sequence[CohortRow], outcomes: Outcomes | None = None) -> Flow:
    """Flow of a cohort, with the operations of an outcome table where one is given."""
    surgical = surgical_dispositions() | {DECLINED}
    patients = {p.id: p for p in outcomes.patients} if outcomes is not None else {}
    leaving: Counter[str] = Counter()
    operated: Counter[str] = Counter()
    against: Counter[str] = Counter()
    for row in rows:
        patient = patients.get(row.id)
        has_operation = patient is not None and is_operated(patient)
        if row.status == EXCLUDED:
            way = EXCLUDED
        elif row.status in ("error", NOT_ANALYSED):
            way = FAILED
        elif row.disposition in ("", NO_VERDICT):
            way = NO_VERDICT
        elif row.disposition not in surgical:
            way = row.disposition
        elif has_operation and patient is not None:
            operated[patient.region or _UNKNOWN] += 1
            continue
        else:
            way = DECLINED if row.disposition == DECLINED else NOT_TOLD
        leaving[way] += 1
        against[way] += has_operation
    lines: dict[str, tuple[str, ...]] = {
        way: (f"of them operated: {count}",) for way, count in against.items() if count
    }
    if outcomes is not None:
        lines |= _seen(outcomes, {row.id for row in rows if row.disposition in surgical})
    order = (EXCLUDED, FAILED, NO_VERDICT)
    first = {name: leaving[name] for name in order if leaving[name]}
    rest = {name: count for name, count in leaving.most_common() if name not in order}
    regions = {name: operated[name] for name in (*REGIONS, _UNKNOWN) if operated[name]}
    return flow_of(len(rows), first | rest, regions, lines)


def _seen(outcomes: Outcomes, surgical: set[str]) -> dict[str, tuple[str, ...]]:
    """Who of those operated was seen when, by any measure."""
    found: dict[str, list[str]] = {}
    visits = dict.fromkeys(v for m in outcomes.measures() for v in (BASELINE, *outcomes.after(m)))
    for region in (*REGIONS, ""):
        here = [
            place
            for place, p in enumerate(outcomes.patients)
            if p.id in surgical and p.region == region and is_operated(p)
        ]
        for visit in visits:
            seen = sum(
                any(v == v for m in outcomes.measures() for v in (outcomes.of(m, visit)[place],))
                for place in here
            )
            name = f"{OPERATED}_{region or _UNKNOWN}"
            found.setdefault(name, []).append(f"seen {_when(visit)}: {seen}")
    return {name: tuple(lines) for name, lines in found.items()}


def _when(visit: str) -> str:
    return visit_title(visit) if visit == BASELINE else f"at {visit_title(visit)}"
