"""Standardised uptake value."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.volumes.volume import Acquisition, Volume

TC99M_HALF_LIFE_S = 6.007 * 3600.0
"""Half-life of Tc-99m in seconds (6.007 h in ENSDF; Browne and Tuli 2017)."""
TC99M_PHOTOPEAK_KEV = 140.5
"""Photopeak of Tc-99m, keV (140.511 in ENSDF; Browne and Tuli 2017)."""

_LEAN = {"male": (9270.0, 6680.0, 216.0), "female": (9270.0, 8780.0, 244.0)}
"""Lean body mass in kg is a x weight / (b + c x body mass index), with a, b, c by sex
(Janmahasatian et al. 2005)."""

UNKNOWN_SUV = "SUV of unknown type"
"""Unit of values that are said to be SUV of a type that is not known."""
OTHER_SUV = {
    "SUL": "SUV by lean body mass (SUL)",
    "SUVbsa": "SUV by body surface area",
    "SUVibw": "SUV by ideal body weight",
    UNKNOWN_SUV: "SUV of a type (SUVType) that is not known",
}
"""Units of volumes that are SUV, and not by body weight."""


def in_unit(volume: Volume, unit: str) -> Volume:
    """A volume whose voxels the user declares to have a unit.

    Counts are what a DICOM file without a unit is taken to hold, so that it may be another one.

    Raises
    ------
    InputError
        If its file states another one.
    """
    stated = volume.acquisition.units
    if stated not in ("", "counts", unit):
        raise InputError(
            f"{volume.name}: its header says that it is in {stated}, not in {unit}; leave out the "
            "unit, or correct the header."
        )
    return replace(
        volume,
        unit=unit,
        acquisition=replace(volume.acquisition, units=unit),
        notes=(*volume.notes, f"The SPECT is in {unit} by the user's word."),
    )


def lean_body_mass_kg(weight_kg: float, height_cm: float, sex: str) -> float:
    """Lean body mass of an adult, kg (Janmahasatian et al. 2005, Clin Pharmacokinet 44:1051).

    Unlike James's formula of 1976 it keeps rising with weight in the obese.

    Parameters
    ----------
    weight_kg, height_cm
        Of the body.
    sex
        ``"female"`` or ``"male"``.

    Raises
    ------
    InputError
        If the sex is another word, or weight or height are not positive.
    """
    if sex not in _LEAN or not (weight_kg > 0 and height_cm > 0):
        raise InputError(
            f"No lean body mass of {weight_kg:g} kg, {height_cm:g} cm and sex '{sex}'; give a "
            "weight, a height, and female or male."
        )
    whole, offset, slope = _LEAN[sex]
    return whole * weight_kg / (offset + slope * weight_kg / (height_cm / 100.0) ** 2)


def lean_share(
    acquisition: Acquisition,
    weight_kg: float | None = None,
    height_cm: float | None = None,
    sex: str | None = None,
) -> tuple[float | None, str]:
    """Factor from body-weight SUV to lean-body SUV (SUL), and a sentence about it.

    Parameters
    ----------
    acquisition
        Header of the SPECT.
    weight_kg, height_cm, sex
        Values given by the user, which take precedence; None where not given.

    Returns
    -------
    share, reason
        Lean body mass / body weight; None where it is not known, and the sentence says why.
    """
    weight = weight_kg if weight_kg is not None else acquisition.patient_weight_kg
    height = height_cm if height_cm is not None else acquisition.patient_height_cm
    stated = sex or acquisition.patient_sex
    given = {"body weight": weight, "body height": height, "sex": stated or None}
    missing = [name for name, value in given.items() if value is None]
    if missing or weight is None or height is None:
        return None, f"No SUL: {', '.join(missing)} not given and not in the header."
    if stated not in _LEAN:
        return None, "No SUL: lean body mass is known of women and men alone."
    if weight <= 0 or height <= 0:
        return None, "No SUL: body weight and height must be positive."
    share = lean_body_mass_kg(weight, height, stated) / weight
    return share, (
        f"SUL = {share:.3f} x SUV (lean body mass by Janmahasatian 2005, which is for adults)."
    )


def suv_factor(
    acquisition: Acquisition,
    weight_kg: float | None = None,
    dose_MBq: float | None = None,
    injection_time: datetime | None = None,
    scan_time: datetime | None = None,
) -> tuple[float | None, str]:
    """Factor from voxel values to body-weight SUV (g/ml), and a sentence about it.

    SUV = concentration x body weight / dose decayed to the time that the concentrations are of:
    the injection where they are decay corrected to it (DecayCorrection ADMIN), else the start of
    the scan. Values given by the user take precedence over those of the header; where no
    radionuclide is stated, Tc-99m is assumed.

    Parameters
    ----------
    acquisition
        Header of the SPECT.
    weight_kg, dose_MBq, injection_time, scan_time
        Values given by the user; None where not given.

    Returns
    -------
    factor, reason
        The factor is None when the values cannot be calibrated; the sentence says why, or how
        the factor was obtained.
    """
    if acquisition.units == "SUV":
        return 1.0, "The SPECT is already in SUV."
    if acquisition.units in OTHER_SUV:
        return None, (
            f"No SUV: the SPECT holds {OTHER_SUV[acquisition.units]}, not body-weight SUV; mean, "
            "max and peak of the joints are such values."
        )
    if acquisition.units != "Bq/ml":
        unit = acquisition.units or "an unknown unit"
        return None, f"No SUV: the SPECT is in {unit}, not in Bq/ml."
    weight = weight_kg if weight_kg is not None else acquisition.patient_weight_kg
    dose = dose_MBq if dose_MBq is not None else acquisition.injected_dose_MBq
    injected = injection_time or acquisition.injection_time
    scanned = scan_time or acquisition.scan_time
    decayed_to_injection = acquisition.decay_correction == "ADMIN"
    given = {"body weight": weight, "injected dose": dose}
    if not decayed_to_injection:
        given |= {"injection time": injected, "scan time": scanned}  # type: ignore[dict-item]
    missing = [name for name, value in given.items() if value is None]
    if missing or weight is None or dose is None:
        return None, f"No SUV: {', '.join(missing)} not given and not in the header."
    if weight <= 0 or dose <= 0:
        return None, "No SUV: body weight and injected dose must be positive."
    elapsed = 0.0
    if not decayed_to_injection and injected is not None and scanned is not None:
        # A time that the user gives without a zone is the scanner's.
        if injection_time is not None and injected.tzinfo is None and scan_time is None:
            injected = injected.replace(tzinfo=scanned.tzinfo)
        if scan_time is not None and scanned.tzinfo is None and injection_time is None:
            scanned = scanned.replace(tzinfo=injected.tzinfo)
        if (injected.tzinfo is None) != (scanned.tzinfo is None):
            return None, (
                f"No SUV: of injection ({injected.isoformat()}) and scan ({scanned.isoformat()}) "
                "only one has a time zone; give both times."
            )
        elapsed = (scanned - injected).total_seconds()
        if not 0 <= elapsed <= 48 * 3600:
            return None, (
                f"No SUV: the scan ({scanned.isoformat()}) is {elapsed / 3600:.1f} h after the "
                f"injection ({injected.isoformat()}); check both times."
            )
    half_life = acquisition.half_life_s or TC99M_HALF_LIFE_S
    remaining = dose * 1e6 * 0.5 ** (elapsed / half_life)
    return weight * 1000.0 / remaining, (
        f"SUV from {weight:g} kg and {dose:g} MBq, decayed over {elapsed / 3600:.2f} h to "
        f"{remaining / 1e6:.1f} MBq.{_of_decay(acquisition, half_life)}"
    )


def _of_decay(acquisition: Acquisition, half_life_s: float) -> str:
    """What the header leaves open of the decay during the scan."""
    correction = acquisition.decay_correction
    if correction in ("START", "ADMIN") or (not correction and "DECY" in acquisition.corrections):
        return ""
    # A scan's mean lies half of it after its start, where little of the nuclide decays.
    share = 100.0 * math.log(2.0) / half_life_s * 600.0 / 2.0
    low = f"{share:.1f} % low for every 10 minutes of it"
    if correction == "NONE":
        return f" Decay during the scan is not corrected (DecayCorrection NONE): SUV are {low}."
    return (
        " The header does not say whether decay during the scan is corrected (DecayCorrection); "
        f"where it is not, SUV are {low}."
    )
