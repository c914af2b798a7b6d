"""Whether a protocol's study population includes the patient; apart from the disposition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.triage_protocol.protocol import Protocol


def assess(protocol: Protocol, context: Mapping[str, Any]) -> dict[str, Any]:
    """Sort the protocol's criteria into met, failed and not given.

    Returns
    -------
    dict
        ``status`` (``eligible``, ``not_eligible``, ``unknown``) and the lists ``met``,
        ``failed`` and ``not_given`` of sentences.

    Raises
    ------
    InputError
        If the context names an exclusion that the protocol does not have.
    """
    met: list[str] = []
    failed: list[str] = []
    not_given: list[str] = []
    for criterion in protocol.eligibility:
        value = context.get(criterion["key"])
        if value is None:
            not_given.append(criterion["text"])
            continue
        low, high = criterion.get("minimum"), criterion.get("maximum")
        inside = (low is None or value >= low) and (high is None or value <= high)
        (met if inside else failed).append(f"{criterion['text']} (given: {value:g})")
    _exclusions(protocol, context, met, failed, not_given)
    status = "not_eligible" if failed else "unknown" if not_given else "eligible"
    return {"status": status, "met": met, "failed": failed, "not_given": not_given}


def _exclusions(
    protocol: Protocol,
    context: Mapping[str, Any],
    met: list[str],
    failed: list[str],
    not_given: list[str],
) -> None:
    present = context.get("exclusions")
    if present is None:
        not_given.append("exclusion criteria")
        return
    for name in present:
        if name not in protocol.exclusions:
            raise InputError(
                f"Key 'exclusions' has the value '{name}', which protocol {protocol.id} does not "
                f"have; allowed are {', '.join(protocol.exclusions)}."
            )
        failed.append(f"excluded: {protocol.exclusions[name]}")
    if not present:
        met.append("no exclusion criterion")
