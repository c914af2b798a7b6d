"""How CT and uptake become colour: one window for all pictures of a report."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from CTSpectSpineLib.hot_metal import hot_colours
from CTSpectSpineLib.model import FloatArray

RgbArray = NDArray[np.uint8]

BONE_WINDOW_HU = (-200.0, 800.0)
"""HU shown black and white. Judgement: a bone window narrow enough to keep soft tissue apart from
air."""
FAINTEST_RATIO = 1.1
"""Uptake (multiples of the reference bone) where the overlay begins to show. Judgement: what is
within the spread of that bone needs no colour."""
_FULL_RATIO = 1.6
"""Uptake where the overlay is most opaque. Judgement: a joint at the positive bound of the shipped
protocols (about 2, corrected) reads about this much as scanned, and must not look pale."""
_STRONGEST_ALPHA = 0.85
"""Opacity there. Judgement: the bone below is still seen."""
_GREYS = 96
"""Greys among the 256 colours of a small picture. Judgement: steps of 2.7 are not seen in a CT."""
_GREY_SPREAD = 8
"""Largest difference of red, green and blue that counts as grey, of 255. Judgement: not seen."""
_SKELETON = (0.25, 1.0)
"""Uptake where all of the SPECT begins to show, and where it is most opaque, multiples of the
reference. Judgement: soft tissue takes up less than a quarter of what bone does."""


@cache
def _table() -> FloatArray:
    return hot_colours(256)


def bone_grey(hu: FloatArray) -> FloatArray:
    """Grey value 0 to 1 of CT in the bone window; black outside the CT."""
    low, high = BONE_WINDOW_HU
    return np.nan_to_num(np.clip((hu - low) / (high - low), 0.0, 1.0))


def heat(ratio: FloatArray, highest: float) -> FloatArray:
    """Hot metal colour (..., 3), 0 to 1, of uptake from 0 to `highest`."""
    scaled = np.clip(np.nan_to_num(ratio) / highest, 0.0, 1.0)
    return _table()[np.rint(scaled * 255).astype(np.intp)]


def inverse_grey(ratio: FloatArray, highest: float) -> FloatArray:
    """Grey (..., 1), 1 (white) without uptake and outside the SPECT to 0 (black) at `highest`."""
    return 1.0 - np.clip(np.nan_to_num(ratio) / highest, 0.0, 1.0)[..., None]


def opacity(ratio: FloatArray) -> FloatArray:
    """Opacity of the overlay: what is no more active than the reference bone shows the CT."""
    share = (np.nan_to_num(ratio) - FAINTEST_RATIO) / (_FULL_RATIO - FAINTEST_RATIO)
    return _STRONGEST_ALPHA * np.clip(share, 0.0, 1.0)


def opacity_of_all(ratio: FloatArray) -> FloatArray:
    """Opacity of all of the SPECT, also of what lies below the reference bone."""
    low, high = _SKELETON
    return _STRONGEST_ALPHA * np.clip((np.nan_to_num(ratio) - low) / (high - low), 0.0, 1.0)


def fused(hu: FloatArray, ratio: FloatArray, highest: float, *, skeleton: bool = False) -> RgbArray:
    """CT in bone window under the SPECT, shape (rows, columns, 3).

    Parameters
    ----------
    hu, ratio
        CT, and SPECT in multiples of the reference, shape (rows, columns).
    highest
        Upper end of the colours, multiples of the reference.
    skeleton
        Show all of the SPECT: to judge a registration the whole skeleton must be seen.
    """
    alpha = (opacity_of_all if skeleton else opacity)(ratio)[..., None]
    return to_rgb(bone_grey(hu)[..., None] * (1.0 - alpha) + heat(ratio, highest) * alpha)


def to_rgb(values: FloatArray) -> RgbArray:
    """Values 0 to 1, grey (rows, columns, 1) or colour, as 8-bit colour."""
    rgb: RgbArray = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return np.repeat(rgb, 3, axis=2) if rgb.shape[2] == 1 else rgb


def small_png(png: bytes) -> bytes:
    """The picture with 256 colours, about a third of the size; as it is where it cannot be read.

    A part of the colours is greys at even steps: a CT keeps its look, without colour casts.
    """
    try:
        with Image.open(io.BytesIO(png)) as image:
            rgb = np.asarray(image.convert("RGB"))
    except (OSError, ValueError):
        return png
    grey = np.ptp(rgb, axis=2) <= _GREY_SPREAD
    step = 255.0 / (_GREYS - 1)
    index = np.rint(rgb.mean(axis=2) / step).astype(np.uint8)
    palette = np.rint(np.arange(_GREYS) * step).astype(np.uint8).repeat(3)
    if not grey.all():
        coloured = Image.fromarray(rgb[~grey][None])
        few = coloured.quantize(256 - _GREYS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        index[~grey] = np.asarray(few)[0] + _GREYS
        palette = np.concatenate([palette, np.array(few.getpalette(), dtype=np.uint8)])
    small = Image.fromarray(index)
    small.putpalette(palette[: 3 * 256].tobytes())
    stream = io.BytesIO()
    small.save(stream, format="png")
    return stream.getvalue()
