"""Acquisition data from a DICOM header; missing or damaged fields are left out."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timedelta
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from CTSpectSpineLib.volumes.dicom.series import number, value, values
from CTSpectSpineLib.volumes.suv import TC99M_HALF_LIFE_S
from CTSpectSpineLib.volumes.volume import Acquisition

_LEAST_DOSE_BQ = 1e5
"""Doses above this are in Bq: NM states MBq and PET Bq, and vendors mix them up. Judgement: no
patient is given as much as 1e5 MBq, or as little as 1e5 Bq."""


def read_acquisition(path: Path, units: str) -> Acquisition:
    """Read what one file of the scan says about its acquisition.

    Parameters
    ----------
    path
        A DICOM file.
    units
        Unit of the voxels as the reader returns them.
    """
    header = dcmread(path, stop_before_pixels=True, force=True)
    tracer = next(iter(values(header, "RadiopharmaceuticalInformationSequence")), Dataset())
    scan = _datetime(header, "AcquisitionDateTime") or _first_datetime(
        header, ("Acquisition", "Series", "Content", "Study")
    )
    injection = _datetime(tracer, "RadiopharmaceuticalStartDateTime")
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
        half_life_s=half_life,
        injected_dose_MBq=_dose(tracer),
        injection_time=injection,
        scan_time=scan,
        decay_correction=_text(header, "DecayCorrection"),
        patient_weight_kg=_positive(header, "PatientWeight"),
        reconstruction=_text(header, "ReconstructionMethod") or _text(header, "ProcessingFunction"),
        filter=_text(header, "ConvolutionKernel") or _text(header, "FilterType"),
        fwhm_mm=_fwhm(header),
        corrections=tuple(str(v) for v in values(header, "CorrectedImage")),
        patient_digest=hashlib.sha256(patient.encode()).hexdigest()[:16] if patient else "",
        frame_of_reference=_text(header, "FrameOfReferenceUID"),
    )


def _text(header: Dataset, keyword: str) -> str:
    return "/".join(str(v).strip() for v in values(header, keyword))


def _positive(header: Dataset, keyword: str) -> float | None:
    found = number(header, keyword)
    return found if found is not None and found > 0 else None


def _dose(tracer: Dataset) -> float | None:
    dose = _positive(tracer, "RadionuclideTotalDose")
    if dose is None:
        return None
    return dose / 1e6 if dose > _LEAST_DOSE_BQ else dose


def _radionuclide(tracer: Dataset) -> tuple[str, float | None]:
    code = next(iter(values(tracer, "RadionuclideCodeSequence")), Dataset())
    name = _text(code, "CodeMeaning") or _text(tracer, "Radiopharmaceutical")
    half_life = _positive(tracer, "RadionuclideHalfLife")
    technetium = re.search(r"technetium|tc.?99m|99m.?tc", name, re.IGNORECASE)
    return name, half_life or (TC99M_HALF_LIFE_S if technetium else None)


def _fwhm(header: Dataset) -> float | None:
    """Full width at half maximum stated in the filter's name, in mm."""
    texts = " ".join(_text(header, key) for key in ("ConvolutionKernel", "FilterType"))
    stated = re.search(r"(\d+(?:\.\d+)?)\s*mm", texts, re.IGNORECASE)
    return float(stated.group(1)) if stated else None


def _first_datetime(header: Dataset, kinds: tuple[str, ...]) -> datetime | None:
    for kind in kinds:
        date, time = _text(header, f"{kind}Date"), _text(header, f"{kind}Time")
        if date and time and (found := _parse(date + time)) is not None:
            return found
    return None


def _datetime(header: Dataset, keyword: str) -> datetime | None:
    return _parse(_text(header, keyword))


def _time_of_day(header: Dataset, keyword: str, scan: datetime) -> datetime | None:
    """A time without a date: the last such time before the scan."""
    time = _text(header, keyword)
    found = _parse(scan.strftime("%Y%m%d") + time) if time else None
    if found is not None and found > scan.replace(tzinfo=None):
        found -= timedelta(days=1)
    return found


def _parse(text: str) -> datetime | None:
    """DICOM's DT, or its DA and TM joined, to a datetime without zone (local to the scanner)."""
    digits = re.match(r"(\d{14})(?:\.(\d{1,6}))?", text.replace(":", "").strip())
    if digits is None:
        return None
    try:
        whole = datetime.strptime(digits.group(1), "%Y%m%d%H%M%S")
    except ValueError:
        return None
    return whole.replace(microsecond=int((digits.group(2) or "0").ljust(6, "0")))
