"""Tables and pages of the study of uptake, from rows whose answers are known."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

sys.path.append(str(Path(__file__).resolve().parents[4]))

from benchmarks.uptake import document, judge, retest
from benchmarks.uptake.other_scanner import SETTINGS
from benchmarks.uptake.scans import PRESETS, SCANNERS, SOMETIMES


def rows() -> pd.DataFrame:
    """Two patients: one without a hot joint, read in the right order, and one with a missed one."""

    def row(patient: str, joint: str, true: float, found: float, uptake: str) -> dict[str, Any]:
        return {
            "patient": patient,
            "preset": "recovery",
            "family": "recovery",
            "joint": joint,
            "kind": joint.split()[1],
            "true": true,
            "ratio_corrected": found,
            "ratio_low": found - 0.392,
            "ratio_high": found + 0.392,
            "least_sd": 0.1,
            "uptake": uptake,
        }

    return pd.DataFrame(
        [
            row("quiet", "L1-L2 disc", 0.8, 0.9, "negative"),
            row("quiet", "L2-L3 disc", 1.0, 1.0, "negative"),
            row("quiet", "C2-C3 facet left", 1.2, 1.1, "negative"),
            row("hot", "L1-L2 disc", 1.2, 0.9, "negative"),
            row("hot", "L2-L3 disc", 1.0, 1.1, "negative"),
            row("hot", "L3-L4 disc", 3.0, 1.2, "negative"),
            row("hot", "L4-L5 disc", 2.0, 1.9, "indeterminate"),
        ]
    )


def test_ranks_are_those_of_patients_without_a_hot_joint() -> None:
    found = judge.counts(rows()).iloc[0]
    assert (found.spearman, found.quiet) == (pytest.approx(1.0), 1)
    assert (found.hot, found.hot_negative, found.ordinary) == (1, 1, 5)
    # The joint of 2.0 reads higher than all five ordinary ones.
    assert (found.auc, found.auc_joints) == (1.0, 1)


def test_stated_widths_stand_beside_inevitable_ones() -> None:
    found = judge.widths(rows()).set_index("joints")
    assert found.number.to_dict() == {"neck facet": 1, "trunk disc": 4}
    np.testing.assert_allclose(found.stated, 0.2)
    np.testing.assert_allclose(found.least, 0.1)


def test_withholding_a_verdict_is_not_wrong() -> None:
    said = ["lumbar_disc", "indeterminate", "negative_scan", "negative_scan"]
    scans = pd.DataFrame(
        {
            "preset": "recovery",
            "disposition": said,
            "true_disposition": "lumbar_disc",
            "stability": [1.0, None, 0.5, 0.95],
        }
    )
    found = judge.verdicts(scans).iloc[0]
    assert found[["right", "withheld", "wrong", "confident", "scans"]].tolist() == [1, 1, 2, 1, 4]


@pytest.mark.parametrize("scanner", SCANNERS)
def test_page_holds_every_table(scanner: str, tmp_path: Path) -> None:
    scans = pd.DataFrame(
        {
            "patient": ["quiet", "hot"],
            "preset": "recovery",
            "family": "recovery",
            "seconds": 4.0,
            "looks_like": "recovery",
            "disposition": "negative_scan",
            "true_disposition": "negative_scan",
            "stability": 1.0,
        }
    )
    page = tmp_path / "page.md"
    document.write_document(page, rows(), scans, "the command", scanner)
    text = page.read_text(encoding="utf-8")
    assert "2 patients, 2 scans, 7 joints" in text
    assert "| recovery | 2 | 1 of 1 | 0 | 0 of 5 | 5 | 1.000 (1) | 1.00 (1) |" in text
    assert "| recovery | trunk disc | 4 | 0.20 | 0.10 | 2.0 |" in text
    assert "| recovery | 2 | 2 | 0 | 0 | 0 |" in text


def test_retest_compares_scans_of_one_patient() -> None:
    first = rows().assign(scan=retest.FIRST)
    moved = rows().assign(scan=retest.MOVED)
    moved.loc[moved.joint == "L3-L4 disc", "uptake"] = "positive"
    page = retest.document(
        pd.concat([first, rows().assign(scan=retest.AGAIN), moved]), "the command"
    )
    lines = [line for line in page.splitlines() if line.startswith("| recovery")]
    assert [line.split("|")[2].strip() for line in lines] == ["as it lay", "lying otherwise"]
    assert [line.split("|")[-2].strip() for line in lines] == ["0", "1"]
    assert all("1.00" in line.split("|")[4] for line in lines)


def test_the_other_scanner_has_all_reconstructions_of_the_study() -> None:
    assert set(SETTINGS) == {*PRESETS, SOMETIMES}


def test_what_was_measured_of_a_patient_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def measure(patients: list[Any], *, stated: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        (one,) = patients
        measured.append((one.name, stated))
        return pd.DataFrame({"patient": [one.name]}), pd.DataFrame({"patient": [one.name]})

    monkeypatch.setattr(judge, "judged", measure)
    first, second = (SimpleNamespace(name=name) for name in ("lumbar-1", "cervical-2"))
    judge.kept_rows([first], stated="right", folder=tmp_path)
    joints, scans = judge.kept_rows([first, second], stated="right", folder=tmp_path)
    assert joints.patient.tolist() == scans.patient.tolist() == ["lumbar-1", "cervical-2"]
    # Another statement is another measurement.
    judge.kept_rows([first], stated="unknown", folder=tmp_path)
    assert measured == [("lumbar-1", "right"), ("cervical-2", "right"), ("lumbar-1", "unknown")]
