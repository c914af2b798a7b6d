"""The commands ``outcomes`` and ``flow`` as a user runs them."""

from __future__ import annotations

import builtins
import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from outcome_case import write_table

from CTSpectSpineLib.cohort.rows import CohortRow, csv_text
from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.command_line.outcomes import FLOW_FILES, OUTCOME_FILES


@pytest.fixture(autouse=True)
def few_repetitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("CTSpectSpineLib.statistics.imputation._CYCLES", 2)


def run(*words: object) -> int:
    return main([*map(str, words), "--progress", "none"])


def write_cohort(folder: Path, count: int) -> Path:
    folder.mkdir()
    rows = [
        CohortRow(f"p{n:02d}", "complete", "lumbar_disc", 0.9, positive_joints="L4-L5 disc")
        for n in range(count)
    ]
    (folder / "cohort.csv").write_text(csv_text(rows), encoding="utf-8")
    return folder


@pytest.mark.slow  # statsmodels and the figures
def test_a_table_with_its_cohort(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_table(tmp_path / "t.csv", 28)
    cohort = write_cohort(tmp_path / "cohort", 30)
    out = tmp_path / "out"
    assert run("outcomes", table, "--cohort", cohort, "--out", out) == 0
    assert "VAS axial:" in capsys.readouterr().out
    left = {p.name for p in out.iterdir()} - {".ctspectspine-files.json"}
    assert left == {name for name in OUTCOME_FILES if not name.startswith("summary")}
    record = json.loads((out / "outcomes.json").read_text(encoding="utf-8"))
    assert record["flow"][0] == {
        "box": "scanned", "above": "", "title": "SPECT/CT", "patients": 30,
    }  # fmt: skip
    with (out / "outcomes_changes.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    first = next(r for r in record["changes"] if r["group"] == "all" and r["visit"] == "12m")
    same = next(r for r in rows if (r["group"], r["visit"]) == ("all", "12m"))
    assert float(same["change"]) == first["change"]
    assert float(same["change_low"]) == first["change_low"]
    page = (out / "outcomes.html").read_text(encoding="utf-8")
    assert str(tmp_path) not in page + json.dumps(record), "a folder is named"
    # Lumbar patients were operated at two levels, where the verdict names one.
    assert "verdict not followed" not in page
    svgs = re.findall(r"<svg [^>]*>", page)
    assert len(svgs) == 3
    for svg in svgs:
        labelled = re.search(r'aria-labelledby="(\S+) (\S+)"', svg)
        assert 'role="img"' in svg
        assert labelled is not None
        for name in labelled.groups():
            assert page.count(f'id="{name}"') == 1
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)), "ids of two figures are the same"
    assert run("outcomes", table, "--out", out) == 0
    assert not (out / "flow.svg").exists(), "an earlier flow would look as if of this run"


def test_the_published_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run("outcomes", "--summary", "tender-2019", "--out", out, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["said"][0].startswith("The printed p of 0.026 does not follow")
    assert record == json.loads((out / "summary.json").read_text(encoding="utf-8"))
    page = (out / "summary.html").read_text(encoding="utf-8")
    assert "does not follow" in page
    assert "://" not in page, "the page names a network"


def test_a_summary_of_the_users_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "means.csv"
    path.write_text(
        "measure;group;n;pre_mean;pre_sd;post_mean;post_sd;p\nodi;all;30;51,5;10,0;20,7;12,0;0,04\n",
        encoding="utf-8",
    )
    assert run("outcomes", "--summary", path, "--out", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "ODI, all: the printed p of 0.04 does not follow from its means" in said


def test_the_flow_of_a_folder_and_of_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort, table = write_cohort(tmp_path / "cohort", 3), write_table(tmp_path / "t.csv", 2)
    assert run("flow", cohort, "--outcomes", table, "--out", tmp_path / "a", "--json") == 0
    boxes = {r["box"]: r["patients"] for r in json.loads(capsys.readouterr().out)}
    assert (boxes["scanned"], boxes["not_told"], boxes["operated"]) == (3, 1, 2)
    assert run("flow", "--counts", "tender-2019", "--out", tmp_path / "b") == 0
    assert "315  SPECT/CT" in capsys.readouterr().out
    for folder in ("a", "b"):
        assert all((tmp_path / folder / name).stat().st_size > 100 for name in FLOW_FILES)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("outcomes --out OUT", "required"),
        ("outcomes TABLE --summary tender-2019 --out OUT", "not allowed with"),
        ("outcomes --summary nobody-2020 --out OUT", "is neither a file nor a study"),
        ("outcomes none.csv --out OUT", "none.csv cannot be read"),
        ("outcomes TABLE --cohort HERE --out OUT", "holds no cohort.csv"),
        ("outcomes TABLE --cohort COHORT --out OUT", "must hold the same names"),
        ("outcomes TABLE --visit 1y --out OUT", "visit '1y' is not known"),
        ("outcomes TABLE --least-important odi --out OUT", "is not like vas_axial=2"),
        ("outcomes TABLE --out HERE", "is not empty and holds no earlier result"),
        ("flow --counts none.csv --out OUT", "is neither a file nor a study"),
        ("flow --counts tender-2019 --outcomes TABLE --out OUT", "needs the folder of a cohort"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    words: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(tmp_path / "t.csv", 4)
    if "COHORT" in words:
        folder = write_cohort(tmp_path / "cohort", 2)
        text = (folder / "cohort.csv").read_text(encoding="utf-8").replace("p0", "q0")
        (folder / "cohort.csv").write_text(text, encoding="utf-8")
    places = {"OUT": "out", "TABLE": "t.csv", "HERE": "", "COHORT": "cohort"}
    named = [str(tmp_path / places[w]) if w in places else w for w in words.split()]
    try:
        code = run(*named)
    except SystemExit as ended:
        code = int(ended.code or 0)
    error = capsys.readouterr().err
    assert code == 2
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> Any:
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr("CTSpectSpineLib.outcomes.packages.import_module", absent)
    table = write_table(tmp_path / "t.csv", 4)
    assert run("outcomes", table, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert 'pip install "statsmodels>=0.15"' in error
    assert len(error.splitlines()) == 1


def test_without_statsmodels_all_else_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flow and summaries do not import it."""
    real = builtins.__import__

    def watched(name: str, *rest: Any, **more: Any) -> Any:
        if name.split(".")[0] == "statsmodels":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", watched)
    assert run("flow", "--counts", "tender-2019", "--out", tmp_path / "a") == 0
    assert run("outcomes", "--summary", "tender-2019", "--out", tmp_path / "b") == 0
