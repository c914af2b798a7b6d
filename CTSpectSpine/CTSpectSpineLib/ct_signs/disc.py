"""A disc on the CT: its height between the bony endplates, gas in it, sclerosis beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from CTSpectSpineLib.ct_sign import CtSigns
from CTSpectSpineLib.ct_signs.block import Block, Ct, Field, block_around, holds_metal
from CTSpectSpineLib.ct_signs.gas import gas_volume, noise_of
from CTSpectSpineLib.geometry import FWHM_PER_SIGMA, BoolArray, FloatArray
from CTSpectSpineLib.model import Joint, VertebraFrame

THICKEST_MM = 3.2
"""Largest size of a voxel along the disc's axis in which gas is looked for, mm. Judgement: slices
of 3 mm, a third of a lumbar disc."""
FINE_MM = 2.6
"""The same for height and sclerosis, mm. Measured on made discs of 4 to 12 mm, tilted by up to 20
degrees: heights are 0.0 to 0.7 mm too small with slices up to 2 mm, 1.1 too small to 0.2 too large
with 2.5 mm, up to 1.5 mm too small with 3 mm."""
FINER = 2
"""Voxels along the disc's axis per voxel of the joint's grid (1 mm). Numerical."""
ABOVE_MM = 9
"""How far beyond the disc space the CT is read, mm. Judgement: endplate and subchondral bone, where
the labels are wrong by 2 mm."""
RIM_MM = 4.0
"""Breadth of the rim that counts neither for height nor for sclerosis, mm. Judgement: ring
apophyses and osteophytes; the same as that of the joint regions."""
PEAK_MM = 4.0
"""How far beyond the labels' surface the endplate is sought, mm. Judgement: labels are wrong by two
voxels of 1.5 mm at most."""
ENDPLATE_MM = 0.8
"""Thickness of a bony endplate, mm. Judgement: 0.6 to 1 mm."""
KERNEL_SD_MM = 0.5
"""Blur of a CT's kernel along the axis, standard deviation, mm. Judgement: 1.2 mm of full width at
half maximum, as phantoms have."""
LEAST_STEP_HU = 80.0
"""Least step from disc to endplate, HU. Judgement: less is a bridged disc, or noise."""
LEAST_SEEN = 0.6
"""Least share of the disc's middle where both endplates are seen. Judgement."""
FARTHEST_MM = 3.5
"""Farthest median distance of an endplate from the labels' surface, mm. Judgement: beyond it
something else was found."""
LAYER_MM = (2.0, 5.0)
"""Depth of the subchondral layer below the endplate's surface, mm. Judgement: below the cortical
endplate (about 1 mm) and its blur, above the core of the body."""
DENSER_HU = 150.0
"""Excess over the vertebra's cancellous bone from which bone is sclerotic, HU. Judgement: about as
much again as cancellous bone itself has."""
FOCAL, EXTENSIVE = 0.20, 0.50
"""Shares of the endplate from which sclerosis is focal and extensive. Judgement. Measured on four
endplates of a patient (voxels of 1.5 mm): at most 0.07 of one is as dense."""
TYPICAL_DISC_HU = 80.0
"""HU of a disc that is all gas or cannot be read. Judgement: annulus and nucleus have 60 to 100."""
_SOFT_HU = (20.0, 200.0)
"""HU that the tissue of a disc may have. Judgement: above it a disc is calcified."""
_LEAST_CORE = 200
"""Fewest points of a cancellous core. Numerical: a standard error of 4 HU at a noise of 60."""
_SMOOTH = 1.0
"""Standard deviation of the blur across the disc's axis, voxels. Numerical: noise falls to a third,
and endplates are smooth."""


@dataclass(frozen=True)
class _Endplates:
    """Surfaces of both bony endplates.

    Attributes
    ----------
    lower, upper
        Height of each in voxels of the block, ``[j, i]``; NaN where it is not seen.
    middle
        Columns of the disc's middle part.
    """

    lower: FloatArray
    upper: FloatArray
    middle: BoolArray

    @property
    def seen(self) -> BoolArray:
        """Columns of the middle part where both are seen."""
        return self.middle & np.isfinite(self.lower) & np.isfinite(self.upper)


