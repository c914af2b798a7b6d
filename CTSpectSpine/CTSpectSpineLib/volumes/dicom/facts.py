"""What a series is, as far as the choice between several depends on it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from CTSpectSpineLib.volumes.dicom.frames import Frame, frames_of
from CTSpectSpineLib.volumes.dicom.series import Series
from CTSpectSpineLib.volumes.dicom.stack import pixel_spacing, plane_orientation, plane_position
from CTSpectSpineLib.volumes.dicom.tags import number, value, values
from CTSpectSpineLib.volumes.volume import Role

_UNCORRECTED = re.compile(
    r"(?<![a-z])(nac|no[\s_-]?ac|non[\s_-]?ac|non?[\s_-]?att\w*|uncorrected)(?![a-z])",
    re.IGNORECASE,
)
_CORRECTED = re.compile(r"(?<![a-z])(ac|ctac|irac|acsc|attn)(?![a-z])", re.IGNORECASE)
"""What reconstructions without and with attenuation correction are called."""
_SHARP = re.compile(r"bone|lung|edge|sharp|^yc|^l\d?$|^[a-z]{0,2}[5-9]\d", re.IGNORECASE)
"""Kernels that sharpen: by name, ``YC`` and ``L`` of Philips, numbers from 50 of Siemens."""
_ELSEWHERE = re.compile(r"head|skull|brain|knee|hand|foot|ankle|wrist|elbow|extremity", re.I)
"""Body parts without a spine. Standard: DICOM PS3.16 annex L, and words in use."""


@dataclass(frozen=True)
class Facts:
    """What the header of a series says; empty or None where it is silent.

    Attributes
    ----------
    patient, study, frame
        PatientID, StudyInstanceUID and FrameOfReferenceUID.
    date
        ``YYYYMMDD`` of the acquisition, or else of the series or the study.
    description, kernel, body_part
        As worded.
    attenuation_corrected
        For a SPECT: 1 corrected, -1 stated not to be, 0 unknown.
    scatter_corrected
        Whether it says so.
    slices, spacing_mm
        Number of slices and the distance between them.
    low_mm, high_mm
        Lowest and highest LPS coordinate along z; None without position.
    """

    patient: str
    study: str
    frame: str
    date: str
    description: str
    kernel: str
    body_part: str
    attenuation_corrected: int
    scatter_corrected: bool
    derived: bool
    slices: int
    spacing_mm: float | None
    low_mm: float | None
    high_mm: float | None

    @property
    def sharp(self) -> bool:
        """Whether the kernel sharpens."""
        return bool(_SHARP.search(self.kernel))

    @property
    def elsewhere(self) -> bool:
        """Whether the header names a part of the body without a spine."""
        return bool(_ELSEWHERE.search(self.body_part))


def facts_of(series: Series) -> Facts:
    """Read what the headers of a series say."""
    header = series.first.header

    def text(keyword: str) -> str:
        return str(value(header, keyword) or "").strip()

    frames = [
        frame
        for file in series.files
        if file.enhanced_ct and not series.refusal
        for frame in frames_of(file.header, file.frames)
    ]
    low, high, spacing = _extent(series, frames)
    corrections = {str(name).upper() for name in values(header, "CorrectedImage")}
    described = text("SeriesDescription")
    dates = (
        text("AcquisitionDate"),
        text("AcquisitionDateTime")[:8],
        text("SeriesDate"),
        text("StudyDate"),
    )
    return Facts(
        patient=text("PatientID"),
        study=text("StudyInstanceUID"),
        frame=text("FrameOfReferenceUID"),
        date=next(filter(None, dates), ""),
        description=described,
        kernel="/".join(str(part) for part in values(header, "ConvolutionKernel"))
        or (frames[0].kernel if frames else ""),
        body_part=text("BodyPartExamined") or (frames[0].body_part if frames else ""),
        attenuation_corrected=_attenuation(corrections, described, series.role),
        scatter_corrected="SCAT" in corrections,
        derived="DERIVED" in series.first.image_type,
        slices=series.slices,
        spacing_mm=spacing,
        low_mm=low,
        high_mm=high,
    )


def _attenuation(corrections: set[str], described: str, role: Role | None) -> int:
    if role != "spect":
        return 0
    # What a person wrote knows more than a list that many scanners fill in for all series alike.
    if _UNCORRECTED.search(described):
        return -1
    return int("ATTN" in corrections or bool(_CORRECTED.search(described)))


def _extent(
    series: Series, frames: Sequence[Frame]
) -> tuple[float | None, float | None, float | None]:
    """Lowest and highest z and the distance of the slices, mm."""
    first = series.first
    if first.enhanced_ct:
        heights = sorted(frame.position[2] for frame in frames if frame.position)
        return _ends(heights)
    if first.frames > 1:
        position, axes = plane_position(first), plane_orientation(first)
        step = number(first.header, "SpacingBetweenSlices")
        step = step or number(first.header, "SliceThickness")
        step = step or (pixel_spacing(first) or (None,))[0]
        if position is None or axes is None or step is None:
            return None, None, None if step is None else abs(step)
        end = position + np.cross(*axes) * step * (first.frames - 1)
        low, high = sorted((float(position[2]), float(end[2])))
        return low, high, abs(step)
    heights = sorted(
        float(position[2])
        for file in series.files
        if (position := plane_position(file)) is not None
    )
    return _ends(heights)


def _ends(heights: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    if len(heights) < 2:
        return None, None, None
    return heights[0], heights[-1], float(np.median(np.diff(heights)))
