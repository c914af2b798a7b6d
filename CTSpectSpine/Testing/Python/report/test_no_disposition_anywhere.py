"""Where there may be no verdict, no output says or hints at one: JSON, command line, panel, scene,
report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from page_folder import Page, dump, make_folder, manifest

from CTSpectSpineLib import triage, wording
from CTSpectSpineLib.command_line.printing import verdict_lines as printed
from CTSpectSpineLib.joint_table import Row
from CTSpectSpineLib.model import Verdict
from CTSpectSpineLib.panel.headline import headline
from CTSpectSpineLib.protocol_files import protocol_files
from CTSpectSpineLib.report import write_report
from CTSpectSpineLib.results.records import verdict_record
from CTSpectSpineLib.results.shown import Record
from CTSpectSpineLib.results.text_files import json_text
from CTSpectSpineLib.scene.tables import verdict_lines as tabled
from CTSpectSpineLib.triage_protocol import load_protocol

LEVELS = ("C4-C5", "C5-C6", "T8-T9", "L3-L4", "L4-L5", "L5-S1")
JOINTS = [
    (level, kind, side)
    for level in LEVELS
    for kind, side in (("disc", ""), ("facet", "left"), ("facet", "right"))
]
RATIOS = {"positive": 4.2, "indeterminate": 1.8, "negative": 1.0, "not_measurable": 4.1}
OPEN = {"no_verdict", "indeterminate", "not_covered"}
OBSTACLES = (
    "The registration failed: SPECT and CT do not match.",
    "The vertebra levels are not confirmed, which this protocol needs.",
)
tables = st.dictionaries(st.sampled_from(JOINTS), st.sampled_from(sorted(RATIOS)), max_size=8)
protocols = st.sampled_from(sorted(protocol_files()))


def joints(uptake: dict[tuple[str, str, str], str]) -> pd.DataFrame:
    rows = []
    for level, kind, side in JOINTS:
        found = uptake.get((level, kind, side), "negative")
        ratio = RATIOS[found]
        name = f"{level} {kind} {side}".strip()
        rows.append((name, level, kind, side, found, ratio, ratio - 0.3, ratio + 0.3))
    names = "joint level kind side uptake ratio_corrected ratio_low ratio_high"
    return pd.DataFrame(rows, columns=names.split())


def forbidden() -> set[str]:
    """Titles of dispositions, and what protocols recommend for them."""
    named = wording._tables()["dispositions"]
    titles = {str(words) for name, words in named.items() if name not in OPEN}
    rules = [rule for name in protocol_files() for rule in load_protocol(name).rules]
    asked = {rule.recommendation for rule in rules if rule.disposition not in OPEN}
    return {words for words in titles | asked if words}


def shown(verdict: Verdict, table: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Texts of all outputs but the report."""
    record: dict[str, Any] = json.loads(json_text(verdict_record(verdict)))
    json_ = {key: value for key, value in record.items() if key != "protocol"}
    yield "json", json.dumps(json_, ensure_ascii=False)
    yield "command line", " ".join(printed(verdict))
    columns = ("joint", "level", "kind", "side", "uptake")
    rows = tuple(
        Row(*(str(row[name]) for name in columns), *(float(row[n]) for n in (
            "ratio_corrected", "ratio_low", "ratio_high")))
        for row in table.to_dict("records")
    )  # fmt: skip
    yield "panel", headline(Record({}, rows, {}, record, {}))
    yield "scene", "\n".join(f"{item} {value}" for item, value in tabled(record))


def check(verdict: Verdict) -> None:
    assert verdict.disposition == "no_verdict"
    assert set(verdict.by_region.values()) <= {"", "no_verdict"}
    assert not verdict.candidate_dispositions
    words = set(verdict.joint_verdicts.values()) - {""}
    assert all(one.endswith(("no verdict", "not counted")) for one in words), words


def told(text: str, *known: str) -> list[str]:
    """Which forbidden words a text holds, apart from sentences that always stand there."""
    rest = " ".join(text.split())
    for sentence in known:
        rest = rest.replace(sentence, "")
    return [words for words in forbidden() if words.lower() in rest.lower()]


@settings(max_examples=60, deadline=None)
@given(tables, protocols, st.sampled_from(OBSTACLES))
def test_an_obstacle_leaves_no_disposition_in_any_output(
    uptake: dict[tuple[str, str, str], str], protocol: str, obstacle: str
) -> None:
    table = joints(uptake)
    verdict = triage(table, {}, protocol, obstacles=[obstacle])
    check(verdict)
    for where, text in shown(verdict, table):
        assert told(text, *load_protocol(protocol).caveats) == [], where


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([joint for joint in JOINTS if joint[0].startswith("L")]), protocols)
def test_a_hot_joint_that_was_not_measured_leaves_the_verdict_open(
    hot: tuple[str, str, str], protocol: str
) -> None:
    table = joints({hot: "not_measurable"})
    verdict = triage(table, {}, protocol)
    assert verdict.disposition in OPEN
    level, kind, side = hot
    name = f"{level} {side} {kind}".replace("  ", " ")
    for where, text in shown(verdict, table):
        assert f"{name} 4.1 × reference (3.8–4.4) hot but not measurable" in text, where


@settings(max_examples=8, deadline=None)
@given(uptake=tables, obstacle=st.sampled_from(OBSTACLES))
def test_nor_in_the_report(
    uptake: dict[tuple[str, str, str], str],
    obstacle: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder: Path = make_folder(tmp_path_factory.mktemp("report") / "results")
    table = joints(uptake)
    verdict = triage(table, {}, "tender-2019", obstacles=[obstacle])
    rows = table.assign(status="measured", status_reason="", verdict="")
    rows.to_csv(folder / "joints.csv", index=False)
    dump(folder, "verdict.json", json.loads(json_text(verdict_record(verdict))))
    failed = {"status": "failed", "status_reason": " ".join(verdict.reasons)}
    dump(folder, "manifest.json", {**manifest(), **failed})
    assert told(Page(write_report(folder)).text) == []
