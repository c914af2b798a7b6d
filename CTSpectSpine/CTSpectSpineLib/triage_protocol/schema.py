"""Checking a protocol file: its form by the schema, then what no schema can express."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from CTSpectSpineLib.errors import InputError, MissingPackageError
from CTSpectSpineLib.files import json_table
from CTSpectSpineLib.triage_protocol.context import context_fields
from CTSpectSpineLib.triage_protocol.json_lines import JsonLines, JsonPath, dotted

SCHEMA_FILE = Path(__file__).parent / "protocol.schema.json"
TEMPLATE_FILE = Path(__file__).parent / "template.json"

_TYPE_WORDS = {
    "string": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def protocol_schema() -> dict[str, Any]:
    """The JSON schema of a protocol file."""
    return json_table(SCHEMA_FILE)


def read_checked(path: Path) -> dict[str, Any]:
    """Read a protocol file and check it.

    Raises
    ------
    InputError
        Naming the file, the line, the key and what is allowed.
    MissingPackageError
        If the package jsonschema is not installed.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        values = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise InputError(
            f"Protocol file {path}, line {error.lineno}: not valid JSON ({error.msg}); correct it."
        ) from error
    except OSError as error:
        raise InputError(
            f"Protocol file {path} cannot be read ({error.strerror}); check the path."
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"Protocol file {path} is not valid JSON ({error}); correct it."
        ) from error
    lines = JsonLines(text)
    problems = [(place, "appears twice; keep one") for place in lines.repeated]
    problems = problems or list(_form(values)) or list(_meaning(values))
    if problems:
        place, words = min(problems, key=lambda problem: lines.line(problem[0]))
        more = f" ({len(problems) - 1} more in this file)" if len(problems) > 1 else ""
        raise InputError(
            f"Protocol file {path}, line {lines.line(place)}: {dotted(place)} {words}{more}."
        )
    return dict(values)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _form(values: Any) -> Iterator[tuple[JsonPath, str]]:
    """What the schema finds, with the place of each finding."""
    try:
        from jsonschema import Draft202012Validator
    except ImportError as error:
        raise MissingPackageError(
            "Checking a protocol file needs the package jsonschema; install it with "
            "'pip install jsonschema' or use a protocol that ships with the software."
        ) from error
    for problem in Draft202012Validator(protocol_schema()).iter_errors(values):
        yield _finding(problem)


def _finding(error: Any) -> tuple[JsonPath, str]:
    """Place of a schema error and the words for it."""
    place: JsonPath = tuple(error.absolute_path)
    rule, wanted, found = error.validator, error.validator_value, error.instance
    if rule == "additionalProperties":
        allowed = sorted(error.schema["properties"])
        unknown = next(key for key in found if key not in allowed)
        return (*place, unknown), f"is an unknown key; allowed are {', '.join(allowed)}"
    if rule == "required":
        missing = next(key for key in wanted if key not in found)
        return place, f"lacks the key '{missing}'; add it"
    value = json.dumps(found, ensure_ascii=False)
    shown = value if len(value) <= 60 else f"{value[:57]}..."
    return place, f"is {shown}; {_allowed(rule, wanted, error)}"


def _allowed(rule: str, wanted: Any, error: Any) -> str:
    if rule == "enum":
        return f"allowed are {', '.join(map(str, wanted))}"
    if rule == "const":
        return f"it must be {wanted}"
    if rule == "type":
        names = wanted if isinstance(wanted, list) else [wanted]
        return f"it must be {' or '.join(_TYPE_WORDS[name] for name in names)}"
    words = {
        "minimum": f"it must be at least {wanted}",
        "maximum": f"it must be at most {wanted}",
        "exclusiveMinimum": f"it must be above {wanted}",
        "minItems": f"it must have at least {wanted} entries",
        "maxItems": f"it must have at most {wanted} entries",
        "minProperties": f"it must have at least {wanted} key",
        "minLength": "it must not be empty",
        "uniqueItems": "no entry may appear twice",
        "pattern": "allowed are lower-case letters, digits and the signs that docs/protocols.md "
        "names, starting with a letter or digit",
    }
    return words.get(rule, str(error.message))


def _meaning(values: Mapping[str, Any]) -> Iterator[tuple[JsonPath, str]]:
    """What a file of the right form may still get wrong."""
    for kind, bounds in values["bounds"].items():
        if kind != "notes" and bounds["indeterminate"] > bounds["positive"]:
            yield (
                ("bounds", kind, "indeterminate"),
                f"is {bounds['indeterminate']}; it must be at most the positive bound, "
                f"{bounds['positive']}",
            )
    for part in ("rules", "modifiers", "open_points"):
        for number, entry in enumerate(values.get(part, ())):
            yield from _conditions(entry["when"], (part, number, "when"))
    given = {rule["disposition"] for rule in values["rules"]}
    for number, modifier in enumerate(values.get("modifiers", ())):
        for place, name in enumerate(modifier["applies_to"]):
            if name not in given:
                yield (
                    ("modifiers", number, "applies_to", place),
                    f"is {name}, which no rule gives; allowed are {', '.join(sorted(given))}",
                )
    for number, criterion in enumerate(values["eligibility"]):
        yield from _field_test(criterion["key"], criterion, ("eligibility", number), "key")
    for part in ("eligibility", "judged_criteria", "exclusions"):
        seen: set[str] = set()
        for number, entry in enumerate(values.get(part, ())):
            if entry["id"] in seen:
                yield (part, number, "id"), f"is {entry['id']}, which appears twice; rename it"
            seen.add(entry["id"])


def _conditions(when: Mapping[str, Any], place: JsonPath) -> Iterator[tuple[JsonPath, str]]:
    for name in ("areas", "levels"):
        low, high = when.get(name, (0, None))
        if high is not None and high < low:
            yield (*place, name), f"is [{low}, {high}]; the lower end must come first"
    for key, wanted in when.get("context", {}).items():
        yield from _field_test(key, wanted, (*place, "context", key), None)


_TESTS_OF_TYPE = {
    "number": ("minimum", "maximum", "above", "below", "equals"),
    "choice": ("equals",),
    "boolean": ("equals",),
}


def _field_test(
    key: str, test: Mapping[str, Any], place: JsonPath, name: str | None
) -> Iterator[tuple[JsonPath, str]]:
    """Whether a test fits the context field that it is for."""
    fields = {k: f for k, f in context_fields().items() if f["type"] in _TESTS_OF_TYPE}
    if key not in fields:
        at = place if name is None else (*place, name)
        yield at, f"names the context field {key}; allowed are {', '.join(sorted(fields))}"
        return
    field = fields[key]
    used = [name for name in _TESTS_OF_TYPE["number"] if name in test]
    allowed = _TESTS_OF_TYPE[field["type"]]
    if not used:
        yield place, f"tests nothing; add one of {', '.join(allowed)}"
    for name in used:
        if name not in allowed:
            yield (*place, name), f"does not fit the field {key}; allowed is {', '.join(allowed)}"
        elif name == "equals" and not _fits(test[name], field):
            options = {"choice": field.get("allowed", ()), "boolean": ("true", "false")}
            choice = ", ".join(options.get(field["type"], ("a number",)))
            shown = json.dumps(test[name], ensure_ascii=False)
            yield (*place, name), f"is {shown}, which {key} never is; allowed are {choice}"


def _fits(value: Any, field: Mapping[str, Any]) -> bool:
    if field["type"] == "choice":
        return value in field["allowed"]
    return isinstance(value, bool) == (field["type"] == "boolean") and not isinstance(value, str)
