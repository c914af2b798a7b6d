"""CT, labels and joints as shares of SPECT voxels, and what ordinary bone looks like there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage, sparse

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.geometry import (
    FWHM_PER_SIGMA,
    Box,
    apply_matrix,
    content_box,
    grid_of,
    ijk_to_lps,
    inverse,
    label_boxes,
)
from CTSpectSpineLib.model import BoolArray, FloatArray

STEP_MM = 2.0
"""Coarsest step at which the CT is read. Numerical: half a SPECT voxel."""
BONE_HU, BODY_HU = 160.0, -300.0
"""HU from which an unlabelled voxel is bone, and belongs to the body. Judgement: above soft tissue
without contrast and below most trabecular bone with its cortex; between fat and air."""
CLOSING_MM = 6.0
"""Gaps of unlabelled bone that are closed. Judgement: marrow between thin cortices."""
REACH = 3.0
"""Reach of a blurred shape in standard deviations. Numerical: 0.3 % of it lies beyond."""

_SAME_MM = 1e-6
"""Grids that differ by less are the same, mm. Numerical: rounding of headers."""
_COUNTED = 1 << 17
"""Steps whose voxels are looked for at once. Numerical: their indices stay in the cache."""
_SLAB = 1 << 20
"""Steps among which gaps are closed at once. Numerical: some MiB, a small part of a CT."""
ORDINARY: Mapping[str, tuple[float, float]] = {
    "vertebra": (0.95, 1.42),
    "sacrum": (1.1, 1.6),
    "hip": (1.1, 1.65),
    "bone": (0.8, 1.35),
    "soft": (0.12, 0.45),
    "air": (0.02, 0.3),
    "unseen": (0.5, 1.5),
}
"""Usual uptake and the upper limit of the ordinary, as ratios to the reference bone, blurred by the
SPECT. Judgement, from normal vertebrae (a body reads 1 with a spread of 6 to 9 % within a patient,
Rohani et al., Asian Spine J 2020;14:629), sacrum and iliac bone (somewhat more), muscle (SUV 0.4 to
0.6 where bone has 4) and the truth study's patients; ``unseen`` is what lies outside the CT."""


@dataclass(frozen=True)
class Scene:
    """Everything on the SPECT's voxels.

    Attributes
    ----------
    ratio
        SPECT over the reference uptake, ``[k, j, i]``.
    usual, limit
        Ordinary uptake and its upper limit, as ratios, blurred as the SPECT.
    bone_share, seen_share
        Share of bone, and of what the CT covers, blurred as the SPECT.
    ct_to_index
        4×4 matrix from CT points, LPS mm, to continuous index ``(i, j, k)``.
    spacing
        Voxel sizes along ``(i, j, k)``, mm.
    sigma_mm
        Standard deviation of the point spread.
    coarse
        The CT at a coarse step.
    """

    ratio: FloatArray
    usual: FloatArray
    limit: FloatArray
    bone_share: FloatArray
    seen_share: FloatArray
    ct_to_index: FloatArray
    spacing: FloatArray
    sigma_mm: float
    coarse: Coarse

    @cached_property
    def sigmas(self) -> FloatArray:
        """Standard deviations of point spread in voxels, ``(k, j, i)``."""
        return np.asarray(self.sigma_mm / self.spacing[::-1])

    @cached_property
    def index_to_ct(self) -> FloatArray:
        """4×4 matrix from index ``(i, j, k)`` to CT points, LPS mm."""
        return np.asarray(np.linalg.inv(self.ct_to_index))

    def point(self, kji: FloatArray) -> FloatArray:
        """CT point, LPS mm, of a continuous index ``(k, j, i)``."""
        return np.asarray(apply_matrix(self.index_to_ct, np.asarray(kji)[None, ::-1])[0])

    def blurred(self, points_mm: FloatArray, volume_mm3: float) -> sparse.csc_matrix | None:
        """A region of evenly spaced CT points as the SPECT shows it, a column over all voxels.

        Parameters
        ----------
        points_mm
            Points, LPS mm, shape (n, 3).
        volume_mm3
            Volume that each stands for.
        """
        shape = self.ratio.shape
        kji = np.rint(apply_matrix(self.ct_to_index, points_mm)[:, ::-1]).astype(int)
        kji = kji[np.all((kji >= 0) & (kji < shape), axis=1)]
        if not len(kji):
            return None
        reach = np.ceil(REACH * self.sigmas).astype(int)
        low = np.maximum(kji.min(axis=0) - reach, 0)
        high = np.minimum(kji.max(axis=0) + reach + 1, shape)
        size = high - low
        flat = np.ravel_multi_index(tuple((kji - low).T), tuple(size))
        share = np.bincount(flat, minlength=int(np.prod(size))).reshape(size)
        share = share * (volume_mm3 / float(np.prod(self.spacing)))
        seen = ndimage.gaussian_filter(share, self.sigmas, mode="constant", truncate=REACH)
        return self.column(seen, low)

    def column(self, values: FloatArray, low: NDArray[np.int_]) -> sparse.csc_matrix:
        """Values of a box that begins at ``low`` as a sparse column over all voxels."""
        kji = np.argwhere(values > 1e-3)
        flat = np.ravel_multi_index(tuple((kji + low).T), self.ratio.shape)
        data = values[tuple(kji.T)]
        zeros = np.zeros(len(flat), dtype=int)
        return sparse.csc_matrix((data, (flat, zeros)), shape=(self.ratio.size, 1))


