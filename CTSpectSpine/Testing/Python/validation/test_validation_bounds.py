"""Bounds from a truth study and from normal patients, against known distributions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from study_rows import joint_row, patient_row

from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.model import UptakeBounds
from CTSpectSpineLib.triage_protocol import load_protocol
from CTSpectSpineLib.validation.bounds import (
    GroupBounds,
    Shares,
    calls,
    exceeded_by,
    site_bounds,
    study_bounds,
)
from CTSpectSpineLib.validation.rows import Study, append, begin


def study_of(normal: list[float], increased: list[float], per_patient: int = 10) -> Study:
    """Joints of both kinds with these ratios, dealt out to patients."""
    joints = []
    for kind in ("disc", "facet"):
        for true, values in ((1.0, normal), (2.0, increased)):
            joints += [
                joint_row(
                    f"p{number // per_patient}",
                    kind=kind,
                    true_ratio=true,
                    ratio_corrected=value,
                    ratio_mean=value / 2,
                )
                for number, value in enumerate(values)
            ]
    frame = pd.DataFrame(joints)
    return Study(frame, pd.DataFrame([patient_row(name) for name in sorted(set(frame.patient))]))


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(1, 60), min_size=20, max_size=80),
    st.sampled_from([0.05, 0.1, 0.25]),
)
def test_at_most_the_share_reaches_the_limit(values: list[int], share: float) -> None:
    found = np.array(values, dtype=float)
    limit = exceeded_by(found, [str(n // 4) for n in range(len(found))], share)
    reaching = np.mean(found >= limit.value)
    smaller = np.unique(found[found < limit.value])
    # The largest value is the last resort where its ties alone are more than the share.
    assert reaching <= share or limit.value == found.max()
    if len(smaller) and reaching <= share:
        assert np.mean(found >= smaller[-1]) > share
    assert limit.low <= limit.high


def test_interval_of_the_limit_covers_the_true_percentile() -> None:
    rng = np.random.default_rng(5)
    truth = 1.0 + 0.1 * 1.6448536  # 95th percentile of normal joints
    owner = [str(n // 10) for n in range(400)]
    inside = 0
    for number in range(40):
        limit = exceeded_by(rng.normal(1.0, 0.1, 400), owner, 0.05, number)
        inside += limit.low <= truth <= limit.high
    assert inside >= 34


def test_joints_of_a_patient_stay_together_in_the_bootstrap() -> None:
    rng = np.random.default_rng(2)
    level = np.repeat(rng.normal(1.0, 0.2, 20), 20)
    together = exceeded_by(level, [str(n // 20) for n in range(400)], 0.05)
    apart = exceeded_by(level, [str(n) for n in range(400)], 0.05)
    assert together.value == apart.value
    assert together.high - together.low > apart.high - apart.low


def test_bounds_of_joints_that_overlap() -> None:
    normal = list(np.linspace(0.8, 1.79, 100))
    increased = list(np.linspace(1.5, 3.49, 200))
    for group in study_bounds(study_of(normal, increased), Shares())[:2]:
        assert (group.normal, group.increased) == (100, 200)
        assert group.positive == pytest.approx(2.5)
        assert group.indeterminate == pytest.approx(1.59)
    normal[-2:] = 4.0, 4.1
    assert study_bounds(study_of(normal, increased), Shares())[0].positive == pytest.approx(4.1)


def test_bounds_of_joints_with_a_gap_between() -> None:
    normal, increased = list(np.linspace(0.9, 1.2, 100)), list(np.linspace(2.0, 4.0, 100))
    disc, facet = study_bounds(study_of(normal, increased), Shares())[:2]
    assert disc.indeterminate == pytest.approx(2.09, abs=0.01)
    assert disc.positive == pytest.approx(3.0, abs=0.03)
    assert (facet.positive, facet.indeterminate) == (disc.positive, disc.indeterminate)


def test_bounds_do_not_depend_on_how_hot_the_joints_were() -> None:
    rng = np.random.default_rng(4)
    error = np.exp(rng.normal(0.0, 0.1, 400))
    found = []
    for low, high in ((2.0, 2.2), (2.0, 6.0)):
        study = study_of(list(np.linspace(0.9, 1.2, 100)), [3.0] * 400)
        joints = study.joints
        hot = joints.true_ratio >= 2.0
        joints.loc[hot, "true_ratio"] = rng.uniform(low, high, int(hot.sum()))
        both = np.concatenate([error, error])
        joints.loc[hot, "ratio_corrected"] = both * joints.true_ratio[hot]
        group = study_bounds(study, Shares())[0]
        found.append((group.positive, group.indeterminate))
    assert found[0] == pytest.approx(found[1], abs=0.011)
    assert found[0] == pytest.approx((2.0, 2.0 * np.exp(-0.16449)), abs=0.04)


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 1000), st.floats(0.05, 1.0))
def test_the_bounds_keep_their_shares(seed: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    normal = np.abs(rng.normal(1.0, 0.3 * spread, 150)) + 0.05
    increased = np.abs(rng.normal(3.0, spread, 60)) + 0.05
    study = study_of(list(normal), list(increased))
    shares = Shares(0.02, 0.1)
    group = study_bounds(study, shares)[0]
    assert group.positive is not None
    assert group.indeterminate is not None
    assert group.positive >= group.indeterminate
    bounds = UptakeBounds("ratio_corrected", group.positive, group.indeterminate)
    found = calls(study, "disc", bounds, shares)
    assert found.false_positive.value <= 0.02
    assert found.missed.value <= 0.1


def test_parts_with_too_few_joints_have_no_bounds() -> None:
    groups = study_bounds(study_of([1.0] * 99 + [1.1], [3.0] * 20), Shares())
    by_name = {group.name: group for group in groups}
    assert by_name["disc, lumbar"].positive is not None
    assert by_name["disc, cervical"].positive is None
    assert by_name["disc, 5 million counts or more"].normal == 100


def test_calls_count_joints_and_patients() -> None:
    study = study_of([1.0] * 8 + [1.7, 2.5], [3.0, 1.7, 1.0, 2.0], per_patient=5)
    found = calls(study, "disc", UptakeBounds("ratio_corrected", 2.0, 1.6), Shares())
    assert found.false_positive.value == pytest.approx(0.1)
    assert found.borderline.value == pytest.approx(0.1)
    assert (found.found.value, found.missed.value) == (0.5, 0.25)
    assert (found.patients.count, found.patients.of) == (1, 2)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((0.0, 0.05, 0.05), "false_positive"),
        ((0.01, 0.5, 0.05), "missed"),
        ((0.04, 0.05, 0.02), "below that of false positives"),
        ((0.01, 0.05, 0.05, 2.0, 1.2), "give the latter a larger true ratio"),
    ],
)
def test_impossible_shares_are_refused(values: tuple[float, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Shares(*values)


def site(patients: int, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [
        {
            "patient": f"n{patient}",
            "kind": kind,
            "spine_region": "lumbar",
            "ratio_corrected": rng.normal(1.0, 0.15),
        }
        for patient in range(patients)
        for kind in ("disc", "facet", "facet")
        for _ in range(5)
    ]
    return pd.DataFrame(rows)


def test_site_bounds_are_percentiles_of_its_normals() -> None:
    normals = site(60)
    facets = np.sort(normals.ratio_corrected[normals.kind == "facet"])
    group: GroupBounds = site_bounds(normals, Shares(0.01, 0.05, 0.05))[1]
    assert (group.kind, group.patients, group.normal) == ("facet", 60, 600)
    assert group.upper is not None
    assert group.lower is not None
    assert group.upper.value == facets[-6]
    assert group.lower.value == facets[-30]
    assert group.upper.low <= group.upper.value <= group.upper.high


def test_a_few_normals_are_refused() -> None:
    with pytest.raises(InputError, match="19 normal patients; bounds from fewer than 20"):
        site_bounds(site(19), Shares())
    with pytest.raises(InputError, match=r"100 measured discs; a share of 0\.001"):
        site_bounds(site(20), Shares(0.001))


def results_folder(folder: Path, ratios: list[float], **manifest: object) -> Path:
    folder.mkdir(parents=True)
    rows = [
        {
            "joint": f"{kind} {number}",
            "kind": kind,
            "spine_region": "lumbar",
            "status": "measured" if number else "not_measurable",
            "ratio_corrected": ratio,
        }
        for kind in ("disc", "facet")
        for number, ratio in enumerate(ratios)
    ]
    pd.DataFrame(rows).to_csv(folder / "joints.csv", index=False)
    values = {"status": "complete", "software": {"ctspectspine": "1"}, **manifest}
    (folder / "manifest.json").write_text(json.dumps(values), encoding="utf-8")
    (folder / "registration.json").write_text('{"quality": "good"}', encoding="utf-8")
    return folder


def cohort(folder: Path, patients: int = 25) -> Path:
    rng = np.random.default_rng(3)
    for number in range(patients):
        results_folder(folder / f"{number:03d}", list(rng.normal(1.0, 0.1, 9).round(4)))
    return folder


def test_command_writes_a_protocol_with_a_sites_bounds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.json"
    normals = cohort(tmp_path / "normals")
    arguments = ["--normals", str(normals), "--out", str(out), "--id", "my-site", "--json"]
    assert main(["bounds", *arguments]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["bounds"]["disc"]["provenance"] == "computed"
    assert "200 disc joints of 25 normal patients" in record["bounds"]["disc"]["source"]
    assert "120 or more are advisable" in record["notes"][0]
    protocol = load_protocol(str(out))
    assert protocol.id == "my-site"
    assert protocol.bounds["disc"].positive == record["bounds"]["disc"]["positive"]
    assert protocol.rules == load_protocol("tender-2019").rules
    assert protocol.supporting == load_protocol("tender-2019").supporting
    arguments[arguments.index("my-site")] = "tender-2019"
    assert main(["bounds", *arguments]) == 2
    assert "give it an id of its own" in capsys.readouterr().err
    assert load_protocol(str(out)).id == "my-site", "a bad id takes no earlier protocol away"
    out.write_text("{}", encoding="utf-8")
    arguments[arguments.index("tender-2019")] = "my-site"
    assert main(["bounds", *arguments]) == 2
    assert "mine.json was changed since" in capsys.readouterr().err
    assert out.read_text(encoding="utf-8") == "{}"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"status": "failed"}, "is not complete"),
        ({"software": {"ctspectspine": "2"}}, "analysed alike"),
        ({"registration": '{"quality": "check"}'}, "is 'check', not good"),
        ({"registration": "[1]"}, "is 'unknown', not good"),
        ({"same": True}, "hold the same patient"),
        ({"column": True}, "lacks the column ratio_corrected"),
        ({"empty": True}, "holds no joints.csv"),
    ],
)
def test_command_refuses_normals_that_do_not_belong(
    change: dict[str, object],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, normals = tmp_path / "extra", cohort(tmp_path / "normals", 20)
    if "empty" in change:
        folder.mkdir()
    else:
        results_folder(folder, [1.0, 1.1, 1.2], **change)
    if "registration" in change:
        text = str(change["registration"])
        (folder / "registration.json").write_text(text, encoding="utf-8")
    if "same" in change:
        table = (normals / "000" / "joints.csv").read_text(encoding="utf-8")
        (folder / "joints.csv").write_text(table, encoding="utf-8")
    if "column" in change:
        table = (folder / "joints.csv").read_text(encoding="utf-8")
        (folder / "joints.csv").write_text(table.replace("_corrected", ""), encoding="utf-8")
    assert main(["bounds", "--normals", str(normals), str(folder)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def rows_of(folder: Path, normal: list[float], increased: list[float]) -> Path:
    begin(folder, resume=False)
    study = study_of(normal, increased)
    for name in study.patients.patient:
        rows = [
            joint_row(name, kind=r.kind, true_ratio=r.true_ratio, ratio_corrected=r.ratio_corrected)
            for r in study.joints[study.joints.patient == name].itertuples()
        ]
        append(folder, patient_row(name), rows)
    return folder


def test_command_shows_bounds_of_a_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows_of(tmp_path, list(np.linspace(0.8, 1.3, 120)), list(np.linspace(1.9, 4, 60)))
    assert main(["bounds", "--study", str(tmp_path), "--split", "test"]) == 0
    text = capsys.readouterr().out
    assert "disc, tender-2019 bounds: of normal 0.0 % positive" in text
    found = json.loads(text[text.index("\n{") :])
    assert found["facet"]["indeterminate"] == pytest.approx(1.97, abs=0.011)
    assert "12 simulated patients (test split; sets: standard)" in found["facet"]["source"]


def test_a_study_with_too_few_joints_gives_no_bounds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(tmp_path / "rows", list(np.linspace(0.8, 1.3, 120)), [3.0] * 19)
    arguments = ["bounds", "--study", str(rows), "--split", "test"]
    assert main([*arguments, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["bounds"] == {}
    assert "at least 100 normal and 20 increased" in record["notes"][0]
    assert record["groups"][0]["upper"][0] == pytest.approx(1.3)
    assert main([*arguments, "--out", str(tmp_path / "mine.json"), "--id", "mine"]) == 2
    assert not (tmp_path / "mine.json").exists()
    assert "Too few disc joints" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "either --study or --normals"),
        (["--study", "x", "--out", "y.json"], "--out and --id belong together"),
        (["--study", "x", "--metric", "ratio_peak"], "holds no ratio_peak"),
        (["--study", "x", "--protocol", "nothing"], "no protocol 'nothing'"),
        (["--study", "nowhere"], "does not exist"),
        (["--normals", "nowhere"], "holds no joints.csv"),
    ],
)
def test_command_refuses_bad_options(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bounds", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
