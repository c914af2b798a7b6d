"""Files that are written while the analysis goes on."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.results.background import background
from CTSpectSpineLib.results.folder import MANIFEST, results_folder
from CTSpectSpineLib.results.manifest import Manifest
from CTSpectSpineLib.results.text_files import read_json, write_text


@pytest.fixture(autouse=True)
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def test_one_thread_does_all_at_once() -> None:
    done: list[int] = []
    with background(1) as later:
        later(lambda: done.append(threading.get_ident()))
        assert done == [threading.get_ident()]


def test_two_threads_wait_for_nothing_but_the_end() -> None:
    go, done = threading.Event(), []
    with background(None) as later:
        later(lambda: done.append(go.wait(60)))
        assert done == []
        go.set()
        later.finish()
        assert done == [True]


def test_what_goes_wrong_is_told_at_the_end() -> None:
    def fail() -> None:
        raise InputError("the disk is full")

    with background(2) as later:
        later(fail)
        with pytest.raises(InputError, match="the disk is full"):
            later.finish()


def test_after_a_failure_nothing_new_is_begun() -> None:
    begun, go, done = threading.Event(), threading.Event(), []

    def first() -> None:
        begun.set()
        go.wait(60)
        done.append("first")

    with pytest.raises(InputError, match="bad"), background(2) as later:  # noqa: PT012
        later(first)
        later(lambda: done.append("second"))
        begun.wait(60)
        threading.Timer(0.05, go.set).start()
        raise InputError("bad")
    assert done == ["first"]


def test_two_threads_write_into_one_folder_and_every_file_is_recorded(tmp_path: Path) -> None:
    with results_folder(tmp_path / "r") as folder, background(2) as later:
        manifest = Manifest(folder)
        for number in range(30):
            later(lambda n=number: write_text(folder / f"there{n}.txt", str(n)))
            write_text(folder / f"here{number}.txt", str(number))
            manifest.update(step=number)
        later.finish()
        manifest.update(status="complete")
    found = read_json(tmp_path / "r" / MANIFEST)
    assert found["step"] == 29
    assert set(found["files"]) == {f"{w}{n}.txt" for w in ("here", "there") for n in range(30)}
    assert "pending" not in found
