"""Whether the SPECT looks like the family of reconstructions that was stated.

Resolution recovery sharpens what is seen and smooths the noise alike, while without it the noise is
finer than the resolution: it has met the post filter only. So the width of the noise's filter
beside that of the response tells the families apart, with the misfits of both a little. The weights
in ``responses.json`` are a linear discriminant over scans of the physical scanner, 1 for recovery
and -1 without. A broad post filter makes both alike; then nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from CTSpectSpineLib.geometry import FWHM_PER_SIGMA
from CTSpectSpineLib.reconstruction import ReconstructionFacts
from CTSpectSpineLib.uptake.noise import Noise
from CTSpectSpineLib.uptake.resolution import Width
from CTSpectSpineLib.uptake.response import discriminant, families, family

_CLEAR = 0.1
"""Least score that says anything, 1 being the usual one of a family. Judgement: errs are about
0.7."""


_LEAST_MISFIT = 0.1
"""Least misfit, relative to the SPECT's variation, with which there is noise to judge by. Measured:
0.25 and more on simulated scans."""


@dataclass(frozen=True)
class Judged:
    """Families that may hold.

    Attributes
    ----------
    families
        One or two, that which was stated first.
    looks_like
        Family that the SPECT looks like; empty where it says nothing.
    doubted
        Whether that is another than the one stated.
    sentences
        What is to be said.
    """

    families: tuple[str, ...]
    looks_like: str
    doubted: bool
    sentences: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "families": list(self.families),
            "looks_like": self.looks_like,
            "doubted": self.doubted,
        }


def judge(widths: Mapping[str, Width], noise: Noise, facts: ReconstructionFacts) -> Judged:
    """Judge which families may hold.

    Parameters
    ----------
    widths
        Of the response, by family.
    noise
        The SPECT's noise.
    facts
        What was stated.
    """
    seen = score(widths, noise)
    looks_like = ""
    if abs(seen) >= _CLEAR:
        looks_like = "recovery" if seen > 0.0 else "no-recovery"
    if facts.family is None:
        return Judged(families(), looks_like, False, (_UNKNOWN,))
    if looks_like in ("", facts.family):
        return Judged((facts.family,), looks_like, False, ())
    others = tuple(name for name in families() if name != facts.family)
    return Judged((facts.family, *others), looks_like, True, (_DOUBT[facts.family],))


_UNKNOWN = (
    "It is not known whether the SPECT was reconstructed with resolution recovery; both are allowed"
    " for, so intervals are wide. State how it was reconstructed if you know."
)
_DOUBT = {
    "recovery": "The SPECT does not look as if it was reconstructed with resolution recovery, as"
    " was stated; both are allowed for, so intervals are wide. Check the statement.",
    "no-recovery": "The SPECT looks as if it was reconstructed with resolution recovery, though it"
    " was stated that it was not; both are allowed for, so intervals are wide. Check the"
    " statement.",
}


def score(widths: Mapping[str, Width], noise: Noise) -> float:
    """About 1 with resolution recovery, about -1 without; 0 where nothing can be said."""
    plain = widths["no-recovery"]
    if not plain.known or not plain.misfit > _LEAST_MISFIT:
        return 0.0
    quotient = widths["recovery"].misfit / plain.misfit - 1.0
    weights = discriminant()
    return float(
        weights["constant"]
        + weights["noise_mm"] * noise.filter_mm * FWHM_PER_SIGMA
        + weights["response_mm"] * plain.fwhm_mm * family("no-recovery").shortfall
        + weights["misfit"] * (quotient if np.isfinite(quotient) else 0.0)
    )
