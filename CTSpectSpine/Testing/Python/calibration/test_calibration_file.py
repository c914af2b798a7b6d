"""The calibration file: written, read back, refused where it is wrong."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from CTSpectSpineLib.calibration import calibrate_normals
from CTSpectSpineLib.calibration_file import (
    SCHEMA,
    CalibratedResponse,
    Calibration,
    OrdinaryJoints,
    read_calibration,
)
from CTSpectSpineLib.command_line.main import main
from CTSpectSpineLib.errors import InputError

RESPONSE = {
    "family": "recovery", "fwhm_mm": 11.0, "fwhm_sd_mm": 0.5, "lift": 1.0, "lift_sd": 0.2
}  # fmt: skip
DISC = {"mean": 1.0, "mean_sd": 0.1, "sd": 0.2, "patients": 8, "joints": 40}
GOOD = {"schema": SCHEMA, "response": RESPONSE, "ordinary": {"disc": DISC}}
NAMES = ["id", "joint", "kind", "status", "uptake", "ratio_corrected", "ratio_low", "ratio_high"]


def write(folder, values):
    path = folder / "site.json"
    path.write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")
    return path


def test_what_is_written_is_read_back(tmp_path):
    made = Calibration(
        CalibratedResponse("recovery", 11.0, 0.5, 1.0, 0.2),
        {"facet": OrdinaryJoints(0.95, 0.1, 0.2, 6, 60)},
        {"phantom": "nema-iec"},
    )
    found = read_calibration(write(tmp_path, made.content()))
    assert (found.response, found.ordinary) == (made.response, made.ordinary)
    assert found.record == made.record
    assert found.name == "site.json"
    assert len(found.sha256) == 64


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": "other"}, "no calibration file"),
        ({"response": None, "ordinary": {}}, "neither a response nor ordinary"),
        ({"response": {"family": "recovery"}}, "must hold family"),
        ({"response": {**RESPONSE, "fwhm_mm": 300}}, "fwhm_mm 300; it must lie between"),
        ({"response": {**RESPONSE, "lift": True}}, "lift True"),
        ({"response": {**RESPONSE, "family": "both"}}, "family 'both'"),
        ({"ordinary": {"knee": {}}}, "disc and facet"),
        ({"ordinary": {"disc": {**DISC, "patients": 0}}}, "patients 0"),
        ({"ordinary": {"disc": {}}}, "mean, mean_sd, sd, patients, joints"),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence(tmp_path, change, words):
    with pytest.raises(InputError, match=r"site\.json") as caught:
        read_calibration(write(tmp_path, {**GOOD, **change}))
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "7"])
def test_what_is_no_json_object_is_refused(tmp_path, text):
    with pytest.raises(InputError, match=r"site\.json"):
        read_calibration(write(tmp_path, text))
    with pytest.raises(InputError, match=r"none\.json"):
        read_calibration(tmp_path / "none.json")


def cohort(folder, patients, hot=0):
    """A table of joints with known means and spreads."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    with (folder / "joints_all.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(NAMES)
        for patient in range(patients):
            own = rng.normal(0.0, 0.1)
            for kind, mean in (("disc", 1.1), ("facet", 0.9)):
                for n in range(40):
                    ratio = mean + own + rng.normal(0.0, 0.15)
                    seen = ("positive", 5.0) if n < hot else ("negative", ratio)
                    place = (f"p{patient}", f"{kind} {n}", kind, "measured")
                    writer.writerow([*place, *seen, ratio - 0.196, ratio + 0.196])
    return folder


def test_normals_give_their_mean_and_spreads(tmp_path):
    found = calibrate_normals(cohort(tmp_path / "c", 60, hot=2)).ordinary
    assert found["disc"].mean == pytest.approx(1.1, abs=0.04)
    assert found["facet"].mean == pytest.approx(0.9, abs=0.04)
    # Spread of the ratios and of their intervals (SD 0.1) together.
    assert found["disc"].sd == pytest.approx(np.hypot(0.15, 0.1), rel=0.08)
    assert found["disc"].mean_sd == pytest.approx(0.1, rel=0.3)
    assert (found["disc"].patients, found["disc"].joints) == (60, 60 * 38)


def test_too_few_normals_and_a_missing_table_are_refused(tmp_path):
    with pytest.raises(InputError, match="fewer than 5 patients"):
        calibrate_normals(cohort(tmp_path / "c", 4))
    with pytest.raises(InputError, match=r"There is no 'joints_all\.csv'"):
        calibrate_normals(tmp_path)


def test_the_command_writes_a_file_that_can_be_read(tmp_path, capsys):
    out, normals = tmp_path / "site.json", str(cohort(tmp_path / "c", 6))
    assert main(["calibrate", "--normals", normals, "--out", str(out)]) == 0
    assert "Ordinary disc joints: 1." in capsys.readouterr().out
    assert set(read_calibration(out).ordinary) == {"disc", "facet"}
    assert main(["calibrate", "--normals", normals, "--out", str(tmp_path / "x")]) == 2
    assert "JSON file" in capsys.readouterr().err
    # A file that is not ours stays.
    foreign = tmp_path / "mine.json"
    foreign.write_text("{}", encoding="utf-8")
    assert main(["calibrate", "--normals", normals, "--out", str(foreign)]) == 2
    assert foreign.read_text(encoding="utf-8") == "{}"
