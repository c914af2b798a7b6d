"""Activity of a phantom: what each voxel takes up, and the true ratio of every joint."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from CTSpectSpineLib import anatomy as names
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import Grid, apply_matrix, grid_of, inverse
from CTSpectSpineLib.model import BoolArray, FloatArray, Joint, Region
from CTSpectSpineLib.phantom.model import Anatomy, Tissue
from CTSpectSpineLib.phantom.pattern import BONE, UptakePattern
from CTSpectSpineLib.phantom.reference_cores import mean_of_cores, reference_cores
from CTSpectSpineLib.phantom.scanner.coverage import covered_fraction

_TABLE = Path(__file__).parent / "activity.json"
_NO_UPTAKE = (Tissue.AIR, Tissue.METAL)
_MAX_RATIO = 50.0
"""Largest true ratio that is accepted. Judgement: far above any real joint; catches typing
errors."""
_TOLERANCE = 1e-3
"""Relative error of reference and ratios that is left. Numerical: far below any SPECT's error."""
_MAX_PASSES = 10
"""Numerical: cap on the passes until reference and paint agree."""
_STEP = 1.0 / 1024.0
"""Step of the activity. Numerical: exact in binary, so files are reproducible and compress well."""

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Truth:
    """What a phantom's uptake truly is.

    Attributes
    ----------
    reference
        Activity of the reference bone: mean over vertebrae of the mean activity of the body's
        core (4 mm inside the body's surface, outside every joint's bone).
    reference_levels
        Vertebrae that entered.
    ratios
        Joint id to the mean activity concentration in the joint's `bone` (as its region outlines
        it, less metal and air) divided by the reference. It does not depend on the CT's voxels.
    """

    reference: float
    reference_levels: tuple[str, ...]
    ratios: Mapping[str, float]


@dataclass(frozen=True)
class Painted:
    """An activity map and the truth behind it.

    Attributes
    ----------
    image
        float32 on the CT's grid; vertebral bodies are about 1 (steps of 1/1024). Activity is
        conserved, so a voxel at the edge of a joint's bone holds the mixture of what it covers
        (the CT grid's own partial volume): the mean of the voxels that touch a hot bone is lower
        than the truth, the more so the coarser the CT.
    truth
        Concentrations in the bones themselves.
    """

    image: sitk.Image
    truth: Truth


@dataclass(frozen=True)
class _Bone:
    """A joint's bone in the image.

    Attributes
    ----------
    joint, region
        The joint and its bone.
    points
        Centres of the bone's voxels, LPS mm, shape (n, 3).
    takes_up
        For each point whether it lies in the CT, in neither metal nor air.
    """

    joint: Joint
    region: Region
    points: FloatArray
    takes_up: BoolArray


@dataclass(frozen=True)
class _Paint:
    """The part of a joint's bone that has the joint's own activity, on the CT grid.

    Attributes
    ----------
    box
        Slices ``[k, j, i]`` around the part.
    share
        Share (0 to 1) of each voxel of the box that the part covers; 0 in metal and air.
    shape
        Relative concentration in each voxel; 1 where the joint is even.
    """

    box: Box
    share: NDArray[np.float32]
    shape: NDArray[np.float32] | float = 1.0


@dataclass(frozen=True)
class _Mosaic:
    """How the joints share their bone.

    Attributes
    ----------
    paints
        One for each joint, disjoint.
    won
        ``won[a, b]`` is the share of the bone of joint a that has the activity of joint b, times
        the mean relative concentration of b there. Rows sum to 1 where all joints are even. A
        joint's mean concentration is its row times all concentrations.
    """

    paints: Sequence[_Paint]
    won: FloatArray


@cache
def activity_table() -> Mapping[str, Any]:
    """The table of activities and of their natural variation."""
    table: dict[str, Any] = json.loads(_TABLE.read_text(encoding="utf-8"))
    return table


