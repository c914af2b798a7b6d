"""One run at a time in a folder; what dead processes left is taken over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import CTSpectSpineLib
from CTSpectSpineLib.locks import (
    LOCK,
    SCRATCH,
    FolderHeldError,
    check_not_held,
    locked,
    scratch_folder,
)
from CTSpectSpineLib.panel.workplace import Workplace
from CTSpectSpineLib.results.folder import results_folder

LIBRARY = Path(CTSpectSpineLib.__file__).parents[1]


@contextmanager
def other_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a folder."""
    program = (
        f"import sys, time; sys.path.insert(0, {str(LIBRARY)!r})\n"
        "from pathlib import Path\nfrom CTSpectSpineLib.locks import locked\n"
        "with locked(Path(sys.argv[1]), 'an analysis'):\n"
        "    print('held', flush=True)\n    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", program, str(folder)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_a_folder_in_use_says_who_holds_it(tmp_path: Path) -> None:
    with other_process(tmp_path) as child:
        with pytest.raises(FolderHeldError, match=rf"an analysis \(process {child.pid} on "):
            check_not_held(tmp_path)
        with pytest.raises(FolderHeldError), results_folder(tmp_path):
            pytest.fail("the folder was given")
        child.kill()
        child.wait()
        assert (tmp_path / LOCK).is_file()
        with results_folder(tmp_path):
            assert (tmp_path / LOCK).is_file()
    assert not any(tmp_path.iterdir())


def test_a_single_file_waits_for_the_folder(tmp_path: Path) -> None:
    with other_process(tmp_path) as child:
        begin = time.monotonic()
        with pytest.raises(FolderHeldError), locked(tmp_path, "x", 0.2):
            pytest.fail("the folder was given")
        assert time.monotonic() - begin > 0.15
        child.kill()
        child.wait()
        with locked(tmp_path, "x", 0.2):
            assert json.loads((tmp_path / LOCK).read_text())["process"] == os.getpid()
    assert not (tmp_path / LOCK).exists()


def test_one_process_cannot_claim_a_folder_twice(tmp_path: Path) -> None:
    with results_folder(tmp_path), pytest.raises(FolderHeldError), results_folder(tmp_path):
        pytest.fail("the folder was given")


def test_scratch_folders_of_dead_processes_are_removed(tmp_path: Path) -> None:
    dead, alive, foreign = (tmp_path / f"{SCRATCH}{name}" for name in ("dead", "alive", "foreign"))
    for folder in (dead, alive, foreign):
        folder.mkdir()
        (folder / "ct.nii.gz").write_text("", encoding="utf-8")
    (dead / LOCK).write_text("", encoding="utf-8")
    with other_process(alive), scratch_folder(tmp_path) as mine:
        assert mine.is_dir()
        assert sorted(tmp_path.iterdir()) == sorted([alive, foreign, mine])
    assert sorted(tmp_path.iterdir()) == sorted([alive, foreign])


def test_a_host_that_was_killed_leaves_no_images_behind(tmp_path: Path) -> None:
    """The panel's temporary folder holds the patient's images."""
    program = (
        f"import os, sys; sys.path.insert(0, {str(LIBRARY)!r})\n"
        "from pathlib import Path\nfrom CTSpectSpineLib.panel.workplace import Workplace\n"
        "place = Workplace(Path(sys.argv[1]))\n"
        "(place.folder / 'ct.nrrd').write_text('a patient')\nos.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert [path.name for path in tmp_path.rglob("ct.nrrd")] == ["ct.nrrd"]
    place = Workplace(tmp_path)
    (place.folder / "results").mkdir()
    assert list(tmp_path.rglob("ct.nrrd")) == []
    place.discard_inputs()
    assert (place.folder / "results").is_dir(), "results stay until they are saved"
    place.discard()
    assert not any(tmp_path.iterdir())
    assert place.folder.is_dir()
    place.discard_inputs()
    assert not any(tmp_path.iterdir())
