"""Stored pixel values of a DICOM file: complete and without its geometry, or an error.

GDCM completes short pixel data with whatever is in memory, and refuses files for their geometry.
Pixels that are not compressed are therefore unpacked here; of compressed ones the number of frames
and the end of each is checked, and they are decompressed by GDCM from a file that holds nothing
but them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, RLELossless

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.volumes.dicom.series import DicomFile
from CTSpectSpineLib.volumes.dicom.tags import number, value

_PIXEL_TAGS = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)
_CARRIER = "1.2.840.10008.5.1.4.1.1.7.3"
"""SOP class of the file from which compressed pixels are read: multi-frame grayscale."""
_CORRUPT = b"premature end of data segment"
"""What libjpeg says when it fills up a frame that is too short."""
_UNDEFINED_LENGTH = 0xFFFFFFFF
"""Standard: DICOM PS3.5, value length of an element of undefined length."""
_END_OF_IMAGE = b"\xff\xd9"
"""Last marker of JPEG, JPEG-LS and JPEG 2000. Standard: ISO/IEC 10918, 14495, 15444."""


def stored_pixels(file: DicomFile) -> NDArray[np.generic]:
    """Stored values of all frames as integers ``[frame, row, column]``; no rescale is applied.

    Raises
    ------
    InputError
        If there are fewer or more pixels than the header states, or they cannot be read.
    """
    try:
        tags: list[Any] = [*_PIXEL_TAGS, "NumberOfFrames", "PixelData"]
        header = dcmread(file.path, force=True, specific_tags=tags)
        element = header.get_item("PixelData")
        content = None if element is None else element.value
    except Exception as error:  # pydicom raises many kinds on damaged files
        raise _unreadable(file, error) from error
    if not isinstance(content, bytes) or not content:
        raise InputError(f"{file.path}: holds no pixels (PixelData); export it again.")
    rows, columns = _count(file, header, "Rows"), _count(file, header, "Columns")
    bits = _count(file, header, "BitsAllocated")
    if bits not in (8, 16, 32):
        raise InputError(
            f"{file.path}: BitsAllocated is {bits}; pixels of 8, 16 or 32 bits are read. Convert "
            "it to NIfTI."
        )
    shape = (file.frames, rows, columns)
    # Encapsulated, which compressed pixels are.
    if getattr(element, "length", 0) == _UNDEFINED_LENGTH:
        return _decompressed(file, header, content, shape)
    return _unpacked(file, header, content, shape, bits)


def _count(file: DicomFile, header: Dataset, keyword: str) -> int:
    found = number(header, keyword)
    if found is None or found < 1:
        stated = str(value(header, keyword))[:40]
        raise InputError(
            f"{file.path}: {keyword} is '{stated}', which is no number of pixels or bits; export "
            "it again."
        )
    return int(found)


def _unpacked(
    file: DicomFile, header: Dataset, content: bytes, shape: tuple[int, int, int], bits: int
) -> NDArray[np.generic]:
    frame = shape[1] * shape[2] * bits // 8
    needed = frame * shape[0]
    if len(content) < needed or len(content) - needed >= frame:
        raise InputError(
            f"{file.path}: states {shape[0]} frames of {shape[1]} x {shape[2]} pixels ({needed} "
            f"bytes) but holds {len(content)} bytes of PixelData; it is damaged, export it again."
        )
    syntax = str(getattr(getattr(header, "file_meta", None), "TransferSyntaxUID", ""))
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    raw = np.frombuffer(content[:needed], dtype=f"{order}u{bits // 8}").reshape(shape)
    native = raw.astype(raw.dtype.newbyteorder("="))
    return _signed(native, header, bits)


def _signed(raw: NDArray[Any], header: Dataset, bits: int) -> NDArray[np.generic]:
    """The bits that are stored, without those above and below them (overlays)."""
    stored = int(number(header, "BitsStored") or bits)
    high = int(number(header, "HighBit") or stored - 1)
    signed = number(header, "PixelRepresentation") == 1
    if not (1 <= stored <= bits and stored - 1 <= high < bits):
        stored, high = bits, bits - 1
    if stored < bits:
        raw = (raw >> (high + 1 - stored)) & np.array((1 << stored) - 1, dtype=raw.dtype)
    if not signed:
        return raw
    # Moving the sign to the top and back extends it.
    shift = bits - stored
    whole: NDArray[np.generic] = (raw << shift).view(f"i{bits // 8}") >> shift
    return whole


def _decompressed(
    file: DicomFile, header: Dataset, content: bytes, shape: tuple[int, int, int]
) -> NDArray[np.generic]:
    syntax = str(getattr(getattr(header, "file_meta", None), "TransferSyntaxUID", ""))
    try:
        frames = _frames(content, shape[0])
    except Exception as error:  # pydicom raises many kinds on damaged files
        raise _unreadable(file, error) from error
    if len(frames) != shape[0]:
        raise InputError(
            f"{file.path}: states {shape[0]} frames but holds {len(frames)}; it is damaged, "
            "export it again."
        )
    ends = syntax == RLELossless or all(_END_OF_IMAGE in frame[-16:] for frame in frames)
    if not ends:
        raise InputError(
            f"{file.path}: its compressed pixels are cut off (no end of the image); copy or "
            "export it again."
        )
    try:
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as said:
            carrier = Path(folder) / "pixels.dcm"
            header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = _CARRIER
            header.NumberOfFrames = shape[0]
            header.save_as(carrier)
            with _heard(said):
                array = sitk.GetArrayFromImage(sitk.ReadImage(str(carrier)))
            said.seek(0)
            if _CORRUPT in said.read():
                raise ValueError("the compressed stream of a frame is damaged")
    except Exception as error:  # neither pydicom nor GDCM says what it raises
        raise _unreadable(file, error) from error
    if array.size != np.prod(shape) or array.shape[-2:] != shape[1:]:
        raise InputError(
            f"{file.path}: states {shape[0]} frames of {shape[1]} x {shape[2]} pixels but holds "
            f"{' x '.join(map(str, array.shape))}; it is damaged, export it again."
        )
    found: NDArray[np.generic] = array.reshape(shape)
    return found


def _frames(content: bytes, count: int) -> list[bytes]:
    """The compressed frames; every one is asked for, so that a missing one is noticed."""
    try:
        from pydicom.encaps import generate_frames
    except ImportError:  # pydicom 2
        from pydicom.encaps import generate_pixel_data_frame

        return list(generate_pixel_data_frame(content, count))
    return list(generate_frames(content, number_of_frames=count))


@contextmanager
def _heard(file: IO[bytes]) -> Iterator[None]:
    """Write what GDCM's decoders say on standard error into a file, and stop ITK's warnings."""
    warnings = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    with ExitStack() as stack:
        stack.callback(sitk.ProcessObject.SetGlobalWarningDisplay, warnings)
        with suppress(OSError):  # a program without a console has no standard error
            kept = os.dup(2)
            stack.callback(os.close, kept)
            os.dup2(file.fileno(), 2)
            stack.callback(os.dup2, kept, 2)
        yield


def _unreadable(file: DicomFile, error: Exception) -> InputError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return InputError(
        f"{file.path}: the pixels cannot be read ({lines[-1][:160]}); it may be damaged, export "
        "it again."
    )
