"""Every stage that the library announces has a name that people read."""

from __future__ import annotations

import json
import re
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[3] / "CTSpectSpineLib"
ANNOUNCED = re.compile(r'(?:Progress\(\s*|timed\(\s*|_STAGE = )"([a-z]+)"')


def test_every_stage_of_an_analysis_has_a_name() -> None:
    rooms = ("analysis", "registration", "joints", "uptake", "labelling", "report", "results")
    found = {
        name
        for room in rooms
        for path in (LIBRARY / room).rglob("*.py")
        for name in ANNOUNCED.findall(path.read_text(encoding="utf-8"))
    }
    named = json.loads((LIBRARY / "data" / "wording.json").read_text(encoding="utf-8"))["stages"]
    assert {"bend", "register", "uptake"} <= found
    assert sorted(found - set(named)) == []
