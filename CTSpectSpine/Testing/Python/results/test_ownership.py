"""What may be overwritten or removed: what an earlier run wrote, and nothing else."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import CTSpectSpineLib
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import put_in_place, remove_temporaries, replacing, temporary_name
from CTSpectSpineLib.results.folder import (
    MANIFEST,
    check_folder,
    kept_results,
    output_file,
    results_folder,
    save_folder,
    step_folder,
)
from CTSpectSpineLib.results.manifest import SCHEMA
from CTSpectSpineLib.results.ownership import FILES_RECORD
from CTSpectSpineLib.results.text_files import write_json, write_text

LIBRARY = Path(CTSpectSpineLib.__file__).parents[1]


def manifest(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))


def analysis(folder: Path, **files: str) -> None:
    """What an analysis does to its folder; an underscore in a name stands for a dot."""
    with results_folder(folder):
        write_json(folder / MANIFEST, {"schema": SCHEMA, "status": "running"})
        for name, text in files.items():
            write_text(folder / name.replace("_", "."), text)
        write_json(folder / MANIFEST, {"schema": SCHEMA, "status": "complete"})


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_a_second_analysis_removes_what_the_first_wrote_and_nothing_else(tmp_path: Path) -> None:
    analysis(tmp_path / "r", joints_csv="1", verdict_json="2")
    (tmp_path / "r" / "notes.txt").write_text("mine", encoding="utf-8")
    analysis(tmp_path / "r", verdict_json="3")
    assert names(tmp_path / "r") == [MANIFEST, "notes.txt", "verdict.json"]
    assert list(manifest(tmp_path / "r")["files"]) == ["verdict.json"]  # type: ignore[call-overload]


def test_the_manifest_names_every_file_with_its_hash(tmp_path: Path) -> None:
    analysis(tmp_path / "r", joints_csv="")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert manifest(tmp_path / "r")["files"] == {"joints.csv": empty}
    assert "pending" not in manifest(tmp_path / "r")


@pytest.mark.parametrize("name", ["joints.csv", "report.html", "pictures/mine.png"])
def test_a_file_of_the_user_in_the_way_is_kept(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "r"
    analysis(folder, verdict_json="{}")
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine", encoding="utf-8")
    before = names(folder)
    with (
        pytest.raises(InputError, match="was not written by an earlier run") as info,
        results_folder(folder),
    ):
        pytest.fail("the folder was given")
    assert path.name in str(info.value)
    assert names(folder) == before
    assert manifest(folder)["status"] == "complete"


def test_a_result_that_the_user_changed_is_kept(tmp_path: Path) -> None:
    analysis(tmp_path, joints_csv="ours")
    (tmp_path / "joints.csv").write_text("corrected by hand", encoding="utf-8")
    with pytest.raises(InputError, match=r"joints\.csv was changed since"):
        analysis(tmp_path, joints_csv="new")
    assert (tmp_path / "joints.csv").read_text(encoding="utf-8") == "corrected by hand"


@pytest.mark.parametrize("text", ["{}", "no json", '{"schema": "of somebody else"}'])
def test_a_manifest_of_somebody_else_makes_no_results_folder(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="was not written by an analysis"):
        check_folder(tmp_path)
    assert (tmp_path / MANIFEST).read_text(encoding="utf-8") == text


def test_a_file_that_appears_while_the_run_is_on_is_kept(tmp_path: Path) -> None:
    def run() -> None:
        with results_folder(tmp_path / "r") as folder:
            write_json(folder / MANIFEST, {"schema": SCHEMA, "status": "running"})
            (folder / "joints.csv").write_text("mine", encoding="utf-8")
            write_text(folder / "joints.csv", "ours")

    with pytest.raises(InputError, match="was not written by"):
        run()
    assert (tmp_path / "r" / "joints.csv").read_text(encoding="utf-8") == "mine"
    assert manifest(tmp_path / "r")["status"] == "running"


def test_complete_is_never_said_of_a_folder_that_lost_a_file(tmp_path: Path) -> None:
    def run() -> None:
        with results_folder(tmp_path) as folder:
            write_json(folder / MANIFEST, {"schema": SCHEMA, "status": "running"})
            write_text(folder / "joints.csv", "ours")
            (folder / "joints.csv").unlink()
            write_json(folder / MANIFEST, {"schema": SCHEMA, "status": "complete"})

    with pytest.raises(InputError, match=r"joints\.csv was removed"):
        run()
    assert manifest(tmp_path)["status"] == "running"


def test_a_manifest_cannot_name_files_outside_its_folder(tmp_path: Path) -> None:
    """A damaged or foreign manifest is no licence to delete."""
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("", encoding="utf-8")
    folder = tmp_path / "r"
    analysis(folder, joints_csv="")
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "a.png").write_text("", encoding="utf-8")
    (folder / "pictures").symlink_to(outside)
    values = manifest(folder)
    sha = values["files"]["joints.csv"]  # type: ignore[index]
    values["files"] = {"joints.csv": sha, "../thesis.txt": sha, "pictures/a.png": sha}
    values["files"][str(thesis)] = sha
    (folder / MANIFEST).write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(InputError):
        analysis(folder, joints_csv="")
    assert thesis.exists()
    assert (outside / "a.png").exists()


@pytest.mark.parametrize("begun", [False, True])
def test_a_run_that_died_at_any_write_can_be_run_again(tmp_path: Path, begun: bool) -> None:
    """The process is killed between the entry of a name and the renaming, and just after it."""
    folder = tmp_path / "r"
    analysis(folder, joints_csv="first", verdict_json="first")
    where = "after" if begun else "before"
    program = f"""
