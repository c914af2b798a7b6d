"""Acquisition data from a DICOM header; missing or damaged fields are left out."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from CTSpectSpineLib.volumes.dicom.tags import number, value, values
from CTSpectSpineLib.volumes.suv import TC99M_HALF_LIFE_S
from CTSpectSpineLib.volumes.volume import Acquisition

_LEAST_DOSE_BQ = 1e5
"""Doses above this are in Bq: NM states MBq and PET Bq, and vendors mix them up. Judgement: no
patient is given as much as 1e5 MBq, or as little as 1e5 Bq."""

_FREE_TEXT = ("ProcessingFunction", "SeriesDescription", "ImageComments")
"""Where scanners and their users write how a SPECT was reconstructed, beside the tags for it."""
_HEIGHTS_CM = (50.0, 250.0)
"""Least and greatest height of a patient, cm. Judgement: no number is one of both in metres and in
centimetres."""
_COLLIMATORS = {
    "PARA": "parallel holes",
    "FANB": "fan beam",
    "CONE": "cone beam",
    "PINH": "pinhole",
    "DIVG": "diverging",
    "CVGB": "converging",
    "SLNT": "slant holes",
    "ASTG": "astigmatic",
}
"""Kinds of collimators in words. Standard: DICOM PS3.3 C.8.4.11."""
_SEXES = {"F": "female", "M": "male"}


def read_acquisition(path: Path, units: str) -> Acquisition:
    """Read what one file of the scan says about its acquisition.

    Parameters
    ----------
    path
        A DICOM file.
    units
        Unit of the voxels as the reader returns them.
    """
    header = _header(path)
    zone = _zone(_text(header, "TimezoneOffsetFromUTC"))
    tracer = next(iter(values(header, "RadiopharmaceuticalInformationSequence")), Dataset())
    scan = _datetime(header, "AcquisitionDateTime", zone) or _first_datetime(
        header, ("Acquisition", "Series", "Content", "Study"), zone
    )
    injection = _datetime(tracer, "RadiopharmaceuticalStartDateTime", zone)
    if injection is None and scan is not None:
        injection = _time_of_day(tracer, "RadiopharmaceuticalStartTime", scan)
    name, half_life = _radionuclide(tracer)
    patient = str(value(header, "PatientID") or "")
    return Acquisition(
        modality=_text(header, "Modality"),
        manufacturer=" ".join(
            filter(None, (_text(header, "Manufacturer"), _text(header, "ManufacturerModelName")))
        ),
        series_description=_text(header, "SeriesDescription"),
        units=units,
        radionuclide=name,
        tracer=_text(tracer, "Radiopharmaceutical") or _meaning(tracer, "RadiopharmaceuticalCode"),
        energy_windows_kev=_energy_windows(header),
        half_life_s=half_life,
        injected_dose_MBq=_dose(tracer),
        injection_time=injection,
        scan_time=scan,
        decay_correction=_text(header, "DecayCorrection"),
        patient_weight_kg=_positive(header, "PatientWeight"),
        patient_height_cm=_height_cm(header),
        patient_sex=_SEXES.get(_text(header, "PatientSex").upper(), ""),
        reconstruction=_text(header, "ReconstructionMethod") or _text(header, "ProcessingFunction"),
        filter=_text(header, "ConvolutionKernel") or _text(header, "FilterType"),
        collimator=_collimator(header),
        comments=" ".join(filter(None, (_text(header, key) for key in _FREE_TEXT))),
        corrections=tuple(str(v) for v in values(header, "CorrectedImage")),
        patient_digest=hashlib.sha256(patient.encode()).hexdigest()[:16] if patient else "",
        frame_of_reference=_text(header, "FrameOfReferenceUID"),
    )


def _header(path: Path) -> Dataset:
    try:
        header: Dataset = dcmread(path, stop_before_pixels=True, force=True)
    except Exception:  # pydicom raises many kinds on damaged files
        return Dataset()
    return header


def _text(header: Dataset, keyword: str) -> str:
    return "/".join(str(v).strip() for v in values(header, keyword))


def _meaning(item: Dataset, code: str) -> str:
    """Meaning of a code sequence."""
    found = next(iter(values(item, f"{code}Sequence")), Dataset())
    return _text(found, "CodeMeaning") if isinstance(found, Dataset) else ""


def _energy_windows(header: Dataset) -> tuple[tuple[float, float], ...]:
    """Lower and upper limit of all energy windows, keV."""
    limits = (
        (number(bounds, "EnergyWindowLowerLimit"), number(bounds, "EnergyWindowUpperLimit"))
        for window in values(header, "EnergyWindowInformationSequence")
        for bounds in values(window, "EnergyWindowRangeSequence")
    )
    return tuple((low, high) for low, high in limits if low is not None and high is not None)


def _collimator(header: Dataset) -> str:
    """Name and kind of the first collimator that is stated."""
    for detector in values(header, "DetectorInformationSequence"):
        kind = _COLLIMATORS.get(_text(detector, "CollimatorType").upper(), "")
        stated = ", ".join(filter(None, (_text(detector, "CollimatorGridName"), kind)))
        if stated:
            return stated
    return ""


def _positive(header: Dataset, keyword: str) -> float | None:
    found = number(header, keyword)
    return found if found is not None and found > 0 else None


def _height_cm(header: Dataset) -> float | None:
    """Height in cm; DICOM has it in metres, and some write centimetres."""
    stated = number(header, "PatientSize")
    heights = (factor * (stated or 0.0) for factor in (100.0, 1.0))
    return next((h for h in heights if _HEIGHTS_CM[0] <= h <= _HEIGHTS_CM[1]), None)


def _dose(tracer: Dataset) -> float | None:
    dose = _positive(tracer, "RadionuclideTotalDose")
    if dose is None:
        return None
    return dose / 1e6 if dose > _LEAST_DOSE_BQ else dose


def _radionuclide(tracer: Dataset) -> tuple[str, float | None]:
    name = _meaning(tracer, "RadionuclideCode") or _text(tracer, "Radiopharmaceutical")
    half_life = _positive(tracer, "RadionuclideHalfLife")
    technetium = re.search(r"technetium|tc.?99m|99m.?tc", name, re.IGNORECASE)
    return name, half_life or (TC99M_HALF_LIFE_S if technetium else None)


def _first_datetime(
    header: Dataset, kinds: tuple[str, ...], zone: timezone | None
) -> datetime | None:
    for kind in kinds:
        date, time = _text(header, f"{kind}Date"), _text(header, f"{kind}Time")
        if date and time and (found := _parse(date.replace(".", "") + time, zone)) is not None:
            return found
    return None


def _datetime(header: Dataset, keyword: str, zone: timezone | None) -> datetime | None:
    return _parse(_text(header, keyword), zone)


def _time_of_day(header: Dataset, keyword: str, scan: datetime) -> datetime | None:
    """A time without a date: the last such time before the scan, in its zone."""
    time = _text(header, keyword)
    found = _parse(scan.strftime("%Y%m%d") + time, None) if time else None
    if found is None:
        return None
    found = found.replace(tzinfo=scan.tzinfo)
    return found - timedelta(days=1) if found > scan else found


_TIME = re.compile(
    r"(\d{4})(\d\d)(\d\d)(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d{1,6})\d*)?)?)?([+-]\d{4})?"
)
"""Date and time of day; minutes, seconds, fraction and zone may be left out. Standard: DICOM PS3.5,
DA, TM and DT."""


def _parse(text: str, zone: timezone | None) -> datetime | None:
    """DICOM's DT, or its DA and TM joined; in the zone that it names, or else in the one given."""
    # Colons stand in the older form of TM.
    found = _TIME.fullmatch(text.replace(":", "").strip())
    if found is None:
        return None
    *digits, fraction, offset = found.groups()
    year, month, day, hour, minute, second = (int(part or 0) for part in digits)
    own = _zone(offset or "")
    if offset and own is None:
        return None
    try:
        # A leap second does not exist in Python.
        whole = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=own or zone)
    except ValueError:
        return None
    return whole.replace(microsecond=int((fraction or "0").ljust(6, "0")))


def _zone(text: str) -> timezone | None:
    """Offset from UTC as DICOM writes it, ``+0200``."""
    found = re.fullmatch(r"([+-])(\d\d)([0-5]\d)", text.strip())
    if found is None:
        return None
    offset = timedelta(hours=int(found.group(2)), minutes=int(found.group(3)))
    if offset >= timedelta(hours=24):
        return None
    return timezone(-offset if found.group(1) == "-" else offset)
