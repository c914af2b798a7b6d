"""One segmentation object of several: segments that overlap, each in frames of its own.

highdicom draws segments from one label map, in which they cannot overlap, or from one mask for each
of them, which a whole spine has no memory for. So each layer is drawn by itself, and they are put
together here.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
from highdicom.seg import Segmentation
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

_SAME_PLACE_MM = 1e-3
"""Frames that are closer than this along the normal are of one slice, mm. Numerical: far above the
rounding of positions, far below a slice."""
_OF_ALL_FRAMES = ("PlaneOrientationSequence", "PixelMeasuresSequence")


def merged(parts: Sequence[Segmentation]) -> Segmentation:
    """Put the segments of objects on one grid into the first of them, numbered on through all.

    Parameters
    ----------
    parts
        Binary segmentations of the same source, at least one; they are changed.
    """
    whole = parts[0]
    if len(parts) == 1:
        return whole
    segments: list[Dataset] = []
    groups: list[Dataset] = []
    pixels: list[NDArray[np.uint8]] = []
    for part in parts:
        pixels.append(_bits(part))
        groups += _frames(part, len(segments))
        for segment in part.SegmentSequence:
            segment.SegmentNumber = len(segments) + 1
            segments.append(segment)
    _count_places(whole, groups)
    packed = np.packbits(np.concatenate(pixels), bitorder="little").tobytes()
    whole.PixelData = packed + b"\0" * (len(packed) % 2)
    whole.SegmentSequence = Items(segments)
    whole.PerFrameFunctionalGroupsSequence = Items(groups)
    whole.NumberOfFrames = len(groups)
    whole.SegmentsOverlap = "YES"
    # With several segments the frames are no plain stack.
    whole.pop("DimensionOrganizationType", None)
    shared = whole.SharedFunctionalGroupsSequence[0]
    for name in [e.keyword for e in shared if e.keyword not in _OF_ALL_FRAMES]:
        del shared[name]
    return whole


def _bits(part: Segmentation) -> NDArray[np.uint8]:
    count = int(part.NumberOfFrames) * int(part.Rows) * int(part.Columns)
    stored = np.frombuffer(part.PixelData, dtype=np.uint8)
    return np.unpackbits(stored, count=count, bitorder="little")


def _frames(part: Segmentation, before: int) -> list[Dataset]:
    """The groups of each frame, with what all frames of the part share; segments counted on."""
    shared = part.SharedFunctionalGroupsSequence[0]
    found = []
    for group in part.PerFrameFunctionalGroupsSequence:
        for element in shared:
            if element.keyword not in _OF_ALL_FRAMES:
                group[element.tag] = deepcopy(element)
        named = group.SegmentIdentificationSequence[0]
        named.ReferencedSegmentNumber = int(named.ReferencedSegmentNumber) + before
        found.append(group)
    return found


def _count_places(whole: Segmentation, groups: Sequence[Dataset]) -> None:
    """Number each frame by its segment and its place, as the dimensions of the object say."""
    plane = whole.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    axes = np.array(plane.ImageOrientationPatient, dtype=float)
    normal = np.cross(axes[:3], axes[3:])
    places = np.array(
        [
            np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float) @ normal
            for group in groups
        ]
    )
    order = np.sort(places)
    steps = np.concatenate([[True], np.diff(order) > _SAME_PLACE_MM])
    first = order[steps]
    for group, place in zip(groups, places, strict=True):
        segment = int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        count = int(np.searchsorted(first, place + _SAME_PLACE_MM))
        group.FrameContentSequence[0].DimensionIndexValues = [segment, count]
