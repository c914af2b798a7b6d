"""The page of a results folder, made from its files alone."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from CTSpectSpineLib.files import withdraw
from CTSpectSpineLib.joint_table import number as cell_number
from CTSpectSpineLib.model import STABLE_SHARE
from CTSpectSpineLib.report.colour import small_png
from CTSpectSpineLib.report.ct_section import ct_section
from CTSpectSpineLib.report.finding_rows import finding_rows
from CTSpectSpineLib.report.headline import against, headline
from CTSpectSpineLib.report.joint_rows import joint_rows, ratio_words, records, standing_out
from CTSpectSpineLib.report.pdf import PDF
from CTSpectSpineLib.report.plot import uptake_plot
from CTSpectSpineLib.report.provenance import file_name, provenance, scan_line, unit_words, when
from CTSpectSpineLib.report.reasons import reason_rows
from CTSpectSpineLib.report.values import data, items, mapping, number, sentences, share, vector
from CTSpectSpineLib.results.pictures import ShownPicture
from CTSpectSpineLib.results.reader import ResultsFolder, read_folder
from CTSpectSpineLib.results.text_files import write_text
from CTSpectSpineLib.wording import disposition, reconstruction_words, texts, wording

_HERE = Path(__file__).parent
_MOST_BYTES = 4_000_000
"""Pictures above this size in all stand in the page with 256 colours each. Judgement: the page then
stays below 6 MB, which mail and archives take; the folder keeps all colours."""


def write_report(folder: Path, manifest: Mapping[str, Any] | None = None) -> Path:
    """Render ``report.html`` from the files of a results folder.

    The page needs no network and no script, and is the same for the same files. A PDF of an older
    page is removed.

    Parameters
    ----------
    folder
        A results folder; that of a failed or interrupted analysis gives a page that says so.
    manifest
        What ``manifest.json`` will say when the page is there; None for what it says.

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
    page = folder / "report.html"
    # A PDF shows an older page, perhaps a verdict that no longer counts.
    withdraw(folder / PDF)
    write_text(page, render(read_folder(folder, manifest)))
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
    protocol = mapping(manifest.get("protocol"))
    bounds = mapping(protocol.get("bounds"))
    joints, rows = results.joints, records(results.joints)
    shown = None if joints is None else list(joint_rows(joints, bounds))
    standing = standing_out(shown or [])
    return environment.get_template("page.html").render(
        # Both come from the project itself or escape what they hold; all else is autoescaped.
        css=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        plot=None
        if joints is None or joints.empty
        else Markup(uptake_plot(joints, bounds, texts("metrics"))),
        title=_title(manifest),
        headline=headline(results, rows),
        against=list(against(results, rows)),
        scan=scan_line(manifest),
        created=when(manifest.get("created")),
        version=str(mapping(manifest.get("software")).get("ctspectspine", "")),
        status=_status(manifest),
        verdict=_verdict(results, protocol),
        evidence=data("evidence.json"),
        bounds=[_bound(kind, mapping(values)) for kind, values in bounds.items()],
        joints=shown,
        standing=standing,
        beside=ct_section([row["id"] for row in standing], rows, results.ct_signs),
        with_levels=any(row["level_status"] != "–" for row in shown or []),
        with_suv=any(row["suv"] != "–" for row in shown or []),
        reference=_reference(mapping(manifest.get("uptake"))),
        labels=_labels(manifest.get("labels")),
        registration=_registration(results.registration),
        check=_check(manifest.get("registration_check")),
        pictures=_pictures(results, bounds),
        provenance=provenance(manifest),
        warnings=list(_warnings(manifest)),
    )


def _title(manifest: Mapping[str, Any]) -> str:
    """Name of the case: the folder or file of its CT."""
    name = mapping(mapping(manifest.get("inputs")).get("ct")).get("name")
    return file_name(name) if name else "images given in memory"


