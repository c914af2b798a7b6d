"""Global search: the best translation for each of many rotations, by Fourier transforms.

Masked normalised cross-correlation as in Padfield, "Masked object registration in the Fourier
domain", IEEE Trans Image Process 2012;21:2706, at a resolution where a grid of rotations of
12 degrees is fine enough for the refinement to take over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from CTSpectSpineLib.geometry import affine, content_box
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.registration.blocks import (
    Float32Array,
    block_means,
    factors,
    shrunk_matrix,
)
from CTSpectSpineLib.registration.blurring import blur
from CTSpectSpineLib.registration.prepare import (
    BONE_CHANNELS,
    CtMaps,
    SpectMap,
    column_lengths,
)

SEARCH_MM = 13.0
"""Voxel size and resolution of the search, mm. Numerical: more than what half a step of rotation
moves bone 80 mm from the centre (8 mm)."""
ROUGH_MM = 18.0
"""The same where rotations are looked for, mm. Numerical: a third of the time, and a step of
rotation still moves bone farther from the centre by more."""
MOST_ROTATIONS = 12
"""Rotations that are searched at `SEARCH_MM`. Measured on 35 simulated pairs of 19 kinds: with 10
as with 20 a pose within 25 mm of the right one, or one vertebra from it, was among those to be
refined in all of them."""
ROTATION_STEP_DEG = 12.0
"""Step of the grid of rotations about each axis, degrees. Numerical: half of it is within the reach
of the refinement."""
ROTATION_LIMIT_DEG = 48.0
"""Largest rotation tried about each axis, degrees. Judgement: well beyond how differently a patient
lies in two scanners. Measured on simulated pairs: all 40 pairs turned by up to 30 degrees are
found."""
SOFT_TISSUE_UPTAKE = 0.15
"""Soft-tissue uptake relative to bone, in the template that is searched. Judgement: a typical one;
only the order of scores depends on it."""
SATURATION = 0.7
"""Uptake, relative to bone, at which the SPECT is half saturated, so that hot spots,
kidneys and bladder do not outweigh the skeleton. Judgement: somewhat below typical bone uptake."""
HOT, HOT_SHARE = 4.0, 0.3
"""Uptake relative to bone from which a voxel is not bone alone, and the share of such voxels about
a point from which the search leaves it out. Judgement: above the hottest sound bone; small lesions
stay."""
AIR = 0.1
"""Saturated uptake below which there is air. Judgement: soft tissue shows about 0.15."""
PADDED = 0.7
"""Padding of the Fourier transforms, relative to the smaller of template and SPECT along an axis.
Numerical: only translations with less than the rest of it in common are mixed with others; see
`MINIMUM_OVERLAP`."""
SEEN_MM = 9.0
"""Voxel size to which the SPECT is averaged, mm. Numerical: less than what it is blurred to, and
taken off that."""
MINIMUM_OVERLAP = 0.35
"""Least share of the template's mass that must lie inside the SPECT, or of the SPECT's
inside the CT. Judgement: smaller overlaps score well by chance."""

_UNKNOWN = -1.0
"""Value of the template where the CT was not measured. By definition: less than any template."""

ComplexArray = NDArray[np.complex64]
Node = tuple[int, int, int]


@dataclass(frozen=True)
class Candidate:
    """One pose that the search proposes.

    Attributes
    ----------
    spect_to_ct
        4×4 matrix from SPECT points to CT points, LPS mm.
    score
        Masked normalised cross-correlation, weighted by overlap.
    """

    spect_to_ct: FloatArray
    score: float


@dataclass(frozen=True)
class _Seen:
    """Saturated SPECT, and the share of what is hot, in voxels of about `SEEN_MM`."""

    saturated: Float32Array
    hot: Float32Array
    ijk_to_lps: FloatArray

    @staticmethod
    def of(spect: SpectMap) -> _Seen:
        saturated = spect.values / (np.abs(spect.values) + np.float32(SATURATION))
        by = factors(spect.values.shape, spect.spacing_mm, SEEN_MM)
        hot = block_means(spect.values > HOT, by)
        return _Seen(block_means(saturated, by), hot, shrunk_matrix(spect.ijk_to_lps, by))


@dataclass(frozen=True)
class _Grid:
    """SPECT on an axis-aligned (LPS) search grid, and its Fourier transforms."""

    shape: tuple[int, ...]
    size: tuple[int, ...]
    origin_mm: FloatArray
    image_hat: ComplexArray
    square_hat: ComplexArray
    mask_hat: ComplexArray
    total: float


def _to_grid(
    volume: Float32Array,
    index_to_lps: FloatArray,
    grid_to_lps: FloatArray,
    shape: tuple[int, ...],
    order: Literal[0, 1] = 1,
    outside: float = 0.0,
) -> Float32Array:
    """Sample a volume ``[k, j, i]`` on a grid ``[x, y, z]`` of LPS points."""
    matrix = np.linalg.inv(index_to_lps) @ grid_to_lps
    flip = matrix[[2, 1, 0]]
    found = ndimage.affine_transform(
        volume, flip[:, :3], flip[:, 3], shape, order=order, mode="constant", cval=outside
    )
    return np.asarray(found)


def _box(index_to_lps: FloatArray, shape: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
    """Lower and upper LPS corner of a volume ``[k, j, i]``."""
    corners = np.array(list(product(*[(0, n - 1) for n in shape[::-1]])), dtype=float)
    points = corners @ index_to_lps[:3, :3].T + index_to_lps[:3, 3]
    return points.min(axis=0), points.max(axis=0)


def _body(
    uptake: Float32Array, index_to_lps: FloatArray, margin_mm: float
) -> tuple[FloatArray, FloatArray]:
    """Lower and upper LPS corner of what holds uptake, with a margin, inside the volume."""
    low, high = _box(index_to_lps, uptake.shape)
    box = content_box(uptake > AIR)
    if box is None:
        return low, high
    first = index_to_lps.copy()
    first[:3, 3] += first[:3, :3] @ np.array([part.start for part in box[::-1]])
    inner = _box(first, tuple(part.stop - part.start for part in box))
    return np.maximum(low, inner[0] - margin_mm), np.minimum(high, inner[1] + margin_mm)


def _scaling(spacing_mm: float, origin_mm: FloatArray) -> FloatArray:
    return affine(spacing_mm * np.eye(3), origin_mm)


def rotation_matrix(degrees: Sequence[float]) -> FloatArray:
    """Rotation by angles about x, y, z in the order of ITK's Euler3DTransform (Rz·Rx·Ry)."""
    x, y, z = np.deg2rad(np.asarray(degrees, dtype=float))
    rx = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    ry = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    rz = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return np.asarray(rz @ rx @ ry)


