"""A spine that is bent differently in the SPECT than in the CT.

No rigid registration can correct the difference: by construction the best rigid alignment of the
joints before and after is the identity. So a rigid movement that is simulated on top of it stays
the truth, and what remains at the joints is the wanted residual.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy.optimize import brentq

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import Grid, affine, apply_matrix, ijk_to_lps, inverse
from CTSpectSpineLib.model import FloatArray

_FIELD_MM = 6.0
"""Grid of the displacement field. Measured on bends of 10 mm: joints are found back to 0.1 mm."""
_LEVER_MM = 20.0
"""Distance from the spine's axis at which tissue stops following a vertebra's tilt. Judgement: the
body does, the tips of its processes half, the abdomen and the ribs' ends do not."""
_APEX_SHIFT = 0.06
"""Largest shift of the apex, as a share of the range. Judgement: near the middle, not always at
it."""
_S_SHARE = (0.15, 0.35)
"""Range of the S-shaped bend over the C-shaped one. Judgement: the smaller of the two."""
_STRETCH_SHARE = (0.1, 0.25)
"""Range of the stretch over the C-shaped bend. Judgement: a spine bends more than it stretches."""
_LARGEST_GRADIENT = 0.7
"""Largest gradient of the displacement. Numerical: tissue folds at 1; the rest is margin."""
_MIN_JOINTS = 4
"""Fewest joints. Numerical: with fewer the rigid part takes up the bend."""
_MIN_LENGTH_MM, _MIN_BREADTH_MM = 40.0, 4.0
"""Least extent of the joints. Judgement: about two lumbar levels, and discs beside facet joints,
fix an axis and a rigid alignment."""
_CONVERGED_MM = 1e-5
"""Numerical: change of a point at which the inverse counts as found."""
_MAX_PASSES = 60
"""Numerical: cap on the passes of the inverse; about 40 suffice at a gradient of 0.7."""


@dataclass(frozen=True)
class Bent:
    """An activity in another posture.

    Attributes
    ----------
    image
        The activity in the other posture, float32 on the same grid.
    displaced_mm
        Where the joints are in it, LPS mm, shape (n, 3).
    residual_mm
        Root mean square distance of the joints from where they were. It is also what the best
        rigid alignment of the two leaves, as that is the identity.
    largest_gradient
        Largest spectral norm, over the image, of the displacement's gradient; below 1 nothing
        folds.
    """

    image: sitk.Image
    displaced_mm: FloatArray
    residual_mm: float
    largest_gradient: float


def bend(
    activity: sitk.Image, joints_mm: FloatArray, amplitude_mm: float, seed: int | Sequence[int]
) -> Bent:
    """Bend the spine smoothly, in a way that depends on the seed.

    Along the joints' long axis the spine gets a C-shaped bend (one wavelength of a cosine over
    the joints' range, its apex near the middle), a smaller S-shaped one (one and a half) and a
    slight stretch or compression, each in a random transverse direction or sense. Cross-sections
    tilt with the bend, as those of a beam do, up to about 20 mm from the axis. Beyond the
    joints' range the ends move along undeformed. The concentration moves with the tissue; what
    comes in through a face of the image has the face's values.

    Parameters
    ----------
    activity
        Activity; its axes may have any direction.
    joints_mm
        Joint centres, LPS mm, shape (n, 3), at least 4 that do not lie on one line.
    amplitude_mm
        Wanted root mean square residual at the joints. From T10 to the sacrum, 3 mm is another
        posture and 8 to 10 mm are another bend altogether.
    seed
        Seed of directions, senses and shares.

    Raises
    ------
    InputError
        If the joints are too few, lie on a line or not along the body, or the amplitude is
        negative or so large for their range that tissue would nearly fold (gradient above 0.7).
    """
    joints = np.asarray(joints_mm, dtype=np.float64)
    _check(joints, amplitude_mm)
    activity = sitk.Cast(activity, sitk.sitkFloat32)
    if amplitude_mm == 0:
        return Bent(activity, joints.copy(), 0.0, 0.0)
    posture = _scaled(_drawn(joints, np.random.default_rng(seed)), joints, amplitude_mm)
    points, field = _coarse_grid(activity)
    gradient = _largest_gradient(posture.moved(points) - points, field)
    if gradient > _LARGEST_GRADIENT:
        raise InputError(
            f"A bend of {amplitude_mm:g} mm is too strong for joints over "
            f"{posture.length_mm:.0f} mm: tissue would nearly fold (gradient {gradient:.2f}); "
            f"use at most about {amplitude_mm * _LARGEST_GRADIENT / gradient:.1f} mm."
        )
    displaced = posture.moved(joints)
    residual = float(np.sqrt(np.mean(np.sum((displaced - joints) ** 2, axis=1))))
    image = _warped(activity, posture.sources(points) - points, field)
    return Bent(image, displaced, residual, gradient)


