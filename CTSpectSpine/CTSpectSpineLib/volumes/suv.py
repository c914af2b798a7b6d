"""Standardised uptake value."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.volumes.volume import Acquisition, Volume

TC99M_HALF_LIFE_S = 6.007 * 3600.0
"""Half-life of Tc-99m in seconds (6.007 h in ENSDF; Browne and Tuli 2017)."""
TC99M_PHOTOPEAK_KEV = 140.5
"""Photopeak of Tc-99m, keV (140.511 in ENSDF; Browne and Tuli 2017)."""


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


def suv_factor(
    acquisition: Acquisition,
    weight_kg: float | None = None,
    dose_MBq: float | None = None,
    injection_time: datetime | None = None,
    scan_time: datetime | None = None,
) -> tuple[float | None, str]:
    """Factor from voxel values to body-weight SUV (g/ml), and a sentence about it.

    SUV = concentration x body weight / dose decayed to the scan. Values given by the user take
    precedence over those of the header; where no radionuclide is stated, Tc-99m is assumed.

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
        f"{remaining / 1e6:.1f} MBq."
    )