import os, sys
sys.path.insert(0, {str(LIBRARY)!r})
from CTSpectSpineLib import files
from CTSpectSpineLib.results.folder import *
from CTSpectSpineLib.results.text_files import *
from pathlib import Path
folder, wanted = Path(sys.argv[1]), int(sys.argv[2])
count = 0
import pathlib
class Dying(type(Path())):
    def replace(self, target):
        global count
        count += 1
        if {where!r} == "before" and count == wanted: os.kill(os.getpid(), 9)
        result = Path(str(self)).rename(target)
        if {where!r} == "after" and count == wanted: os.kill(os.getpid(), 9)
        return result
plain = files.temporary_name
files.temporary_name = lambda path: Dying(str(plain(path)))
with results_folder(folder):
    write_json(folder / MANIFEST, {{"schema": {SCHEMA!r}, "status": "running"}})
    for name in ("joints.csv", "verdict.json", "joints.csv"):
        write_text(folder / name, name)
    write_json(folder / MANIFEST, {{"schema": {SCHEMA!r}, "status": "complete"}})
print(count)
"""
    for number in range(1, 30):
        arguments = [sys.executable, "-c", program, str(folder), str(number)]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        known = manifest(folder)
        if known["status"] == "complete":
            present = {n: (folder / n).is_file() for n in known["files"]}  # type: ignore[attr-defined]
            assert all(present.values()), (number, present)
    else:
        pytest.fail("the run never came to its end")
    assert number > 8, "it was killed at too few writes"
    analysis(folder, joints_csv="last")
    assert names(folder) == ["joints.csv", MANIFEST]


def test_steps_keep_a_record_of_their_own(tmp_path: Path) -> None:
    for command, name in (("label", "vertebrae.json"), ("joints", "joints.csv")):
        with step_folder(tmp_path, command, [name]) as folder:
            write_text(folder / name, command)
    record = json.loads((tmp_path / FILES_RECORD).read_text(encoding="utf-8"))
    assert {name: run["status"] for name, run in record["runs"].items()} == {
        "label": "complete",
        "joints": "complete",
    }
    with step_folder(tmp_path, "label", ["vertebrae.json"]) as folder:
        write_text(folder / "vertebrae.json", "again")
    assert (tmp_path / "joints.csv").read_text(encoding="utf-8") == "joints"
    (tmp_path / "vertebrae.json").write_text("by hand", encoding="utf-8")
    with (
        pytest.raises(InputError, match="was changed since"),
        step_folder(tmp_path, "label", ["vertebrae.json"]),
    ):
        pytest.fail("the folder was given")


def test_a_step_takes_nothing_away_from_another(tmp_path: Path) -> None:
    with step_folder(tmp_path, "phantom", ["vertebrae.nii.gz"]) as folder:
        write_text(folder / "vertebrae.nii.gz", "phantom")
    with (
        pytest.raises(InputError, match="was written by another command"),
        step_folder(tmp_path, "label", ["vertebrae.nii.gz"]),
    ):
        pytest.fail("the folder was given")
    assert (tmp_path / "vertebrae.nii.gz").read_text(encoding="utf-8") == "phantom"


def test_a_step_that_fails_says_so_and_can_be_run_again(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"

    def half() -> None:
        with step_folder(folder, "label", ["a.json"]):
            write_text(folder / "a.json", "half")
            raise InputError("failed on purpose")

    with pytest.raises(InputError, match="on purpose"), step_folder(folder, "label", ["a.json"]):
        raise InputError("failed on purpose")
    assert not folder.parent.exists(), "nothing was written, and yet a folder stays"
    with pytest.raises(InputError, match="on purpose"):
        half()
    run = json.loads((folder / FILES_RECORD).read_text(encoding="utf-8"))["runs"]["label"]
    assert (run["status"], run["status_reason"]) == ("failed", "failed on purpose")
    with step_folder(folder, "label", ["a.json"]):
        write_text(folder / "a.json", "whole")


def test_why_a_step_failed_names_files_without_their_folders(tmp_path: Path) -> None:
    given, out = tmp_path / "Mueller" / "ct" / "a.nii.gz", tmp_path / "Mueller" / "out"

    def fails() -> None:
        with step_folder(out, "label", ["a.json"], [given]):
            write_text(out / "a.json", "half")
            raise InputError(f"{given}: damaged, as {given.parent}/b.raw is; see {out}/a.json.")

    with pytest.raises(InputError, match="Mueller"):
        fails()
    text = (out / FILES_RECORD).read_text(encoding="utf-8")
    said = json.loads(text)["runs"]["label"]["status_reason"]
    assert said == "a.nii.gz: damaged, as b.raw is; see out/a.json."


def test_a_step_keeps_away_from_other_folders(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    analysis(tmp_path / "r")
    for folder, words in ((tmp_path, "is not empty"), (tmp_path / "r", "holds an analysis")):
        with pytest.raises(InputError, match=words), step_folder(folder, "label", []):
            pytest.fail("the folder was given")
    (tmp_path / FILES_RECORD).write_text("{", encoding="utf-8")
    with (
        pytest.raises(InputError, match="cannot be read"),
        step_folder(tmp_path, "validate", [], among=True),
    ):
        pytest.fail("the folder was given")


def test_a_single_file_is_replaced_only_if_it_is_ours(tmp_path: Path) -> None:
    target = tmp_path / "verdict.json"
    for text in ("first", "second"):
        with output_file(target, "triage"):
            write_text(target, text)
    target.write_text("by hand", encoding="utf-8")
    with pytest.raises(InputError, match="was changed since"), output_file(target, "triage"):
        pytest.fail("the file was given")
    other = tmp_path / "other.json"
    other.write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="was not written by"), output_file(other, "triage"):
        pytest.fail("the file was given")
    with pytest.raises(InputError, match="is an input"), output_file(other, "triage", [other]):
        pytest.fail("the file was given")


def test_single_files_of_several_commands_share_a_record(tmp_path: Path) -> None:
    for name in ("a.json", "b.json", "a.json"):
        with output_file(tmp_path / name, "triage"):
            write_text(tmp_path / name, name)
    assert names(tmp_path) == [FILES_RECORD, "a.json", "b.json"]


@pytest.mark.parametrize("inside", [".", "ct/1.dcm", "vertebrae.nii.gz"])
def test_no_input_may_lie_in_the_output_folder(tmp_path: Path, inside: str) -> None:
    link = tmp_path / "link"
    (tmp_path / "r").mkdir()
    link.symlink_to(tmp_path / "r")
    with (
        pytest.raises(InputError, match="lies in the output folder"),
        results_folder(tmp_path / "r", [link / inside]),
    ):
        pytest.fail("the folder was given")


def test_report_and_decisions_keep_the_record_right(tmp_path: Path) -> None:
    analysis(tmp_path, report_html="old", joints_csv="")
    with kept_results(tmp_path):
        write_text(tmp_path / "report.html", "new")
        stale = {**manifest(tmp_path), "files": {}, "registration_check": "accepted"}
        write_json(tmp_path / MANIFEST, stale)
    assert manifest(tmp_path)["registration_check"] == "accepted"
    assert sorted(manifest(tmp_path)["files"]) == ["joints.csv", "report.html"]  # type: ignore[call-overload]
    analysis(tmp_path)
    assert names(tmp_path) == [MANIFEST]
    analysis(tmp_path, report_html="old")
    (tmp_path / "report.html").write_text("annotated", encoding="utf-8")
    with pytest.raises(InputError, match="was changed since"), kept_results(tmp_path):
        write_text(tmp_path / "report.html", "new")


def test_saved_results_are_owned_like_the_original(tmp_path: Path) -> None:
    analysis(tmp_path / "r", joints_csv="1")
    save_folder(tmp_path / "r", tmp_path / "kept")
    assert manifest(tmp_path / "kept") == manifest(tmp_path / "r")
    (tmp_path / "r" / "joints.csv").unlink()
    analysis(tmp_path / "r", verdict_json="2")
    save_folder(tmp_path / "r", tmp_path / "kept")
    assert names(tmp_path / "kept") == [MANIFEST, "verdict.json"]


def test_temporary_files_are_known_by_their_name(tmp_path: Path) -> None:
    for name in ("ct.nii.gz", "b.json"):
        temporary_name(tmp_path / name).write_text("", encoding="utf-8")
    (tmp_path / ".ctspectspine-of-mine").write_text("", encoding="utf-8")
    remove_temporaries(tmp_path, "b.json")
    assert len(names(tmp_path)) == 2
    remove_temporaries(tmp_path)
    assert names(tmp_path) == [".ctspectspine-of-mine"]


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old", encoding="utf-8")

    def fail() -> None:
        with replacing(tmp_path / "a.txt") as temporary:
            temporary.write_text("half", encoding="utf-8")
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        fail()
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "old"


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    def fail() -> None:
        with replacing(tmp_path / "a.png"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match=r"a\.png"):
        fail()


def test_without_an_owner_a_file_is_simply_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old", encoding="utf-8")
    (tmp_path / "b.txt").write_text("new", encoding="utf-8")
    put_in_place(tmp_path / "b.txt", tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "new"


def test_results_without_a_record_of_their_files_are_not_changed(tmp_path: Path) -> None:
    manifest = {"schema": SCHEMA, "status": "complete"}
    (tmp_path / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    (tmp_path / "verdict.json").write_text("{}", encoding="utf-8")
    said = r"verdict\.json cannot be changed.*an earlier version wrote it.*analyse again"
    with pytest.raises(InputError, match=said), kept_results(tmp_path):
        write_json(tmp_path / "verdict.json", {"disposition": "no_verdict"})
    assert (tmp_path / "verdict.json").read_text(encoding="utf-8") == "{}"
