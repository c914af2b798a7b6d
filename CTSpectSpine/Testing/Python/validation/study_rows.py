"""Rows of a truth study."""

from __future__ import annotations

from dataclasses import replace

from CTSpectSpineLib.validation.rows import (
    JointRow,
    PatientRow,
)


def joint_row(patient: str = "p", **values: object) -> JointRow:
    row = JointRow(
        set_name="standard",
        split="test",
        patient=patient,
        seed=1,
        joint="L4-L5 disc",
        level="L4-L5",
        kind="disc",
        side="",
        spine_region="lumbar",
        true_ratio=1.0,
        true_uptake="negative",
        hottest_near=1.0,
        degenerate=0.0,
        fwhm_mm=10.0,
        status="measured",
        status_reason="",
        ratio_mean=0.5,
        ratio_max=0.8,
        ratio_corrected=1.0,
        ratio_low=0.8,
        ratio_high=1.2,
        probability_positive=0.1,
        uptake="negative",
        centre_error_mm=0.5,
        dice=0.9,
        registration_mm=0.3,
    )
    return replace(row, **values)  # type: ignore[arg-type]


def patient_row(name: str = "p", **values: object) -> PatientRow:
    row = PatientRow(
        set_name="standard",
        split="test",
        patient=name,
        seed=1,
        field="T12-S1",
        pattern="single",
        hot="L4-L5 disc=3.00",
        ct_voxel_mm="1.50x1.50x2.00",
        cobb_deg=3.0,
        bone_density=1.0,
        size=1.0,
        fwhm_mm=10.0,
        voxel_mm=4.0,
        counts=8e6,
        true_disposition="lumbar_disc",
        grey_joints=0,
        fwhm_used_mm=9.8,
        fwhm_source="estimated from the SPECT",
        disposition="lumbar_disc",
        stability=0.9,
        quality="good",
        registration_mm=0.3,
        registration_worst_mm=0.5,
        **dict.fromkeys(
            [
                f"{s}_s"
                for s in ("phantom", "label", "register", "joints", "uptake", "triage", "cpu")
            ],
            1.0,
        ),
    )
    return replace(row, **values)  # type: ignore[arg-type]
