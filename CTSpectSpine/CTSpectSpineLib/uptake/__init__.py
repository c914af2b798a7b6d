"""Uptake of every joint: plain measures, partial-volume correction, ratios, uncertainty."""

from CTSpectSpineLib.uptake.columns import classify
from CTSpectSpineLib.uptake.measurement import measure
from CTSpectSpineLib.uptake.resolution import PsfEstimate, estimate_psf

__all__ = ["PsfEstimate", "classify", "estimate_psf", "measure"]
