"""The clinical context as a form of texts, as a person types it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from CTSpectSpineLib.errors import InputError

NOT_GIVEN = "not given"


@dataclass(frozen=True)
class Field:
    """One field of the form.

    Attributes
    ----------
    key
        Key of the clinical context.
    kind
        ``number``, ``choice``, ``yes_no``, ``levels``, ``list``, ``time``.
    label
        What the form calls it.
    """

    key: str
    kind: str
    label: str


FIELDS = (
    Field("pain_region", "choice", "pain region"),
    Field("vas_axial", "number", "axial pain (VAS)"),
    Field("pain_duration_years", "number", "pain for"),
    Field("nonsurgical_treatment_years", "number", "non-surgical treatment"),
    Field("physical_therapy_months", "number", "physical therapy"),
    Field("days_since_steroid_injection", "number", "last steroid injection"),
    Field("radicular_pain", "yes_no", "radicular pain"),
    Field("instability_mm", "levels", "instability"),
    Field("surgery_declined", "yes_no", "surgery declined"),
    Field("exclusions", "list", "exclusions"),
    Field("spect_intolerance", "yes_no", "SPECT intolerance"),
    Field("age_years", "number", "age"),
    Field("sex", "choice", "sex"),
    Field("body_weight_kg", "number", "weight"),
    Field("body_height_cm", "number", "height"),
    Field("injected_dose_MBq", "number", "injected dose"),
    Field("injection_time", "time", "injection time"),
    Field("scan_time", "time", "scan time"),
)
_BY_KEY = {field.key: field for field in FIELDS}


def context_from_form(texts: Mapping[str, str], extra: str = "") -> dict[str, Any]:
    """Clinical context from the texts of the form; empty texts are not given.

    Parameters
    ----------
    texts
        Key to text.
    extra
        JSON object with keys that the form does not have; empty for none.

    Raises
    ------
    InputError
        If a text cannot be read, or a value is impossible; names the field.
    """
    from CTSpectSpineLib.triage_protocol import check_context

    values: dict[str, Any] = json.loads(extra) if extra else {}
    for key, text in texts.items():
        text = text.strip()
        if text and text != NOT_GIVEN:
            values[key] = _parse(_BY_KEY[key], text)
    try:
        return check_context(values, "the patient's data")
    except InputError as error:
        raise InputError(_as_labelled(str(error))) from None


def _as_labelled(text: str) -> str:
    """A message about keys of the context, with what the form calls them."""
    for field in FIELDS:
        text = text.replace(f"Key '{field.key}'", f"'{field.label}'")
        text = text.replace(f"'{field.key}'", f"'{field.label}'")
    return text


def form_from_context(context: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    """Texts of the form for a clinical context, and as JSON what the form has no field for."""
    texts = {field.key: "" for field in FIELDS}
    extra = {}
    for key, value in context.items():
        if key not in texts:
            extra[key] = value
        elif value is not None:
            texts[key] = _text(value)
    return texts, json.dumps(extra) if extra else ""


def _parse(field: Field, text: str) -> Any:
    if field.kind == "number":
        return number_from_text(f"Patient, {field.label}", text)
    if field.kind == "yes_no":
        if text not in ("yes", "no"):
            raise InputError(f"Patient, {field.label}: '{text}' is neither yes nor no.")
        return text == "yes"
    if field.kind == "levels":
        return _parse_levels(field, text)
    if field.kind == "list":
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def number_from_text(name: str, text: str) -> float:
    """Number that a person typed, with a decimal point or comma.

    Raises
    ------
    InputError
        If it is not a number; ``name`` is what the field is called.
    """
    try:
        return float(text.replace(",", "."))
    except ValueError:
        raise InputError(
            f"{name}: '{text}' is not a number; correct it or leave it empty."
        ) from None


def _parse_levels(field: Field, text: str) -> dict[str, float]:
    found = {}
    for part in filter(None, (p.strip() for p in text.replace(";", ",").split(","))):
        level, separator, number = part.partition("=")
        try:
            found[level.strip().upper()] = float(number)
        except ValueError:
            separator = ""
        if not separator:
            raise InputError(
                f"Patient, {field.label}: '{part}' is not LEVEL=MILLIMETRES; write it like "
                "L4-L5=3.5, several separated by commas."
            )
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{level}={mm:g}" for level, mm in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(str(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