def disc_signs(joint: Joint, frames: Mapping[str, VertebraFrame], ct: Ct) -> CtSigns:
    """Signs at a disc; `height_ratio` and `narrowed` need the other discs and are left open."""
    signs = CtSigns(joint.id, joint.level, joint.kind, joint.side)
    both = [frames[name] for name in (joint.upper, joint.lower) if name in frames]
    if "disc_space" not in joint.parts or not both:
        return _not(signs, "the disc was not located")
    up = np.sum([frame.axes[2] for frame in both], axis=0)
    up = up / np.linalg.norm(up)
    if ct.voxel_along(up) > THICKEST_MM:
        return _not(signs, f"the CT's voxels are more than {THICKEST_MM:g} mm high")
    block = block_around(joint.parts["disc_space"], up, (ABOVE_MM, 3), FINER)
    hu = ct.on_grid(block.matrix, (block.mask.shape[0], *block.mask.shape[1:]))
    if not np.isfinite(hu[block.mask]).all():
        return _not(signs, "the CT ends in the disc")
    if holds_metal(hu, block.voxel_mm3):
        return _not(signs, "there is metal or cement beside the disc")
    found, noise = noise_of(hu, ndimage.binary_erosion(block.mask, iterations=2))
    tissue = found if np.isfinite(found) else TYPICAL_DISC_HU
    signs = _with_gas(signs, block, hu, float(np.clip(tissue, *_SOFT_HU)), noise)
    if ct.voxel_along(up) > FINE_MM:
        return replace(signs, status_reason=f"voxels more than {FINE_MM:g} mm high show gas alone")
    if not _SOFT_HU[0] <= tissue <= _SOFT_HU[1]:
        return replace(signs, status_reason=f"the disc has {tissue:.0f} HU")
    plates = _endplates(block, hu, tissue, ct.voxel_along(up))
    seen = plates.seen
    if np.count_nonzero(seen) < LEAST_SEEN * np.count_nonzero(plates.middle):
        return replace(signs, status_reason="the CT does not show both endplates clearly")
    height = float(np.median((plates.upper - plates.lower)[seen])) * block.steps_mm[0]
    signs = replace(signs, height_mm=height)
    for name, level, surface, sign in (
        ("upper", joint.upper, plates.upper, 1),
        ("lower", joint.lower, plates.lower, -1),
    ):
        core = _core_hu(frames.get(level), ct)
        if core is not None:
            signs = _with_sclerosis(signs, name, _layer(hu, block, surface, sign, seen), core)
    return signs


def _not(signs: CtSigns, reason: str) -> CtSigns:
    return replace(signs, status="not_measurable", status_reason=reason)


def _with_gas(signs: CtSigns, block: Block, hu: Field, tissue: float, noise: float) -> CtSigns:
    noise = 0.0 if np.isnan(noise) else noise
    volume = gas_volume(hu, block.mask, tissue, noise, block.voxel_mm3)
    whole = float(np.count_nonzero(block.mask)) * block.voxel_mm3
    return replace(
        signs, gas_mm3=volume, gas_share=min(volume / whole, 1.0), gas="yes" if volume else "no"
    )


