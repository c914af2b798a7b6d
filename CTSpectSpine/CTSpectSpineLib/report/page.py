"""The page of a results folder, made from its files alone."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from CTSpectSpineLib.report.chain import reason_rows
from CTSpectSpineLib.report.folder import ResultsFolder, ShownPicture, read_folder
from CTSpectSpineLib.report.plot import uptake_plot

_HERE = Path(__file__).parent
_UNSTABLE = 0.8
_NOT_GIVEN = "not given"


def write_report(folder: Path) -> Path:
    """Render ``report.html`` from the files of a results folder.

    The page needs no network and no script, and is the same for the same files.

    Parameters
    ----------
    folder
        A results folder; that of a failed or interrupted analysis gives a page that says so.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        If the folder or one of its files is missing or broken.
    """
    folder = Path(folder)
    results = read_folder(folder)
    page = folder / "report.html"
    part = page.with_suffix(".html.part")
    part.write_text(render(results), encoding="utf-8", newline="\n")
    part.replace(page)
    return page


def render(results: ResultsFolder) -> str:
    """HTML of a results folder that has been read."""
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    manifest = results.manifest
    protocol = _mapping(manifest.get("protocol"))
    bounds = _mapping(protocol.get("bounds"))
    joints = results.joints
    return environment.get_template("page.html").render(
        # Both are the project's own files or escaped by their maker; all else is autoescaped.
        css=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        plot=None
        if joints is None or joints.empty
        else Markup(uptake_plot(joints, bounds, _data("wording.json")["metrics"])),
        title=_title(manifest),
        created=str(manifest.get("created", "")),
        version=str(_mapping(manifest.get("software")).get("ctspectspine", "")),
        status=_status(manifest),
        verdict=_verdict(results, protocol),
        evidence=_data("evidence.json"),
        bounds=[_bound(kind, _mapping(values)) for kind, values in bounds.items()],
        joints=None if joints is None else list(_joint_rows(joints, bounds)),
        reference=_reference(_mapping(manifest.get("uptake"))),
        labels=_labels(manifest.get("labels")),
        registration=_registration(results.registration),
        check=_check(manifest.get("registration_check")),
        pictures=_pictures(results, bounds),
        provenance=_provenance(manifest),
        warnings=list(_warnings(manifest)),
    )


@cache
def _data(name: str) -> Any:
    return json.loads((_HERE / name).read_text(encoding="utf-8"))


def _wording(table: str, key: str) -> Mapping[str, str]:
    return _mapping(_data("wording.json")[table].get(key))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sentences(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]


def _number(value: Any, digits: int = 2) -> str:
    """A number for reading; an en dash where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    # Adding zero turns a negative zero into a plain one.
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def _vector(values: Any, unit: str, digits: int = 1) -> str:
    if not isinstance(values, list | tuple) or not values:
        return "–"
    return ", ".join(_number(value, digits) for value in values) + f" {unit}"


def _share(value: Any) -> str:
    """A share as whole per cent that never rounds to certainty."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    if 0 < value < 0.01:
        return "< 1 %"
    return "> 99 %" if 0.99 < value < 1 else f"{100 * value:.0f} %"


def _title(manifest: Mapping[str, Any]) -> str:
    """Name of the case: the folder or file of its CT."""
    path = _mapping(_mapping(manifest.get("inputs")).get("ct")).get("path")
    return Path(str(path).replace("\\", "/")).name if path else "images given in memory"


def _status(manifest: Mapping[str, Any]) -> Mapping[str, str] | None:
    """What to say of an analysis that is not complete."""
    wording = _wording("status", str(manifest["status"]))
    if not wording:
        return None
    finished = [str(_mapping(stage).get("name", "")) for stage in manifest.get("stages") or []]
    return {
        **wording,
        "reason": str(manifest.get("status_reason") or "No reason was recorded."),
        "stages": ", ".join(finished),
    }


def _verdict(results: ResultsFolder, protocol: Mapping[str, Any]) -> Mapping[str, Any] | None:
    verdict = results.verdict
    if verdict is None:
        return None
    name = str(verdict.get("disposition", ""))
    wording = _disposition(name)
    by = {**protocol, **_mapping(verdict.get("protocol"))}
    stability = verdict.get("stability")
    eligibility = _mapping(verdict.get("eligibility"))
    status = str(eligibility.get("status", "unknown"))
    quality = str(_mapping(results.registration).get("quality", ""))
    unstable = isinstance(stability, int | float) and stability < _UNSTABLE
    return {
        **wording,
        "name": name,
        "candidates": [
            _disposition(c)["title"] for c in _sentences(verdict.get("candidate_dispositions"))
        ],
        "recommendation": str(verdict.get("recommendation") or "none"),
        "protocol": " ".join(str(by[key]) for key in ("id", "version") if by.get(key)),
        "protocol_title": str(by.get("title", "")),
        "source": str(by.get("source", "")),
        "stability": _share(stability) if stability is not None else "not computed",
        "unstable": unstable,
        "eligibility": _data("wording.json")["eligibility"].get(status, status),
        "criteria": [
            (words, _sentences(eligibility.get(key)))
            for key, words in (
                ("met", "Met"),
                ("failed", "Failed"),
                ("not_given", "Not given"),
            )
        ],
        "areas": [
            {
                "name": f"{area.get('level', '')} {area.get('kind', '')}",
                "joints": ", ".join(_sentences(area.get("joints"))),
            }
            for area in map(_mapping, verdict.get("areas") or [])
        ],
        "shares": [
            (_disposition(str(key))["title"], _share(share))
            for key, share in _mapping(verdict.get("stability_shares")).items()
        ],
        "by_region": [
            (str(region), _disposition(str(key))["title"])
            for region, key in _mapping(verdict.get("by_region")).items()
        ],
        "reasons": list(reason_rows(verdict, _data("wording.json")["steps"])),
        "caveats": _sentences(verdict.get("caveats")),
        "accepted_failure": quality == "failed" and name != "no_verdict",
    }


def _disposition(name: str) -> Mapping[str, str]:
    """Words for a disposition; a protocol's own one is shown by its id."""
    return _wording("dispositions", name) or {
        "title": name.replace("_", " ").capitalize() or "No verdict",
        "meaning": "",
        "tone": "plain",
    }


