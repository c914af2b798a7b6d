"""Attenuation that the reconstruction left in is taken out with the CT.

Without it, bone deep in the body shows less than bone near the skin, and vertebrae between the
shoulders less than those of the neck. Projected again, such a SPECT gives the mean of opposite
views as the camera saw them. Part of the scatter is taken off these means (Axelsson, Msaki and
Israelsson, J Nucl Med 1984;25:490), and they are reconstructed again with the CT's attenuation
(ordered subsets: Hudson and Larkin, IEEE Trans Med Imaging 1994;13:601). Only the quotient of the
two images, which is smooth, is put on the SPECT, so that its resolution and noise stay.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk
from scipy import ndimage, signal

from CTSpectSpineLib.model import FloatArray, VertebraFrame
from CTSpectSpineLib.reconstruction import ReconstructionFacts
from CTSpectSpineLib.uptake.photon_paths import (
    WATER_PER_MM,
    Paths,
    Values,
    columns,
    photon_paths,
)
from CTSpectSpineLib.uptake.sampling import spect_field

SCATTERED, SCATTER_MM = 0.25, 30.0
"""Share of a view that is scatter, and how fast it falls. Judgement: a scatter fraction of 0.2 to
0.3 in the energy window of a trunk; of 0.2 to 0.4 and 30 to 60 mm all came within 1 % of each other
on six simulated patients."""
_SCATTER_SWEEPS = 3
"""Numerical: the scatter is made by what is not scattered, which is known a little better in each
sweep."""
_SWEEPS, _SUBSETS = 6, 6
"""Numerical: more change the quotient by less than 2 %."""
_LEAST_LEAVING, _LEAST_SEEN, _LEAST_UPTAKE = 0.02, 1e-3, 0.02
"""Least share of photons, and least view and uptake relative to the highest. Numerical."""
_SOFT = (0.95, 1.1)
"""Attenuation of soft tissue relative to water's. Convention: muscle and organs, no fat."""
_BONE = 1.15
"""Attenuation of bone relative to water's. Convention."""
_BESIDE_BLOCKS = 2
"""Blocks around bone that hold its blur. Judgement: 2 cm, a little more than the resolution."""
_FEWEST_BLOCKS, _BINS = 200, 8
"""Fewest blocks of soft tissue that tell, and groups of them. Numerical."""
_UNCORRECTED_SLOPE = 0.1
"""Slope of the logarithm of soft tissue's uptake over that of the photons' share from which
attenuation is taken as not corrected. Measured on six patients of two physical scanners: -0.6 to
0.04 where it was corrected; where not, 0.4 and 0.7 in necks, -0.1 to 0.2 in lumbar scans, which are
therefore mostly not seen."""
_EVEN = 0.02
"""Largest relative difference of the pixels' sides. Numerical: views turn in square pixels."""

_LEFT_SD, _TAKEN_OUT_SD = 0.15, 0.1
"""Relative error of every joint against the reference where attenuation is left in, and where it is
taken out here. Measured on six patients of the physical scanner against the reconstruction's own
correction: deep and shallow bone differ by 18 % (SD), and by 7 % when it is taken out. On 30 others
intervals of hot joints held the truth in 84 % with 0.08 and in 95 % with 0.12."""

STATED, SEEN = "stated", "seen"
"""How it is known that attenuation was not corrected."""


