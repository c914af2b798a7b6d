"""Random patches of a case: domain randomisation of geometry, tissues and scanner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation
from synthesis import Case

from CTSpectSpineLib.labelling.builtin.network import CLASSES, OFFSET_MM, normalised
from CTSpectSpineLib.phantom.model import Tissue

_BONES = (Tissue.BODY, Tissue.POSTERIOR, Tissue.RIB, Tissue.PELVIS, Tissue.SACRUM)
_RARE = tuple(CLASSES.index(name) for name in ("sacrum", "rib", "hip", "cervical", "C1", "C2"))
_RARE_SHARE = (0.3, 0.08, 0.1, 0.14, 0.18, 0.2)
"""How often, relative to each other, patches are cut around bones that few would hold by chance.
Judgement: most for the sacrum, which a prototype had not learnt, and for C1 and C2, which only
necks show."""
_STARVED_SHARE = 0.25
"""Share of the patches with streaks across. Judgement: CTs of SPECT/CT are often of low dose."""
_AIR_HU = -1000.0
"""HU outside the field of view. By definition: that of air."""
_AT_JOINTS = np.float32(3)
"""Weight of the offsets where the next vertebra is at most a voxel and a half away. Judgement: such
voxels are few (Measured on 60 patches: 4.5 % of the bone), and facet regions hang on them."""
Float = NDArray[np.float32]


@dataclass(frozen=True)
class Patch:
    """One training patch.

    Attributes
    ----------
    image
        Normalised CT, shape (n, n, n).
    classes
        Class of each voxel.
    offsets
        Vector to the body's centre in units of `OFFSET_MM`, (3, n, n, n), along k, j, i.
    voting
        Weight of each voxel's offset, 0 where it does not count.
    """

    image: Float
    classes: NDArray[np.uint8]
    offsets: Float
    voting: Float


def random_patch(
    case: Case, size: int, rng: np.random.Generator, at_vertebrae: float = 0.4
) -> Patch:
    """Cut a patch, turned, scaled, bent and imaged at random; the axes may not be mirrored.

    `at_vertebrae` is the share of patches around a vertebra; most others lie at rare bones.
    """
    matrix = _random_matrix(rng)
    centre = _random_centre(case, rng, at_vertebrae)
    ticks = np.arange(size, dtype=np.float32) - (size - 1) / 2
    local = np.stack(np.meshgrid(ticks, ticks, ticks, indexing="ij")).reshape(3, -1)
    bending = _bending(size, rng)
    source = matrix @ local + centre[:, None] + bending.reshape(3, -1)
    shape = (size, size, size)
    nearest = np.rint(source).astype(np.int32)
    inside = np.ones(nearest.shape[1], dtype=bool)
    for axis, length in enumerate(case.hu.shape):
        inside &= (nearest[axis] >= 0) & (nearest[axis] < length)
        np.clip(nearest[axis], 0, length - 1, out=nearest[axis])
    at = tuple(nearest)
    tissue = np.where(inside, case.tissue[at], Tissue.AIR).reshape(shape)
    classes = np.where(inside, case.classes[at], 0).astype(np.uint8).reshape(shape)
    instance = np.where(inside, case.instances[at], 0)
    # The patch ends abruptly where the field of view does.
    hu = ndimage.map_coordinates(case.hu, source, np.float32, 1, "nearest")
    hu = np.where(inside, hu, np.float32(_AIR_HU)).reshape(shape)
    back = np.linalg.inv(matrix)
    centres = _unbent((case.centres - centre) @ back.T, bending, back)
    offsets = (centres[instance].T - local) * (case.spacing.mean() / OFFSET_MM)
    voting = np.isfinite(offsets).all(axis=0) & (instance > 0)
    offsets = np.where(voting, offsets, 0).astype(np.float32).reshape(3, *shape)
    hu = _imaged(_recoloured(hu, tissue, rng), tissue, rng)
    weight = voting.reshape(shape) * _weight_at_joints(instance.reshape(shape))
    return Patch(normalised(hu), classes, offsets, weight)


def _weight_at_joints(instance: NDArray[np.uint8]) -> Float:
    """More weight where two vertebrae are near each other: there the votes divide the bone."""
    highest = ndimage.maximum_filter(instance, 3)
    lowest = ndimage.minimum_filter(np.where(instance > 0, instance, np.uint8(255)), 3)
    weight: Float = np.where((lowest < highest) & (instance > 0), _AT_JOINTS, np.float32(1))
    return weight


def _random_matrix(rng: np.random.Generator) -> Float:
    """Rotation (mostly small, at times to 50 degrees) and scale; patch to case voxels."""
    widest = 50.0 if rng.random() < 0.25 else 15.0
    angles = rng.uniform(-widest, widest, 3)
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    scale = np.exp(rng.normal(0, 0.06)) * np.exp(rng.normal(0, 0.06, 3))
    matrix: Float = (turn * scale).astype(np.float32)
    return matrix


def _random_centre(case: Case, rng: np.random.Generator, at_vertebrae: float) -> Float:
    """Middle of a patch, mostly near the spine, the sacrum or the dens, sometimes anywhere."""
    shape = np.array(case.hu.shape)
    seen = case.centres[np.isfinite(case.centres).all(axis=1)]
    chance = rng.random()
    there = np.bincount(case.classes.ravel(), minlength=len(CLASSES))[list(_RARE)] > 0
    if chance < at_vertebrae and len(seen):
        centre = seen[rng.integers(len(seen))] + rng.normal(0, 9, 3)
    elif chance < 0.88 and there.any():
        share = np.where(there, _RARE_SHARE, 0.0)
        rare = _RARE[rng.choice(len(_RARE), p=share / share.sum())]
        bone = np.flatnonzero(case.classes.ravel() == rare)
        at = np.unravel_index(bone[rng.integers(bone.size)], case.hu.shape)
        centre = np.array(at) + rng.normal(0, 6, 3)
    else:
        centre = rng.uniform(0, shape)
    result: Float = np.asarray(centre, dtype=np.float32)
    return result


def _bending(size: int, rng: np.random.Generator) -> Float:
    """Smooth displacements of a few voxels, (3, n, n, n): other curvature, other shapes."""
    result = np.zeros((3, size, size, size), dtype=np.float32)
    for cells, most in ((3, 2.5), (5, 1.6)):
        if rng.random() < 0.5:
            coarse = rng.normal(0, rng.uniform(0.3, most), (3, cells, cells, cells))
            for axis, field in enumerate(coarse.astype(np.float32)):
                result[axis] += ndimage.zoom(
                    field, size / cells, order=1, mode="nearest", grid_mode=True
                )
    return result


def _unbent(centres: Float, bending: Float, back: Float) -> Float:
    """Centres in the patch where the case is bent: points that the bending moves onto them."""
    size = bending.shape[1]
    at = np.nan_to_num(np.rint(centres + (size - 1) / 2), nan=0.0, posinf=0.0, neginf=0.0)
    k, j, i = np.clip(at, 0, size - 1).astype(int).T
    result: Float = centres - bending[:, k, j, i].T @ back.T
    return result


def _recoloured(hu: Float, tissue: NDArray[np.uint8], rng: np.random.Generator) -> Float:
    """Other HU of tissues: contrast, density, soft tissue that is not uniform muscle."""
    shift = np.zeros(len(Tissue), dtype=np.float32)
    for code in (Tissue.MUSCLE, Tissue.LIVER, Tissue.FAT, Tissue.CARTILAGE):
        shift[code] = rng.normal(0, 25)
    if rng.random() < 0.5:
        shift[Tissue.BLOOD] = rng.uniform(40, 380)
        shift[Tissue.KIDNEY] = rng.uniform(0, 250)
        shift[Tissue.LIVER] += rng.uniform(0, 70)
    if rng.random() < 0.15:
        shift[Tissue.BLADDER] = rng.uniform(0, 600)
    gain = np.ones(len(Tissue), dtype=np.float32)
    common = np.exp(rng.normal(0, 0.18))
    for code in (*_BONES, Tissue.OTHER_BONE):
        gain[code] = common * np.exp(rng.normal(0, 0.08))
    hu = hu * gain[tissue] + shift[tissue]
    if rng.random() < 0.4:
        # Marrow about as dark as a disc, inside its cortical shell, as in osteoporosis.
        bone = np.isin(tissue, _BONES)
        hu = hu - bone * np.float32(rng.uniform(0.1, 0.9)) * np.clip(hu - 30, 0, 220)
    if rng.random() < 0.6:
        _fatten(hu, tissue, rng)
    soft = np.isin(tissue, (Tissue.MUSCLE, Tissue.FAT, Tissue.LIVER))
    texture = _noise_field(hu.shape, int(rng.integers(4, 12)), rng)
    hu = hu + soft * texture * np.float32(rng.uniform(0, 70))
    if rng.random() < 0.5:
        _paint_blobs(hu, soft, rng)
    if rng.random() < 0.3:
        bone = np.isin(tissue, _BONES)
        lumps = _noise_field(hu.shape, int(rng.integers(8, 16)), rng)
        hu = hu + bone * lumps * np.float32(rng.uniform(0, 150))
    if rng.random() < 0.2:
        hu[tissue == Tissue.AIR] += np.float32(rng.choice([0.0, 200.0, 900.0, 1000.0]))
    result: Float = hu.astype(np.float32)
    return result


def _fatten(hu: Float, tissue: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Fatty marrow in sacrum and pelvis, darker than that of the bodies, to below water."""
    pelvic = np.isin(tissue, (Tissue.SACRUM, Tissue.PELVIS))
    if not pelvic.any():
        return
    patchy = 1 + 0.5 * _noise_field(hu.shape, int(rng.integers(3, 10)), rng)
    darker = np.clip(patchy, 0, 2) * np.float32(rng.uniform(20, 160))
    # Compact bone keeps its brightness.
    marrow = np.clip((450 - hu) / 250, 0, 1)
    lower = np.maximum(hu - darker * marrow, np.minimum(hu, np.float32(-90)))
    hu[pelvic] = lower[pelvic]