def _status(manifest: Mapping[str, Any]) -> Mapping[str, str] | None:
    """What to say of an analysis that is not complete."""
    words = wording("status", str(manifest["status"]))
    if not words:
        return None
    names = texts("stages")
    ids = [str(mapping(stage).get("name", "")) for stage in items(manifest.get("stages"))]
    finished = [names.get(name, name).lower() for name in ids]
    return {
        **words,
        "reason": str(manifest.get("status_reason") or "No reason was recorded."),
        "stages": ", ".join(finished),
    }


def _verdict(results: ResultsFolder, protocol: Mapping[str, Any]) -> Mapping[str, Any] | None:
    verdict = results.verdict
    if verdict is None:
        return None
    name = str(verdict.get("disposition", ""))
    by = {**protocol, **mapping(verdict.get("protocol"))}
    stability = verdict.get("stability")
    eligibility = mapping(verdict.get("eligibility"))
    status = str(eligibility.get("status", "unknown"))
    quality = str(mapping(results.registration).get("quality", ""))
    unstable = isinstance(stability, int | float) and stability < STABLE_SHARE
    return {
        **disposition(name),
        "name": name,
        "findings": list(finding_rows(verdict)),
        # Where there is no verdict, nothing may look like one.
        "candidates": []
        if name == "no_verdict"
        else [disposition(c)["title"] for c in sentences(verdict.get("candidate_dispositions"))],
        "recommendation": str(verdict.get("recommendation") or "none"),
        "protocol": " ".join(str(by[key]) for key in ("id", "version") if by.get(key)),
        "protocol_title": str(by.get("title", "")),
        "source": str(by.get("source", "")),
        "stability": share(stability) if stability is not None else "not computed",
        "unstable": unstable,
        "eligibility": texts("eligibility").get(status, status),
        "criteria": [
            (words, sentences(eligibility.get(key)))
            for key, words in (
                ("met", "Met"),
                ("failed", "Failed"),
                ("not_given", "Not given"),
            )
        ],
        "areas": [
            {
                "name": f"{area.get('level', '')} {area.get('kind', '')}",
                "joints": ", ".join(sentences(area.get("joints"))),
            }
            for area in map(mapping, items(verdict.get("areas")))
        ],
        "shares": [
            (disposition(str(key))["title"], share(part))
            for key, part in mapping(verdict.get("stability_shares")).items()
        ],
        "by_region": [
            (str(region), disposition(str(key))["title"])
            for region, key in mapping(verdict.get("by_region")).items()
            if name != "no_verdict"
        ],
        "reasons": list(reason_rows(verdict, texts("steps"))),
        "caveats": sentences(verdict.get("caveats")),
        "accepted_failure": quality == "failed" and name != "no_verdict",
    }


def _bound(kind: str, bounds: Mapping[str, Any]) -> Mapping[str, str]:
    return {
        "kind": {"disc": "Discs", "facet": "Facet joints"}.get(kind, kind),
        "metric": str(bounds.get("metric", "")),
        "metric_words": texts("metrics").get(str(bounds.get("metric", "")), ""),
        "positive": number(bounds.get("positive")),
        "indeterminate": number(bounds.get("indeterminate")),
        "provenance": str(bounds.get("provenance", "")).rstrip("."),
    }


def _reference(uptake: Mapping[str, Any]) -> Mapping[str, Any] | None:
    reference = mapping(uptake.get("reference"))
    if not reference:
        return None
    return {
        "name": str(reference.get("name", "")).replace("_", " "),
        "value": number(reference.get("value")),
        "unit": unit_words(uptake.get("unit")),
        "used": ", ".join(sentences(reference.get("used"))) or "–",
        "left_out": mapping(reference.get("left_out")),
        "spread": share(reference.get("spread")),
        "fwhm": f"{number(uptake.get('fwhm_mm'), 1)} mm ({uptake.get('fwhm_source') or '–'})",
        "condition": number(uptake.get("condition_number"), 1),
        "reconstruction": reconstruction_words(mapping(uptake.get("reconstruction"))),
    }


