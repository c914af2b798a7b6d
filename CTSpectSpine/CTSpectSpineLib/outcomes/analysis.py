"""All statistics of an outcome table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.outcomes.changes import (
    EVERYBODY,
    ChangeRow,
    DropoutRow,
    ResponderRow,
    SubgroupRow,
    changes,
    dropout,
    responders,
    subgroups,
)
from CTSpectSpineLib.outcomes.over_time import (
    ImputedRow,
    MixedRow,
    mixed_model,
    multiple_imputation,
)
from CTSpectSpineLib.outcomes.table import BASELINE, Outcomes, measures, months, visits
from CTSpectSpineLib.statistics.paired import LEAST_PAIRS
from CTSpectSpineLib.study_pages.content import flat

USUAL_VISIT = "12m"
"""Visit that the tables compare with. Convention: clinic visit and CT for fusion of Tender 2019."""


@dataclass(frozen=True)
class Plan:
    """What the user chose.

    Attributes
    ----------
    visit
        Visit of the tables and figures; empty for 12 months, or the last one with two patients.
    least_important
        Least important differences of the user's own, by measure.
    seed
        Of bootstrap and imputation.
    """

    visit: str = ""
    least_important: Mapping[str, float] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values.

        Raises
        ------
        InputError
            If one is not possible.
        """
        allowed = [v for v in visits() if v != BASELINE]
        if self.visit and self.visit not in allowed:
            raise InputError(f"The visit '{self.visit}' is not known; give {', '.join(allowed)}.")
        for name, value in (self.least_important or {}).items():
            if name not in measures():
                raise InputError(
                    f"The measure '{name}' is not known; give {', '.join(measures())}."
                )
            if not 0 < value <= float(measures()[name]["high"]):
                raise InputError(
                    f"A least important difference of {value:g} in {name} is not possible; give "
                    f"more than 0, at most {measures()[name]['high']}."
                )


@dataclass(frozen=True)
class Analysis:
    """Statistics of an outcome table; each list is a table of the results."""

    outcomes: Outcomes
    plan: Plan
    visits: Mapping[str, str]
    changes: tuple[ChangeRow, ...]
    responders: tuple[ResponderRow, ...]
    mixed: tuple[MixedRow, ...]
    dropout: tuple[DropoutRow, ...]
    imputed: tuple[ImputedRow, ...]
    subgroups: tuple[SubgroupRow, ...]

    def change(self, measure: str, group: str = EVERYBODY) -> ChangeRow | None:
        """Change of a measure to the visit of the tables; None where the group has none."""
        visit = self.visits[measure]
        found = (
            row
            for row in self.changes
            if (row.measure, row.group, row.visit) == (measure, group, visit)
        )
        return next(found, None)

    def records(self) -> dict[str, list[dict[str, Any]]]:
        """Tables by name, each row flat."""
        names = ("changes", "responders", "mixed", "dropout", "imputed", "subgroups")
        return {name: [flat(row) for row in getattr(self, name)] for name in names}


def analyse(outcomes: Outcomes, plan: Plan) -> Analysis:
    """Compute all statistics."""
    named = outcomes.measures()
    rows = tuple(changes(outcomes, plan.seed))
    return Analysis(
        outcomes,
        plan,
        {measure: _visit(rows, measure, plan.visit) for measure in named},
        rows,
        tuple(responders(outcomes, plan.least_important or {})),
        tuple(row for m in named for row in mixed_model(outcomes, m)),
        tuple(dropout(outcomes)),
        tuple(row for m in named for row in multiple_imputation(outcomes, m, plan.seed)),
        tuple(subgroups(outcomes)),
    )


def _visit(rows: tuple[ChangeRow, ...], measure: str, wanted: str) -> str:
    """The wanted visit, else that at 12 months, else the last one with enough patients."""
    counts = {
        row.visit: row.change.count
        for row in rows
        if row.measure == measure and row.group == EVERYBODY
    }
    enough = [visit for visit, count in counts.items() if count >= LEAST_PAIRS]
    for visit in (wanted, USUAL_VISIT):
        if visit in enough:
            return visit
    return max(enough or counts, key=months)
