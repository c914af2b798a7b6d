"""Triage against the reference table of cases, which was written from the sources alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from CTSpectSpineLib import anatomy, triage
from CTSpectSpineLib.model import Verdict
from CTSpectSpineLib.triage_protocol import Protocol, load_protocol

TABLE = json.loads((Path(__file__).parent / "data/triage_cases.json").read_text(encoding="utf-8"))
CASES: list[dict[str, Any]] = TABLE["cases"]
OPTIONAL_VERTEBRAE = {"T13", "L6", anatomy.SACRUM}


def params(cases: Iterable[dict[str, Any]]) -> list[Any]:
    return [pytest.param(case, id=case["id"]) for case in cases]


def vertebrae_of(case: Mapping[str, Any]) -> list[str]:
    """Vertebrae that a case measures, cranial to caudal."""
    usual = [v.name for v in anatomy.vertebrae() if v.name not in OPTIONAL_VERTEBRAE]
    first, last = ("C1-S1" if case["range"] == "whole" else case["range"]).split("-")
    measured = usual[usual.index(first) : usual.index(last) + 1]
    left_out = set(case.get("without", ()))
    return list(anatomy.sort_levels({*measured, *case.get("with", ())} - left_out))


def joints_of(case: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Level, kind and side of all joints that a case measures."""
    joints = []
    for upper, lower in anatomy.neighbouring_pairs(vertebrae_of(case)):
        level = anatomy.level_name(upper, lower)
        discs = [] if level == "C1-C2" else [(level, "disc", "")]
        joints += [*discs, (level, "facet", "left"), (level, "facet", "right")]
    return joints


def joint_table(case: Mapping[str, Any]) -> pd.DataFrame:
    """Joint table of a case: the joints it names, all others of its range negative."""
    rows = {" ".join(filter(None, joint)): joint for joint in joints_of(case)}
    uptake = dict.fromkeys(rows, "negative")
    for name in ("positive", "indeterminate", "not_measurable"):
        for joint in named(case.get(name, ()), rows):
            assert uptake[joint] == "negative", f"{joint} has two classes in {case['id']}"
            uptake[joint] = name
    values = [(*rows[joint], uptake[joint]) for joint in rows]
    return pd.DataFrame(values, columns=["level", "kind", "side", "uptake"])


def named(which: str | list[str], rows: Mapping[str, tuple[str, str, str]]) -> list[str]:
    """Joint ids from a list of them, ``all``, or a spine region."""
    if not isinstance(which, str):
        return list(which)
    regions = {joint: anatomy.spine_region(row[0].split("-")[0]) for joint, row in rows.items()}
    return [joint for joint, region in regions.items() if which in ("all", region)]


@cache
def protocol_of(name: str, area_counting: str) -> Protocol:
    return replace(load_protocol(name), area_counting=area_counting)


def run(case: Mapping[str, Any]) -> Verdict:
    protocol = protocol_of(case["protocol"], case.get("area_counting", "motion_segment"))
    return triage(joint_table(case), case.get("context"), protocol)


@pytest.mark.parametrize("case", params(CASES))
def test_disposition(case: dict[str, Any]) -> None:
    verdict = run(case)
    expected = case["expect"]
    found = (verdict.disposition, set(verdict.candidate_dispositions))
    assert found == (expected["disposition"], set(expected.get("candidates", ())))
    assert verdict.reasons
    assert verdict.research_use_only is True


@pytest.mark.parametrize("case", params(c for c in CASES if "eligibility" in c["expect"]))
def test_eligibility(case: dict[str, Any]) -> None:
    eligibility = run(case).eligibility
    expected = case["expect"]
    assert eligibility["status"] == expected["eligibility"]
    ids = {
        status: {row["id"] for row in eligibility["criteria"] if row["status"] == status}
        for status in ("failed", "not_given")
    }
    for status in ids.keys() & expected.keys():
        assert ids[status] == set(expected[status]), status


@pytest.mark.parametrize("case", params(c for c in CASES if "partly_met" in c))
def test_not_covered_names_the_rules_that_are_partly_met(case: dict[str, Any]) -> None:
    words = " ".join(run(case).reasons)
    names = {rule.disposition: rule.name for rule in load_protocol(case["protocol"]).rules}
    for disposition in case["partly_met"]:
        assert names[disposition] in words


@pytest.mark.parametrize("case", params(c for c in CASES if "mentions" in c["expect"]))
def test_what_was_not_measured_is_said(case: dict[str, Any]) -> None:
    verdict = run(case)
    words = " ".join((*verdict.reasons, *verdict.caveats))
    for mention in case["expect"]["mentions"]:
        assert mention in words


def test_table_is_complete_and_consistent() -> None:
    assert len(CASES) >= 60
    assert len({case["id"] for case in CASES}) == len(CASES)
    assert {case["protocol"] for case in CASES} == {"tender-2019", "spinus-1", "spinus-2"}
    used = {source for case in CASES for source in case["source"]}
    assert used == set(TABLE["sources"])
    for case in CASES:
        expected = case["expect"]
        assert case["source"], case["id"]
        assert case.get("judgement", False) == ("why" in case), case["id"]
        assert ("candidates" in expected) == (expected["disposition"] == "indeterminate")
        assert ("open" in case) == (expected["disposition"] == "not_covered"), case["id"]
