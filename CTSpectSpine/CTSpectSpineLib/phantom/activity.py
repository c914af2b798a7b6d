"""Activity of a phantom: what each voxel takes up, and the true ratio of every joint."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib import anatomy as names
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.model import BoolArray, FloatArray, Joint, Region
from CTSpectSpineLib.phantom.model import Anatomy, Tissue
from CTSpectSpineLib.volumes.geometry import Grid, apply_matrix, grid_of

_TABLE = Path(__file__).parent / "activity.json"
_BONE = (
    Tissue.BODY,
    Tissue.POSTERIOR,
    Tissue.RIB,
    Tissue.PELVIS,
    Tissue.SACRUM,
    Tissue.OTHER_BONE,
)
_CORE_DEPTH_MM = 4.0
_MAX_RATIO = 50.0
_EDGE_REACH = 2.0
"""Standard deviations after which the soft edge of a joint's activity ends."""
_CORE_VOXELS = 5
_TOLERANCE = 1e-3
_MAX_PASSES = 10
_STEP = 1.0 / 1024.0

Box = tuple[slice, slice, slice]
_Core = tuple[Box, BoolArray]


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
        Joint id to the mean activity of the joint's `bone` divided by the reference.
    """

    reference: float
    reference_levels: tuple[str, ...]
    ratios: Mapping[str, float]


@dataclass(frozen=True)
class _Paint:
    """How a joint's bone lies on the CT grid.

    Attributes
    ----------
    box
        Slices ``[k, j, i]`` around the bone.
    profile
        Share (0 to 1) of the joint's activity in each voxel of the box.
    voxels, weights
        Flat indices, in the box, of the voxels that hold the bone's points, and each voxel's
        share of them, summing to 1.
    """

    joint: Joint
    box: Box
    profile: NDArray[np.float32]
    voxels: NDArray[np.intp]
    weights: FloatArray

    def mean(self, activity: NDArray[np.float32]) -> float:
        """Mean activity over the joint's bone."""
        return float(activity[self.box].reshape(-1)[self.voxels] @ self.weights)

    def share(self) -> float:
        """Mean of the profile over the joint's bone."""
        return float(self.profile.reshape(-1)[self.voxels] @ self.weights)

    def crop(self, activity: NDArray[np.float32]) -> NDArray[np.float32]:
        """Copy of the activity in the box."""
        copy: NDArray[np.float32] = activity[self.box].copy()
        return copy

    def apply(self, activity: NDArray[np.float32], value: float) -> None:
        """Blend a value in."""
        part = activity[self.box]
        part += self.profile * (np.float32(value) - part)


@cache
def activity_table() -> Mapping[str, Any]:
    """The table of activities and of their natural variation."""
    table: dict[str, Any] = json.loads(_TABLE.read_text(encoding="utf-8"))
    return table


def assign_activity(
    anatomy: Anatomy, hot: Mapping[str, float], seed: int | Sequence[int] = 0
) -> sitk.Image:
    """Give every voxel its activity.

    Activity goes by tissue (``activity.json``), varies a little between vertebrae and between
    normal joints, and each hot joint's bone has the wanted mean. Where bones of joints overlap,
    the hotter wins; edges are soft over about a millimetre.

    Parameters
    ----------
    anatomy
        The patient.
    hot
        Joint id to its true ratio: mean activity of the joint's `bone` / reference bone.
    seed
        Seed of the natural variation; the same whatever is hot.

    Returns
    -------
    SimpleITK.Image
        float32 on the CT's grid; vertebral bodies are about 1 (steps of 1/1024).

    Raises
    ------
    InputError
        If a hot joint is unknown or has no bone in the image, or a ratio is impossible.
    """
    rng = np.random.default_rng(seed)
    tissue = sitk.GetArrayViewFromImage(anatomy.tissue)
    paints = _paints(anatomy.joints, grid_of(anatomy.ct), tissue)
    check_hot([paint.joint.id for paint in paints], hot)
    base = _base_activity(anatomy, rng)
    natural = _natural_ratios(anatomy.joints, rng)
    normal = sorted((p for p in paints if p.joint.id not in hot), key=lambda p: natural[p.joint.id])
    wanted = sorted((p for p in paints if p.joint.id in hot), key=lambda p: hot[p.joint.id])
    cores = _cores(anatomy, paints)
    reference = _mean_core(base, cores)
    for _ in range(_MAX_PASSES):
        activity = base.copy()
        for paint in normal:
            _paint_natural(activity, paint, natural[paint.joint.id] * reference)
        _paint_wanted(activity, wanted, [hot[p.joint.id] * reference for p in wanted])
        # Painting reaches the reference bone only where bodies are too small to keep apart.
        used, reference = reference, _mean_core(activity, cores)
        if abs(reference - used) < _TOLERANCE * used:
            break
    result = sitk.GetImageFromArray(np.rint(activity / _STEP).astype(np.float32) * _STEP)
    result.CopyInformation(anatomy.ct)
    return result


