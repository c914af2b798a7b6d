"""A protocol that decides by another ratio: whatever shows it shows it beside its own interval."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from CTSpectSpineLib import joint_table
from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.joint_table import Row
from CTSpectSpineLib.panel.shown_rows import shown_rows
from CTSpectSpineLib.protocol_files import SHIPPED_FOLDER
from CTSpectSpineLib.results.shown import Record, read_record
from CTSpectSpineLib.volumes.reading import read_volume

METRICS = {"disc": "ratio_mean", "facet": "ratio_peak"}
NUMBER = r"(\d+\.\d\d)"


@pytest.fixture(scope="module")
def analysed(
    lumbar_phantom: Path, lumbar_results: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str]]:
    """Results folder of the lumbar phantom, and what the command line printed."""
    folder = tmp_path_factory.mktemp("metric")
    values = json.loads((SHIPPED_FOLDER / "tender-2019.json").read_text(encoding="utf-8"))
    values["id"] = "by-other-ratios"
    for kind, metric in METRICS.items():
        values["bounds"][kind]["metric"] = metric
    protocol = folder / "protocol.json"
    protocol.write_text(json.dumps(values), encoding="utf-8")
    arguments = ["--protocol", str(protocol), "--out", str(folder / "r"), "--progress", "none"]
    arguments += ["--registration", str(lumbar_results)]
    for name in ("ct", "spect", "vertebrae"):
        arguments += [f"--{name}", str(lumbar_phantom / f"{name}.nii.gz")]
    with pytest.MonkeyPatch.context() as patch:
        printed: list[str] = []
        patch.setattr(
            "builtins.print", lambda *words, **_: printed.append(" ".join(map(str, words)))
        )
        assert main(["analyze", *arguments]) in (0, 1)
    return folder / "r", printed


@pytest.fixture(scope="module")
def table(analysed: tuple[Path, list[str]]) -> pd.DataFrame:
    """The joints with a ratio and an interval, with the ratio that decides."""
    whole = joint_table.read(analysed[0] / "joints.csv")
    known = whole[whole["ratio_low"].notna()].copy()
    known["decides"] = [row[METRICS[row["kind"]]] for _, row in known.iterrows()]
    assert len(known) > 8
    assert (known["decides"] - known["ratio_corrected"]).abs().median() > 0.05, "a test of nothing"
    return known


@pytest.mark.slow
def test_the_interval_is_that_of_the_deciding_ratio(table: pd.DataFrame) -> None:
    inside = (table["ratio_low"] <= table["decides"]) & (table["decides"] <= table["ratio_high"])
    assert inside.mean() > 0.9


@pytest.mark.slow
def test_command_line(analysed: tuple[Path, list[str]], table: pd.DataFrame) -> None:
    for row in table.to_dict("records"):
        line = next(line for line in analysed[1] if line.startswith(f"{row['joint']:<22}"))
        shown = re.findall(NUMBER, line)[:3]
        wanted = (row["decides"], row["ratio_low"], row["ratio_high"])
        assert shown == [f"{value:.2f}" for value in wanted]


def rows_of(analysed: tuple[Path, list[str]]) -> dict[str, Row]:
    record: Record = read_record(analysed[0])
    return {row.joint: row for row in record.rows}


@pytest.mark.slow
def test_panel(analysed: tuple[Path, list[str]], table: pd.DataFrame) -> None:
    rows = rows_of(analysed)
    for row in table.to_dict("records"):
        text = f"{row['decides']:.2f} ({row['ratio_low']:.1f}–{row['ratio_high']:.1f})"
        assert rows[row["joint"]].ratio_text == text
    by_ratio = shown_rows(list(rows.values()), "measured", order="ratio", descending=True)
    ratios = [row.ratio for row in by_ratio]
    assert ratios == sorted(ratios, reverse=True)


@pytest.mark.slow
def test_scene(analysed: tuple[Path, list[str]], table: pd.DataFrame, lumbar_phantom: Path) -> None:
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    import vtk

    from CTSpectSpineLib.scene.mrml import headless_scene
    from CTSpectSpineLib.scene.populate import populate_scene

    ct, spect = (read_volume(lumbar_phantom / f"{n}.nii.gz", n).image for n in ("ct", "spect"))
    with headless_scene() as (scene, _):
        nodes = populate_scene(scene, ct=ct, spect=spect, folder=analysed[0])
        levels = nodes.uptake_table.GetTable().GetColumnByName("level")
        place = {levels.GetValue(i): i for i in range(levels.GetNumberOfValues())}
        for row in table.to_dict("records"):
            segment = nodes.joints.GetSegmentation().GetSegment(row["joint"])
            tag = vtk.reference("")
            assert segment.GetTag(f"CTSpectSpine.{METRICS[row['kind']]}", tag)
            assert float(str(tag)) == row["decides"]
            assert not segment.HasTag("CTSpectSpine.ratio_corrected")
            name = f"{row['kind']} {row['side']}" if row["kind"] == "facet" else "disc"
            drawn = nodes.uptake_table.GetTable().GetColumnByName(name)
            if row["status"] == "measured":
                assert drawn.GetValue(place[row["level"]]) == pytest.approx(row["decides"])


@pytest.mark.slow
def test_report(analysed: tuple[Path, list[str]], table: pd.DataFrame) -> None:
    page = (analysed[0] / "report.html").read_text(encoding="utf-8")
    assert "reference bone (mean)" in page, "the axis of the discs names the ratio"
    assert "reference bone (peak in a 12 mm sphere)" in page
    text = re.sub(r"<[^>]+>", "", page)
    for row in table.to_dict("records"):
        if row["status"] == "measured":
            pair = f"{row['decides']:.2f} ({row['ratio_low']:.2f}–{row['ratio_high']:.2f})"
            assert pair in text, row["joint"]
