"""Protocol files: shipped ones, and those that are refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from protocol_tables import measured, own_protocol

from CTSpectSpineLib import triage
from CTSpectSpineLib.errors import InputError, MissingPackageError
from CTSpectSpineLib.protocol_files import SHIPPED_FOLDER
from CTSpectSpineLib.triage_protocol import load_protocol, protocol_ids
from CTSpectSpineLib.triage_protocol.schema import TEMPLATE_FILE, read_checked


@pytest.mark.parametrize(
    "path", [*sorted(SHIPPED_FOLDER.glob("*.json")), TEMPLATE_FILE], ids=lambda path: path.stem
)
def test_shipped_protocols_and_the_template_fit_the_schema(path: Path) -> None:
    assert read_checked(path)["id"]


def test_every_number_of_a_shipped_protocol_has_its_provenance() -> None:
    for name in protocol_ids():
        protocol = load_protocol(name)
        bases = [
            *protocol.bounds_basis.values(),
            *(protocol.area_basis, protocol.scope_basis, protocol.instability_basis),
        ]
        for basis in bases:
            assert basis.kind in ("published", "computed", "judgement")
            assert len(basis.source) > 20
        assert protocol.bounds["disc"] != protocol.bounds["facet"]
        assert all(rule.source for rule in protocol.rules)


def _set(*path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(values: dict[str, Any]) -> None:
        for key in path[:-1]:
            values = values[key]
        values[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "key", "allowed"),
    [
        (_set("colour", to="red"), '"colour"', "allowed are area_counting"),
        (_set("bounds", "disc", "metric", to="suv"), '"metric": "suv"', "ratio_corrected"),
        (_set("bounds", "facet", "positive", to=-1), '"positive": -1', "above 0"),
        (_set("bounds", "disc", "indeterminate", to=9.5), '"indeterminate": 9.5', "at most"),
        (_set("area_counting", "per", to="level"), '"per": "level"', "motion_segment, joint"),
        (_set("rules", 2, "when", "kinds", to=["bone"]), '"bone"', "disc, facet"),
        (_set("rules", 2, "when", "levels", to=[3, 1]), '"levels": [', "lower end"),
        (_set("rules", 1, "surgical", to="yes"), '"surgical": "yes"', "true or false"),
        (_set("modifiers", 0, "applies_to", to=["hip"]), '"hip"', "cervical_disc"),
        (_set("eligibility", 0, "key", to="age"), '"key": "age"', "age_years"),
        (_set("instability", "unstable_from_mm", to=0), '"unstable_from_mm": 0', "above 0"),
    ],
)
def test_a_broken_file_gets_an_error_with_line_key_and_what_is_allowed(
    change: Callable[[dict[str, Any]], None], key: str, allowed: str, tmp_path: Path
) -> None:
    path = own_protocol(tmp_path, change)
    lines = path.read_text(encoding="utf-8").splitlines()
    number = next(n for n, line in enumerate(lines, start=1) if key in line)
    with pytest.raises(InputError) as caught:
        load_protocol(path)
    words = str(caught.value)
    assert f"{path}, line {number}:" in words
    assert allowed in words
    assert "\n" not in words


def test_a_key_that_is_missing_or_stands_twice_and_text_that_is_no_json(tmp_path: Path) -> None:
    path = own_protocol(tmp_path, lambda values: values.pop("rules"))
    with pytest.raises(InputError, match="lacks the key 'rules'"):
        load_protocol(path)
    path.write_text('{\n  "id": "a",\n  "id": "b"\n}', encoding="utf-8")
    with pytest.raises(InputError, match=r"line [23]: id appears twice"):
        load_protocol(path)
    path.write_text('{\n  "id": "a",,\n}', encoding="utf-8")
    with pytest.raises(InputError, match="line 2: not valid JSON"):
        load_protocol(path)


def places(values: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all keys and items of a JSON value."""
    items = values.items() if isinstance(values, dict) else enumerate(values)
    found = []
    for key, value in items:
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += places(value, (*path, key))
    return found


TENDER = json.loads((SHIPPED_FOLDER / "tender-2019.json").read_text(encoding="utf-8"))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(places(TENDER)),
    st.sampled_from([None, True, -1, 0, 1e9, "", "x", [], [1], [None, 3], {}, {"a": 1}, [{}]]),
)
def test_any_value_in_any_place_is_read_or_refused_in_one_sentence(
    tmp_path: Path, place: tuple[Any, ...], value: Any
) -> None:
    path = own_protocol(tmp_path, _set(*place, to=value))
    refused = ""
    try:
        assert triage(measured(L4L5=4.0), None, load_protocol(path)).reasons
    except InputError as error:
        refused = str(error)
    assert not refused or f"{path}, line " in refused
    assert "\n" not in refused


def test_without_jsonschema_only_shipped_protocols_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    assert load_protocol("spinus-1").id == "spinus-1"
    with pytest.raises(MissingPackageError, match="pip install jsonschema"):
        load_protocol(own_protocol(tmp_path, lambda values: None))


def test_a_changed_file_may_not_bear_the_id_of_a_shipped_protocol(tmp_path: Path) -> None:
    path = own_protocol(tmp_path, _set("id", to="tender-2019"))
    assert load_protocol(path) == load_protocol("tender-2019")
    path = own_protocol(
        tmp_path, lambda values: values.update(id="tender-2019", population="others")
    )
    with pytest.raises(InputError, match="an id of its own"):
        load_protocol(path)