def measure_truth(activity: sitk.Image, anatomy: Anatomy) -> Truth:
    """True ratio of every joint that has bone in the image, measured on the activity map."""
    array = sitk.GetArrayFromImage(activity)
    tissue = sitk.GetArrayViewFromImage(anatomy.tissue)
    paints = _paints(anatomy.joints, grid_of(activity), tissue)
    cores = _cores(anatomy, paints)
    reference = _mean_core(array, cores)
    return Truth(reference, tuple(cores), {p.joint.id: p.mean(array) / reference for p in paints})


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
    by_code = np.zeros(max(Tissue) + 1, dtype=np.float32)
    for name, value in table["tissue"].items():
        by_code[Tissue[name]] = value
    tissue = sitk.GetArrayViewFromImage(anatomy.tissue)
    labels = sitk.GetArrayViewFromImage(anatomy.labels)
    rows = names.vertebrae()
    # One draw for each vertebra there can be, so that a cropped field changes nobody's value.
    spread = np.clip(rng.standard_normal(len(rows)), -2, 2) * table["vertebra_spread"]
    by_label = np.ones(256, dtype=np.float32)
    for row, deviation in zip(rows, spread, strict=True):
        by_label[row.id] = 1.0 + deviation
    activity: NDArray[np.float32] = by_code[tissue]
    np.multiply(activity, by_label[labels], out=activity, where=np.isin(tissue, _BONE))
    return activity


def _natural_ratios(joints: Sequence[Joint], rng: np.random.Generator) -> dict[str, float]:
    """True ratio of each joint when it is normal."""
    table = activity_table()
    low, high = table["normal_joint_range"]
    drawn = rng.normal(table["normal_joint_mean"], table["normal_joint_spread"], len(joints))
    return {
        joint.id: float(value)
        for joint, value in zip(joints, np.clip(drawn, low, high), strict=True)
    }


def _paint_natural(activity: NDArray[np.float32], paint: _Paint, target: float) -> None:
    """Paint a normal joint so that its mean is the target, unless metal fills it."""
    share = paint.share()
    if share > 0.1:
        paint.apply(activity, 0.0)
        value = (target - paint.mean(activity)) / share
        activity[paint.box] += paint.profile * np.float32(np.clip(value, 0.0, 2 * target))


def _paint_wanted(
    activity: NDArray[np.float32], paints: Sequence[_Paint], targets: Sequence[float]
) -> None:
    """Paint joints, the hottest last, so that each one's mean is its target.

    Bones that overlap change each other's mean. The means are linear in the painted values, so
    the values that give the wanted means solve a small linear system.
    """
    if not paints:
        return
    before = [paint.crop(activity) for paint in paints]
    start = _means_after(activity, paints, np.zeros(len(paints)))
    response = np.empty((len(paints), len(paints)))
    blank = np.zeros(activity.shape, dtype=np.float32)
    for n, unit_values in enumerate(np.eye(len(paints))):
        response[:, n] = _means_after(blank, paints, unit_values)
        for paint in paints:
            blank[paint.box] = 0.0
    values = np.linalg.lstsq(response, np.array(targets) - start, rcond=1e-6)[0]
    for paint, part in zip(paints, before, strict=True):
        activity[paint.box] = part
    reached = _means_after(activity, paints, np.maximum(values, 0.0))
    errors = np.abs(reached / np.array(targets) - 1)
    if errors.max() > _TOLERANCE:
        raise InputError(
            f"The wanted ratio of the joint '{paints[int(errors.argmax())].joint.id}' cannot be "
            "reached beside the other hot joints because their bones overlap, or because it holds "
            "too little bone; choose ratios that differ less."
        )


def _means_after(
    activity: NDArray[np.float32], paints: Sequence[_Paint], values: FloatArray
) -> FloatArray:
    """Paint the values in order and return the joints' means."""
    for paint, value in zip(paints, values, strict=True):
        paint.apply(activity, float(value))
    return np.array([paint.mean(activity) for paint in paints])


def _paints(joints: Iterable[Joint], grid: Grid, tissue: NDArray[np.uint8]) -> list[_Paint]:
    """How the joints' bones lie on the grid; joints without bone in the image are left out."""
    paints = (_paint(joint, joint.bone, grid, tissue) for joint in joints if joint.bone is not None)
    return [paint for paint in paints if paint is not None]


