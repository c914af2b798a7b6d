"""The sets of simulated pairs, and their goals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class SetInfo:
    """A set of pairs.

    Attributes
    ----------
    title
        For tables.
    description
        One sentence.
    shift_mm, turn_deg
        Misalignment: uniform up to this along, and about, each axis. The defaults are judgements:
        a patient who was laid down again on another scanner.
    goal_mean_mm, goal_worst_mm
        Goals of the mean and the worst pair's error at the joints; None where there is none.
    goal_success
        Goal of the share of pairs below 2.5 mm.
    """

    title: str
    description: str
    shift_mm: float = 25.0
    turn_deg: float = 12.0
    goal_mean_mm: float | None = None
    goal_worst_mm: float | None = None
    goal_success: float | None = None


SETS: Mapping[str, SetInfo] = {
    "standard": SetInfo(
        "Standard",
        "Phantoms of the lower thoracic and lumbar spine, or of the whole spine.",
        goal_mean_mm=0.6,
        goal_worst_mm=1.5,
        goal_success=1.0,
    ),
    "standard-real": SetInfo(
        "Standard, real CT",
        "SPECT simulated on a real CT (3 mm voxels).",
        goal_mean_mm=0.6,
        goal_worst_mm=1.5,
        goal_success=1.0,
    ),
    "hard": SetInfo(
        "Hard",
        "The standard patients, far off.",
        shift_mm=80.0,
        turn_deg=30.0,
        goal_mean_mm=0.6,
        goal_worst_mm=2.0,
        goal_success=1.0,
    ),
    "hard-real": SetInfo(
        "Hard, real CT",
        "The real CT, far off.",
        shift_mm=80.0,
        turn_deg=30.0,
        goal_mean_mm=0.6,
        goal_worst_mm=2.0,
        goal_success=1.0,
    ),
    "lumbar-crop": SetInfo(
        "Small lumbar CT",
        "A CT of 170 × 160 mm around L1 to L5 against a SPECT of the trunk.",
        goal_mean_mm=1.0,
        goal_success=0.99,
    ),
    "cervical": SetInfo(
        "Cervical",
        "A CT of 180 × 160 mm around C1 to C7 against a SPECT of neck and chest.",
        goal_mean_mm=1.2,
        goal_success=0.99,
    ),
    "chest": SetInfo(
        "Chest crop",
        "A CT of six thoracic levels, 230 mm wide, against a SPECT of the trunk.",
        goal_mean_mm=1.5,
        goal_success=0.99,
    ),
    "low-counts": SetInfo(
        "Few counts", "A quarter of the counts.", goal_mean_mm=1.2, goal_success=0.98
    ),
    "focal": SetInfo(
        "Strong focal uptake",
        "Two to five joints with true ratios of 5 to 10.",
        goal_mean_mm=1.2,
        goal_success=0.98,
    ),
    "contrast": SetInfo(
        "Contrast agent",
        "Contrast agent in the vessels and kidneys of the CT.",
        goal_mean_mm=1.2,
        goal_success=0.98,
    ),
    "metal": SetInfo(
        "Metal",
        "Pedicle screws and rods over two to four levels, with streaks.",
        goal_mean_mm=1.2,
        goal_success=0.98,
    ),
    "no-ac": SetInfo(
        "No attenuation correction",
        "The SPECT is reconstructed without attenuation correction.",
        goal_mean_mm=1.2,
        goal_success=0.98,
    ),
    "bent": SetInfo(
        "3 mm residual deformation",
        "The spine lies differently in the SPECT: 3 mm (root mean square) at the joints remain "
        "after the best rigid alignment, which is the truth.",
        goal_mean_mm=1.2,
        goal_success=0.98,
    ),
    "bladder": SetInfo(
        "Very hot bladder",
        "The bladder holds 8 to 40 times the uptake of bone.",
        goal_success=0.98,
    ),
    "kidneys": SetInfo(
        "Very hot kidneys", "The kidneys hold 6 to 12 times the uptake of bone.", goal_success=0.98
    ),
    "arms": SetInfo(
        "Arms and injection site",
        "Arms beside the trunk in the SPECT only, one with an injection site of 30 to 150 times "
        "the uptake of bone.",
        goal_success=0.98,
    ),
    "contrast-chest": SetInfo(
        "Chest with contrast",
        "A chest CT in the arterial phase (heart, aorta) against a SPECT of the trunk.",
        goal_mean_mm=1.2,
        goal_success=1.0,
    ),
    "no-ac-scatter": SetInfo(
        "No attenuation correction, with scatter",
        "Neither attenuation nor scatter is corrected.",
        goal_mean_mm=1.2,
        goal_success=0.98,
    ),
    "part-40": SetInfo("SPECT over 40 % of the CT", "A short axial field.", goal_success=1.0),
    "part-25": SetInfo("SPECT over 25 % of the CT", "A shorter axial field.", goal_success=1.0),
    "half-moved": SetInfo(
        "Half of the scan moved",
        "The patient moves by 16 mm in the middle of the scan; the truth is the mean position.",
        goal_success=1.0,
    ),
    "physical": SetInfo(
        "Physical scanner",
        "Projections with attenuation, scatter and collimator, reconstructed by OSEM.",
        shift_mm=10.0,
        turn_deg=5.0,
        goal_mean_mm=1.0,
        goal_success=1.0,
    ),
    "physical-no-ac": SetInfo(
        "Physical scanner, no correction",
        "The same, reconstructed without attenuation and scatter correction.",
        shift_mm=10.0,
        turn_deg=5.0,
        goal_mean_mm=1.2,
        goal_success=0.98,
    ),
}
"""Sets of right pairs. Judgement: the goals stand about where a prototype ended (mean errors of 0.4
to 0.6 mm, 0.9 mm on small lumbar fields, 1.5 mm on crops of the chest); degraded images may cost
twice the standard error."""

WRONG_SETS: Mapping[str, SetInfo] = {
    "other-patient": SetInfo("Other patient", "CT and SPECT of the same region of two patients."),
    "other-part": SetInfo("Other body part", "CT and SPECT of one patient that share no level."),
    "mirrored": SetInfo("Mirrored", "The SPECT with left and right swapped."),
    "turned": SetInfo("Turned by 180°", "The SPECT turned about one of its axes by 180°."),
    "strongly-bent": SetInfo(
        "Strongly bent",
        "The spine lies differently in the SPECT: 10 mm at the joints remain after the best "
        "rigid alignment.",
    ),
    "scaled": SetInfo(
        "Another size", "A patient of the same shape, 3 or 5 % larger or smaller, shown as it is."
    ),
    "attenuation-map": SetInfo(
        "Attenuation map", "The attenuation map of the scan in place of the SPECT."
    ),
    "other-tracer": SetInfo("Other tracer", "Kidneys, bladder, liver and blood, hardly any bone."),
    "few-levels": SetInfo(
        "No or two levels in common", "A CT of T12 to L5, a SPECT of T5 to T10 or T7 to T12."
    ),
}
