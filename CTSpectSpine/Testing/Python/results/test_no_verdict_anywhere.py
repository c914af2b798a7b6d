"""Where there is no verdict, no output suggests one: JSON, page, command line, panel and scene."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from CTSpectSpineLib import joint_table, triage
from CTSpectSpineLib.command_line.printing import verdict_lines
from CTSpectSpineLib.joint_columns import COLUMNS
from CTSpectSpineLib.model import Verdict
from CTSpectSpineLib.panel.headline import has_verdict, headline
from CTSpectSpineLib.report.page import render
from CTSpectSpineLib.results.reader import read_folder
from CTSpectSpineLib.results.records import verdict_record
from CTSpectSpineLib.results.shown import read_record
from CTSpectSpineLib.results.text_files import json_text
from CTSpectSpineLib.scene.tables import verdict_lines as scene_lines
from CTSpectSpineLib.triage_protocol import load_protocol
from CTSpectSpineLib.wording import disposition

LEVELS = ("C5-C6", "L2-L3", "L3-L4", "L4-L5", "L5-S1")
RULES = load_protocol("tender-2019").rules
SUGGESTING = (
    *(str(disposition(rule.disposition)["title"]).lower() for rule in RULES),
    *(rule.recommendation.lower() for rule in RULES),
    *(rule.disposition for rule in RULES if "_" in rule.disposition),
    *("no increased uptake", "measured joints shows", "surgery declined", "not covered"),
    *("would change the verdict", "counted as area", "the verdict could be", '"negative": '),
)
"""Words that suggest a disposition. ``negative`` alone is also the class of a joint."""
OBSTACLES = (
    "The registration failed: no overlap.",
    "The vertebra levels are not confirmed: L4 is labelled in two places.",
)


def table(ratios: tuple[float, ...]) -> pd.DataFrame:
    rows = []
    for level, ratio in zip(LEVELS, ratios, strict=True):
        uptake = "positive" if ratio >= 2.02 else "indeterminate" if ratio >= 1.62 else "negative"
        rows.append(
            {
                **dict.fromkeys(COLUMNS, ""),
                **{"joint": f"{level} disc", "level": level, "kind": "disc", "uptake": uptake},
                **{"status": "measured", "ratio_corrected": ratio, "level_status": "plausible"},
                **{"ratio_low": ratio - 0.3, "ratio_high": ratio + 0.3},
            }
        )
    return pd.DataFrame(rows)


def manifest(verdict: Verdict, rejected: bool) -> dict[str, Any]:
    bounds = verdict.protocol["bounds"]
    record: dict[str, Any] = {
        "schema": "ctspectspine-results-1",
        "status": "failed",
        "status_reason": " ".join(verdict.reasons),
        "protocol": {"id": "tender-2019", "bounds": bounds},
    }
    if rejected:
        record["status_reason"] = "The user rejected the registration."
        record["registration_check"] = {"decision": "rejected", "quality": "good", "time": "now"}
    return record


def outputs(folder: Path, verdict: Verdict, joints: pd.DataFrame, rejected: bool) -> dict[str, str]:
    """Everything that a person reads, without the protocol's own standing caveats."""
    standing = load_protocol("tender-2019").caveats
    caveats = tuple(text for text in verdict.caveats if text not in standing)
    shown = replace(verdict, caveats=caveats)
    texts = {
        "manifest.json": json_text(manifest(verdict, rejected)),
        "registration.json": json_text({"quality": "failed", "reasons": ["no overlap"]}),
        "verdict.json": json_text(verdict_record(shown)),
        "joints.csv": joint_table.to_csv(joints),
    }
    for name, text in texts.items():
        (folder / name).write_bytes(text.encode("utf-8"))
    record = read_record(folder)
    assert not has_verdict(record)
    scene = "\n".join(f"{item}: {value}" for item, value in scene_lines(record.verdict))
    scene += "\n".join(row.explanation for row in record.rows)
    page = render(read_folder(folder))
    return {
        "page": page[page.index("<body>") :].replace("\n", " "),
        "panel": headline(record),
        "scene": scene,
        **({} if rejected else {"json": texts["verdict.json"]}),
        **({} if rejected else {"lines": "\n".join(verdict_lines(shown))}),
    }


def suggesting(text: str) -> list[str]:
    plain = " ".join(text.lower().split())
    return [words for words in SUGGESTING if words in plain]


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.tuples(*[st.sampled_from([1.0, 1.7, 3.5])] * len(LEVELS)),
    st.sampled_from(OBSTACLES),
    st.sampled_from([{}, {"pain_region": "lumbar"}, {"surgery_declined": True}]),
)
def test_nothing_suggests_a_disposition(
    tmp_path_factory: pytest.TempPathFactory,
    ratios: tuple[float, ...],
    obstacle: str,
    context: dict[str, Any],
) -> None:
    joints = table(ratios)
    verdict = triage(joints, context, obstacles=[obstacle])
    assert verdict.disposition == "no_verdict"
    assert (verdict.by_region, verdict.areas, verdict.stability) == ({}, (), None)
    joints = joints.assign(verdict=joints["joint"].map(dict(verdict.joint_verdicts)))
    for name, text in outputs(tmp_path_factory.mktemp("none"), verdict, joints, False).items():
        assert not suggesting(text), name
    assert verdict.headline.startswith("No verdict. ")


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.tuples(*[st.sampled_from([1.0, 1.7, 3.5])] * len(LEVELS)))
def test_nothing_suggests_a_disposition_after_a_rejection(
    tmp_path_factory: pytest.TempPathFactory, ratios: tuple[float, ...]
) -> None:
    """Also where only the manifest knows of the rejection."""
    joints = table(ratios)
    verdict = triage(joints)
    joints = joints.assign(verdict=joints["joint"].map(dict(verdict.joint_verdicts)))
    for name, text in outputs(tmp_path_factory.mktemp("no"), verdict, joints, True).items():
        assert not suggesting(text), name


def test_the_words_are_found_where_there_is_a_verdict() -> None:
    for ratios in ((1.0,) * 5, (1.0, 1.0, 1.0, 3.5, 1.0), (1.0, 3.5, 1.7, 3.5, 1.0)):
        verdict = triage(table(ratios))
        assert suggesting(json.dumps(verdict_record(verdict), default=str, ensure_ascii=False))
        assert suggesting("\n".join(verdict_lines(verdict)))