@dataclass(frozen=True)
class Emission:
    """The SPECT that is solved for.

    Attributes
    ----------
    spect
        As given, or with its attenuation corrected; then in a unit that leaves the vertebral
        bodies as they were on average.
    facts
        What is known of the reconstruction.
    corrected
        `STATED` or `SEEN` where it was corrected here; empty where not.
    relative_sd
        Relative error that attenuation leaves in every joint against the reference.
    """

    spect: sitk.Image
    facts: ReconstructionFacts = field(default_factory=ReconstructionFacts)
    corrected: str = ""
    relative_sd: float = 0.0

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know of it."""
        if not self.corrected and not self.relative_sd:
            return ()
        if not self.corrected:
            return (
                "The SPECT was reconstructed without attenuation correction, and it could not be"
                " corrected here, which needs the body on a CT and square pixels; bone deep in the"
                " body reads low, and intervals are wide.",
            )
        known = (
            "The SPECT was reconstructed without attenuation correction"
            if self.corrected == STATED
            else "The SPECT looks as if it was reconstructed without attenuation correction (state"
            " with --reconstruction whether it was)"
        )
        return (
            f"{known}; corrected ratios are therefore corrected for it with the CT. SUV and the"
            " plain measures are not.",
        )


def emission(
    spect: sitk.Image,
    ct: sitk.Image | None,
    ct_to_spect: FloatArray,
    frames: Iterable[VertebraFrame],
    facts: ReconstructionFacts,
) -> Emission:
    """The SPECT, with its attenuation corrected where the reconstruction did not.

    Parameters
    ----------
    spect, ct
        The images; without a CT the SPECT stays as it is.
    ct_to_spect
        4×4 matrix from CT to SPECT points, LPS mm.
    frames
        Vertebrae, whose bodies' average stays as it is.
    facts
        What is known of the reconstruction. Where it says nothing of attenuation, uptake of soft
        tissue that falls with the share of photons that leave the body tells.
    """
    stated = facts.attenuation_correction is False
    left = Emission(spect, facts, relative_sd=_LEFT_SD if stated else 0.0)
    if ct is None or facts.attenuation_correction:
        return left
    # The camera turns around the patient's long axis.
    turned = sitk.DICOMOrient(spect, "LPS")
    sides = turned.GetSpacing()[:2]
    if abs(sides[0] / sides[1] - 1.0) > _EVEN:
        return left
    paths = photon_paths(turned, ct, ct_to_spect)
    if not paths.body.any():
        return left
    if not stated and not uncorrected_slope(paths) > _UNCORRECTED_SLOPE:
        return left
    quotient = _quotient(paths, scattered=0.0 if facts.scatter_correction else SCATTERED)
    made = _times(turned, paths.grid, quotient, ct_to_spect, frames)
    return Emission(made, facts, STATED if stated else SEEN, _TAKEN_OUT_SD)


def uncorrected_slope(paths: Paths) -> float:
    """Slope of soft tissue's uptake over the share of photons that leave, of logarithms.

    Where attenuation was corrected, deep tissue shows no less than that near the skin. Blocks are
    summed up as medians in groups of equal numbers. NaN where there are too few.
    """
    share = paths.planes(np.mean(paths.leaving, axis=0, dtype=np.float32))
    relative = paths.per_mm / np.float32(WATER_PER_MM)
    beside = ndimage.binary_dilation(relative > _BONE, iterations=_BESIDE_BLOCKS)
    soft = (relative > _SOFT[0]) & (relative < _SOFT[1]) & paths.body & ~beside
    soft &= paths.spect > 0.0
    if np.count_nonzero(soft) < _FEWEST_BLOCKS:
        return float("nan")
    x, y = np.log(share[soft]), np.log(paths.spect[soft])
    groups = np.array_split(np.argsort(x, kind="stable"), _BINS)
    middles = np.array([(np.median(x[group]), np.median(y[group])) for group in groups])
    slope, _ = np.polyfit(middles[:, 0], middles[:, 1], 1)
    return float(slope)


def _quotient(paths: Paths, scattered: float) -> Values:
    """What each block takes up over what it shows, ``[k, j, i]``."""
    shown = columns(paths.squared(paths.spect))
    seen = [_without_scatter(view @ shown, paths, scattered) for view in paths.views]
    taken = shown / np.maximum(np.mean(paths.leaving, axis=0), np.float32(_LEAST_LEAVING))
    whole = np.ones((paths.edge, shown.shape[1]), dtype=np.float32)
    least = np.float32(_LEAST_SEEN * max(float(np.max(view)) for view in seen))
    subsets = [range(first, len(seen), _SUBSETS) for first in range(_SUBSETS)]
    reach = [sum(paths.leaving[n] * (paths.views[n].T @ whole) for n in part) for part in subsets]
    for part, sensitivity in list(zip(subsets, reach, strict=True)) * _SWEEPS:
        gain = np.zeros_like(taken)
        for number in part:
            view, leaving = paths.views[number], paths.leaving[number]
            expected = view @ (leaving * taken)
            gain += leaving * (view.T @ (seen[number] / np.maximum(expected, least)))
        taken = taken * gain / np.maximum(sensitivity, np.float32(1e-6))
    # Where next to nothing is shown, the quotient is that of bright places.
    bright = shown > 10.0 * _LEAST_UPTAKE * shown.max()
    usual = np.median(taken[bright] / shown[bright]) if bright.any() else 1.0
    floor = np.float32(_LEAST_UPTAKE * shown.max())
    return paths.planes((taken + usual * floor) / np.maximum(shown + floor, np.float32(1e-30)))


def _without_scatter(view: Values, paths: Paths, scattered: float) -> Values:
    """A view, shape (bins, k), without the scatter that it makes itself."""
    if not scattered:
        return view
    across, _, along = paths.grid.GetSpacing()
    bins, planes = (np.arange(n) - n // 2 for n in view.shape)
    kernel = np.exp(-np.hypot(bins[:, None] * across, planes[None] * along) / SCATTER_MM)
    kernel *= scattered / kernel.sum()
    primary = view
    for _ in range(_SCATTER_SWEEPS):
        scatter = signal.fftconvolve(primary, kernel, mode="same")
        primary = np.maximum(view - scatter, 0.0).astype(np.float32)
    return primary


def _times(
    spect: sitk.Image,
    grid: sitk.Image,
    quotient: Values,
    ct_to_spect: FloatArray,
    frames: Iterable[VertebraFrame],
) -> sitk.Image:
    """The SPECT times the quotient, which is 1 in the median of the vertebral bodies."""
    blocks = sitk.GetImageFromArray(quotient)
    blocks.CopyInformation(grid)
    at = spect_field(blocks, ct_to_spect)
    centres = [frame.centre_mm[None] for frame in frames]
    at_bodies = [at.sample(centre)[0] for centre in centres if at.coverage(centre)]
    sampler = sitk.ResampleImageFilter()
    sampler.SetReferenceImage(spect)
    sampler.SetOutputPixelType(sitk.sitkFloat32)
    sampler.UseNearestNeighborExtrapolatorOn()
    factor = sampler.Execute(blocks / (float(np.median(at_bodies)) if at_bodies else 1.0))
    return sitk.Cast(spect, sitk.sitkFloat32) * factor
