"""Uptake of every joint: plain measures, partial-volume correction, ratios, uncertainty."""

from CTSpectSpineLib.uptake.attenuation import Emission, emission
from CTSpectSpineLib.uptake.measurement import measure

__all__ = ["Emission", "emission", "measure"]
