"""The registration comparison: directions of the peers, rows, statistics and document."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

sys.path.append(str(Path(__file__).resolve().parents[4]))

from benchmarks.registration import measure, runner
from benchmarks.registration.document import write_document
from benchmarks.registration.methods import METHODS, Answer
from benchmarks.registration.pairs import SETS, WRONG_SETS, Pair
from benchmarks.registration.rows import (
    COLUMNS,
    SPEED_COLUMNS,
    Row,
    SpeedRow,
    append,
    keys_of,
    open_rows,
    read_rows,
    read_speed_rows,
)
from benchmarks.registration.speed import at_size
from benchmarks.registration.summary import (
    calibration,
    goals,
    qualities,
    ratio_to_best,
    summaries,
    worst_good,
)
from CTSpectSpineLib.geometry import euler_transform, image_centre_mm, inverse
from CTSpectSpineLib.phantom.scanner.spect import rigid_matrix


def image_pair(shift_mm: tuple[float, float, float] = (3.0, -2.0, 4.0)) -> Pair:
    """A smooth random image and the same one moved, on an oblique grid."""
    noise = np.random.default_rng(5).normal(size=(36, 40, 44))
    image = sitk.GetImageFromArray(noise.astype(np.float32))
    image.SetSpacing((3.0, 3.0, 4.0))
    image.SetOrigin((40.0, -70.0, 15.0))
    turn = rigid_matrix([0.0] * 3, [0.0, 0.0, 20.0], [0.0] * 3)
    image.SetDirection(turn[:3, :3].ravel().tolist())
    image = sitk.Cast(sitk.SmoothingRecursiveGaussian(image, 12.0) * 4000, sitk.sitkFloat32)
    centre = image_centre_mm(image)
    truth = rigid_matrix(list(shift_mm), [2.0, -1.5, 3.0], centre.tolist())
    moved = sitk.Resample(image, image, euler_transform(inverse(truth), centre.tolist()))
    joints = centre + np.random.default_rng(6).uniform(-40, 40, (8, 3))
    return Pair("standard", "standard-1", 1, image, moved, truth, joints, True)


def some_row(**changes: object) -> Row:
    row = Row(
        set_name="standard",
        split="test",
        pair="standard-1",
        method="ours",
        seed=1,
        right=True,
        joints=8,
        start_mm=20.0,
        mean_mm=0.5,
        worst_mm=0.8,
        failed=False,
        wall_s=2.0,
        cpu_s=3.0,
        memory_mib=100.0,
        threads=1,
        version="1.0",
        expected_mm=0.4,
        quality="good",
        message='A "reason", and another.',
    )
    return replace(row, **changes)  # type: ignore[arg-type]


def table_of(tmp_path: Path, rows: list[Row]) -> pd.DataFrame:
    """The rows after a way through the file."""
    path = tmp_path / "rows.csv"
    open_rows(path)
    for row in rows:
        append(path, row)
    return read_rows(path)


def peer_row(pair: str, mean_mm: float, **changes: object) -> Row:
    return some_row(
        pair=pair,
        method="elastix",
        mean_mm=mean_mm,
        worst_mm=2 * mean_mm,
        expected_mm=None,
        quality="",
        **changes,
    )


@pytest.mark.slow  # loading ITK takes ten seconds
@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("elastix", "itk", "bench"),
        ("greedy", "picsl_greedy", "bench"),
        ("ants", "ants", "ants"),
    ],
)
def test_peers_find_the_direction_from_ct_to_spect(name: str, module: str, extra: str) -> None:
    pytest.importorskip(module, reason=f'{module} is not installed: pip install -e ".[{extra}]"')
    pair = image_pair()
    answer = METHODS[name].run(pair.ct, pair.spect, 1)
    assert pair.errors_mm(answer.ct_to_spect).mean() < 0.5


@pytest.mark.parametrize("name", ["mattes", "mattes-header"])
def test_mattes_moves_from_ct_to_spect(name: str) -> None:
    # The recipe takes steps of up to a voxel and stops early, so it ends near the truth only.
    pair = image_pair((9.0, -6.0, 12.0))
    answer = METHODS[name].run(pair.ct, pair.spect, 1)
    start = pair.errors_mm(METHODS[name].start(pair.ct, pair.spect)).mean()
    assert pair.errors_mm(answer.ct_to_spect).mean() < 0.6 * start
    assert pair.errors_mm(inverse(answer.ct_to_spect)).mean() > start


def test_starts_are_those_of_header_and_centres() -> None:
    pair = image_pair()
    shifted = sitk.Image(pair.spect)
    shifted.SetOrigin(np.add(shifted.GetOrigin(), (30.0, 0.0, -7.0)).tolist())
    assert np.allclose(METHODS["elastix"].start(pair.ct, shifted), np.eye(4))
    assert np.allclose(METHODS["mattes-header"].start(pair.ct, shifted), np.eye(4))
    centred = METHODS["mattes"].start(pair.ct, shifted)
    assert np.allclose(centred[:3, 3], [30.0, 0.0, -7.0])
    assert np.allclose(centred[:3, :3], np.eye(3))


def test_call_is_measured_in_a_child_and_an_error_counts_with_its_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measure, "PRELOAD", ["benchmarks.registration.methods"])
    pair = image_pair()
    unit = measure.measure(measure.RESAMPLING, pair.ct, pair.spect, 1)
    assert unit.error == ""
    assert unit.wall_s is not None
    assert unit.cpu_s is not None
    assert unit.cpu_s > 0
    if sys.platform == "linux":
        assert unit.memory_mib is not None
    far = sitk.Image(pair.spect)
    far.SetOrigin((5000.0, 5000.0, 5000.0))
    lost = measure.measure("mattes-header", pair.ct, far, 1)
    assert lost.answer is None
    assert lost.error
    row = runner.row_of(pair, "test", "mattes-header", 1, lost)
    assert row.failed
    assert row.mean_mm == row.start_mm == pytest.approx(pair.errors_mm(np.eye(4)).mean())
    assert row.message == lost.error


def test_rows_come_back_from_the_file_as_they_were(tmp_path: Path) -> None:
    rows = [
        some_row(),
        some_row(pair="b", failed=True, wall_s=None, expected_mm=None, quality=""),
        some_row(pair="c", right=False, mean_mm=None, worst_mm=None, start_mm=None),
    ]
    table = table_of(tmp_path, rows)
    assert tuple(table.columns) == COLUMNS
    assert table.message.tolist() == [rows[0].message] * 3
    assert table.failed.tolist() == [False, True, False]
    assert table.right.tolist() == [True, True, False]
    assert table.wall_s.isna().tolist() == [False, True, False]
    assert table.quality.tolist() == ["good", "", "good"]
    assert keys_of(table) == {row.key for row in rows}


def test_line_that_was_cut_off_is_dropped_when_a_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    open_rows(path)
    append(path, some_row())
    with path.open("a", encoding="utf-8") as file:
        file.write("standard,test,standard-2,ou")
    open_rows(path)
    append(path, some_row(pair="standard-2"))
    assert read_rows(path).pair.tolist() == ["standard-1", "standard-2"]


def test_run_skips_what_the_file_holds_and_peers_on_wrong_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.csv"
    open_rows(path)
    append(path, some_row())
    pair = image_pair()
    calls: list[tuple[str, str]] = []

    def fake_pairs(name: str, split: str, count: int, data: object) -> list[Pair]:
        right = name in SETS
        return [
            replace(pair, set_name=name, name=f"{name}-{n}", right=right)
            for n in range(1, count + 1)
        ]

    def fake_measure(method: str, ct: object, spect: object, threads: int) -> measure.Measured:
        calls.append((method, "call"))
        return measure.Measured(Answer(pair.ct_to_spect, 0.3, "good"), "", 1.0, 1.0, 1.0)

    monkeypatch.setattr(runner, "make_pairs", fake_pairs)
    monkeypatch.setattr(runner, "measure", fake_measure)
    plan = runner.Plan(("standard", "mirrored"), ("ours", "elastix"), "test", 2, 1, 1, None, path)
    for _ in range(2):
        done = frozenset(keys_of(read_rows(path)))
        for name in plan.sets:
            runner.run_set(plan, done, name)
    table = read_rows(path)
    assert len(calls) == 5
    assert len(table) == 6
    assert not table.duplicated(["pair", "method"]).any()
    assert set(table[table.set_name == "mirrored"].method) == {"ours"}
    assert table[table.set_name == "mirrored"].mean_mm.isna().all()
    measured = table[(table.set_name == "standard") & (table.pair != "standard-1")]
    assert np.allclose(measured.mean_mm, 0.0, atol=1e-6)


def test_statistics_of_a_set(tmp_path: Path) -> None:
    errors = [0.2, 0.4, 0.6, 3.0, 7.0]
    rows = [some_row(pair=f"p{n}", mean_mm=e, worst_mm=e + 1) for n, e in enumerate(errors)]
    rows += [peer_row(f"p{n}", 10 * e, failed=n == 4) for n, e in enumerate(errors)]
    ours, peer = summaries(table_of(tmp_path, rows))
    assert (ours.method, peer.method) == ("ours", "elastix")
    assert ours.mean == pytest.approx(2.24)
    assert ours.median == pytest.approx(0.6)
    assert ours.p95 == pytest.approx(np.percentile(errors, 95))
    assert (ours.worst, ours.worst_joint) == pytest.approx((7.0, 8.0))
    assert ours.below == (3, 4)
    assert ours.success() == pytest.approx(0.6)
    assert (ours.failed_calls, peer.failed_calls) == (0, 1)
    assert ratio_to_best([ours, peer], "standard") == pytest.approx(0.1)
    assert ratio_to_best([ours, replace(peer, pairs=4)], "standard") is None


def test_judgement_statistics(tmp_path: Path) -> None:
    rows = [
        some_row(pair="a", mean_mm=0.3, expected_mm=0.4),
        some_row(pair="b", mean_mm=0.7, expected_mm=0.4),
        some_row(pair="c", mean_mm=0.9, expected_mm=0.4, quality="check"),
        some_row(pair="d", mean_mm=9.0, expected_mm=float("inf"), quality="failed"),
        some_row(pair="e", failed=True, expected_mm=None, quality=""),
    ]
    table = table_of(tmp_path, rows)
    found = calibration(table)
    assert found is not None
    assert found.pairs == 3
    assert (found.within_once, found.within_twice) == pytest.approx((1 / 3, 2 / 3))
    assert worst_good(table) == pytest.approx(0.7)
    assert qualities(table, "standard") == {"good": 2, "check": 1, "failed": 2}


def verdicts(table: pd.DataFrame) -> dict[tuple[str, str], str]:
    return {(g.subject, g.quantity.split(" (")[0]): g.verdict for g in goals(table)}


def many_rows(count: int, wrong: int) -> list[Row]:
    rows = [some_row(pair=f"p{n}", expected_mm=0.24 if n < 2 else 0.5) for n in range(count)]
    rows += [peer_row(f"p{n}", 3.0) for n in range(count)]
    names = list(WRONG_SETS)
    empty: dict[str, object] = {"mean_mm": None, "worst_mm": None, "start_mm": None}
    return rows + [
        some_row(
            set_name=names[n % len(names)], pair=f"w{n}", right=False, quality="failed", **empty
        )
        for n in range(wrong)
    ]


def test_goals_are_met_only_by_the_numbers_and_enough_pairs(tmp_path: Path) -> None:
    ratio = ("Standard", "mean error over that of the best peer")
    met = verdicts(table_of(tmp_path / "met", many_rows(40, 100)))
    assert set(met.values()) == {"met"}
    assert ratio in met
    few = verdicts(table_of(tmp_path / "few", many_rows(39, 99)))
    assert set(few.values()) == {"too few pairs"}
    rows = many_rows(40, 100)
    rows[0] = replace(rows[0], mean_mm=40.0)
    rows[-1] = replace(rows[-1], quality="good")
    bad = verdicts(table_of(tmp_path / "bad", rows))
    assert {key for key, verdict in bad.items() if verdict == "not met"} == {
        ("Standard", "mean error"),
        ("Standard", "worst pair"),
        ("Standard", "success under 2.5 mm"),
        ("All wrong pairs", "called good"),
        ratio,
    }


def speed_table(tmp_path: Path, wall_s: float) -> pd.DataFrame:
    path = tmp_path / "speed.csv"
    open_rows(path, SPEED_COLUMNS)
    for size, voxels, factor in (("256×256×200", 13107200, 0.5), ("512×512×400", 104857600, 1.0)):
        append(
            path,
            SpeedRow(size, voxels, "ours", wall_s * factor, 4.0, 500.0, 2, "1", 0.5, "2 cores"),
        )
    return read_speed_rows(path)


def test_document_tells_the_numbers_and_the_goals_not_met(tmp_path: Path) -> None:
    table = table_of(tmp_path, many_rows(40, 100))
    out = tmp_path / "docs" / "registration.md"
    write_document(out, table, speed_table(tmp_path, 5.0), "test")
    text = out.read_text(encoding="utf-8")
    assert "0.50 mm on average, 0.50 mm at worst, 40 of 40 pairs under 2.5 mm" in text
    assert "itk-elastix rigid, 3.00 mm" in text
    assert "ratio of the means 0.17" in text
    assert "- CT of 512×512×400: wall time with 2 threads 5.00 s, wanted < 4 s" in text
    assert "8.0 times the voxels, the time grows by a factor of 2.0" in text
    assert "tuning pairs" not in text
    for name in ("registration.png", "registration-quality.png"):
        assert f"({name})" in text
        assert (out.parent / name).read_bytes().startswith(b"\x89PNG")
    widths = {
        block.count("|")
        for block in text.splitlines()
        if block.startswith("| Standard | **CTSpectSpine** |")
    }
    assert widths == {12, 6}


def test_document_says_when_pairs_are_few_or_of_the_tuning_split(tmp_path: Path) -> None:
    table = table_of(tmp_path, [some_row(split="tuning"), some_row(mean_mm=77.0)])
    out = tmp_path / "page.md"
    write_document(out, table, None, "tuning")
    text = out.read_text(encoding="utf-8")
    assert "These are tuning pairs" in text
    assert "Fewer than 40 pairs in: Standard." in text
    assert "Not run: Standard, real CT" in text
    assert "77" not in text
    with pytest.raises(ValueError, match="no rows"):
        write_document(out, table[table.split == "tuning"], None, "test")


def test_speed_ct_keeps_its_field_of_view() -> None:
    ct = image_pair().ct
    finer = at_size(ct, (88, 80, 72))
    extent = np.array(ct.GetSize()) * ct.GetSpacing()
    assert np.allclose(np.array(finer.GetSize()) * finer.GetSpacing(), extent)
    assert np.allclose(image_centre_mm(finer), image_centre_mm(ct))
    assert at_size(ct, ct.GetSize()) is ct