def _paint(joint: Joint, bone: Region, grid: Grid, tissue: NDArray[np.uint8]) -> _Paint | None:
    lps_to_ijk: FloatArray = np.linalg.inv(grid.ijk_to_lps).astype(np.float64)
    index = np.rint(apply_matrix(lps_to_ijk, bone.points_mm())).astype(int)
    index = index[np.all((index >= 0) & (index < grid.size), axis=1)]
    if index.size == 0:
        return None
    edge = float(activity_table()["edge_mm"])
    margin = np.ceil(_EDGE_REACH * edge / grid.spacing_mm).astype(int) + 1
    low = np.maximum(index.min(axis=0) - margin, 0)
    high = np.minimum(index.max(axis=0) + margin + 1, grid.size)
    i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    box = k, j, i
    inside = (index - low)[:, ::-1].T
    voxels, hits = np.unique(
        np.ravel_multi_index(tuple(inside), tuple((high - low)[::-1])), return_counts=True
    )
    covered = covered_fraction(bone, grid, low, high - low)
    soft = ndimage.gaussian_filter(
        covered, (edge / grid.spacing_mm)[::-1], mode="constant", truncate=_EDGE_REACH
    )
    part = tissue[box]
    profile = np.maximum(covered, np.where(np.isin(part, _BONE), soft, 0))
    profile[(part == Tissue.AIR) | (part == Tissue.METAL)] = 0.0
    return _Paint(joint, box, profile.astype(np.float32), voxels, hits / hits.sum())


def covered_fraction(region: Region, grid: Grid, low: FloatArray, size: FloatArray) -> FloatArray:
    """Share of each voxel of a box of the grid that a region covers, array ``[k, j, i]``."""
    to_region = np.linalg.inv(region.ijk_to_lps) @ grid.ijk_to_lps
    linear = to_region[:3, :3]
    # Enough points per voxel that neighbouring ones lie within a voxel of the region.
    counts = np.maximum(np.ceil(np.linalg.norm(linear, axis=0) - 0.25).astype(int), 1)
    source = region.mask.astype(np.float32)
    covered: FloatArray = np.zeros(tuple(size[::-1]))
    for step in np.ndindex(*counts):
        offset = (np.array(step) + 0.5) / counts - 0.5
        first = linear @ (low + offset) + to_region[:3, 3]
        covered += ndimage.affine_transform(
            source,
            linear[::-1, ::-1],  # scipy's axes are k, j, i
            offset=first[::-1],
            output_shape=covered.shape,
            order=1,
            mode="grid-constant",
        )
    covered /= np.prod(counts)
    return covered


def _mean_core(activity: NDArray[np.float32], cores: Mapping[str, _Core]) -> float:
    """Mean over vertebrae of the mean activity of the core."""
    means = [activity[box][mask].mean(dtype=np.float64) for box, mask in cores.values()]
    return float(np.mean(means))


def _cores(anatomy: Anatomy, paints: Sequence[_Paint]) -> dict[str, _Core]:
    """The reference bone: cores of vertebral bodies, outside every joint's bone.

    Small (cervical) bodies may lie within their endplate bands altogether; they serve only when
    no other body is there, with the voxels that are mostly outside of the bands.

    Raises
    ------
    InputError
        If there is no vertebral body.
    """
    labels = sitk.GetArrayViewFromImage(anatomy.labels)
    tissue = sitk.GetArrayViewFromImage(anatomy.tissue)
    spacing = np.array(anatomy.ct.GetSpacing())[::-1]
    painted = np.zeros(labels.shape, dtype=np.float32)
    for paint in paints:
        np.maximum(painted[paint.box], paint.profile, out=painted[paint.box])
    boxes: Sequence[Any] = ndimage.find_objects(labels)
    bodies: dict[str, _Core] = {}
    for row in names.vertebrae():
        box = boxes[row.id - 1] if row.id <= len(boxes) else None
        if box is None or row.region == "sacral" or row.name == "C1":  # the atlas has no body
            continue
        body = (labels[box] == row.id) & (tissue[box] == Tissue.BODY)
        if body.any():
            bodies[row.name] = box, _deep(body, spacing)
    for most in (0.0, 0.5, 1.0):
        cores = {name: (box, deep & (painted[box] <= most)) for name, (box, deep) in bodies.items()}
        cores = {name: core for name, core in cores.items() if core[1].sum() >= _CORE_VOXELS}
        if cores:
            return cores
    raise InputError(
        "The vertebra labels hold no vertebral body to serve as reference bone; "
        "give labels with at least one whole vertebra."
    )


def _deep(body: BoolArray, spacing: FloatArray) -> BoolArray:
    """Inner part of a vertebral body; for small bodies at least its deepest 40 %."""
    depth = ndimage.distance_transform_edt(np.pad(body, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    deep: BoolArray = depth >= max(min(_CORE_DEPTH_MM, 0.6 * float(depth.max())), 1e-3)
    return deep
