"""What uptake that no joint explains, and joints that read hot unmeasured, mean for a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from CTSpectSpineLib.finding import Finding
from CTSpectSpineLib.triage_protocol.decision import INDETERMINATE, NOT_COVERED, Engine
from CTSpectSpineLib.triage_protocol.protocol import Protocol
from CTSpectSpineLib.triage_protocol.reasons import Step

IN_BONE = ("fracture", "infection", "inflammation", "neoplasm", "spondylolysis")
"""Exclusions of protocols that uptake in bone may stand for. Judgement: what raises bone turnover
and shows as a focus."""
IN_HIP = ("hip_or_shoulder_arthritis",)
"""And besides those in the hip bone. Judgement."""


@dataclass(frozen=True)
class Outside:
    """Findings in the light of a protocol.

    Attributes
    ----------
    findings
        All of them.
    counting
        Those that are no less hot than a positive joint and do not look physiologic.
    explaining
        Name of a finding to the positive or borderline joints that it explains better than they do
        themselves.
    """

    protocol: Protocol
    findings: tuple[Finding, ...]
    counting: tuple[Finding, ...]
    explaining: Mapping[str, tuple[str, ...]]

    def final(
        self, engine: Engine, name: str, recommendation: str, candidates: tuple[str, ...]
    ) -> tuple[str, str, tuple[str, ...]]:
        """Disposition, recommendation and candidates when the findings are taken into account.

        A finding never leaves a negative scan, nor a joint that it explains: neither is covered.
        """
        words = self.protocol.not_covered_recommendation
        if self.explaining:
            return NOT_COVERED, words, ()
        if not self.counting:
            return name, recommendation, candidates
        negative = engine.decide(()).name
        if name == negative:
            return NOT_COVERED, words, ()
        if name == INDETERMINATE and negative in candidates:
            others = tuple(dict.fromkeys(NOT_COVERED if c == negative else c for c in candidates))
            return (name, recommendation, others) if len(others) > 1 else (others[0], words, ())
        return name, recommendation, candidates

    def decides(self, engine: Engine, before: str) -> bool:
        """Whether the findings change a disposition."""
        return bool(self.explaining) or (bool(self.counting) and before == engine.decide(()).name)

    def steps(self, decides: bool) -> list[Step]:
        """One step for each finding."""
        found = []
        for finding in self.findings:
            counts = finding in self.counting
            explained = self.explaining.get(finding.name, ())
            words = self.exclusions(finding) if counts else ()
            text = finding.sentence
            if counts and words:
                text += f" It is an exclusion of {self.protocol.id} if it is {_or(words)}."
            elif counts:
                text += f" {self.protocol.id} says nothing of it."
            found.append(
                {
                    "step": "finding",
                    "sentence": text,
                    "finding": finding.name,
                    "place": finding.short if finding.physiologic else finding.words,
                    "counts": counts,
                    "hot": finding.reaches(lowest_bound(self.protocol)),
                    "decides": counts and decides and (bool(explained) or not self.explaining),
                    "physiologic": finding.physiologic,
                    "joints": list(explained),
                    "exclusions": list(words),
                }
            )
        return found

    def exclusions(self, finding: Finding) -> tuple[str, ...]:
        """The protocol's own words for what it excludes and the finding may be."""
        ids: tuple[str, ...] = (
            IN_BONE if finding.where not in ("soft tissue", "outside the CT") else ()
        )
        ids += IN_HIP if finding.where == "hip" else ()
        return tuple(
            self.protocol.exclusions[name] for name in ids if name in self.protocol.exclusions
        )


def outside_of(engine: Engine, findings: Sequence[Finding]) -> Outside:
    """Findings in the light of an engine's protocol and joints."""
    bound = lowest_bound(engine.protocol)
    counting = tuple(f for f in findings if not f.physiologic and f.reaches(bound))
    raised = {row.id for row in engine.rows if row.uptake in ("positive", "indeterminate")}
    explaining = {
        f.name: joints
        for f in findings
        if not f.physiologic and (joints := tuple(j for j in f.joints if j in raised))
    }
    return Outside(engine.protocol, tuple(findings), counting, explaining)


def lowest_bound(protocol: Protocol) -> float:
    """The least ratio from which a joint of any kind is positive."""
    return min(bounds.positive for bounds in protocol.bounds.values())


def unmeasured_steps(engine: Engine) -> list[Step]:
    """One step for each joint that reads hot and could not be measured."""
    return [
        {
            "step": "unmeasured",
            "sentence": f"{row.id} reads as high as a positive joint ({row.evidence}) but could "
            "not be measured reliably.",
            "joint": row.id,
            "place": f"{row.id} {row.ratio:.1f} ×",
        }
        for row in engine.hot_unmeasured
    ]


def _or(parts: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