@dataclass(frozen=True)
class _Mode:
    """A transverse or axial shift along the axis: cos(pi * half_waves * place).

    Attributes
    ----------
    half_waves
        Half wavelengths over the joints' range; whole, so that the ends do not tilt.
    shift_mm
        Shift where the cosine is 1, LPS mm, shape (3,).
    """

    half_waves: int
    shift_mm: FloatArray


@dataclass(frozen=True)
class _Posture:
    """Map of points from one posture to the other.

    Attributes
    ----------
    start_mm
        Lower end of the joints' range on the axis, LPS mm, shape (3,).
    axis
        Unit vector of the axis, shape (3,).
    length_mm
        Length of the range.
    apex
        Shift of the bend's apex from the middle, as a share of the length.
    modes
        Shapes that add up.
    rotation, translation_mm
        Rigid part that is taken out after the bend: ``p -> rotation @ (p - translation)``.
    """

    start_mm: FloatArray
    axis: FloatArray
    length_mm: float
    apex: float
    modes: tuple[_Mode, ...]
    rotation: FloatArray
    translation_mm: FloatArray

    def moved(self, points: FloatArray) -> FloatArray:
        """Where points come to lie, LPS mm, shape (n, 3)."""
        return np.asarray((points + self._bend(points) - self.translation_mm) @ self.rotation.T)

    def sources(self, points: FloatArray) -> FloatArray:
        """Which points come to lie at the given ones: the inverse of `moved`."""
        bent = points @ self.rotation + self.translation_mm
        source: FloatArray = bent.copy()
        for _ in range(_MAX_PASSES):
            previous, source = source, bent - self._bend(source)
            if np.abs(source - previous).max() < _CONVERGED_MM:
                break
        return source

    def _bend(self, points: FloatArray) -> FloatArray:
        """Displacement by the bend alone."""
        from_start = points - self.start_mm
        along = from_start @ self.axis
        across = from_start - along[:, None] * self.axis
        distance = np.linalg.norm(across, axis=1, keepdims=True) / _LEVER_MM
        # Saturates smoothly: tanh(d) / d, which is 1 on the axis.
        lever = across * np.where(
            distance > 1e-6, np.tanh(distance) / np.maximum(distance, 1e-6), 1
        )
        place = np.clip(along / self.length_mm, 0.0, 1.0)
        shifted = place + self.apex * np.sin(np.pi * place) ** 2
        rate = 1 + self.apex * np.pi * np.sin(2 * np.pi * place)
        displacement = np.zeros_like(points)
        for mode in self.modes:
            waves = np.pi * mode.half_waves
            slope = -waves * np.sin(waves * shifted) * rate / self.length_mm
            displacement += np.cos(waves * shifted)[:, None] * mode.shift_mm
            displacement -= (slope * (lever @ mode.shift_mm))[:, None] * self.axis
        return displacement


def _check(joints: FloatArray, amplitude_mm: float) -> None:
    if not (np.isfinite(amplitude_mm) and amplitude_mm >= 0):
        raise InputError(f"The bend is {amplitude_mm:g} mm; give 0 or more.")
    if joints.ndim != 2 or joints.shape[1] != 3 or len(joints) < _MIN_JOINTS:
        raise InputError(
            f"The joints have the shape {joints.shape}; a bend needs at least {_MIN_JOINTS} "
            "points of three coordinates."
        )
    if not np.all(np.isfinite(joints)):
        raise InputError("A joint's coordinate is not a number; leave such joints out.")
    _, spread, axes = np.linalg.svd(joints - joints.mean(axis=0), full_matrices=False)
    length = float(np.ptp(joints @ axes[0]))
    breadth = float(spread[1] / np.sqrt(len(joints)))
    if length < _MIN_LENGTH_MM or breadth < _MIN_BREADTH_MM or abs(axes[0, 2]) < 0.5:
        raise InputError(
            f"The joints reach over {length:.0f} mm along {np.round(axes[0], 2).tolist()} and "
            f"spread by {breadth:.1f} mm to the side; a bend needs at least {_MIN_LENGTH_MM:g} mm "
            f"along the spine and {_MIN_BREADTH_MM:g} mm, so give discs and facet joints of "
            "several levels."
        )


