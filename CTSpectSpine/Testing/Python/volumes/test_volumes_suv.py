"""SUV and lean-body SUV: what the values are decayed to, and whose body they are for."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from dicom_files import spect

from CTSpectSpineLib.analysis.inputs import lean_inputs
from CTSpectSpineLib.analysis.stages import lean_suv
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.results.records import volume_record
from CTSpectSpineLib.triage_protocol import check_context
from CTSpectSpineLib.volumes import Acquisition, lean_body_mass_kg, lean_share, suv_factor

HOURS = 3.0
KNOWN = Acquisition(
    units="Bq/ml",
    half_life_s=6.0 * 3600,
    injected_dose_MBq=600.0,
    injection_time=datetime(2026, 5, 4, 9),
    scan_time=datetime(2026, 5, 4, 9) + timedelta(hours=HOURS),
    patient_weight_kg=75.0,
)


@pytest.mark.parametrize("correction", ["START", "NONE", ""])
def test_values_of_the_scan_need_the_dose_that_is_left(correction: str) -> None:
    factor, _ = suv_factor(replace(KNOWN, decay_correction=correction))
    assert factor == pytest.approx(75e3 / (600e6 * math.exp(-math.log(2) * HOURS / 6.0)))


def test_values_of_the_injection_need_the_whole_dose_and_no_time() -> None:
    at_injection = replace(KNOWN, decay_correction="ADMIN", injection_time=None, scan_time=None)
    assert suv_factor(at_injection)[0] == pytest.approx(75e3 / 600e6)


def test_the_same_patient_has_one_suv_however_the_values_are_corrected() -> None:
    """A concentration of the scan's start, told as it is or carried back to the injection."""
    at_start = 1e4
    at_injection = at_start * 2.0 ** (HOURS / 6.0)
    start, _ = suv_factor(replace(KNOWN, decay_correction="START"))
    admin, _ = suv_factor(replace(KNOWN, decay_correction="ADMIN"))
    assert start is not None
    assert admin is not None
    assert start * at_start == pytest.approx(admin * at_injection)


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"decay_correction": "START"}, ""),
        ({"decay_correction": "ADMIN"}, ""),
        ({"corrections": ("ATTN", "DECY")}, ""),
        ({"decay_correction": "NONE"}, "not corrected (DecayCorrection NONE)"),
        ({"decay_correction": "NONE", "corrections": ("DECY",)}, "DecayCorrection NONE"),
        ({"corrections": ("ATTN",)}, "does not say whether decay during the scan"),
    ],
)
def test_decay_during_the_scan_is_said(known: dict[str, object], words: str) -> None:
    _, reason = suv_factor(replace(KNOWN, **known))
    assert words in reason
    assert ("10 minutes" in reason) == bool(words)
    if words:
        # A long scan's mean against its start, by integration.
        times = np.linspace(0.0, 600.0, 10001)
        low = 100.0 * (1.0 - np.mean(0.5 ** (times / (6.0 * 3600))))
        assert f"{low:.1f} % low" in reason


@pytest.mark.parametrize(
    ("weight", "height", "sex", "lean"),
    [(70.0, 175.0, "male", 55.86), (60.0, 165.0, "female", 39.29), (120.0, 160.0, "female", 55.02)],
)
def test_lean_body_mass(weight: float, height: float, sex: str, lean: float) -> None:
    """By hand: 9270 W / (6680 + 216 BMI) of men, 9270 W / (8780 + 244 BMI) of women."""
    assert lean_body_mass_kg(weight, height, sex) == pytest.approx(lean, abs=0.01)


@pytest.mark.parametrize("sex", ["male", "female"])
def test_lean_body_mass_rises_with_weight_and_stays_below_it(sex: str) -> None:
    weights = np.linspace(45.0, 200.0, 40)
    lean = [lean_body_mass_kg(weight, 170.0, sex) for weight in weights]
    assert np.all(np.diff(lean) > 0)
    assert np.all(lean < weights)


@pytest.mark.parametrize("wrong", [(70, 175, "other"), (0, 175, "male"), (70, -1, "male")])
def test_no_lean_body_mass_of_impossible_values(wrong: tuple[float, float, str]) -> None:
    with pytest.raises(InputError, match="No lean body mass"):
        lean_body_mass_kg(*wrong)


@pytest.mark.parametrize(("stated", "height"), [(1.65, 165.0), (165.0, 165.0), (0.0, None)])
def test_height_and_sex_come_from_the_header_and_the_user_wins(
    stated: float, height: float | None, tmp_path: Path
) -> None:
    volume = spect(tmp_path, PatientSex="F", PatientSize=stated, PatientWeight=60)
    assert volume.acquisition.patient_height_cm == height
    share, reason = lean_share(volume.acquisition)
    if height is None:
        assert share is None
        assert reason == "No SUL: body height not given and not in the header."
    else:
        assert share == pytest.approx(39.29 / 60.0, abs=1e-3)
    context = check_context({"body_weight_kg": 70, "body_height_cm": 175, "sex": "male"})
    assert lean_share(volume.acquisition, **lean_inputs(context))[0] == pytest.approx(
        55.86 / 70.0, abs=1e-3
    )
    assert lean_suv(volume, context, calibrated=True)["per_suv"] == pytest.approx(0.798, abs=1e-3)
    assert lean_suv(volume, context, calibrated=False)["per_suv"] is None
    record = str(volume_record(volume))
    assert "female" not in record, "the manifest says nothing of the patient"


def test_what_is_missing_for_the_lean_suv_is_said() -> None:
    assert lean_share(Acquisition())[1].startswith("No SUL: body weight, body height, sex not")
    assert "women and men alone" in lean_share(Acquisition(), 70.0, 170.0, "other")[1]