def _labels(labels: Any) -> Mapping[str, Any] | None:
    if not isinstance(labels, Mapping):
        return None
    engine = f"{labels.get('engine', '')} {labels.get('engine_version') or ''}".strip()
    return {
        "engine": engine,
        "reason": labels.get("engine_reason") or "",
        "levels": ", ".join(sentences(labels.get("levels"))) or "–",
        "confirmed": labels.get("levels_confirmed"),
        "doubted": ", ".join(sentences(labels.get("doubted_levels"))),
        "warnings": sentences(labels.get("warnings")),
    }


def _stated(error_mm: Any) -> str:
    """An expected error, or that there is none."""
    return "none stated" if error_mm is None else f"{number(error_mm, 1)} mm"


def _registration(registration: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if registration is None:
        return None
    quality = str(registration.get("quality", ""))
    return {
        "quality": wording("quality", quality) or {"text": quality or "–", "tone": "plain"},
        "reasons": sentences(registration.get("reasons")),
        "numbers": [
            (
                "Expected error at the joints",
                _stated(registration.get("expected_error_mm")),
            ),
            ("Translation (x, y, z)", vector(registration.get("translation_mm"), "mm")),
            ("Rotation (x, y, z)", vector(registration.get("rotation_deg"), "°")),
            ("Similarity, start", number(registration.get("metric_start"), 3)),
            ("Similarity, end", number(registration.get("metric_end"), 3)),
            ("Method", str(registration.get("method", "–"))),
        ],
    }


def _check(check: Any) -> Mapping[str, Any] | None:
    """What the user decided on the registration after looking at it; None without a decision."""
    check = mapping(check)
    decision = str(check.get("decision", ""))
    if not decision:
        return None
    words = wording("registration_check", decision)
    return {
        "text": words.get("text", decision),
        "tone": words.get("tone", "plain"),
        "rejected": decision == "rejected",
        "adjusted": check.get("adjusted_by_hand") is True,
        "time": when(check.get("time")),
    }


def _pictures(
    results: ResultsFolder, bounds: Mapping[str, Any]
) -> Mapping[str, list[Mapping[str, str]]]:
    rows = {row["joint"]: row for row in records(results.joints)}
    names = ("key", "overview", "joint", "finding", "registration")
    sections: dict[str, list[Mapping[str, str]]] = {name: [] for name in names}
    large = sum(len(picture.png) for picture in results.pictures) > _MOST_BYTES
    for picture in results.pictures:
        png = small_png(picture.png) if large and picture.section != "key" else picture.png
        sections.setdefault(picture.section or "other", []).append(
            _picture(picture, png, rows.get(picture.joint), bounds)
        )
    return sections


def _picture(
    picture: ShownPicture, png: bytes, row: Mapping[str, Any] | None, bounds: Mapping[str, Any]
) -> Mapping[str, str]:
    numbers, uptake, scanned = "", "", ""
    if row is not None:
        ratio, interval = ratio_words(row, bounds)
        uptake = row["uptake"]
        numbers = f"Ratio {ratio}" + (f" (95 % interval {interval})" if interval else "")
        mean, highest = (cell_number(row.get(name)) for name in ("ratio_mean", "ratio_max"))
        if number(mean) != "–":
            scanned = f"in the picture, as scanned: mean {number(mean)}, highest {number(highest)}"
    return {
        "title": picture.title,
        "caption": picture.caption,
        "numbers": numbers,
        "scanned": scanned,
        "uptake": uptake,
        "alt": picture.alt or picture.title.rstrip(".?!:"),
        "src": "data:image/png;base64," + base64.b64encode(png).decode("ascii"),
    }


def _warnings(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Warnings of the stages, each once, with the stage that gave it first."""
    seen, names = set(), texts("stages")
    for stage in map(mapping, items(manifest.get("stages"))):
        for warning in sentences(stage.get("warnings")):
            if warning not in seen:
                seen.add(warning)
                name = str(stage.get("name", ""))
                yield names.get(name, name), warning