class _Search:
    """Correlates rotated templates of the CT with the SPECT, at one resolution."""

    def __init__(self, ct: CtMaps, seen: _Seen, step_mm: float) -> None:
        self.step_mm = step_mm
        bone = ct.channels[..., BONE_CHANNELS[0]]
        template = bone + SOFT_TISSUE_UPTAKE * ct.channels[..., 1]
        blurred = blur(template.astype(np.float32), step_mm, ct.spacing_mm)
        self.template = np.where(ct.valid, blurred, np.float32(_UNKNOWN))
        self.ct_to_lps = ct.ijk_to_lps
        low, high = _box(ct.ijk_to_lps, bone.shape)
        self.centre_mm = (low + high) / 2
        # A rotation by any angle keeps the CT inside the sphere about its centre.
        reach = float(np.linalg.norm(high - low))
        extent = np.minimum((high - low) * 1.35, reach)
        self.ct_shape = tuple(int(np.ceil(e / step_mm)) + 1 for e in extent)
        self.grid = self._spect_grid(seen)

    def _spect_grid(self, seen: _Seen) -> _Grid:
        spacing = column_lengths(seen.ijk_to_lps)
        smooth = blur(seen.saturated, self.step_mm, spacing)
        low, high = _body(smooth, seen.ijk_to_lps, 2.0 * self.step_mm)
        shape = tuple(int(np.floor(e / self.step_mm)) + 1 for e in high - low)
        to_lps = _scaling(self.step_mm, low)
        image = _to_grid(smooth, seen.ijk_to_lps, to_lps, shape)
        inside = _to_grid(np.ones_like(smooth), seen.ijk_to_lps, to_lps, shape)
        # Bladder, kidneys and injection sites say nothing about bone.
        hot = blur(seen.hot, self.step_mm, spacing)
        cool = _to_grid(hot, seen.ijk_to_lps, to_lps, shape) < HOT_SHARE
        mask = ((inside > 0.5) & cool).astype(np.float32)
        image = image * mask
        size = tuple(
            fft.next_fast_len(max(a, b) + int(np.ceil(PADDED * min(a, b))), real=True)
            for a, b in zip(shape, self.ct_shape, strict=True)
        )
        return _Grid(
            shape,
            size,
            low,
            fft.rfftn(image, size),
            fft.rfftn(image * image, size),
            fft.rfftn(mask, size),
            float(image.sum()),
        )

    def best_shifts(self, node: Node, count: int = 2) -> list[Candidate]:
        """Best translations for one rotation of the CT about its centre."""
        rotation = rotation_matrix([n * ROTATION_STEP_DEG for n in node])
        half = self.step_mm * (np.asarray(self.ct_shape) - 1) / 2
        turned = affine(rotation.T, self.centre_mm - rotation.T @ half)
        to_lps = turned @ _scaling(self.step_mm, np.zeros(3))
        # The nearest voxel will do: it is a fraction of the blur away.
        template = _to_grid(self.template, self.ct_to_lps, to_lps, self.ct_shape, 0, _UNKNOWN)
        mask = (template > _UNKNOWN).astype(np.float32)
        template *= mask
        score = self._correlate(template, mask)
        candidates = []
        for _ in range(count):
            flat = int(np.argmax(score))
            peak = np.array(np.unravel_index(flat, score.shape))
            value = float(score.flat[flat])
            shift = np.where(
                peak >= np.asarray(self.grid.shape), peak - np.asarray(self.grid.size), peak
            )
            spect_to_ct = turned.copy()
            spect_to_ct[:3, 3] += turned[:3, :3] @ -(shift * self.step_mm + self.grid.origin_mm)
            candidates.append(Candidate(spect_to_ct, value))
            window = [np.arange(p - 2, p + 3) % n for p, n in zip(peak, score.shape, strict=True)]
            score[np.ix_(*window)] = -1.0
        return candidates

    def _correlate(self, template: Float32Array, mask: Float32Array) -> Float32Array:
        """Weighted masked correlation for every translation, shape of the padded grid."""
        grid = self.grid
        template_hat = np.conj(fft.rfftn(template, grid.size))
        square_hat = np.conj(fft.rfftn(template * template, grid.size))
        mask_hat = np.conj(fft.rfftn(mask, grid.size))

        def back(product_hat: ComplexArray) -> Float32Array:
            # scipy keeps single precision.
            return np.asarray(
                fft.irfftn(product_hat, grid.size, overwrite_x=True), dtype=np.float32
            )

        sum_f, sum_g = back(grid.image_hat * mask_hat), back(grid.mask_hat * template_hat)
        share = np.maximum(
            sum_g / np.float32(max(float(template.sum()), 1e-6)),
            sum_f / np.float32(max(grid.total, 1e-6)),
        )
        # Most translations leave too little in common: only the others are looked at.
        at = np.flatnonzero(share > MINIMUM_OVERLAP)
        score = np.full(share.shape, -1.0, dtype=np.float32)
        if not at.size:
            return score

        def there(values: Float32Array) -> FloatArray:
            return values.ravel()[at].astype(np.float64)

        number = np.maximum(there(back(grid.mask_hat * mask_hat)), 1.0)
        f, g = there(sum_f), there(sum_g)
        cross = there(back(grid.image_hat * template_hat)) - f * g / number
        var_f = there(back(grid.square_hat * mask_hat)) - f**2 / number
        var_g = there(back(grid.mask_hat * square_hat)) - g**2 / number
        floor = 1e-3 * float(np.max(var_f)) * float(np.max(var_g))
        correlation = cross / np.sqrt(np.maximum(var_f * var_g, max(floor, 1e-12)))
        score.ravel()[at] = correlation * np.sqrt(there(share))
        return score


