"""Key pictures as Secondary Capture (DICOM PS3.3 A.8.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset

from CTSpectSpineLib.dicom_export.headers import DicomSource, references
from CTSpectSpineLib.dicom_export.study import (
    RESEARCH,
    SOFTWARE,
    NewSeries,
    Study,
    complete,
    empty_object,
)
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.results.pictures import ShownPicture

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_MARGIN = 4
"""Pixels beside the words. Judgement."""
_STRIP_SHARE, _LEAST_STRIP = 0.05, 16
"""Height of the strip with the words: share of the picture, and at least, pixels. Judgement: they
can be read and cover nothing."""


def capture(
    picture: ShownPicture, instance: int, ct: DicomSource, study: Study, series: NewSeries
) -> Dataset:
    """A picture with a strip that says that it is for research only.

    Raises
    ------
    InputError
        If the picture is damaged.
    """
    pixels = _with_words(picture)
    made = empty_object(SECONDARY_CAPTURE, "OT", study, instance)
    made.ConversionType = "WSD"
    made.SecondaryCaptureDeviceManufacturer = SOFTWARE
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.BurnedInAnnotation = "NO"
    made.PatientOrientation = ""
    made.ImageComments = f"{RESEARCH}. {picture.title}. {picture.caption}"[:10240]
    made.SamplesPerPixel, made.PhotometricInterpretation = 3, "RGB"
    made.PlanarConfiguration = 0
    made.Rows, made.Columns = pixels.shape[:2]
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation = 7, 0
    raw = pixels.tobytes()
    made.PixelData = raw + b"\0" * (len(raw) % 2)
    made.SourceImageSequence = _middle(references(ct.headers))
    return complete(made, study, series)


def _middle(items: Sequence[Dataset]) -> list[Dataset]:
    """One image that stands for the series."""
    return [items[len(items) // 2]]


def _with_words(picture: ShownPicture) -> NDArray[np.uint8]:
    try:
        with Image.open(BytesIO(picture.png)) as opened:
            shown = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(
            f"The picture '{picture.title}' of the results is damaged ({error}); "
            "make them again with 'ctspectspine analyze'."
        ) from error
    strip = max(_LEAST_STRIP, round(_STRIP_SHARE * shown.height))
    font = ImageFont.load_default(size=0.6 * strip)
    width = max(shown.width, math.ceil(font.getlength(RESEARCH)) + 2 * _MARGIN)
    whole = Image.new("RGB", (width, shown.height + strip), "black")
    whole.paste(shown, (0, 0))
    ImageDraw.Draw(whole).text((_MARGIN, shown.height + 0.15 * strip), RESEARCH, "white", font=font)
    return np.asarray(whole, dtype=np.uint8)
