"""Uptake of every joint: plain measures, partial-volume correction, ratios, uncertainty."""

from CTSpectSpineLib.uptake.measurement import measure
from CTSpectSpineLib.uptake.psf import PsfEstimate, estimate_psf
from CTSpectSpineLib.uptake.table import COLUMNS, METRICS, classify

__all__ = ["COLUMNS", "METRICS", "PsfEstimate", "classify", "estimate_psf", "measure"]
