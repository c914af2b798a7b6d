"""All vertebrae of a label map: shapes, then frames that agree along the spine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.joints.frames import (
    Fit,
    Guess,
    axes_from,
    fit_vertebra,
    harmonise,
    typical_canal,
    unit,
)
from CTSpectSpineLib.joints.label_volume import LabelVolume
from CTSpectSpineLib.joints.sacrum import fit_sacrum
from CTSpectSpineLib.joints.shapes import Shape, shape_of, slivers
from CTSpectSpineLib.model import FloatArray

_CUT_SHARE = 0.01
"""Share of a body's voxels on the border of the label map, above which it counts as cut. Judgement:
a whole body has none; an edge that touches the border does no harm."""
_FEWEST_POINTS = 150
"""Fewest points of a vertebra that is fitted. Judgement: half a millilitre of bone; less does not
tell position or axes."""


@dataclass(frozen=True)
class Spine:
    """What is known of all vertebrae before joints are made.

    Attributes
    ----------
    shapes, fits
        Per level, cranial to caudal; `fits` lacks levels that could not be fitted.
    truncated
        Level to the reason why it is truncated.
    """

    shapes: Mapping[str, Shape]
    fits: Mapping[str, Fit]
    truncated: Mapping[str, str]


def label_ids(level: str, volume: LabelVolume) -> tuple[int, ...]:
    """Labels that make up a level; on the sacral side S1 and the sacrum are one bone."""
    names = anatomy.SACRAL if level in anatomy.SACRAL else (level,)
    ids = (anatomy.vertebra(name).id for name in names)
    return tuple(label for label in ids if label in volume.boxes)


def fit_spine(volume: LabelVolume) -> Spine:
    """Sample all vertebrae of a label map and fit their frames."""
    present = [n for n in map(anatomy.name_of_id, volume.boxes) if n is not None]
    levels = [n for n in anatomy.sort_levels(present) if n not in anatomy.SACRAL]
    sacral = [n for n in anatomy.SACRAL if n in present][:1]
    shapes: dict[str, Shape] = {}
    for level in (*levels, *sacral):
        shape = shape_of(volume, level, label_ids(level, volume))
        if shape is not None:
            shapes[level] = shape
    truncated = _truncated(shapes)
    fits = _fit_bodies(shapes, truncated)
    for level in sacral:
        if level in shapes and fits:
            fit = fit_sacrum(shapes[level], list(fits.values())[-1])
            if fit is not None:
                fits[level] = fit
    if "C1" in shapes:
        fits = {"C1": _fit_atlas(shapes["C1"], fits.get("C2")), **fits}
    return Spine(shapes, fits, truncated)


def _truncated(shapes: Mapping[str, Shape]) -> dict[str, str]:
    thin = slivers(shapes)
    reasons: dict[str, str] = {}
    for level, shape in shapes.items():
        if level in ("C1", *anatomy.SACRAL):
            continue
        if shape.cut_share > _CUT_SHARE:
            reasons[level] = f"{level} is cut by the field of view"
        elif level in thin:
            reasons[level] = f"only a part of {level} is labelled"
    return reasons


def _fit_bodies(shapes: Mapping[str, Shape], truncated: Mapping[str, str]) -> dict[str, Fit]:
    """Frames of the vertebrae that have a body, C2 to L6."""
    names = [n for n in shapes if n not in ("C1", *anatomy.SACRAL)]
    thin = slivers(shapes)
    fits = {}
    for name in names:
        if len(shapes[name].points) < _FEWEST_POINTS:
            continue
        superior = _tangent(name, names, shapes, thin)
        trust = 0 if name in thin else 1 if name in truncated else 2
        fits[name] = fit_vertebra(shapes[name], superior, trust)
    fits = harmonise(fits, shapes)
    if "C2" in fits and "C3" in fits and fits["C3"].reliable:
        fits["C2"] = _fit_axis(shapes["C2"], fits["C3"], fits["C2"].trust)
    return fits


def _fit_axis(shape: Shape, below: Fit, trust: int) -> Fit:
    """Frame of C2, whose body is the part of its thick bone under the dens, as wide as C3's."""
    height = (shape.points - shape.centre) @ below.axes[2]
    under_dens = replace(shape, thick=shape.thick & (height <= 2.0))
    return fit_vertebra(under_dens, below.axes[2], trust, Guess(semi_axes_mm=below.semi_axes_mm))


def _tangent(
    name: str, names: list[str], shapes: Mapping[str, Shape], thin: frozenset[str]
) -> FloatArray:
    """Direction to superior at one vertebra from the bodies around it."""
    place = names.index(name)
    above = [n for n in names[:place] if n not in thin][-1:]
    below = [n for n in names[place + 1 :] if n not in thin][:1]
    ends = [*above, *([name] if name not in thin or len(above) + len(below) == 1 else []), *below]
    if len(ends) < 2:
        others = [n for n in shapes if n != name]
        if not others:
            return np.array([0.0, 0.0, 1.0])
        order = list(shapes)
        ends = sorted([name, others[0]], key=order.index)
    return unit(shapes[ends[0]].centre - shapes[ends[-1]].centre)


def _fit_atlas(shape: Shape, axis: Fit | None) -> Fit:
    """Frame of C1, which has no body: axes of C2, centre between the lateral masses."""
    if axis is None:
        posterior = np.array([0.0, 1.0, 0.0])
        axes = axes_from(np.array([0.0, 0.0, 1.0]), posterior)
        centre = shape.points.mean(axis=0)
    else:
        axes = axis.axes
        local = (shape.points - axis.centre) @ axes.T
        masses = local[np.abs(local[:, 1]) <= axis.semi_axes_mm[1]]
        if len(masses) < 50:
            masses = local
        middle = masses.mean(axis=0)
        middle[0] = 0.5 * (local[:, 0].min() + local[:, 0].max())
        centre = axis.centre + middle @ axes
    semi = (10.0, 8.0) if axis is None else axis.semi_axes_mm
    return Fit("C1", centre, axes, semi, typical_canal(semi), None, None)