@dataclass(frozen=True)
class Coarse:
    """The CT at a step of about 2 mm.

    Attributes
    ----------
    labels
        Ids of `anatomy`, ``[k, j, i]``.
    bone, body
        Bone (labelled or not), and everything of the patient.
    ijk_to_lps
        4×4 matrix.
    """

    labels: NDArray[np.integer[Any]]
    bone: BoolArray
    body: BoolArray
    ijk_to_lps: FloatArray

    @cached_property
    def _boxes(self) -> dict[int, Box]:
        return label_boxes(self.labels)

    def points_of(self, label: int) -> FloatArray:
        """Points of a label, LPS mm, shape (n, 3)."""
        box = self._boxes.get(label)
        if box is None:
            return np.zeros((0, 3))
        kji = np.argwhere(self.labels[box] == label) + [s.start for s in box]
        return apply_matrix(self.ijk_to_lps, kji[:, ::-1].astype(float))

    @property
    def spacing(self) -> FloatArray:
        """Step along ``(i, j, k)``, mm."""
        return np.asarray(np.linalg.norm(self.ijk_to_lps[:3, :3], axis=0))

    @property
    def volume_mm3(self) -> float:
        """Volume of one step."""
        return float(abs(np.linalg.det(self.ijk_to_lps[:3, :3])))

    def near(self, centre_mm: FloatArray, radius_mm: float) -> tuple[NDArray[np.int_], FloatArray]:
        """Index ``(k, j, i)`` of the steps within a ball, and their points, LPS mm."""
        middle = apply_matrix(inverse(self.ijk_to_lps), centre_mm[None])[0]
        reach = radius_mm / self.spacing + 1
        size = np.array(self.labels.shape[::-1])
        low = np.clip(np.floor(middle - reach).astype(int), 0, size)
        high = np.clip(np.ceil(middle + reach).astype(int) + 1, low, size)
        i, j, k = (np.arange(a, b) for a, b in zip(low, high, strict=True))
        kji = np.stack(np.meshgrid(k, j, i, indexing="ij"), axis=-1).reshape(-1, 3)
        points = apply_matrix(self.ijk_to_lps, kji[:, ::-1].astype(float))
        inside = np.linalg.norm(points - centre_mm, axis=1) <= radius_mm
        return kji[inside], points[inside]


def scene_of(
    spect: sitk.Image,
    ct: sitk.Image,
    labels: sitk.Image,
    ct_to_spect: FloatArray,
    reference: float,
    fwhm_mm: float,
) -> Scene:
    """Put everything on the SPECT's voxels; see `find_findings` for the parameters."""
    coarse = _coarse(ct, labels)
    ratio = sitk.GetArrayFromImage(spect).astype(np.float64) / reference
    spacing = np.asarray(spect.GetSpacing(), dtype=float)
    ct_to_index = np.linalg.inv(ijk_to_lps(spect)) @ ct_to_spect
    sigma_mm = fwhm_mm / FWHM_PER_SIGMA
    of_class = _steps_of_classes(coarse, ct_to_index, ratio.shape)
    counts = np.maximum(of_class.sum(axis=1, dtype=np.int64), 1)
    seen = of_class.any(axis=1)

    def spread(values: FloatArray, unseen: float) -> FloatArray:
        # Class by class: a product of the whole table would copy it as floating point numbers.
        mean = sum(of_class[:, n] * value for n, value in enumerate(values) if value != 0.0)
        mean = np.where(seen, mean / counts, unseen)
        smooth: FloatArray = ndimage.gaussian_filter(
            mean.reshape(ratio.shape), sigma_mm / spacing[::-1], truncate=REACH
        )
        return smooth

    names = list(ORDINARY)
    usual = np.array([ORDINARY[name][0] for name in names])
    limit = np.array([ORDINARY[name][1] for name in names])
    bone = np.array([float(name in ("vertebra", "sacrum", "hip", "bone")) for name in names])
    return Scene(
        ratio,
        spread(usual, ORDINARY["unseen"][0]),
        spread(limit, ORDINARY["unseen"][1]),
        spread(bone, 0.0),
        spread(np.ones(len(names)), 0.0),
        ct_to_index,
        spacing,
        sigma_mm,
        coarse,
    )