def assign_activity(
    anatomy: Anatomy,
    hot: Mapping[str, float],
    seed: int | Sequence[int] = 0,
    pattern: UptakePattern | None = None,
) -> Painted:
    """Give every voxel its activity.

    Activity goes by tissue (``activity.json``) and varies a little between vertebrae. Each
    joint's bone has a concentration of its own: the wanted one where the joint is hot, else one
    that varies naturally. A voxel of which the bone covers the share c holds
    ``(1 - c) * tissue + c * concentration``, so the bone's total activity is its concentration
    times its volume, whatever the CT's voxels. Metal and air in it take up nothing and count
    neither as bone nor as volume.

    Where bones overlap, the shared part belongs to the joint with the higher ratio; joints in
    ``hot`` take precedence over all others. The truth of every joint is the mean over its whole
    bone, including the part that another joint has won. Hot joints' own parts are painted so that
    this mean is the wanted one.

    Parameters
    ----------
    anatomy
        The patient.
    hot
        Joint id to its true ratio: mean concentration in the joint's `bone` / reference bone.
    seed
        Seed of the natural variation; the same whatever is hot.
    pattern
        How uptake varies in this patient; None for the small variation of ``activity.json``.

    Raises
    ------
    InputError
        If a hot joint is unknown or has no bone in the image, or a ratio is impossible, on
        its own or beside the hot joints that it overlaps.
    """
    rng = np.random.default_rng(seed)
    grid = grid_of(anatomy.ct)
    tissue = sitk.GetArrayViewFromImage(anatomy.tissue)
    bones = _bones(anatomy.joints, grid, tissue)
    check_hot([bone.joint.id for bone in bones], hot)
    base = _base_activity(anatomy, rng)
    ratios = _natural_ratios(anatomy.joints, rng)
    if pattern is not None:
        base = pattern.base(anatomy, _by_tissue())
        ratios |= pattern.joints
    ratios |= dict(hot)
    ordered = sorted(bones, key=lambda bone: (bone.joint.id in hot, ratios[bone.joint.id]))
    mosaic = _mosaic(ordered, grid, tissue, pattern or UptakePattern())
    relative = _concentrations(ordered, mosaic.won, ratios, hot)
    cores = reference_cores(anatomy, ((paint.box, paint.share) for paint in mosaic.paints))
    reference = mean_of_cores(base, cores)
    for _ in range(_MAX_PASSES):
        activity = base.copy()
        for paint, value in zip(mosaic.paints, relative * reference, strict=True):
            own = np.float32(value) * paint.shape
            activity[paint.box] += paint.share * (own - base[paint.box])
        if pattern is not None:
            pattern.add_foci(activity, anatomy)
        # Painting reaches the reference bone only where bodies are too small to keep apart.
        used, reference = reference, mean_of_cores(activity, cores)
        if abs(reference - used) < _TOLERANCE * used:
            break
    means = mosaic.won @ relative * (used / reference)
    if pattern is not None:
        means += [_of_foci(bone, pattern) / reference for bone in ordered]
    reached = {bone.joint.id: float(mean) for bone, mean in zip(ordered, means, strict=True)}
    image = sitk.GetImageFromArray(np.rint(activity / _STEP).astype(np.float32) * _STEP)
    image.CopyInformation(anatomy.ct)
    truth = Truth(reference, tuple(cores), {b.joint.id: reached[b.joint.id] for b in bones})
    return Painted(image, truth)


def check_hot(joint_ids: Sequence[str], hot: Mapping[str, float]) -> None:
    """Check the wanted ratios.

    Parameters
    ----------
    joint_ids
        Joints that can be hot.
    hot
        Joint id to true ratio.

    Raises
    ------
    InputError
        If a joint is not among them, or a ratio is not above 0 and at most 50.
    """
    for name, ratio in hot.items():
        if name not in joint_ids:
            raise InputError(
                f"The phantom has no joint '{name}'; its joints are {', '.join(joint_ids)}."
            )
        if not (np.isfinite(ratio) and 0 < ratio <= _MAX_RATIO):
            raise InputError(
                f"The ratio {ratio:g} of the joint '{name}' is impossible; give a number above "
                f"0 and at most {_MAX_RATIO:g}."
            )


def _base_activity(anatomy: Anatomy, rng: np.random.Generator) -> NDArray[np.float32]:
    """Activity by tissue, with a factor for each vertebra."""
    table = activity_table()
    by_code = _by_tissue()
    tissue = sitk.GetArrayViewFromImage(anatomy.tissue)
    labels = sitk.GetArrayViewFromImage(anatomy.labels)
    rows = names.vertebrae()
    # One draw for each vertebra there can be, so that a cropped field changes no vertebra's value.
    spread = np.clip(rng.standard_normal(len(rows)), -2, 2) * table["vertebra_spread"]
    by_label = np.ones(256, dtype=np.float32)
    for row, deviation in zip(rows, spread, strict=True):
        by_label[row.id] = 1.0 + deviation
    activity: NDArray[np.float32] = by_code[tissue]
    np.multiply(activity, by_label[labels], out=activity, where=np.isin(tissue, BONE))
    return activity


def _by_tissue() -> NDArray[np.float32]:
    """Activity of each tissue code."""
    by_code = np.zeros(max(Tissue) + 1, dtype=np.float32)
    for name, value in activity_table()["tissue"].items():
        by_code[Tissue[name]] = value
    return by_code


def _of_foci(bone: _Bone, pattern: UptakePattern) -> float:
    """Mean activity that foci add to a joint's bone."""
    points = bone.points[bone.takes_up]
    return float(sum(focus.at(points).mean() for focus in pattern.foci))


def _natural_ratios(joints: Sequence[Joint], rng: np.random.Generator) -> dict[str, float]:
    """True ratio of each joint when it is normal."""
    table = activity_table()
    low, high = table["normal_joint_range"]
    drawn = rng.normal(table["normal_joint_mean"], table["normal_joint_spread"], len(joints))
    return {
        joint.id: float(value)
        for joint, value in zip(joints, np.clip(drawn, low, high), strict=True)
    }


