"""A CT and a SPECT made ready: their maps at both resolutions, and what they have in common."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np

from CTSpectSpineLib.geometry import apply_matrix
from CTSpectSpineLib.registration.attenuation import (
    escaping_share,
    looks_uncorrected,
    weakened,
)
from CTSpectSpineLib.registration.column import Column, find_column
from CTSpectSpineLib.registration.prepare import (
    SPECT_FWHM_MM,
    CtMaps,
    SpectMap,
    about_bone,
    halved,
    smoothed,
)
from CTSpectSpineLib.registration.refine import NEARLY, Fit, Level
from CTSpectSpineLib.registration.sampling import SampledMaps, sampled_maps

COARSE = Level(fwhm_mm=18.0, smooth=True, points=4000, iterations=12, converged=NEARLY)
"""Refinement of all starts. Judgement: nearly twice the blur of bone SPECT gives a wide reach.
Numerical: points and steps bound the time."""
FINE = Level(fwhm_mm=SPECT_FWHM_MM, smooth=False, points=40000, iterations=12)
"""Refinement of the solution. Numerical: the points thin large fields of view only, to bound the
time; steps end earlier where converged."""


@dataclass(frozen=True)
class Prepared:
    """Maps of the CT around bone, at both resolutions, SPECT as it is and smoothed."""

    ct: CtMaps
    spect: SpectMap
    smooth: SpectMap
    coarse: SampledMaps
    fine: SampledMaps
    column: Column


def prepared(ct: CtMaps, spect: SpectMap, pool: Executor) -> Prepared:
    """Maps at the resolutions of both levels; the coarse ones on a coarser grid."""
    near = about_bone(ct)
    coarse = pool.submit(lambda: sampled_maps(halved(near), COARSE.fwhm_mm))
    column = pool.submit(find_column, near)
    fine = sampled_maps(near, FINE.fwhm_mm)
    smooth = smoothed(spect, COARSE.fwhm_mm)
    return Prepared(near, spect, smooth, coarse.result(), fine, column.result())


def suited(pair: Prepared, whole: CtMaps, best: Fit) -> tuple[Prepared, bool]:
    """The maps that suit the SPECT: weakened where its attenuation is not corrected."""
    share = escaping_share(whole)
    if not looks_uncorrected(whole, share, pair.spect, best.spect_to_ct):
        return pair, False
    weak = about_bone(weakened(whole, share.at_every(1, whole.valid.shape)), whole)
    coarse = sampled_maps(halved(weak), COARSE.fwhm_mm)
    return replace(pair, coarse=coarse, fine=sampled_maps(weak, FINE.fwhm_mm)), True


def field_mm(pair: Prepared, fit: Fit) -> tuple[float, float]:
    """Lowest and highest LPS z in the CT that the SPECT reaches near the column."""
    last = np.array(pair.spect.values.shape[::-1]) - 1.0
    middle = np.stack([last / 2, last / 2])
    middle[0, 2], middle[1, 2] = 0.0, last[2]
    heights = apply_matrix(fit.spect_to_ct @ pair.spect.ijk_to_lps, middle)[:, 2]
    return float(heights.min()), float(heights.max())


def common_mm(pair: Prepared, fit: Fit) -> float:
    """Height of the column that lies in both images, mm."""
    low, high = field_mm(pair, fit)
    heights = pair.column.line_mm[:, 2]
    return max(0.0, min(high, float(heights.max())) - max(low, float(heights.min())))
