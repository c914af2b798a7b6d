"""What the user decides on a registration, and what follows for the files of its analysis.

A decision belongs to the results: it stands in their manifest, and the verdict obeys it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from CTSpectSpineLib import joint_table
from CTSpectSpineLib.results.manifest import MANIFEST, now
from CTSpectSpineLib.results.text_files import json_text

Answer = Literal["accepted", "rejected"]
ANSWERS: tuple[Answer, ...] = ("accepted", "rejected")
KEY = "registration_check"
"""Entry of the manifest that holds the decision."""


@dataclass(frozen=True)
class Decision:
    """What the user decided on a registration.

    Attributes
    ----------
    decision
        One of `ANSWERS`.
    quality
        Quality of the registration.
    adjusted_by_hand
        Whether the SPECT was put where it is by hand.
    time
        When, ISO 8601.
    reader
        Who decided; empty where nobody said.
    """

    decision: Answer
    quality: str
    adjusted_by_hand: bool
    time: str
    reader: str = ""

    @classmethod
    def now(cls, decision: str, quality: str, *, adjusted: bool, reader: str = "") -> Decision:
        """A decision that is taken now."""
        answer = next((known for known in ANSWERS if known == decision), None)
        if answer is None:
            raise ValueError(f"decision is {decision!r}, not one of {ANSWERS}")
        return cls(answer, quality, adjusted, now(), reader)

    def entry(self) -> dict[str, Any]:
        """The entry of a manifest that records the decision."""
        return {KEY: asdict(self)}

    @property
    def obstacle(self) -> str:
        """Sentence on why there is no verdict; empty for an accepted registration."""
        if self.decision != "rejected":
            return ""
        return f"The user rejected the registration ({self.time})."


def decision_in(manifest: Mapping[str, Any]) -> Decision | None:
    """The decision that a manifest records; None for none."""
    record = manifest.get(KEY)
    if not isinstance(record, Mapping) or record.get("decision") not in ANSWERS:
        return None
    return Decision(
        record["decision"],
        str(record.get("quality", "")),
        bool(record.get("adjusted_by_hand", False)),
        str(record.get("time", "")),
        str(record.get("reader", "")),
    )


def with_decision(manifest: Mapping[str, Any], decision: Decision) -> dict[str, Any]:
    """A manifest that records a decision; after a rejection the analysis gives no verdict."""
    changed: dict[str, Any] = {**manifest, **decision.entry()}
    if decision.obstacle:
        changed |= {"status": "failed", "status_reason": decision.obstacle}
    return changed


def decided(texts: Mapping[str, str], decision: Decision) -> dict[str, str]:
    """The texts of a results folder after a decision, by the name of the file.

    A rejection takes the verdict back: ``verdict.json`` says ``no_verdict``, and no joint counts
    in one. An acceptance changes the manifest alone.

    Parameters
    ----------
    texts
        ``manifest.json``, ``verdict.json`` and ``joints.csv``; others stay as they are.
    """
    changed = dict(texts)
    changed[MANIFEST] = json_text(with_decision(json.loads(texts[MANIFEST]), decision))
    if decision.obstacle:
        verdict = _withdrawn(json.loads(texts["verdict.json"]), decision.obstacle)
        changed["verdict.json"] = json_text(verdict)
        changed["joints.csv"] = joint_table.without_verdict(texts["joints.csv"], "joints.csv")
    return changed


NO_VERDICT = "no_verdict"
_COULD_BE = " Were any of them positive"
"""How a caveat begins to speak of other verdicts."""
_ON_STABILITY = ("This verdict is unstable", "The stability was computed")
"""How caveats on the stability of a verdict begin."""
_NEUTRAL = ("obstacle", "finding", "disposition")
"""Steps of the reasoning that stay where there is no verdict."""
_WITHDRAWN: Mapping[str, Any] = {
    "disposition": NO_VERDICT,
    "recommendation": "none",
    "areas": [],
    "stability": None,
    "stable": None,
    "stability_shares": {},
    "by_region": {},
    "joint_verdicts": {},
}


def _withdrawn(verdict: Mapping[str, Any], reason: str) -> dict[str, Any]:
    """A verdict that was taken back."""
    kept = {k: v for k, v in verdict.items() if k not in ("candidate_dispositions", "headline")}
    headline = "No verdict. The registration was rejected."
    named = {key: value for key, value in _WITHDRAWN.items() if key in kept}
    chain = [{"step": "obstacle", "sentence": reason}]
    told = {"reasons": [reason], "chain": chain, "headline": headline, "findings": []}
    return {**kept, **named, **told, "caveats": _neutral(verdict)}


def _neutral(verdict: Mapping[str, Any]) -> list[str]:
    """The caveats without what else the verdict could be."""
    caveats = [str(caveat).split(_COULD_BE)[0] for caveat in verdict.get("caveats") or ()]
    return [caveat for caveat in caveats if not caveat.startswith(_ON_STABILITY)]


def withheld(verdict: Mapping[str, Any], manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """What may be shown of a verdict: nothing that suggests one where there is none.

    An earlier version left other fields as they were where it gave no verdict, and a rejection may
    stand in the manifest alone.

    Parameters
    ----------
    verdict, manifest
        What ``verdict.json`` and ``manifest.json`` hold.
    """
    decision = decision_in(manifest)
    if decision is not None and decision.obstacle:
        return _withdrawn(verdict, decision.obstacle)
    if verdict.get("disposition") != NO_VERDICT:
        return verdict
    steps = [step for step in verdict.get("chain") or () if isinstance(step, Mapping)]
    chain = [step for step in steps if step.get("step") in _NEUTRAL]
    kept = {k: v for k, v in verdict.items() if k != "candidate_dispositions"}
    named = {key: value for key, value in _WITHDRAWN.items() if key in kept}
    if steps:
        named |= {"chain": chain, "reasons": [str(step.get("sentence", "")) for step in chain]}
    named["caveats"] = _neutral(verdict)
    return {**kept, **named, "joint_verdicts": {}}


def is_withheld(verdict: Mapping[str, Any], manifest: Mapping[str, Any]) -> bool:
    """Whether there is no verdict, so that no joint counts in one."""
    decision = decision_in(manifest)
    rejected = decision is not None and bool(decision.obstacle)
    return rejected or verdict.get("disposition") == NO_VERDICT