def _bones(joints: Iterable[Joint], grid: Grid, tissue: NDArray[np.uint8]) -> list[_Bone]:
    """The joints' bones; joints without bone that takes up tracer in the image are left out."""
    lps_to_ijk = inverse(grid.ijk_to_lps)
    bones = []
    for joint in joints:
        if joint.bone is None:
            continue
        points = joint.bone.points_mm()
        index = np.rint(apply_matrix(lps_to_ijk, points)).astype(int)
        takes_up = np.all((index >= 0) & (index < grid.size), axis=1)
        i, j, k = index[takes_up].T
        takes_up[takes_up] = ~np.isin(tissue[k, j, i], _NO_UPTAKE)
        if takes_up.any():
            bones.append(_Bone(joint, joint.bone, points, takes_up))
    return bones


def _mosaic(
    bones: Sequence[_Bone], grid: Grid, tissue: NDArray[np.uint8], pattern: UptakePattern
) -> _Mosaic:
    """Which joint has which part of the bones; where several overlap, the last one."""
    won = np.zeros((len(bones), len(bones)))

    def painted(place: int) -> _Paint:
        bone = bones[place]
        winner = np.full(len(bone.points), place)
        for other in range(place + 1, len(bones)):
            winner[_inside(bones[other], bone.points)] = other
        counts = np.bincount(winner[bone.takes_up], minlength=len(bones))
        won[place] = counts / counts.sum()
        for other in map(int, np.flatnonzero(counts)):
            shape = pattern.shape_of(
                bones[other].joint, bone.points[bone.takes_up & (winner == other)]
            )
            won[place, other] *= 1.0 if shape is None else shape.mean()
        mask = bone.region.mask.copy()
        mask[mask] = winner == place
        paint = _paint(Region(mask, bone.region.ijk_to_lps), grid, tissue)
        return _shaped(paint, bone.joint, grid, pattern)

    # Most of it is interpolation, which lets other threads run.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        paints = list(pool.map(painted, range(len(bones))))
    return _Mosaic(paints, won)


def _shaped(paint: _Paint, joint: Joint, grid: Grid, pattern: UptakePattern) -> _Paint:
    """The paint with the joint's uneven concentration."""
    start = [s.start for s in paint.box]
    kji = np.indices(paint.share.shape).reshape(3, -1).T + start
    shape = pattern.shape_of(joint, apply_matrix(grid.ijk_to_lps, kji[:, ::-1]))
    if shape is None:
        return paint
    return replace(paint, shape=shape.reshape(paint.share.shape).astype(np.float32))


def _inside(bone: _Bone, points: FloatArray) -> BoolArray:
    """Which points, LPS mm, lie in a bone."""
    found: BoolArray = np.zeros(len(points), dtype=bool)
    margin = float(np.linalg.norm(bone.region.ijk_to_lps[:3, :3], axis=0).max())
    low, high = bone.points.min(axis=0) - margin, bone.points.max(axis=0) + margin
    near = np.flatnonzero(np.all((points >= low) & (points <= high), axis=1))
    mask = bone.region.mask
    index = np.rint(apply_matrix(inverse(bone.region.ijk_to_lps), points[near])).astype(int)
    within = np.all((index >= 0) & (index < mask.shape[::-1]), axis=1)
    i, j, k = index[within].T
    found[near[within]] = mask[k, j, i]
    return found


def _concentrations(
    bones: Sequence[_Bone], won: FloatArray, ratios: Mapping[str, float], hot: Mapping[str, float]
) -> FloatArray:
    """Concentration, relative to the reference, of each joint's own part.

    Natural joints have theirs. A hot joint's bone holds parts of hotter joints only, so the
    hottest comes first and each one after it makes up for what the others have in its bone.
    """
    values = np.array([ratios[bone.joint.id] for bone in bones])
    wanted = [place for place, bone in enumerate(bones) if bone.joint.id in hot]
    for place in reversed(wanted):
        own = won[place, place]
        others = float(won[place] @ values) - own * values[place]
        if own > 0:
            values[place] = max((values[place] - others) / own, 0.0)
        joint = bones[place].joint.id
        if abs(float(won[place] @ values) / hot[joint] - 1) > _TOLERANCE:
            raise InputError(
                f"The wanted ratio of the joint '{joint}' cannot be reached beside the other hot "
                "joints because their bones overlap; choose ratios that differ less."
            )
    return values


def _paint(part: Region, grid: Grid, tissue: NDArray[np.uint8]) -> _Paint:
    """A part of a bone on the grid; an empty box where it has none."""
    points = part.points_mm()
    if len(points) == 0:
        empty = slice(0, 0)
        return _Paint((empty, empty, empty), np.zeros((0, 0, 0), dtype=np.float32))
    # The part's own voxels reach beyond their centres.
    reach = np.abs(inverse(grid.ijk_to_lps)[:3, :3] @ part.ijk_to_lps[:3, :3]).sum(axis=1)
    index = apply_matrix(inverse(grid.ijk_to_lps), points)
    low = np.clip(np.floor(index.min(axis=0) - reach).astype(int), 0, grid.size)
    high = np.clip(np.ceil(index.max(axis=0) + reach).astype(int) + 1, low, grid.size)
    i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    box = k, j, i
    share = covered_fraction(part, grid, low, high - low).astype(np.float32)
    share[np.isin(tissue[box], _NO_UPTAKE)] = 0.0
    return _Paint(box, share)
