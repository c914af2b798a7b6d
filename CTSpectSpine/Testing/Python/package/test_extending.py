"""Labellers and protocols from outside, exactly as the pages on extending show them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.labelling import labellers

MODULE = Path(__file__).resolve().parents[3]
DOCS = MODULE.parent / "docs"


def block(page: str, language: str) -> str:
    """The first code block of a language on a page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in an environment with further variables."""
    paths = os.pathsep.join([*filter(None, [variables.pop("path", "")]), str(MODULE)])
    environment = {**os.environ, **variables, "PYTHONPATH": paths}
    return subprocess.run(
        [sys.executable, "-m", "CTSpectSpineLib", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


@dataclass(frozen=True)
class Done:
    """What a command of this process left, under the names that `subprocess` has."""

    returncode: int
    stdout: str
    stderr: str


class Here:
    """Runs the command line as `run` does, in this process: to start one takes seconds."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: str, path: str = "", **variables: str) -> Done:
        self.capsys.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            if path:
                patch.syspath_prepend(path)
            labellers._from_outside.cache_clear()
            try:
                code = main([*arguments, "--progress", "none"])
            finally:
                labellers._from_outside.cache_clear()
                sys.modules.pop("toy_labeller", None)
        said = self.capsys.readouterr()
        return Done(code, said.out, said.err)


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(capsys)


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A folder of packages in which the labeller of the page is installed."""
    site = tmp_path / "site"
    info = site / "toy_labeller-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "toy_labeller.py").write_text(
        block("extending-labeller.md", "python"), encoding="utf-8"
    )
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-labeller\nVersion: 1.0\n")
    toml = block("extending-labeller.md", "toml")
    point = re.search(r"entry-points.\"(.*)\"\]\n(\w+) = \"(.*)\"", toml)
    assert point is not None
    (info / "entry_points.txt").write_text(f"[{point[1]}]\n{point[2]} = {point[3]}\n")
    return site


def test_a_labeller_joins_by_its_entry_point(toy: Path, lumbar_phantom: Path) -> None:
    out = toy.parent / "out"
    ct = str(lumbar_phantom / "ct.nii.gz")
    done = run("label", "--ct", ct, "--labeller", "toy", "--out", str(out), path=str(toy))
    assert done.returncode == 0, done.stderr
    record = json.loads((out / "vertebrae.json").read_text(encoding="utf-8"))
    assert record["engine"] == "toy"
    assert record["engine_version"] == "1.0"
    assert record["levels"] == ["L4", "L5"]


@pytest.mark.parametrize("broken", ["import no_such_package", "TOY = 'no labeller'"])
def test_a_labeller_that_cannot_be_loaded_says_so(
    broken: str, toy: Path, lumbar_phantom: Path, here: Here
) -> None:
    (toy / "toy_labeller.py").write_text(broken, encoding="utf-8")
    ct, out = str(lumbar_phantom / "ct.nii.gz"), str(toy.parent / "out")
    asked = here("label", "--ct", ct, "--labeller", "toy", "--out", out, path=str(toy))
    assert asked.returncode == 2
    assert "Labeller 'toy' cannot run: its package cannot be used" in asked.stderr
    assert "available:" in asked.stderr
    other = here("label", "--ct", ct, "--labeller", "none", "--out", out, path=str(toy))
    assert "There is no labeller 'none' (available: builtin" in other.stderr


def test_a_protocol_joins_by_its_folder(tmp_path: Path, here: Here) -> None:
    template = here("protocols", "--template")
    folder = tmp_path / "protocols"
    folder.mkdir()
    (folder / "my-clinic.json").write_text(template.stdout, encoding="utf-8")
    own = {"CTSPECTSPINE_PROTOCOLS": os.pathsep.join([str(tmp_path / "none"), str(folder)])}
    listed = here("protocols", **own)
    assert listed.returncode == 0, listed.stderr
    assert "tender-2019" in listed.stdout
    assert here("protocols", "my-clinic", **own).returncode == 0
    joints = tmp_path / "joints.csv"
    joints.write_text("level,kind,side,uptake\nL4-L5,disc,,positive\n", encoding="utf-8")
    ids = "my-clinic,tender-2019"
    both = here("triage", "--joints", str(joints), "--protocol", ids, "--json", **own)
    assert both.returncode == 0, both.stderr
    id_of_template = json.loads(template.stdout)["id"]
    found = [verdict["protocol"]["id"] for verdict in json.loads(both.stdout)["verdicts"]]
    assert found == [id_of_template, "tender-2019"]
    missing = here("triage", "--joints", str(joints), "--protocol", "my-clinic")
    assert missing.returncode == 2
    assert "There is no protocol 'my-clinic'" in missing.stderr


def test_a_shipped_protocol_keeps_its_name(tmp_path: Path, here: Here) -> None:
    (tmp_path / "tender-2019.json").write_text("not even JSON", encoding="utf-8")
    shown = here("protocols", "tender-2019", CTSPECTSPINE_PROTOCOLS=str(tmp_path))
    assert shown.returncode == 0
    assert "Tender" in shown.stdout


def test_the_module_runs_as_a_program() -> None:
    assert run("--version").stdout.startswith("ctspectspine ")
