"""Where the numbers of a report come from: scan, inputs, settings, software, stages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from CTSpectSpineLib.report.values import items, mapping, number, sentences, vector
from CTSpectSpineLib.wording import texts

_NOT_GIVEN = "not given"
_AS_SHIPPED = (None, False, "auto", "")
_MINUTES_PER_HOUR, _SECONDS_PER_HOUR = 60.0, 3600.0
"""By definition."""


def scan_facts(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is known of the SPECT scan: tracer, dose, time, scanner, reconstruction, SUV.

    The context that the user gave stands before what the file says.
    """
    spect = mapping(mapping(manifest.get("inputs")).get("spect"))
    scan = mapping(spect.get("acquisition"))
    context = mapping(manifest.get("context"))
    dose = context.get("injected_dose_MBq", scan.get("injected_dose_MBq"))
    hours = _hours(context, scan)
    facts = [
        # A header without a radionuclide's code names it in the tracer alone.
        ("Tracer", " ".join(filter(None, dict.fromkeys((_text(scan, "radionuclide"),
                                                        _text(scan, "tracer")))))),
        ("Injected dose", f"{number(dose, 0)} MBq" if _is_number(dose) else ""),
        ("Injection to scan", f"{number(hours, 1)} h" if hours is not None else ""),
        ("Scanner", _text(scan, "manufacturer")),
        ("Energy windows", _windows(scan)),
        ("Collimator", _text(scan, "collimator")),
        ("Reconstruction", "; ".join(filter(None, (_text(scan, "reconstruction"),
                                                   _text(scan, "filter"))))),
        ("Corrected for", ", ".join(_correction(c) for c in sentences(scan.get("corrections")))),
        ("Unit of the SPECT", unit_words(spect.get("unit"))),
        ("SUV", str(mapping(manifest.get("uptake")).get("suv") or "")),
        ("Lean-body SUV", _lean(mapping(manifest.get("uptake")))),
    ]  # fmt: skip
    return [(name, value) for name, value in facts if value]


def _lean(uptake: Mapping[str, Any]) -> str:
    lean = mapping(uptake.get("sul"))
    return str(lean.get("note") or "") if _is_number(lean.get("per_suv")) else ""


def scan_line(manifest: Mapping[str, Any]) -> str:
    """The facts of the scan that a reader asks for first, in one line; what is missing is named."""
    known = dict(scan_facts(manifest))
    wanted = ("Tracer", "Injected dose", "Injection to scan", "Scanner", "Reconstruction")
    words = {"Injected dose": "{}", "Injection to scan": "scanned {} after injection"}
    said = [words.get(name, "{}").format(known[name]) for name in wanted if name in known]
    missing = [name.lower() for name in wanted if name not in known]
    if missing:
        said.append(f"not stated: {', '.join(missing)}")
    return "; ".join(said)


def unit_words(unit: Any) -> str:
    """The SPECT's unit in words."""
    return "not stated in the file" if unit in (None, "", "unknown") else str(unit)


def file_name(name: Any) -> str:
    """Name of a file without folders of any system, which may tell who the patient is."""
    return PurePosixPath(PureWindowsPath(str(name)).as_posix()).name


def when(value: Any) -> str:
    """A moment (ISO 8601) as people write it, with its zone; other words as they stand."""
    try:
        moment = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        return str(value or "")
    zone = moment.strftime("%z")
    return f"{moment:%Y-%m-%d %H:%M}" + (f" (UTC{zone[:3]}:{zone[3:5]})" if zone else "")


def _clock(value: Any) -> str:
    """Time of day of a moment; other words as they stand."""
    try:
        return f"{datetime.fromisoformat(str(value).replace('Z', '+00:00')):%H:%M:%S}"
    except ValueError:
        return str(value or "")


def _hours(context: Mapping[str, Any], scan: Mapping[str, Any]) -> float | None:
    try:
        injected, scanned = (
            datetime.fromisoformat(str(context[key]).replace("Z", "+00:00"))
            for key in ("injection_time", "scan_time")
        )
        return (scanned - injected).total_seconds() / _SECONDS_PER_HOUR
    except (KeyError, TypeError, ValueError):
        minutes = scan.get("uptake_time_min")
        return float(minutes) / _MINUTES_PER_HOUR if minutes and _is_number(minutes) else None


def _is_number(value: Any) -> bool:
    return number(value) != "–"


def _text(values: Mapping[str, Any], key: str) -> str:
    return str(values.get(key) or "")


def _windows(scan: Mapping[str, Any]) -> str:
    windows = [w for w in items(scan.get("energy_windows_kev")) if isinstance(w, list | tuple)]
    pairs = [w for w in windows if len(w) == 2]
    return ", ".join(f"{number(low, 1)} to {number(high, 1)} keV" for low, high in pairs)


def provenance(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """Inputs, context, settings, software, stages and transform, for the end of the page."""
    return {
        "inputs": [
            _input(name, mapping(values))
            for name, values in mapping(manifest.get("inputs")).items()
        ],
        "tables": [
            ("Scan", scan_facts(manifest)),
            ("Clinical context", list(_flat(mapping(manifest.get("context")), "context"))),
            ("Settings", list(_settings(mapping(manifest.get("parameters"))))),
            ("Software", [(str(k), str(v)) for k, v in mapping(manifest.get("software")).items()]),
        ],
        "stages": [
            (_words("stages", str(stage.get("name", ""))), _clock(stage.get("start")),
             f"{number(stage.get('seconds'))} s".replace("– s", "–"))
            for stage in map(mapping, items(manifest.get("stages")))
        ],
        "matrix": [
            [number(value, 4) for value in items(row)]
            for row in items(mapping(manifest.get("spect_to_ct")).get("ct_to_spect_lps"))
        ],
    }  # fmt: skip


def _settings(parameters: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Settings that were made; those left as shipped are only counted."""
    made = {key: value for key, value in parameters.items() if value not in _AS_SHIPPED}
    yield from _flat(made, "parameters")
    if parameters and len(made) < len(parameters):
        yield "All other settings", "as shipped"


def _input(name: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
    size = values.get("size")
    return {
        "name": {"ct": "CT", "spect": "SPECT", "vertebrae": "Vertebra labels"}.get(name, name),
        "file": file_name(values["name"]) if values.get("name") else "given in memory",
        "sha256": str(values.get("sha256") or "–"),
        "size": " × ".join(str(n) for n in size) if isinstance(size, list) else "–",
        "spacing": vector(values.get("spacing_mm"), "mm", 3).replace(", ", " × "),
        "unit": unit_words(values.get("unit")),
        "notes": sentences(values.get("notes")),
    }


def _correction(code: str) -> str:
    return texts("corrections").get(code, code)


def _words(table: str, key: str) -> str:
    """The words for a key; of one without words at least no underscores."""
    return texts(table).get(key, key.replace("_", " ").replace(".", ", "))


def _flat(values: Mapping[str, Any], table: str, before: str = "") -> Iterable[tuple[str, str]]:
    """Nested values with their names in words."""
    for key, value in values.items():
        name = f"{before}{_words(table, str(key))}"
        if isinstance(value, Mapping) and value:
            yield from _flat(value, table, f"{name}, ")
        else:
            yield name[:1].upper() + name[1:], _value(value)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value in ("", {}):
        return _NOT_GIVEN
    if isinstance(value, list | tuple):
        return ", ".join(_value(item) for item in value) or "none"
    text = str(value)
    # An id of a choice, such as workers_compensation; never a file's name.
    return text.replace("_", " ") if text.isidentifier() else text