def _bound(kind: str, bounds: Mapping[str, Any]) -> Mapping[str, str]:
    return {
        "kind": {"disc": "Discs", "facet": "Facet joints"}.get(kind, kind),
        "metric": str(bounds.get("metric", "")),
        "metric_words": _data("wording.json")["metrics"].get(bounds.get("metric"), ""),
        "positive": _number(bounds.get("positive")),
        "indeterminate": _number(bounds.get("indeterminate")),
        "provenance": str(bounds.get("provenance", "")),
    }


def _metric(kind: str, bounds: Mapping[str, Any]) -> str:
    return str(_mapping(bounds.get(kind)).get("metric", "ratio_corrected"))


def _ratio(row: Mapping[str, Any], bounds: Mapping[str, Any]) -> tuple[str, str]:
    """Deciding ratio of a joint and its interval, in words."""
    ratio = _number(row.get(_metric(row["kind"], bounds)))
    low, high = _number(row.get("ratio_low")), _number(row.get("ratio_high"))
    return ratio, "" if "–" in (low, high) else f"{low}–{high}"


def _joint_rows(joints: pd.DataFrame, bounds: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    counts = joints["level"].value_counts()
    previous = None
    for row in _records(joints):
        ratio, interval = _ratio(row, bounds)
        first = row["level"] != previous
        previous = row["level"]
        yield {
            "level": row["level"] if first else None,
            "rows": int(counts[row["level"]]),
            "name": f"{row['kind']} {row['side']}".strip(),
            "id": row["joint"],
            "uptake": row["uptake"],
            "uptake_words": _wording("uptake", row["uptake"]),
            "measured": row["status"] == "measured",
            "reason": str(row.get("status_reason", "")),
            "ratio": ratio,
            "interval": interval,
            "probability": _share(row.get("probability_positive")),
            "maximum": _number(row.get("ratio_max")),
            "z": _number(row.get("z_score"), 1),
            "asymmetry": _number(row.get("asymmetry")),
            "verdict": str(row.get("verdict", "")),
        }


def _records(joints: pd.DataFrame | None) -> list[dict[str, Any]]:
    if joints is None:
        return []
    return [{str(key): value for key, value in row.items()} for row in joints.to_dict("records")]


def _reference(uptake: Mapping[str, Any]) -> Mapping[str, Any] | None:
    reference = _mapping(uptake.get("reference"))
    if not reference:
        return None
    return {
        "name": str(reference.get("name", "")).replace("_", " "),
        "value": f"{_number(reference.get('value'))} {uptake.get('unit') or ''}".strip(),
        "used": ", ".join(_sentences(reference.get("used"))) or "–",
        "left_out": _mapping(reference.get("left_out")),
        "spread": _share(reference.get("spread")),
        "fwhm": f"{_number(uptake.get('fwhm_mm'), 1)} mm ({uptake.get('fwhm_source') or '–'})",
        "condition": _number(uptake.get("condition_number"), 1),
    }


def _labels(labels: Any) -> Mapping[str, Any] | None:
    if not isinstance(labels, Mapping):
        return None
    engine = f"{labels.get('engine', '')} {labels.get('engine_version') or ''}".strip()
    return {
        "engine": engine,
        "levels": ", ".join(_sentences(labels.get("levels"))) or "–",
        "confirmed": labels.get("levels_confirmed"),
        "warnings": _sentences(labels.get("warnings")),
    }


def _registration(registration: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if registration is None:
        return None
    quality = str(registration.get("quality", ""))
    return {
        "quality": _wording("quality", quality) or {"text": quality or "–", "tone": "plain"},
        "reasons": _sentences(registration.get("reasons")),
        "numbers": [
            (
                "Expected error at the joints",
                f"{_number(registration.get('expected_error_mm'), 1)} mm",
            ),
            ("Translation (x, y, z)", _vector(registration.get("translation_mm"), "mm")),
            ("Rotation (x, y, z)", _vector(registration.get("rotation_deg"), "°")),
            ("Similarity, start", _number(registration.get("metric_start"), 3)),
            ("Similarity, end", _number(registration.get("metric_end"), 3)),
            ("Method", str(registration.get("method", "–"))),
        ],
    }


def _check(check: Any) -> Mapping[str, Any] | None:
    """What the user decided on the registration after looking at it; None without a decision."""
    check = _mapping(check)
    decision = str(check.get("decision", ""))
    if not decision:
        return None
    wording = _wording("registration_check", decision)
    return {
        "text": wording.get("text", decision),
        "tone": wording.get("tone", "plain"),
        "rejected": decision == "rejected",
        "adjusted": check.get("adjusted_by_hand") is True,
        "time": str(check.get("time", "")).replace("T", " "),
    }


def _pictures(
    results: ResultsFolder, bounds: Mapping[str, Any]
) -> Mapping[str, list[Mapping[str, str]]]:
    rows = {row["joint"]: row for row in _records(results.joints)}
    sections: dict[str, list[Mapping[str, str]]] = {"overview": [], "joint": [], "registration": []}
    for picture in results.pictures:
        sections.setdefault(picture.section or "other", []).append(
            _picture(picture, rows.get(picture.joint), bounds)
        )
    return sections


def _picture(
    picture: ShownPicture, row: Mapping[str, Any] | None, bounds: Mapping[str, Any]
) -> Mapping[str, str]:
    numbers, uptake = "", ""
    if row is not None:
        ratio, interval = _ratio(row, bounds)
        uptake = row["uptake"]
        numbers = f"Ratio {ratio}" + (f" (95 % interval {interval})" if interval else "")
    return {
        "title": picture.title,
        "caption": picture.caption,
        "numbers": numbers,
        "uptake": uptake,
        "alt": f"{picture.title}. {picture.caption}",
        "src": "data:image/png;base64," + base64.b64encode(picture.png).decode("ascii"),
    }


def _warnings(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Warnings of the stages, each once, with the stage that gave it first."""
    seen = set()
    for stage in map(_mapping, manifest.get("stages") or []):
        for warning in _sentences(stage.get("warnings")):
            if warning not in seen:
                seen.add(warning)
                yield str(stage.get("name", "")), warning


def _provenance(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "inputs": [
            _input(name, _mapping(values))
            for name, values in _mapping(manifest.get("inputs")).items()
        ],
        "tables": [
            (title, list(_flat(_mapping(manifest.get(key)))))
            for title, key in (
                ("Clinical context", "context"),
                ("Parameters", "parameters"),
                ("Software", "software"),
            )
        ],
        "stages": [
            (str(stage.get("name", "")), str(stage.get("start", "")),
             f"{_number(stage.get('seconds'))} s".replace("– s", "–"))
            for stage in map(_mapping, manifest.get("stages") or [])
        ],
        "matrix": [
            [_number(value, 4) for value in row]
            for row in _mapping(manifest.get("spect_to_ct")).get("ct_to_spect_lps") or []
        ],
    }  # fmt: skip


def _input(name: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
    size = values.get("size")
    return {
        "name": {"ct": "CT", "spect": "SPECT", "vertebrae": "Vertebra labels"}.get(name, name),
        "path": str(values.get("path") or "given in memory"),
        "sha256": str(values.get("sha256") or "–"),
        "size": " × ".join(str(n) for n in size) if isinstance(size, list) else "–",
        "spacing": _vector(values.get("spacing_mm"), "mm", 3).replace(", ", " × "),
        "unit": str(values.get("unit") or "–"),
        "notes": _sentences(values.get("notes")),
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Nested settings as dotted names and readable values."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        elif value is None or value == "" or value == {}:
            yield f"{prefix}{key}", _NOT_GIVEN
        elif isinstance(value, list | tuple):
            yield f"{prefix}{key}", ", ".join(str(item) for item in value) or "none"
        else:
            yield f"{prefix}{key}", str(value)
