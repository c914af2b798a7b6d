"""Clinical context of a patient: reading and checking it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import json_table
from CTSpectSpineLib.spreadsheet import decoded

_FIELDS = Path(__file__).parent / "context_fields.json"
_LEVEL = re.compile(r"^([A-Z]\d+)-([A-Z]\d+)$")


def context_fields() -> dict[str, dict[str, Any]]:
    """Allowed context fields: key to type and allowed values."""
    return json_table(_FIELDS)


def read_context(path: Path) -> dict[str, Any]:
    """Read and check a context file (JSON object).

    Raises
    ------
    InputError
        If the file cannot be read, is not a JSON object, or holds a key or value that is not
        allowed.
    """
    try:
        values = json.loads(decoded(Path(path).read_bytes()), object_pairs_hook=_without_repetition)
    except OSError as error:
        raise InputError(
            f"Context file {path} cannot be read ({error.strerror}); check the path."
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"Context file {path} is not valid JSON ({error}); correct it or leave it out."
        ) from error
    if not isinstance(values, dict):
        raise InputError(f"Context file {path} must hold one JSON object with named fields.")
    return check_context(values, str(path))


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the key '{name}' appears twice")
    return dict(pairs)


def check_context(values: Mapping[str, Any], origin: str = "the context") -> dict[str, Any]:
    """Check clinical context; keys with the value None count as not given and are dropped.

    Raises
    ------
    InputError
        Naming the key, the value and what is allowed; or the two values that contradict each
        other.
    """
    fields = context_fields()
    checked = {}
    for key, value in values.items():
        if key not in fields:
            raise InputError(
                f"Unknown key '{key}' (value {value!r}) in {origin}; "
                f"allowed are {', '.join(sorted(fields))}."
            )
        if value is None:
            continue
        wanted = _CHECKS[fields[key]["type"]](value, fields[key])
        if wanted is not None:
            raise InputError(
                f"Key '{key}' in {origin} has the value {value!r}; it must be {wanted}."
            )
        checked[key] = value
    _check_times(checked, origin)
    _check_durations(checked, origin)
    return checked


def _check_times(values: Mapping[str, Any], origin: str) -> None:
    if "injection_time" not in values or "scan_time" not in values:
        return
    injection, scan = (moment(values[k]) for k in ("injection_time", "scan_time"))
    if (injection.tzinfo is None) != (scan.tzinfo is None):
        raise InputError(
            f"Only one of 'injection_time' and 'scan_time' in {origin} has a time zone; "
            "give both with or both without."
        )
    if scan < injection:
        raise InputError(
            f"'scan_time' {values['scan_time']!r} in {origin} lies before "
            f"'injection_time' {values['injection_time']!r}; correct one of them."
        )


_PARTS_OF = (
    ("pain_duration_years", 1.0, "age_years", 1.0, "pain cannot be older than the patient"),
    (
        *("nonsurgical_treatment_years", 1.0, "pain_duration_years", 1.0),
        "the pain cannot have been treated for longer than it has lasted",
    ),
    (
        *("physical_therapy_months", 12.0, "nonsurgical_treatment_years", 1.0),
        "physical therapy is a part of the non-surgical treatment",
    ),
    (
        *("physical_therapy_months", 12.0, "pain_duration_years", 1.0),
        "the pain cannot have been treated for longer than it has lasted",
    ),
)
"""Field that cannot last longer than another one, each with its units in a year, and why.
By definition: 12 months are a year, and a part is no longer than the whole."""
_ROUNDING_YEARS = 0.05
"""Years by which it may be longer all the same. Judgement: half of the tenth of a year that
durations are rounded to."""


def _check_durations(values: Mapping[str, Any], origin: str) -> None:
    for part, part_unit, whole, whole_unit, reason in _PARTS_OF:
        if part not in values or whole not in values:
            continue
        if values[part] / part_unit > values[whole] / whole_unit + _ROUNDING_YEARS:
            raise InputError(
                f"'{part}' {values[part]:g} in {origin} contradicts '{whole}' {values[whole]:g}: "
                f"{reason}; correct one of them."
            )


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or math.isfinite(value)


def _check_number(value: Any, rule: Mapping[str, Any]) -> str | None:
    low, high = rule["minimum"], rule["maximum"]
    return None if _is_number(value) and low <= value <= high else f"a number from {low} to {high}"


def _check_choice(value: Any, rule: Mapping[str, Any]) -> str | None:
    return None if value in rule["allowed"] else f"one of {', '.join(rule['allowed'])}"


def _check_boolean(value: Any, rule: Mapping[str, Any]) -> str | None:
    return None if isinstance(value, bool) else "true or false"


def _check_list(value: Any, rule: Mapping[str, Any]) -> str | None:
    good = isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)
    return None if good else "a list of exclusion ids of the protocol (empty if there is none)"


def _check_judged(value: Any, rule: Mapping[str, Any]) -> str | None:
    good = isinstance(value, Mapping) and all(isinstance(v, bool) for v in value.values())
    return None if good else "a map from the id of a judged criterion to true or false"


def _check_levels(value: Any, rule: Mapping[str, Any]) -> str | None:
    wanted = (
        f"a map from level (like 'L4-L5') to millimetres from {rule['minimum']} to "
        f"{rule['maximum']}"
    )
    if not isinstance(value, Mapping):
        return wanted
    for level, displacement in value.items():
        if not is_level(level) or _check_number(displacement, rule) is not None:
            return wanted
    return None


_TIME = re.compile(
    r"(?P<year>\d{4})-?(?P<month>\d\d)-?(?P<day>\d\d)"
    r"([T ](?P<hour>\d\d):?(?P<minute>\d\d)(:?(?P<second>\d\d)([.,](?P<fraction>\d+))?)?"
    r"(?P<zone>Z|[+-]\d\d(:?\d\d)?)?)?",
    re.ASCII,
)


def moment(text: str) -> datetime:
    """Date and time in ISO 8601, the same in every version of Python.

    Raises
    ------
    ValueError
        If it is none.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no date and time in ISO 8601")
    parts = {name: int(match[name] or 0) for name in ("year", "month", "day")}
    clock = {name: int(match[name] or 0) for name in ("hour", "minute", "second")}
    fraction = int((match["fraction"] or "0")[:6].ljust(6, "0"))
    return datetime(**parts, **clock, microsecond=fraction, tzinfo=_zone(match["zone"]))


def _zone(text: str | None) -> timezone | None:
    if text is None:
        return None
    if text == "Z":
        return timezone.utc
    digits = text[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == "-" else offset)


def _check_time(value: Any, rule: Mapping[str, Any]) -> str | None:
    try:
        moment(value)
    except (TypeError, ValueError):
        return "a date and time in ISO 8601, like 2024-05-31T13:45:00"
    return None


_CHECKS: dict[str, Callable[[Any, Mapping[str, Any]], str | None]] = {
    "number": _check_number,
    "choice": _check_choice,
    "boolean": _check_boolean,
    "list": _check_list,
    "judged": _check_judged,
    "levels": _check_levels,
    "time": _check_time,
}


def is_level(text: Any) -> bool:
    """Whether a text names a motion segment: two neighbouring vertebrae, cranial one first."""
    match = _LEVEL.match(text) if isinstance(text, str) else None
    if match is None:
        return False
    pair = (match[1], match[2])
    try:
        return anatomy.neighbouring_pairs(pair) == (pair,)
    except KeyError:
        return False
