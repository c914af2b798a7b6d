"""Triage protocols: files that hold bounds, area counting, rules and eligibility."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.model import JointKind, UptakeBounds
from CTSpectSpineLib.protocol_files import protocol_files, shipped_protocols
from CTSpectSpineLib.triage_protocol.schema import read_checked

AREA_COUNTINGS = ("motion_segment", "joint")
KINDS: tuple[JointKind, ...] = ("disc", "facet")


@dataclass(frozen=True)
class Rule:
    """One row of a protocol: when all conditions hold, this disposition follows."""

    disposition: str
    name: str
    when: Mapping[str, Any]
    recommendation: str
    surgical: bool = False
    source: str = ""


@dataclass(frozen=True)
class Modifier:
    """Replaces dispositions for a reason in the clinical context."""

    disposition: str
    name: str
    applies_to: tuple[str, ...]
    when: Mapping[str, Any]
    recommendation: str
    source: str = ""


@dataclass(frozen=True)
class OpenPoint:
    """What the source leaves open, said when no rule applies and its conditions hold."""

    name: str
    when: Mapping[str, Any]
    text: str


@dataclass(frozen=True)
class Supporting:
    """A bound of supporting evidence, a column of the joint table; it never decides."""

    column: str
    at_least: float
    provenance: str
    source: str


@dataclass(frozen=True)
class Provenance:
    """Where a number comes from: published, computed or judgement, and the sentence."""

    kind: str
    source: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.source}"


@dataclass(frozen=True)
class Protocol:
    """A triage protocol as its file states it; see ``docs/protocols.md``.

    Attributes
    ----------
    source, doi, registry
        Citation, with the DOI or registry number also on its own.
    regions, counts_elsewhere
        Spine regions that the rules are for, and whether the rules consider areas of other
        regions too, beyond counting them.
    bounds, bounds_basis, supporting
        What counts as increased per kind of joint, where it comes from, and the supporting
        evidence.
    area_counting, area_basis
        ``motion_segment`` or ``joint``, and where that comes from.
    instability_bound_mm
        Displacement from which a level is unstable.
    criteria_complete
        Whether the file holds all criteria of the source.
    """

    id: str
    version: str
    title: str
    source: str
    doi: str
    registry: str
    population: str
    regions: tuple[str, ...]
    counts_elsewhere: bool
    scope_basis: Provenance
    bounds: Mapping[JointKind, UptakeBounds]
    bounds_basis: Mapping[JointKind, Provenance]
    supporting: Mapping[JointKind, tuple[Supporting, ...]]
    area_counting: str
    area_basis: Provenance
    requires_confirmed_levels: bool
    minimum_measurable_share: float
    instability_bound_mm: float
    instability_basis: Provenance
    rules: tuple[Rule, ...]
    modifiers: tuple[Modifier, ...]
    open_points: tuple[OpenPoint, ...]
    not_covered_recommendation: str
    eligibility: tuple[Mapping[str, Any], ...]
    judged_criteria: Mapping[str, str]
    exclusions: Mapping[str, str]
    criteria_complete: bool
    caveats: tuple[str, ...]

    @property
    def bounds_provenance(self) -> dict[JointKind, str]:
        """Provenance of the bounds as one sentence per kind of joint."""
        return {kind: str(basis) for kind, basis in self.bounds_basis.items()}

    def bounds_record(self) -> dict[str, Any]:
        """The uptake bounds of every kind of joint, with their provenance, as in the manifest."""
        return {
            kind: {**vars(bounds), "provenance": self.bounds_provenance[kind]}
            for kind, bounds in self.bounds.items()
        }

    def reference(self) -> dict[str, str]:
        """What ``verdict.json`` says about the protocol."""
        values = {
            "id": self.id,
            "version": self.version,
            "title": self.title,
            "source": self.source,
            "doi": self.doi,
            "registry": self.registry,
            "areas_per": self.area_counting,
        }
        return {key: value for key, value in values.items() if value}

    def counting_areas(self, per: str) -> Protocol:
        """The same protocol with areas counted per ``motion_segment`` or per ``joint``.

        Raises
        ------
        InputError
            If `per` is neither.
        """
        if per not in AREA_COUNTINGS:
            raise InputError(
                f"Areas cannot be counted per '{per}'; use one of {', '.join(AREA_COUNTINGS)}."
            )
        if per == self.area_counting:
            return self
        words = f"chosen for this run instead of {self.area_counting} ({self.area_basis.source})"
        return replace(self, area_counting=per, area_basis=Provenance("judgement", words))


def protocol_ids() -> tuple[str, ...]:
    """Ids of the protocols that ship with the software."""
    return shipped_protocols()


def load_protocol(id_or_file: str | Path) -> Protocol:
    """Load a protocol by its id, or from a file, which is checked.

    Parameters
    ----------
    id_or_file
        Id of a shipped protocol or of one in a folder of `protocol_files.VARIABLE`, or a path.

    Raises
    ------
    InputError
        If there is no such protocol, or the file is broken: with the line, the key and what is
        allowed.
    MissingPackageError
        If a file is to be checked and the package jsonschema is not installed.
    """
    if str(id_or_file) in protocol_ids():
        return _shipped(str(id_or_file))
    path = _path(id_or_file)
    if not path.is_file():
        raise InputError(
            f"There is no protocol '{id_or_file}'; use one of {', '.join(protocol_files())} "
            "or the path of a protocol file."
        )
    protocol = make_protocol(read_checked(path))
    if protocol.id in protocol_ids() and protocol != _shipped(protocol.id):
        raise InputError(
            f"Protocol file {path} has the id '{protocol.id}' of a protocol that ships with the "
            "software but differs from it; give it an id of its own."
        )
    return protocol


def protocol_values(id_or_file: str | Path) -> dict[str, Any]:
    """What a protocol's file holds, checked.

    Raises
    ------
    InputError, MissingPackageError
        As for `load_protocol`.
    """
    load_protocol(id_or_file)
    values: dict[str, Any] = json.loads(_path(id_or_file).read_text(encoding="utf-8-sig"))
    return values


def _path(id_or_file: str | Path) -> Path:
    return protocol_files().get(str(id_or_file), Path(id_or_file))


@cache
def _shipped(name: str) -> Protocol:
    return make_protocol(json.loads(protocol_files()[name].read_text(encoding="utf-8")))


def make_protocol(values: Mapping[str, Any]) -> Protocol:
    """Turn the values of a checked protocol file into a protocol."""
    source, scope, counting = values["source"], values["scope"], values["area_counting"]
    doi, registry = source.get("doi") or "", source.get("registry") or ""
    words = [source["citation"], f"doi:{doi}" if doi else "", registry]
    bounds = values["bounds"]
    return Protocol(
        id=values["id"],
        version=values["version"],
        title=values["title"],
        source=" ".join(filter(None, words)),
        doi=doi,
        registry=registry,
        population=values["population"],
        regions=tuple(scope["regions"]),
        counts_elsewhere=scope["elsewhere"] == "counted",
        scope_basis=_basis(scope),
        bounds={kind: _bounds(bounds[kind]) for kind in KINDS},
        bounds_basis={kind: _basis(bounds[kind]) for kind in KINDS},
        supporting={kind: _supporting(bounds[kind]) for kind in KINDS},
        area_counting=counting["per"],
        area_basis=_basis(counting),
        requires_confirmed_levels=values["requirements"]["confirmed_levels"],
        minimum_measurable_share=float(values["requirements"]["measurable_share"]),
        instability_bound_mm=float(values["instability"]["unstable_from_mm"]),
        instability_basis=_basis(values["instability"]),
        rules=tuple(Rule(**_plain(rule)) for rule in values["rules"]),
        modifiers=tuple(
            Modifier(**{**_plain(row), "applies_to": tuple(row["applies_to"])})
            for row in values.get("modifiers", ())
        ),
        open_points=tuple(OpenPoint(**_plain(row)) for row in values.get("open_points", ())),
        not_covered_recommendation=values["not_covered_recommendation"],
        eligibility=tuple(_plain(row) for row in values["eligibility"]),
        judged_criteria={row["id"]: row["text"] for row in values.get("judged_criteria", ())},
        exclusions={row["id"]: row["text"] for row in values["exclusions"]},
        criteria_complete=values.get("criteria_complete", True),
        caveats=tuple(values["caveats"]),
    )


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """An entry without its comments."""
    plain = {key: value for key, value in values.items() if key != "notes"}
    if "when" in plain:
        plain["when"] = {key: value for key, value in plain["when"].items() if key != "notes"}
    return plain


def _basis(values: Mapping[str, Any]) -> Provenance:
    return Provenance(values["provenance"], values["source"])


def _bounds(values: Mapping[str, Any]) -> UptakeBounds:
    return UptakeBounds(
        str(values["metric"]), float(values["positive"]), float(values["indeterminate"])
    )


def _supporting(values: Mapping[str, Any]) -> tuple[Supporting, ...]:
    return tuple(Supporting(**_plain(row)) for row in values.get("supporting", ()))