def _noise_field(shape: tuple[int, ...], cells: int, rng: np.random.Generator) -> Float:
    coarse = rng.standard_normal((cells,) * 3).astype(np.float32)
    field: Float = ndimage.zoom(coarse, shape[0] / cells, order=1, mode="nearest", grid_mode=True)
    return field


def _paint_blobs(hu: Float, soft: NDArray[np.bool_], rng: np.random.Generator) -> None:
    """Bright or dark ellipsoids in soft tissue: bowel, vessels with contrast, calcifications."""
    n = hu.shape[0]
    for _ in range(int(rng.integers(1, 9))):
        middle, radii = rng.uniform(0, n, 3), np.exp(rng.uniform(0.3, 2.6, 3))
        low = np.maximum(np.floor(middle - radii), 0).astype(int)
        high = np.minimum(np.ceil(middle + radii) + 1, n).astype(int)
        if np.any(high <= low):
            continue
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        axes = np.ogrid[box]
        away = sum(((a - m) / r) ** 2 for a, m, r in zip(axes, middle, radii, strict=True))
        value = rng.choice([rng.uniform(120, 700), rng.uniform(-900, -100)], p=[0.7, 0.3])
        hu[box][(away < 1) & soft[box]] = value


def _imaged(hu: Float, tissue: NDArray[np.uint8], rng: np.random.Generator) -> Float:
    """Scanner: thick slices, blur, streaks from metal, noise, a shift of the scale."""
    chance = rng.random()
    if chance < 0.3:
        # Thick slices (to 6 mm) along any axis of the patch, mostly the axial one.
        axis = int(rng.choice(3, p=[0.8, 0.1, 0.1]))
        hu = ndimage.gaussian_filter1d(hu, rng.uniform(0.5, 1.1), axis=axis)
        hu = _stepped(hu, axis, rng.uniform(1.2, 2.4))
    elif chance < 0.7:
        hu = ndimage.gaussian_filter(hu, rng.uniform(0.2, 0.8))
    elif chance < 0.8:
        sharp = ndimage.gaussian_filter(hu, 1.0)
        hu = hu + np.float32(rng.uniform(0.2, 0.9)) * (hu - sharp)
    if (tissue == Tissue.METAL).any():
        glare = ndimage.uniform_filter((tissue == Tissue.METAL).astype(np.float32), (1, 31, 31))
        field = _noise_field(hu.shape, 16, rng)
        hu = hu + glare * field * np.float32(rng.uniform(2000, 20000))
    if rng.random() < _STARVED_SHARE:
        hu = hu + _starved(hu.shape, rng)
    noise = rng.standard_normal(hu.shape, dtype=np.float32)
    if rng.random() < 0.5:
        noise = ndimage.gaussian_filter(noise, 0.7) * np.float32(3.0)
    hu = hu + noise * np.float32(np.exp(rng.uniform(np.log(3), np.log(90))))
    result: Float = (hu * rng.uniform(0.95, 1.05) + rng.normal(0, 12)).astype(np.float32)
    return result


