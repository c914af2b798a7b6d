"""A batch on a Dask cluster: the same results, also when a worker is killed."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from test_cohort_command import table, write_cohort

from CTSpectSpineLib.command_line import cluster
from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.locks import FolderHeldError, check_not_held

distributed = pytest.importorskip("distributed")


def words_of(cohort: Path, out: Path, address: str) -> list[str]:
    given = ["batch", str(cohort), "--out", str(out), "--progress", "none"]
    return [*given, "--scheduler", address]


def test_a_missing_package_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    cohort = tmp_path / "c.csv"
    cohort.write_text("id,ct,spect\na,c,s\n", encoding="utf-8")
    assert main(words_of(cohort, tmp_path / "out", "tcp://127.0.0.1:1")) == 2
    assert capsys.readouterr().err == (
        "ctspectspine: --scheduler needs the package distributed; install it with: "
        'pip install "ctspectspine[cluster]".\n'
    )


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "bad://x", "nowhere"])
def test_a_scheduler_that_does_not_answer_is_one_sentence(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 0.2)
    # Thrown away, one waits for 40 seconds and then writes a traceback.
    monkeypatch.setattr("distributed.Client", lambda *_, **__: pytest.fail("a client was made"))
    with pytest.raises(InputError, match=f"No Dask scheduler answers at {address}; start one"):
        cluster.Cluster(address)


def test_paths_are_whole_since_workers_live_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ct.nii").write_text("", encoding="utf-8")
    assert cluster._absolute("--ct=ct.nii") == f"--ct={tmp_path / 'ct.nii'}"
    assert cluster._absolute("--out=new") == f"--out={tmp_path / 'new'}"
    for word in ("analyze", "--protocol=tender-2019", "--fwhm=9.0", "--save-volumes", "--unit="):
        assert cluster._absolute(word) == word


def is_held(folder: Path) -> bool:
    try:
        check_not_held(folder)
    except FolderHeldError:
        return True
    return False


def kill_a_busy_worker(address: str, killed: list[int]) -> None:
    """Kill the process of the first worker that has been analysing for a second."""
    with distributed.Client(address, set_as_default=False) as client:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            busy = [worker for worker, tasks in client.processing().items() if tasks]
            if busy:
                time.sleep(1.0)
                pid: Any = client.run(os.getpid, workers=busy[:1])[busy[0]]
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
                return
            time.sleep(0.1)


@pytest.mark.slow  # five analyses
@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_cluster_gives_the_same_and_outlives_a_worker(
    lumbar_phantom: Path, tmp_path: Path
) -> None:
    cohort = write_cohort(tmp_path / "c.csv", lumbar_phantom, 2, "two")
    here, there = tmp_path / "here", tmp_path / "there"
    assert main(["batch", str(cohort), "--out", str(here), "--progress", "none"]) == 0
    killed: list[int] = []
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
    ) as local:
        address = local.scheduler_address
        killer = threading.Thread(target=kill_a_busy_worker, args=(address, killed))
        killer.start()
        assert main(words_of(cohort, there, address)) == 0
        killer.join()
    assert killed, "no worker was killed: the test shows less than it says"
    for name in ("cohort.csv", "joints_all.csv", "failures.csv", "review.csv"):
        assert table(there / name) == table(here / name), name
    for name in ("joints.csv", "verdict.json", "joints.seg.nrrd"):
        assert (there / "p01" / name).read_bytes() == (here / "p01" / name).read_bytes()
    words = ["batch", str(cohort), "--out", str(there), "--resume", "--progress", "none"]
    before = (there / "p00" / "manifest.json").stat().st_mtime_ns
    assert main(words) == 0, "what a cluster finished is finished here as well"
    assert (there / "p00" / "manifest.json").stat().st_mtime_ns == before


@pytest.mark.slow  # starts a cluster
def test_what_nobody_wants_any_more_ends(lumbar_phantom: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["analyze", f"--out={out}", "--threads=1"]
    words += [f"--{n}={lumbar_phantom / n}.nii.gz" for n in ("ct", "spect")]
    words += [f"--vertebrae={lumbar_phantom / 'two'}.nii.gz"]
    context = tmp_path / "p.json"
    context.write_text("{}", encoding="utf-8")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
        ) as local,
        cluster.Cluster(local.scheduler_address) as connected,
    ):
        child = connected.start([*words, f"--context={context}"], tmp_path / "p.log")
        deadline = time.monotonic() + 120
        while not (out / "manifest.json").is_file() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert (out / "manifest.json").is_file()
        child.kill()
        deadline = time.monotonic() + 20
        while is_held(out) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not is_held(out)
    assert not (out / "report.html").exists()