def _endplates(block: Block, hu: Field, tissue: float, voxel_mm: float) -> _Endplates:
    """Both surfaces; see `_surface`.

    Parameters
    ----------
    hu, tissue
        HU of the block, and of the disc's tissue.
    voxel_mm
        Size of the CT's voxels along the axis.
    """
    # Gas would shift the half-way point.
    clear = np.maximum(np.nan_to_num(hu, nan=tissue), np.float32(tissue))
    clear = ndimage.gaussian_filter(clear, (0.0, _SMOOTH, _SMOOTH))
    outline = block.mask.any(axis=0)
    j, i = block.steps_mm[1:]
    from_edge = ndimage.distance_transform_edt(np.pad(outline, 1), sampling=(j, i))[1:-1, 1:-1]
    middle = from_edge > min(RIM_MM, 0.5 * float(from_edge.max()))
    step = block.steps_mm[0]
    first = np.argmax(block.mask, axis=0)
    last = len(block.mask) - 1 - np.argmax(block.mask[::-1], axis=0)
    start = np.where(outline, (first + last) // 2, 0)
    reach = np.where(outline, last - start, 0) + round(PEAK_MM / step)
    blur = _Blur.of(voxel_mm, step)
    upper = _surface(clear, tissue, start, reach, blur)
    turned = len(clear) - 1 - start
    reach = np.where(outline, start - first, 0) + round(PEAK_MM / step)
    lower = len(clear) - 1 - _surface(clear[::-1], tissue, turned, reach, blur)
    for surface, edge in ((upper, last + 0.5), (lower, first - 0.5)):
        apart = np.abs(surface - edge)[middle & np.isfinite(surface)]
        if not apart.size or np.median(apart) * step > FARTHEST_MM:
            surface[:] = np.nan
    return _Endplates(lower, upper, middle)


@dataclass(frozen=True)
class _Blur:
    """What blur makes of a thin endplate, in voxels of the block.

    Attributes
    ----------
    half
        Half the thickness of an endplate.
    early
        How far before its surface HU pass half-way to its peak.
    """

    half: float
    early: float

    @classmethod
    def of(cls, voxel_mm: float, step_mm: float) -> _Blur:
        """Of the kernel and the thickness of a slice, a box."""
        sigma = float(np.hypot(KERNEL_SD_MM, voxel_mm / np.sqrt(12.0)))
        early = max(0.5 * FWHM_PER_SIGMA * sigma - ENDPLATE_MM / 2, 0.0)
        return cls(ENDPLATE_MM / 2 / step_mm, early / step_mm)


def _surface(
    hu: Field, tissue: float, start: np.ndarray, reach: np.ndarray, blur: _Blur
) -> FloatArray:
    """Surface of the bone that begins above `start`, within `reach`.

    Its endplate is thinner than what a CT resolves, so HU pass half-way to their peak before its
    surface; but the peak stays where it is, half an endplate behind the surface. Sclerotic bone has
    its peak further behind, and HU half-way at the surface. So the surface is taken from the peak,
    but not further behind the half-way point than blur explains.

    Returns
    -------
    height
        In voxels, ``[j, i]``; NaN where the step is too small.
    """
    k = np.arange(len(hu))[:, None, None]
    within = (k >= start) & (k <= start + reach)
    peak = np.where(within, hu, -np.inf).max(axis=0)
    half = 0.5 * (tissue + peak)
    above = within & (hu >= half)
    found = above.any(axis=0) & (peak - tissue >= LEAST_STEP_HU)
    at = np.argmax(above, axis=0)
    before = np.maximum(at - 1, 0)
    high = np.take_along_axis(hu, at[None], axis=0)[0]
    low = np.take_along_axis(hu, before[None], axis=0)[0]
    share = np.clip((half - low) / np.maximum(high - low, 1e-3), 0.0, 1.0)
    surface = np.minimum(before + share + blur.early, _peak(hu, within) - blur.half)
    return np.where(found & (at > start), surface, np.nan)


def _peak(hu: Field, within: BoolArray) -> FloatArray:
    """Place of the highest value of each column, by a parabola through it and its neighbours."""
    at = np.clip(np.argmax(np.where(within, hu, -np.inf), axis=0), 1, len(hu) - 2)
    before, high, after = (np.take_along_axis(hu, (at + n)[None], axis=0)[0] for n in (-1, 0, 1))
    bend = before - 2.0 * high + after
    shift = 0.5 * (before - after) / np.where(bend < 0, bend, -np.inf)
    return np.asarray(at + np.clip(shift, -0.5, 0.5))


def _layer(hu: Field, block: Block, surface: FloatArray, sign: int, seen: BoolArray) -> FloatArray:
    """Mean HU of the subchondral layer of each column where the endplate is seen, shape (n,)."""
    step = block.steps_mm[0]
    base = np.where(seen, surface, 0.0)
    depths = np.arange(LAYER_MM[0], LAYER_MM[1] + step / 2, step) / step
    total = np.zeros(seen.shape)
    for depth in depths:
        at = np.clip(np.rint(base + sign * depth).astype(int), 0, len(hu) - 1)
        total += np.take_along_axis(hu, at[None], axis=0)[0]
    mean = total / len(depths)
    # Columns beside the middle part must not enter the smoothing.
    valid = seen & np.isfinite(mean)
    weight = ndimage.gaussian_filter(valid.astype(float), _SMOOTH)
    smooth = ndimage.gaussian_filter(np.where(valid, mean, 0.0), _SMOOTH)
    return np.asarray(smooth[valid] / weight[valid])


def _core_hu(frame: VertebraFrame | None, ct: Ct) -> float | None:
    """Median HU of a vertebra's cancellous core; None where too little of it is on the CT."""
    if frame is None or not frame.core.mask.any():
        return None
    points = frame.core.points_mm()
    values = ct.at(points[:: max(len(points) // 2000, 1)])
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) >= _LEAST_CORE else None


def _with_sclerosis(signs: CtSigns, name: str, layer: FloatArray, core: float) -> CtSigns:
    if not len(layer):
        return signs
    share = float(np.mean(layer - core >= DENSER_HU))
    grade = "extensive" if share >= EXTENSIVE else "focal" if share >= FOCAL else "no"
    found = {
        f"subchondral_{name}_hu": float(np.median(layer)),
        f"cancellous_{name}_hu": core,
        f"sclerosis_{name}_share": share,
        f"sclerosis_{name}": grade,
    }
    return replace(signs, **found)  # type: ignore[arg-type]
