"""Uptake of every joint: plain measures, partial-volume correction, ratios, uncertainty."""

from CTSpectSpineLib.uptake.measurement import measure

__all__ = ["measure"]
