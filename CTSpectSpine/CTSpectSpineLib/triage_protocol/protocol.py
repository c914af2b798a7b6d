"""Triage protocols: files that hold bounds, area counting, rules and eligibility."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.model import JointKind, UptakeBounds

PROTOCOL_FOLDER = Path(__file__).parent / "protocols"
CONDITIONS = ("areas", "regions", "kinds", "adjacent", "stable")
AREA_COUNTINGS = ("segment_and_kind", "joint")
KINDS: tuple[JointKind, ...] = ("disc", "facet")


@dataclass(frozen=True)
class Rule:
    """One row of a protocol: when all conditions hold, this disposition follows."""

    disposition: str
    name: str
    when: Mapping[str, Any]
    recommendation: str
    surgical: bool = False


@dataclass(frozen=True)
class Protocol:
    """A triage protocol as its file states it; see ``docs/protocols.md``."""

    id: str
    version: str
    title: str
    source: str
    bounds: Mapping[JointKind, UptakeBounds]
    bounds_provenance: Mapping[JointKind, str]
    area_counting: str
    area_provenance: str
    rules: tuple[Rule, ...]
    declined_recommendation: str
    not_covered_recommendation: str
    eligibility: tuple[Mapping[str, Any], ...]
    exclusions: Mapping[str, str]
    caveats: tuple[str, ...]
    requires_confirmed_levels: bool
    minimum_measurable_share: float
    instability_bound_mm: float

    def reference(self) -> dict[str, str]:
        """Id, version, title and source, as they stand in ``verdict.json``."""
        return {"id": self.id, "version": self.version, "title": self.title, "source": self.source}


def protocol_ids() -> tuple[str, ...]:
    """Ids of the protocols that ship with the software."""
    return tuple(sorted(path.stem for path in PROTOCOL_FOLDER.glob("*.json")))


def load_protocol(id_or_file: str | Path) -> Protocol:
    """Load a protocol by its id, or from a file.

    Raises
    ------
    InputError
        If there is no such protocol, or the file is broken.
    """
    path = PROTOCOL_FOLDER / f"{id_or_file}.json"
    if str(id_or_file) not in protocol_ids():
        path = Path(id_or_file)
        if not path.is_file():
            raise InputError(
                f"There is no protocol '{id_or_file}'; use one of {', '.join(protocol_ids())} "
                "or the path of a protocol file."
            )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"Protocol file {path} cannot be read as JSON ({error}).") from error
    try:
        return _protocol(values)
    except KeyError as error:
        raise InputError(f"Protocol file {path} lacks the key {error}; add it.") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"Protocol file {path} is not a valid protocol: {error}.") from error


def _protocol(values: Mapping[str, Any]) -> Protocol:
    bounds = {kind: _bounds(kind, values["bounds"][kind]) for kind in KINDS}
    counting = values["area_counting"]
    if counting["per"] not in AREA_COUNTINGS:
        raise ValueError(
            f"area_counting is {counting['per']!r}; allowed are {', '.join(AREA_COUNTINGS)}"
        )
    return Protocol(
        id=values["id"],
        version=values["version"],
        title=values["title"],
        source=values["source"],
        bounds=bounds,
        bounds_provenance={kind: values["bounds"][kind]["provenance"] for kind in KINDS},
        area_counting=counting["per"],
        area_provenance=counting["provenance"],
        rules=tuple(_rule(rule) for rule in values["rules"]),
        declined_recommendation=values["declined_recommendation"],
        not_covered_recommendation=values["not_covered_recommendation"],
        eligibility=tuple(values["eligibility"]),
        exclusions={row["id"]: row["text"] for row in values["exclusions"]},
        caveats=tuple(values["caveats"]),
        requires_confirmed_levels=bool(values["requires_confirmed_levels"]),
        minimum_measurable_share=float(values["minimum_measurable_share"]),
        instability_bound_mm=float(values["instability_bound_mm"]),
    )


def _bounds(kind: str, values: Mapping[str, Any]) -> UptakeBounds:
    bounds = UptakeBounds(
        str(values["metric"]), float(values["positive"]), float(values["indeterminate"])
    )
    if not 0 < bounds.indeterminate <= bounds.positive:
        raise ValueError(
            f"the bounds of '{kind}' must satisfy 0 < indeterminate <= positive, "
            f"not {bounds.indeterminate} and {bounds.positive}"
        )
    return bounds


def _rule(values: Mapping[str, Any]) -> Rule:
    known = {field.name for field in fields(Rule)}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"a rule has the unknown key '{unknown[0]}'; allowed are {sorted(known)}")
    if unknown := sorted(set(values["when"]) - set(CONDITIONS)):
        raise ValueError(
            f"rule '{values['name']}' has the unknown condition '{unknown[0]}'; "
            f"allowed are {', '.join(CONDITIONS)}"
        )
    return Rule(**values)