def _starved(shape: tuple[int, ...], rng: np.random.Generator) -> Float:
    """Streaks from side to side where few photons pass: the shoulders and hips on low-dose CT."""
    lines = rng.standard_normal(shape, dtype=np.float32)
    lines = ndimage.uniform_filter1d(lines, int(rng.integers(12, 40)), axis=2)
    strength = _noise_field((shape[0],) * 3, 3, rng)[:, :1, :1]
    most = np.float32(np.exp(rng.uniform(np.log(20), np.log(160))))
    result: Float = lines / lines.std() * most * np.clip(0.5 + strength, 0, 2)
    return result


def _stepped(hu: Float, axis: int, step: float) -> Float:
    """Sampled every `step` voxels along an axis and interpolated back."""
    n = hu.shape[axis]
    ticks = np.arange(0, n - 1 + 1e-6, step)
    position = np.clip(np.arange(n) / step, 0, len(ticks) - 1)
    lower = np.minimum(np.floor(position).astype(int), len(ticks) - 2)
    weight = (position - lower).astype(np.float32)
    kept = np.take(hu, np.rint(ticks).astype(int), axis=axis)
    shape = [1, 1, 1]
    shape[axis] = n
    part = weight.reshape(shape)
    result: Float = (
        np.take(kept, lower, axis=axis) * (1 - part) + np.take(kept, lower + 1, axis=axis) * part
    )
    return result
