"""Whether a protocol's study population includes the patient, whatever the disposition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.triage_protocol.criteria import bound_words, fulfils, value_words
from CTSpectSpineLib.triage_protocol.protocol import Protocol, load_protocol, protocol_ids

FURTHER = "the source's further criteria, which the protocol file does not hold"


def assess(protocol: Protocol, context: Mapping[str, Any]) -> dict[str, Any]:
    """Sort the protocol's criteria into met, failed and not given.

    Returns
    -------
    dict
        ``status`` (``eligible``, ``not_eligible``, ``unknown``); the lists ``met``, ``failed``
        and ``not_given`` of sentences; ``other_protocols``, ids in the context that only other
        protocols have; ``criteria``, one record per criterion with ``id``, ``type``, ``text``,
        ``status``, ``value`` and ``bound``.

    Raises
    ------
    InputError
        If the context names an exclusion or a judged criterion that no protocol has.
    """
    _check_ids("exclusions", protocol, context.get("exclusions", ()))
    _check_ids("judged_criteria", protocol, context.get("judged_criteria", {}))
    criteria = [
        *_given_fields(protocol, context),
        *_judged(protocol, context),
        *_exclusions(protocol, context),
    ]
    lists: dict[str, list[str]] = {
        status: [_sentence(row) for row in criteria if row["status"] == status]
        for status in ("met", "failed", "not_given")
    }
    if not protocol.criteria_complete:
        lists["not_given"].append(FURTHER)
    status = "unknown" if lists["not_given"] else "eligible"
    return {
        "status": "not_eligible" if lists["failed"] else status,
        **lists,
        "other_protocols": _elsewhere(protocol, context),
        "criteria": criteria,
    }


def _record(kind: str, row: Mapping[str, Any], status: str, value: Any, bound: str) -> Any:
    return {
        "id": row["id"],
        "type": kind,
        "text": row["text"],
        "status": status,
        "value": value,
        "bound": bound,
    }


def _given_fields(protocol: Protocol, context: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for criterion in protocol.eligibility:
        value = context.get(criterion["key"])
        met = "not_given" if value is None else "met" if fulfils(value, criterion) else "failed"
        record = _record("inclusion", criterion, met, value, bound_words(criterion))
        yield {**record, "key": criterion["key"]}


def _judged(protocol: Protocol, context: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    answers = context.get("judged_criteria", {})
    for name, text in protocol.judged_criteria.items():
        answer = answers.get(name)
        status = "not_given" if answer is None else "met" if answer else "failed"
        yield _record("judged", {"id": name, "text": text}, status, answer, "yes")


def _exclusions(protocol: Protocol, context: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    present = context.get("exclusions")
    for name, text in protocol.exclusions.items():
        value = None if present is None else name in present
        status = "not_given" if value is None else "failed" if value else "met"
        yield _record("exclusion", {"id": name, "text": text}, status, value, "no")


def _sentence(row: Mapping[str, Any]) -> str:
    if row["type"] == "exclusion":
        words = {"met": "no {}", "failed": "excluded: {}", "not_given": "exclusion: {}"}
        return words[row["status"]].format(row["text"])
    if row["value"] is None:
        return str(row["text"])
    return f"{row['text']} (given: {value_words(row['value'])})"


def _check_ids(key: str, protocol: Protocol, given: Any) -> None:
    own = getattr(protocol, key)
    known = set(own).union(*(getattr(load_protocol(name), key) for name in protocol_ids()))
    for name in given:
        if name not in known:
            raise InputError(
                f"Key '{key}' has the value '{name}', which protocol {protocol.id} does not "
                f"have; allowed are {', '.join(own or sorted(known))}."
            )


def _elsewhere(protocol: Protocol, context: Mapping[str, Any]) -> list[str]:
    return [
        name
        for key in ("exclusions", "judged_criteria")
        for name in dict.fromkeys(context.get(key, ()))
        if name not in getattr(protocol, key)
    ]