def _drawn(joints: FloatArray, rng: np.random.Generator) -> _Posture:
    """A posture of unit size."""
    centre = joints.mean(axis=0)
    axis, side, front = np.linalg.svd(joints - centre, full_matrices=False)[2]
    axis = axis * (1.0 if axis[2] >= 0 else -1.0)
    along = (joints - centre) @ axis
    low, high = float(along.min()), float(along.max())
    c_turn, s_turn = rng.uniform(0, 2 * np.pi, size=2)
    apex = rng.uniform(-_APEX_SHIFT, _APEX_SHIFT)
    s_share = rng.uniform(*_S_SHARE)
    stretch = rng.uniform(*_STRETCH_SHARE) * rng.choice([-1.0, 1.0])
    modes = (
        _Mode(2, np.cos(c_turn) * side + np.sin(c_turn) * front),
        _Mode(3, s_share * (np.cos(s_turn) * side + np.sin(s_turn) * front)),
        _Mode(1, stretch * axis),
    )
    return _Posture(
        centre + low * axis, axis, high - low, float(apex), modes, np.eye(3), np.zeros(3)
    )


def _scaled(unit: _Posture, joints: FloatArray, amplitude_mm: float) -> _Posture:
    """The posture with the wanted residual and without a rigid part."""

    def excess(scale: float) -> float:
        moved = _of_size(unit, joints, scale).moved(joints)
        return float(np.sqrt(np.mean(np.sum((moved - joints) ** 2, axis=1)))) - amplitude_mm

    # The C shape of unit size leaves 0.7 mm; the rigid part may take most of it, not all.
    upper = 2.0 * amplitude_mm
    for _ in range(10):
        if excess(upper) > 0:
            return _of_size(unit, joints, float(brentq(excess, 0.0, upper, xtol=1e-9)))
        upper *= 2.0
    raise InputError(
        f"A bend that leaves {amplitude_mm:g} mm at these joints was not found; give joints of "
        "more levels."
    )


def _of_size(unit: _Posture, joints: FloatArray, scale: float) -> _Posture:
    modes = tuple(_Mode(mode.half_waves, scale * mode.shift_mm) for mode in unit.modes)
    shape = (unit.start_mm, unit.axis, unit.length_mm, unit.apex, modes)
    bent = _Posture(*shape, np.eye(3), np.zeros(3)).moved(joints)
    rotation = _best_rotation(bent, joints)
    return _Posture(*shape, rotation, bent.mean(axis=0) - rotation.T @ joints.mean(axis=0))


def _best_rotation(points: FloatArray, onto: FloatArray) -> FloatArray:
    """Rotation that best aligns points with others about their means (Kabsch 1976)."""
    product = (onto - onto.mean(axis=0)).T @ (points - points.mean(axis=0))
    left, _, right = np.linalg.svd(product)
    handed = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    return np.asarray(left @ handed @ right)


def _coarse_grid(image: sitk.Image) -> tuple[FloatArray, Grid]:
    """Points, LPS mm, shape (n, 3), of a coarse grid over an image, and the grid."""
    fine = ijk_to_lps(image)
    size = np.array(image.GetSize())
    step = np.maximum(_FIELD_MM / np.array(image.GetSpacing()), 1.0)
    # One cell more on each side: the field ends beyond the image's last voxel.
    n = np.ceil((size - 1) / step).astype(int) + 3
    matrix = affine(fine[:3, :3] * step, apply_matrix(fine, -step[None])[0])
    grid = Grid((int(n[0]), int(n[1]), int(n[2])), matrix)
    index = np.indices(grid.shape)[::-1].reshape(3, -1).T
    return apply_matrix(matrix, index), grid


def _largest_gradient(shift: FloatArray, field: Grid) -> float:
    """Largest spectral norm of the gradient of the shifts of a grid's points."""
    shifts = shift.reshape(*field.shape, 3)
    by_index = np.stack([np.gradient(shifts, axis=axis) for axis in (2, 1, 0)], axis=-1)
    gradient = by_index @ inverse(field.ijk_to_lps)[:3, :3]
    return float(np.linalg.norm(gradient, ord=2, axis=(-2, -1)).max())


def _warped(activity: sitk.Image, shift: FloatArray, field: Grid) -> sitk.Image:
    """The activity at each voxel plus its shift, which is interpolated between grid points."""
    displacement = sitk.GetImageFromArray(shift.reshape(*field.shape, 3), isVector=True)
    displacement.SetSpacing(field.spacing_mm.tolist())
    displacement.SetDirection(activity.GetDirection())
    displacement.SetOrigin(field.ijk_to_lps[:3, 3].tolist())
    resample = sitk.ResampleImageFilter()
    resample.SetReferenceImage(activity)
    resample.SetTransform(sitk.DisplacementFieldTransform(displacement))
    resample.SetInterpolator(sitk.sitkLinear)
    resample.SetUseNearestNeighborExtrapolator(True)
    return resample.Execute(activity)