def _coarse(ct: sitk.Image, labels: sitk.Image) -> Coarse:
    step = [max(1, int(STEP_MM / spacing)) for spacing in ct.GetSpacing()]
    every = tuple(slice(None, None, n) for n in step[::-1])
    hu = sitk.GetArrayViewFromImage(ct)[every]
    own, other = grid_of(ct), grid_of(labels)
    if own.size == other.size and np.allclose(own.ijk_to_lps, other.ijk_to_lps, atol=_SAME_MM):
        label = np.ascontiguousarray(sitk.GetArrayViewFromImage(labels)[every])
    else:
        thin = ct[:: step[0], :: step[1], :: step[2]]
        placed = sitk.Resample(labels, thin, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
        label = sitk.GetArrayFromImage(placed)
    body, bone = hu > BODY_HU, hu > BONE_HU
    bone |= label > 0
    spacing_mm = np.array(ct.GetSpacing()) * step
    _close(bone, max(1, round(CLOSING_MM / float(np.mean(spacing_mm)))), body)
    return Coarse(label, bone, body, ijk_to_lps(ct) @ np.diag([*step, 1]))


def _close(bone: BoolArray, rounds: int, body: BoolArray) -> None:
    """Close gaps of bone within the body, in place; beyond the edge all goes on as at the edge."""
    planes = bone.shape[0]
    slab = max(1, _SLAB // bone[0].size)
    reach = 2 * rounds
    around = [(rounds, rounds)] * 2
    before = bone[:0]
    for start in range(0, planes, slab):
        stop = min(start + slab, planes)
        # What lies before was closed already: what it was like is kept.
        near = np.arange(max(start - reach, 0), min(stop + reach, planes))
        own = np.concatenate([before, bone[near[len(before)] : near[-1] + 1]])
        ends = (reach - (start - near[0]), reach - (near[-1] + 1 - stop))
        following = max(stop - reach, 0)
        before = own[following - near[0] : stop - near[0]].copy()
        # Closing adds nothing outside the box around the bone; one line beyond it is empty.
        box = content_box(own)
        if box is None:
            continue
        j, i = (slice(max(s.start - 1, 0), s.stop + 1) for s in box[1:])
        closed = ndimage.binary_closing(
            np.pad(own[:, j, i], [ends, *around], mode="edge"), iterations=rounds
        )[reach : reach + stop - start, rounds:-rounds, rounds:-rounds]
        bone[start:stop, j, i] |= closed & body[start:stop, j, i]


def _steps_of_classes(
    coarse: Coarse, ct_to_index: FloatArray, shape: tuple[int, ...]
) -> NDArray[np.uint16]:
    """How many steps of each class lie in each SPECT voxel, shape (voxels, classes)."""
    voxels, kinds = int(np.prod(shape)), len(ORDINARY)
    found = np.zeros(voxels * kinds, dtype=np.uint16)
    planes, rows, columns = coarse.labels.shape
    to_index = (ct_to_index @ coarse.ijk_to_lps)[2::-1]
    i, j = np.arange(columns, dtype=float), np.arange(rows, dtype=float)
    first = [(m[1] * j + m[3])[:, None] + m[0] * i for m in to_index]
    slab = max(1, _COUNTED // (rows * columns))
    for start in range(0, planes, slab):
        part = slice(start, min(start + slab, planes))
        k = np.arange(part.start, part.stop, dtype=float)[:, None, None]
        at, inside = np.zeros((k.size, rows, columns), dtype=np.int64), np.bool_(True)
        for plane, matrix, size in zip(first, to_index, shape, strict=True):
            index = np.rint(plane + matrix[2] * k).astype(np.int64)
            inside = inside & (index >= 0) & (index < size)
            at *= size
            at += index
        _count(found, (at * kinds + _classes(coarse, part))[inside])
    return found.reshape(voxels, kinds)


def _count(found: NDArray[np.uint16], at: NDArray[np.int64]) -> None:
    """Add 1 at each place, as often as it is named."""
    if at.size:
        low = int(at.min())
        times = np.bincount(at - low)
        found[low : low + times.size] += times.astype(np.uint16)


def _classes(coarse: Coarse, part: slice) -> NDArray[np.int8]:
    """Place in `ORDINARY` of each step of some planes."""
    names = list(ORDINARY)
    label = coarse.labels[part]
    classes = np.full(label.shape, names.index("air"), dtype=np.int8)
    classes[coarse.body[part]] = names.index("soft")
    classes[coarse.bone[part]] = names.index("bone")
    table = np.full(int(label.max(initial=0)) + 1, -1, dtype=np.int8)
    named = {
        row.id: "sacrum" if row.region == "sacral" else "vertebra" for row in anatomy.vertebrae()
    }
    for number, name in {**named, **dict.fromkeys(anatomy.hip_ids().values(), "hip")}.items():
        if number < len(table):
            table[number] = names.index(name)
    of_label = table[label]
    return np.where(of_label >= 0, of_label, classes)
