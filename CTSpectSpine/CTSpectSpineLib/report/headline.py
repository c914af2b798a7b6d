"""The first screen of a report: one sentence that answers, and what stands against it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from CTSpectSpineLib.joint_table import deciding_ratio
from CTSpectSpineLib.model import STABLE_SHARE
from CTSpectSpineLib.report.joint_rows import ratio_words
from CTSpectSpineLib.report.values import items, mapping, number, sentences, share
from CTSpectSpineLib.results.reader import ResultsFolder
from CTSpectSpineLib.wording import disposition, texts, wording

_MOST_NAMED = 3
"""Joints that a sentence names. Judgement: more are read in the table."""


def headline(results: ResultsFolder, rows: Sequence[Mapping[str, Any]]) -> str:
    """The sentence of the first screen.

    ``headline`` of ``verdict.json`` where it has one; else the positive joints with ratio and
    interval, and what the verdict calls them, or why there is no verdict.

    Parameters
    ----------
    results
        The results folder.
    rows
        Rows of the joint table.
    """
    manifest, verdict = results.manifest, results.verdict
    status = wording("status", str(manifest["status"]))
    told = str(mapping(verdict).get("headline") or "").strip()
    if told.startswith("No verdict"):
        return told
    if str(mapping(manifest.get("registration_check")).get("decision")) == "rejected":
        return "No verdict. The registration was rejected."
    if verdict is None:
        return status.get("title", "No verdict was recorded") + "."
    name = str(verdict.get("disposition", ""))
    if name == "no_verdict":
        reason = next(iter(sentences(verdict.get("reasons"))), "The analysis does not support one")
        return f"No verdict. {reason.rstrip('.')}."
    if status:
        return f"No verdict. {str(manifest.get('status_reason')).rstrip('.')}."
    if told:
        return told
    bounds = mapping(mapping(manifest.get("protocol")).get("bounds"))
    words = disposition(name)
    found = _hottest(rows, "positive", bounds) or _hottest(rows, "indeterminate", bounds)
    if not found:
        return f"{words['title']}. {words['meaning']}".strip()
    named = "; ".join(_joint(row, bounds) for row in found[:_MOST_NAMED])
    more = f"; and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return f"{named[:1].upper()}{named[1:]}{more}."


def against(results: ResultsFolder, rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """What stands against the sentence: a few words and a line each, the gravest first."""
    manifest, verdict = results.manifest, mapping(results.verdict)
    registration = mapping(results.registration)
    quality = str(registration.get("quality", ""))
    if quality and quality != "good":
        reason = next(iter(sentences(registration.get("reasons"))), "")
        yield f"Registration {wording('quality', quality).get('text', quality)}", reason
    labels = manifest.get("labels")
    if isinstance(labels, Mapping) and not labels.get("levels_confirmed"):
        yield "Levels not confirmed", "The names of the levels may be wrong by one or more."
    elif isinstance(labels, Mapping) and labels.get("doubted_levels"):
        names = ", ".join(sentences(labels.get("doubted_levels")))
        yield "Names in doubt", f"{names}: the number of ribs was taken to be the usual one."
    stability = verdict.get("stability")
    if isinstance(stability, int | float) and stability < STABLE_SHARE:
        yield "Unstable", f"{share(stability)} of the repetitions give this verdict."
    uptake = mapping(manifest.get("uptake"))
    if mapping(uptake.get("reconstruction")).get("attenuation_corrected_with_ct"):
        yield "Attenuation", "The SPECT left it in; the ratios are corrected for it with the CT."
    bounds = mapping(mapping(manifest.get("protocol")).get("bounds"))
    unsure = _hottest(rows, "indeterminate", bounds)
    if unsure:
        yield "Indeterminate", "; ".join(_joint(row, bounds) for row in unsure[:_MOST_NAMED]) + "."
    lost = [row for row in rows if row["uptake"] == "not_measurable"]
    if lost:
        levels = dict.fromkeys(str(row["level"]) for row in lost)
        yield "Not measurable", f"{_count(len(lost), 'joint')}: {', '.join(levels)}."
    eligibility = mapping(verdict.get("eligibility"))
    status = str(eligibility.get("status", ""))
    failed, missing = (sentences(eligibility.get(key)) for key in ("failed", "not_given"))
    if status == "not_eligible":
        yield "Not eligible under the protocol", "; ".join(failed) + "."
    elif missing:
        many = f"{_count(len(missing), 'criterion', 'criteria')} of the protocol not given."
        yield f"Eligibility {texts('eligibility').get(status, status).split(':')[0]}", many
    for finding in map(mapping, items(verdict.get("findings"))):
        # Kidneys and bladder are in every scan; the headline and the table name them.
        if not finding.get("physiologic"):
            yield "Outside the joints", _finding(finding)


def _hottest(
    rows: Sequence[Mapping[str, Any]], uptake: str, bounds: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """Rows of a class, highest deciding ratio first."""

    def ratio(row: Mapping[str, Any]) -> float:
        value = deciding_ratio(row, bounds)
        return value if math.isfinite(value) else -math.inf

    return sorted((r for r in rows if r["uptake"] == uptake), key=ratio, reverse=True)


def _joint(row: Mapping[str, Any], bounds: Mapping[str, Any]) -> str:
    ratio, interval = ratio_words(row, bounds)
    words = f"{row['joint']} {ratio} × the reference bone"
    return f"{words} ({interval.replace('–', ' to ')})" if interval else words


def _finding(finding: Mapping[str, Any]) -> str:
    """A finding in words: its own sentence, else where it is and how active."""
    sentence = str(finding.get("sentence") or "")
    if sentence:
        return sentence
    where = " ".join(str(finding.get(key) or "") for key in ("level", "where", "side")).strip()
    place = str(finding.get("nearest") or "") or where
    return f"{place}, {number(finding.get('ratio'), 1)} × the reference bone as scanned."


def _count(many: int, one: str, several: str = "") -> str:
    return f"{many} {one if many == 1 else several or one + 's'}"
