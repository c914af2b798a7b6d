"""The sentence above all results says what was found, and nothing where nothing may be said."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from CTSpectSpineLib import wording
from CTSpectSpineLib.joint_table import Row
from CTSpectSpineLib.panel.headline import has_verdict, headline, joint_words, title
from CTSpectSpineLib.protocol_files import protocol_files
from CTSpectSpineLib.results.decision import Decision
from CTSpectSpineLib.results.shown import Record

TITLES = wording._tables()["dispositions"]
REJECTED = Decision("rejected", "good", False, "2026-01-01T00:00:00+00:00").entry()


def row(joint: str, uptake: str, ratio: float = math.nan, half: float = 0.4) -> Row:
    level, kind, *side = joint.split()
    return Row(
        *(joint, level, kind, side[0] if side else "", uptake),
        *(ratio, ratio - half, ratio + half),
    )


DISC, FACET = row("L4-L5 disc", "positive", 3.8), row("L5-S1 facet right", "positive", 4.3)
NORMAL = row("L3-L4 disc", "negative", 1.1)
DOUBTED = row("L1-L2 disc", "not_measurable", 9.0)
BORDERLINE = row("L2-L3 facet left", "indeterminate", 1.8)


def record(rows: tuple[Row, ...], manifest: Any = (), **verdict: Any) -> Record:
    return Record({}, rows, {}, verdict, dict(manifest))


def test_joints_with_ratio_and_interval_and_the_words_of_the_protocol() -> None:
    one = record(
        (NORMAL, DISC), disposition="lumbar_disc", recommendation="potentially lumbar fusion"
    )
    assert headline(one) == (
        "L4-L5 disc 3.8 × reference (3.4–4.2): lumbar disc, potentially lumbar fusion."
    )
    several = record(
        (DISC, FACET, row("T1-T2 disc", "positive", 2.5), row("T2-T3 disc", "positive")),
        disposition="multiple_areas",
        recommendation="pain management",
    )
    assert headline(several) == (
        "L5-S1 right facet 4.3 × reference (3.9–4.7), L4-L5 disc 3.8 × (3.4–4.2), T1-T2 disc 2.5 × "
        "(2.1–2.9) and one more: multiple areas of increased uptake, pain management."
    )


def test_a_negative_scan_says_how_much_was_seen() -> None:
    text = headline(
        record((NORMAL, DOUBTED), disposition="negative", recommendation="pain management")
    )
    assert text == (
        "No increased uptake in 1 measured joint (1 not measurable): negative scan, pain "
        "management."
    )


def test_what_the_protocol_leaves_open() -> None:
    sentence = "The paper says nothing of disc and facet positive together."
    chain = [{"step": "open", "sentence": sentence}]
    text = headline(record((DISC, FACET), disposition="not_covered", chain=chain))
    assert text.endswith(f"L4-L5 disc 3.8 × (3.4–4.2): not covered by the protocol. {sentence}")
    assert headline(record((NORMAL,), disposition="not_covered")) == "Not covered by the protocol."


def test_an_indeterminate_verdict_names_what_it_hangs_on() -> None:
    candidates = ["negative", "lumbar_facet_stable"]
    borderline = [{"step": "borderline", "sentence": "…", "joints": [BORDERLINE.joint]}]
    words = {"disposition": "indeterminate", "candidate_dispositions": candidates}
    between = "open between “negative scan” and “lumbar facet joint, stable level”"
    start = "L2-L3 left facet 1.8 × reference (1.4–2.2) borderline"
    assert headline(record((NORMAL, BORDERLINE), chain=borderline, **words)) == (
        f"{start}: {between}."
    )
    both = headline(record((DISC, BORDERLINE), chain=borderline, **words))
    assert both.startswith("L4-L5 disc 3.8 × reference (3.4–4.2) increased and L2-L3 left facet")
    unknown = {"holds": None, "sentence": "instability at L5-S1 was not given"}
    chain = [{"step": "rule", "holds": None, "conditions": [unknown, {"holds": True}]}]
    assert headline(record((FACET,), chain=chain, **words)) == (
        f"L5-S1 right facet 4.3 × reference (3.9–4.7): {between}, because instability at L5-S1 was "
        "not given."
    )
    assert headline(record((NORMAL,), disposition="indeterminate")) == "The verdict is open."


def test_no_verdict_says_why() -> None:
    chain = [{"step": "obstacle", "sentence": "The registration failed: too far. Look at it."}]
    text = headline(record((DISC,), disposition="no_verdict", chain=chain))
    assert text == "No verdict. The registration failed: too far."
    rejected = record((DISC,), REJECTED, disposition="lumbar_disc")
    assert headline(rejected) == "No verdict. The registration was rejected."
    nothing = record((DISC,))
    assert headline(nothing) == "No verdict. The analysis does not support one."


def test_a_protocols_own_disposition_is_called_by_its_rule() -> None:
    chain = [{"step": "rule", "disposition": "my_own", "rule": "one hot disc", "holds": True}]
    assert title({"disposition": "my_own", "chain": chain}) == "One hot disc"
    assert title({"disposition": "my_own"}) == "My own"
    assert joint_words(FACET) == "L5-S1 right facet"


def test_every_disposition_of_the_shipped_protocols_has_words() -> None:
    for file in protocol_files({}).values():
        protocol = json.loads(Path(file).read_text(encoding="utf-8"))
        names = [entry["disposition"] for entry in protocol["rules"]]
        names += [entry["disposition"] for entry in protocol.get("modifiers", ())]
        assert set(names) <= set(TITLES), file.name


RECOMMENDATIONS = ("pain management", "potentially lumbar instrumented fusion", "fusion")
STEPS = st.sampled_from(
    [
        {"step": "rule", "rule": "a rule", "holds": True, "disposition": "lumbar_disc"},
        {"step": "rule", "holds": None, "conditions": [{"holds": None, "sentence": "fusion"}]},
        {"step": "open", "sentence": "Lumbar disc: fusion."},
        {"step": "borderline", "joints": ["L4-L5 disc"], "sentence": "fusion"},
        {"step": "disposition", "sentence": "Disposition lumbar_disc: fusion."},
        {"step": "obstacle", "sentence": "The vertebra levels are not confirmed: no ribs."},
    ]
)


@given(
    rows=st.lists(st.sampled_from([DISC, FACET, NORMAL, DOUBTED, BORDERLINE]), unique=True),
    verdict=st.fixed_dictionaries(
        {
            "disposition": st.sampled_from([*TITLES, "own_words", ""]),
            "recommendation": st.sampled_from(RECOMMENDATIONS),
            "candidate_dispositions": st.lists(st.sampled_from(list(TITLES)), max_size=3),
            "chain": st.lists(STEPS, max_size=4),
        }
    ),
    rejected=st.booleans(),
)
def test_nothing_like_a_verdict_without_one(
    rows: list[Row], verdict: dict[str, Any], rejected: bool
) -> None:
    found = record(tuple(rows), REJECTED if rejected else {}, **verdict)
    text = headline(found)
    assert text.endswith(".")
    assert "_" not in text, "no ids"
    assert "nan" not in text
    if has_verdict(found):
        assert "No verdict" not in text
        return
    assert text.startswith("No verdict. ")
    forbidden = {words["title"] for name, words in TITLES.items() if name != "no_verdict"}
    for words in (*forbidden, *RECOMMENDATIONS, "Own words", "×"):
        assert words.lower() not in text.lower()
