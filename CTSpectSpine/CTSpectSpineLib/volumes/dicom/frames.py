"""What the functional groups of an enhanced CT say of each frame.

DICOM PS3.3 C.7.6.16: an attribute is in a sequence (a macro) that stands either once for all frames
or in the item of each frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from CTSpectSpineLib.volumes.dicom.concatenation import Headers
from CTSpectSpineLib.volumes.dicom.tags import number, value, values

_SAME_DIRECTION = 1e-3
"""How far direction cosines of frames of one volume may differ. Judgement: above their rounding; a
row of half a metre then moves by half a millimetre at most."""
_SAME_SPACING_MM = 1e-4
"""How far the pixel spacing of frames of one volume may differ, mm. Judgement: as for single
slices; a row of 512 pixels then changes by 0.05 mm."""


@dataclass(frozen=True)
class Frame:
    """What a frame says of itself; empty where it is silent.

    Attributes
    ----------
    position
        LPS of its first voxel, mm.
    orientation
        Direction cosines (LPS) along a row, then along a column.
    spacing_mm
        Distance between rows, then between columns.
    thickness_mm
        SliceThickness; None where it is absent.
    slope, intercept, rescale_type
        From stored values to measured ones; the type is ``HU`` for Hounsfield units.
    stack, temporal_position
        Numbers of the stack and of the point in time that it belongs to.
    frame_type
        Values of FrameType, in upper case.
    kernel, body_part
        As worded.
    """

    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, ...]
    thickness_mm: float | None
    slope: float | None
    intercept: float | None
    rescale_type: str
    stack: str
    temporal_position: str
    frame_type: tuple[str, ...]
    kernel: str
    body_part: str


def frames_of(header: Dataset, count: int) -> list[Frame]:
    """All frames of an enhanced file, in the order of its pixels."""
    items = _items(header)
    shared = next(iter(values(header, "SharedFunctionalGroupsSequence")), Dataset())
    return [_frame(items[n] if n < len(items) else Dataset(), shared) for n in range(count)]


def frames_refusal(headers: Headers) -> str:
    """Why the frames of enhanced files form no volume, naming the tag; empty where they may."""
    for header, count in headers:
        found = len(_items(header))
        if found != count:
            return (
                f"has {found} items of PerFrameFunctionalGroupsSequence for {count} frames: it is "
                "damaged, export it again"
            )
    if len({(number(h, "Rows"), number(h, "Columns")) for h, _ in headers}) > 1:
        return "mixes frames of different Rows and Columns: export them separately"
    frames = [frame for header, count in headers for frame in frames_of(header, count)]
    return next(filter(None, _doubts(frames)), "")


def _items(header: Dataset) -> tuple[Dataset, ...]:
    return values(header, "PerFrameFunctionalGroupsSequence")


def _doubts(frames: Sequence[Frame]) -> Iterator[str]:
    lost = "export it again with its geometry"
    without = sum(not frame.position for frame in frames)
    if without:
        share = f"{without} of {len(frames)} frames"
        yield f"has {share} without ImagePositionPatient (PlanePositionSequence): {lost}"
    if not all(_upright(frame.orientation) for frame in frames):
        yield f"has frames without ImageOrientationPatient (PlaneOrientationSequence): {lost}"
    if not all(frame.spacing_mm and min(frame.spacing_mm) > 0 for frame in frames):
        yield f"has frames without PixelSpacing (PixelMeasuresSequence): {lost}"
    if any("LOCALIZER" in frame.frame_type for frame in frames):
        yield "holds a localizer (FrameType): export the slices alone"
    stacks = sorted({frame.stack for frame in frames})
    if len(stacks) > 1:
        yield f"holds {len(stacks)} stacks (StackID {', '.join(stacks)}): export one of them"
    times = {frame.temporal_position for frame in frames}
    # Some count the frames of one volume so, as each is from a time of its own.
    if 1 < len(times) < len(frames):
        yield f"holds {len(times)} points in time (TemporalPositionIndex): export one of them"
    if not _alike([frame.orientation for frame in frames], _SAME_DIRECTION):
        yield "mixes frames of different ImageOrientationPatient: export them separately"
    if not _alike([frame.spacing_mm for frame in frames], _SAME_SPACING_MM):
        yield "mixes frames of different PixelSpacing: export them separately"
    yield _scale_doubt(frames)


def _scale_doubt(frames: Sequence[Frame]) -> str:
    if any(frame.slope is None or frame.intercept is None for frame in frames):
        return (
            "has frames without RescaleSlope and RescaleIntercept "
            "(PixelValueTransformationSequence), so that its values are not known to be HU"
        )
    if any(frame.slope == 0 for frame in frames):
        return "has a RescaleSlope of 0 (PixelValueTransformationSequence): export it again"
    others = sorted({frame.rescale_type for frame in frames} - {"", "HU", "US"})
    if others:
        return f"holds values of RescaleType {', '.join(others)}, not HU: give the CT in HU"
    return ""


def _upright(orientation: tuple[float, ...]) -> bool:
    """Whether these are two directions at a right angle."""
    if not orientation:
        return False
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    return bool(min(row @ row, column @ column) >= 0.25 and abs(row @ column) <= 0.01)


def _alike(found: Sequence[tuple[float, ...]], tolerance: float) -> bool:
    # Frames without a value were noticed before.
    known = np.array([item for item in found if len(item) == len(found[0])])
    return bool(np.abs(known - known[0]).max(initial=0.0) <= tolerance)


def _frame(own: Dataset, shared: Dataset) -> Frame:
    def macro(name: str) -> Dataset:
        for group in (own, shared):
            item = next(iter(values(group, name)), None)
            if isinstance(item, Dataset):
                return item
        return Dataset()

    content = macro("FrameContentSequence")
    measures = macro("PixelMeasuresSequence")
    scale = macro("PixelValueTransformationSequence")
    anatomy = next(iter(values(macro("FrameAnatomySequence"), "AnatomicRegionSequence")), Dataset())
    unassigned = "UnassignedSharedConvertedAttributesSequence"
    kernel = values(macro("CTReconstructionSequence"), "ConvolutionKernel")
    kernel = kernel or values(macro(unassigned), "ConvolutionKernel")
    return Frame(
        position=_numbers(macro("PlanePositionSequence"), "ImagePositionPatient", 3),
        orientation=_numbers(macro("PlaneOrientationSequence"), "ImageOrientationPatient", 6),
        spacing_mm=_numbers(measures, "PixelSpacing", 2),
        thickness_mm=number(measures, "SliceThickness"),
        slope=number(scale, "RescaleSlope"),
        intercept=number(scale, "RescaleIntercept"),
        rescale_type=str(value(scale, "RescaleType") or "").strip().upper(),
        stack=str(value(content, "StackID") or ""),
        temporal_position=str(value(content, "TemporalPositionIndex") or ""),
        frame_type=tuple(
            str(part).upper() for part in values(macro("CTImageFrameTypeSequence"), "FrameType")
        ),
        kernel="/".join(map(str, kernel)),
        body_part=str(value(anatomy, "CodeMeaning") or ""),
    )


def _numbers(item: Dataset, keyword: str, count: int) -> tuple[float, ...]:
    """Finite numbers of a tag; empty where there are not as many."""
    try:
        numbers = tuple(float(part) for part in values(item, keyword))
    except (TypeError, ValueError):
        return ()
    return numbers if len(numbers) == count and np.all(np.isfinite(numbers)) else ()