def _neighbours(node: Node) -> list[Node]:
    limit = int(ROTATION_LIMIT_DEG / ROTATION_STEP_DEG)
    around = [(node[0] + a, node[1] + b, node[2] + c) for a, b, c in product((-1, 0, 1), repeat=3)]
    return [n for n in around if max(abs(x) for x in n) <= limit]


def global_search(
    ct: CtMaps,
    spect: SpectMap,
    count: int,
    pool: Executor,
    report: Callable[[str], None] = lambda message: None,
) -> list[Candidate]:
    """Poses that match best, over all translations and rotations up to 48 degrees.

    Rotations are visited at a rough resolution from the centre of the grid outwards along the best
    scores, until the best three are surrounded by visited ones. The best of all are then searched
    at a finer one.

    Parameters
    ----------
    ct, spect
        Prepared maps.
    count
        How many poses to return.
    pool
        Where rotations are tried; the result does not depend on its threads.
    report
        Called now and then with what is being done; it may raise to cancel.

    Returns
    -------
    Poses that differ by more than a search voxel or step, best first.
    """
    seen = _Seen.of(spect)
    rough = _Search(ct, seen, ROUGH_MM)
    visited: dict[Node, float] = {}
    frontier = _neighbours((0, 0, 0))
    while frontier:
        found = pool.map(lambda node: rough.best_shifts(node, 1)[0].score, frontier)
        visited.update(zip(frontier, found, strict=True))
        report(f"Searching for the position: {len(visited)} rotations tried")
        best = sorted(visited, key=lambda n: (-visited[n], n))[:MOST_ROTATIONS]
        frontier = sorted({n for b in best[:3] for n in _neighbours(b)} - visited.keys())
    search = _Search(ct, seen, SEARCH_MM)
    ranked = sorted(
        (c for cs in pool.map(search.best_shifts, best) for c in cs), key=lambda c: -c.score
    )
    centre = search.centre_mm
    chosen: list[Candidate] = []
    for candidate in ranked:
        if all(_distance(candidate, other, centre) > 1.2 * SEARCH_MM for other in chosen):
            chosen.append(candidate)
        if len(chosen) == count:
            break
    return chosen


def _distance(a: Candidate, b: Candidate, centre_mm: FloatArray) -> float:
    """How far two poses move apart points 80 mm about the centre, root mean square, mm."""
    return pose_distance(a.spect_to_ct, b.spect_to_ct, centre_mm, 80.0)


def pose_distance(a: FloatArray, b: FloatArray, centre_mm: FloatArray, radius_mm: float) -> float:
    """Root mean square distance of CT points, within a sphere, under two SPECT→CT poses, mm."""
    change = a @ np.linalg.inv(b)
    shift = change[:3, :3] @ centre_mm + change[:3, 3] - centre_mm
    angle = np.arccos(np.clip((np.trace(change[:3, :3]) - 1) / 2, -1.0, 1.0))
    # Mean of |2 sin(angle/2) · distance from axis|² over a sphere's surface: 2/3 radius².
    turn = 2 * np.sin(angle / 2) * radius_mm * np.sqrt(2.0 / 3.0)
    return float(np.sqrt(shift @ shift + turn**2))
