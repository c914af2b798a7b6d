"""Whatever stands in the files of a results folder: a sentence that names a file, never a crash."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_folder import dump, make_folder

from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.results.manifest import SCHEMA

WRONG: tuple[Any, ...] = (None, [], {}, "x", -1, 1e308, True, [[]], {"a": {}}, [{"b": [1]}], "1,5")
"""What may stand where something else belongs."""
FILES = ("manifest.json", "verdict.json", "registration.json", "pictures/index.json")


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to all values inside a value, to the depth of four."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, dict | list) and len(path) < 3:
            yield from places(inner, (*path, key))


def with_wrong(value: Any, path: tuple[Any, ...], wrong: Any) -> Any:
    copy = json.loads(json.dumps(value))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = wrong
    return copy


def mutations(folder: Path, count: int, seed: int) -> Iterator[tuple[str, tuple[Any, ...], Any]]:
    """Some of all ways to put something wrong into the folder's files."""
    every = [
        (name, path, wrong)
        for name in FILES
        for path in places(json.loads((folder / name).read_text(encoding="utf-8")))
        for wrong in WRONG
    ]
    return iter(random.Random(seed).sample(every, min(count, len(every))))


def check(folder: Path, count: int, seed: int, capsys: pytest.CaptureFixture[str]) -> int:
    """Number of reports that are refused; none may end in anything but 0 or a sentence."""
    refused = 0
    for name, path, wrong in mutations(folder, count, seed):
        whole = (folder / name).read_bytes()
        dump(folder, name, with_wrong(json.loads(whole), path, wrong))
        code = main(["report", str(folder)])
        error = capsys.readouterr().err
        (folder / name).write_bytes(whole)
        assert code in (0, 2), (name, path, wrong, error)
        if code == 2:
            refused += 1
            assert len(error.splitlines()) == 1, (name, path, wrong, error)
            assert folder.name in error, (name, path, wrong, error)
        (folder / "report.html").unlink(missing_ok=True)
    return refused


def test_report_of_damaged_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(make_folder(tmp_path / "results"), 25, 1, capsys) > 1


@pytest.mark.slow
def test_report_of_results_damaged_in_every_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(make_folder(tmp_path / "results"), 10_000, 1, capsys) > 50


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "1" * 5000, "\x00", "", "[1,"])
def test_json_that_is_none(
    name: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_folder(tmp_path / "results")
    (folder / name).write_text(text, encoding="utf-8")
    assert main(["report", str(folder)]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert Path(name).name in error


@pytest.mark.parametrize("entry", ["inputs", "protocol", "context", "labels", "parameters"])
@pytest.mark.parametrize("wrong", [None, [], "x", 3, {"ct": 5, "id": []}])
def test_shift_of_a_damaged_manifest(
    entry: str, wrong: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    dump(folder, "manifest.json", {"schema": SCHEMA, "status": "complete", entry: wrong})
    assert main(["shift", str(folder), "--by", "1", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "results" in error
    assert not (tmp_path / "out").exists()
