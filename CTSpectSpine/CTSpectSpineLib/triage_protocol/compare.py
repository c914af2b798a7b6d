"""Several protocols on one patient: what each says, and why they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from CTSpectSpineLib import joint_table
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.model import Verdict
from CTSpectSpineLib.triage_protocol.context import check_context, read_context
from CTSpectSpineLib.triage_protocol.decision import Engine
from CTSpectSpineLib.triage_protocol.joint_rows import (
    Classes,
    joint_rows,
    resolved_classes,
)
from CTSpectSpineLib.triage_protocol.protocol import Protocol, load_protocol
from CTSpectSpineLib.triage_protocol.verdict import known_bounds, triage

_DECISIVE = ("obstacle", "borderline", "rule", "modifier", "open")


@dataclass(frozen=True)
class Comparison:
    """Verdicts of several protocols on one patient.

    Attributes
    ----------
    verdicts
        One per protocol, in the order asked for.
    because
        Per verdict the sentences that decide it.
    differences
        Sentences on what makes the protocols differ on this patient; empty where they agree.
    """

    verdicts: tuple[Verdict, ...]
    because: tuple[tuple[str, ...], ...]
    differences: tuple[str, ...]

    @property
    def agree(self) -> bool:
        """Whether all protocols give the same disposition."""
        return len({verdict.disposition for verdict in self.verdicts}) == 1


def compare(
    joints: pd.DataFrame | Path | str,
    context: Mapping[str, Any] | Path | str | None = None,
    protocols: Sequence[str | Protocol] = ("tender-2019", "spinus-1", "spinus-2"),
    *,
    area_counting: str | None = None,
    classes: Classes = "auto",
) -> Comparison:
    """Apply several protocols to one joint table.

    Parameters
    ----------
    joints, context, area_counting, classes
        As for `triage`.
    protocols
        Two or more protocols, their ids or files.

    Raises
    ------
    InputError
        If there are fewer than two protocols or one is named twice, or as for `triage`.

    Examples
    --------
    >>> import pandas as pd
    >>> from CTSpectSpineLib import compare
    >>> joints = pd.DataFrame(
    ...     [("L3-L4", "disc", "", "negative"), ("L4-L5", "disc", "", "positive")],
    ...     columns=["level", "kind", "side", "uptake"],
    ... )
    >>> comparison = compare(joints, protocols=["tender-2019", "spinus-2"])
    >>> [verdict.disposition for verdict in comparison.verdicts]
    ['lumbar_disc', 'not_covered']
    >>> comparison.differences
    ('tender-2019 would offer surgery here; spinus-2 would not.',)
    """
    loaded = [p if isinstance(p, Protocol) else load_protocol(p) for p in protocols]
    ids = [protocol.id for protocol in loaded]
    if len(ids) < 2:
        raise InputError("A comparison needs at least two protocols; name two or more.")
    for name in ids:
        if ids.count(name) > 1:
            raise InputError(f"The protocol '{name}' is listed twice; name it once.")
    if area_counting is not None:
        loaded = [protocol.counting_areas(area_counting) for protocol in loaded]
    table = joint_table.read(Path(joints)) if isinstance(joints, Path | str) else joints
    if isinstance(context, Path | str):
        context = read_context(Path(context))
    given = check_context(context or {})
    classes = resolved_classes(table, classes, known_bounds(*loaded))
    verdicts = tuple(triage(table, given, protocol, classes=classes) for protocol in loaded)
    engines = [Engine(p, joint_rows(table, p.bounds, classes), given) for p in loaded]
    because = tuple(tuple(_decisive(verdict)) for verdict in verdicts)
    differences: tuple[str, ...] = ()
    if len({verdict.disposition for verdict in verdicts}) > 1:
        differences = (
            *_classes(engines),
            *_settings(engines),
            *_surgery(loaded, verdicts),
        )
    return Comparison(verdicts, because, differences)


def _decisive(verdict: Verdict) -> Iterator[str]:
    """The sentences that decide a verdict; of its rules, those that apply or cannot be decided."""
    steps = [step for step in verdict.chain if step["step"] in _DECISIVE]
    applied = [s for s in steps if s["step"] != "rule" or s["holds"] is not False]
    for step in applied or steps:
        yield step["sentence"]


def _classes(engines: Sequence[Engine]) -> Iterator[str]:
    """Joints that the protocols' bounds class differently."""
    for rows in zip(*(engine.rows for engine in engines), strict=True):
        if len({row.uptake for row in rows}) > 1:
            words = ", ".join(
                f"{row.uptake} by {engine.protocol.id} (bounds "
                f"{engine.protocol.bounds[row.kind].indeterminate:g} and "
                f"{engine.protocol.bounds[row.kind].positive:g})"
                for row, engine in zip(rows, engines, strict=True)
            )
            yield f"{rows[0].id} is {words}."


def _settings(engines: Sequence[Engine]) -> Iterator[str]:
    """How the protocols count areas, and which regions they rule on."""
    per = {engine.protocol.id: engine.protocol.area_counting for engine in engines}
    if len(set(per.values())) > 1:
        words = ", ".join(f"{name} one per {way.replace('_', ' ')}" for name, way in per.items())
        yield f"Areas are counted differently: {words}."
    found = {row.region for engine in engines for row in engine.rows if row.uptake == "positive"}
    looks = {
        engine.protocol.id: [region for region in sorted(found) if engine.considers(region)]
        for engine in engines
    }
    if len({tuple(regions) for regions in looks.values()}) > 1:
        words = "; ".join(
            f"{name} on {' and '.join(regions) or 'none of it'}" for name, regions in looks.items()
        )
        yield f"Of the regions with increased uptake the protocols rule on different ones: {words}."


def _surgery(protocols: Sequence[Protocol], verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Which protocols offer surgery to this patient, and which do not."""
    offers: dict[str, list[str]] = {"yes": [], "no": [], "open": []}
    for protocol, verdict in zip(protocols, verdicts, strict=True):
        surgical = {rule.disposition for rule in protocol.rules if rule.surgical}
        if verdict.disposition in surgical:
            offers["yes"].append(protocol.id)
        elif surgical & set(verdict.candidate_dispositions):
            offers["open"].append(protocol.id)
        else:
            offers["no"].append(protocol.id)
    if offers["yes"] and offers["no"]:
        yield (
            f"{' and '.join(offers['yes'])} would offer surgery here; "
            f"{' and '.join(offers['no'])} would not."
        )
    if offers["open"]:
        yield f"By {' and '.join(offers['open'])} it is open whether surgery would be offered."
