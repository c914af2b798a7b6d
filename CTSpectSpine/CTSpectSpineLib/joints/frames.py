"""Frames of the vertebrae: axes, body ellipse, canal and endplate planes.

All coordinates named ``l, p, s`` are along the vertebra's own axes (to the patient's left, to
posterior, to superior). Superior follows from the order of the levels, posterior from where
the arch lies, and left from those two by handedness; image axes play no part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from CTSpectSpineLib.joints.shapes import STEP_MM, Shape
from CTSpectSpineLib.model import BoolArray, FloatArray

ELLIPSE_SHARE = 0.78
"""Part of the body ellipse, by its axes, in which endplates are taken as planes. Judgement: leaves
out the rim, where osteophytes grow."""

_MAX_TILT_DEG = 25.0
"""Largest angle between a vertebra's axes and those that its neighbours suggest, degrees. Measured
on correct labels of three patients and six phantoms: neighbours differ by up to 24 degrees."""
_MAX_GROWTH = 1.33
"""Largest half width or depth of a body, relative to its neighbours'. Measured on correct labels of
three patients and six phantoms: neighbours differ by a factor of up to 1.24."""
_MAX_ENDPLATE_DEG = 35.0
"""Largest tilt of an endplate against the vertebra's axis, degrees. Judgement: leaves room for
wedge fractures. Measured on correct labels of three patients: up to 22 degrees."""
_BIN_MM = 1.5
"""Edge of the bins in which the canal is found, mm. Numerical: the step of the points, so that bone
fills them without gaps."""
_MIN_CANAL_MM2 = 60.0
"""Least area of a hole that is taken as the canal, mm². Measured on correct labels of three
patients and six phantoms: 76 mm² and more in these bins."""
_BORDER_SHARE = 0.3
"""Share of an endplate's columns on the border of the image, above which it counts as cut off.
Judgement: a cut face lies on the border as a whole, an intact endplate with its edge at most."""


@dataclass(frozen=True)
class Plane:
    """An endplate as a plane.

    Attributes
    ----------
    point
        Where the plane crosses the body's own axis, LPS mm.
    normal
        Unit normal to superior, LPS.
    """

    point: FloatArray
    normal: FloatArray


@dataclass(frozen=True)
class Canal:
    """The spinal canal in the frame of a vertebra.

    Attributes
    ----------
    wall_mm
        Distance from the body's axis to the posterior wall (anterior border of the canal).
    depth_mm, width_mm
        Anterior–posterior and left–right size.
    measured
        False when the arch was open or missing and the sizes are typical ones.
    """

    wall_mm: float
    depth_mm: float
    width_mm: float
    measured: bool


@dataclass(frozen=True)
class Fit:
    """What is known about one vertebra.

    Attributes
    ----------
    level
        Name of the vertebra.
    centre
        Centre of the body, LPS mm.
    axes
        Rows: unit vectors to left, posterior, superior in LPS.
    semi_axes_mm
        Half width and half depth of the body.
    canal
        The canal behind the body.
    top, bottom
        Superior and inferior endplate; None where the vertebra has none or it is cut off.
    trust
        2 for a whole vertebra, 1 for one that is cut, 0 for a sliver, whose own shape says
        nothing about its axes.
    notes
        Sentences on what was doubtful.
    """

    level: str
    centre: FloatArray
    axes: FloatArray
    semi_axes_mm: tuple[float, float]
    canal: Canal
    top: Plane | None
    bottom: Plane | None
    trust: int = 2
    notes: tuple[str, ...] = ()

    @property
    def reliable(self) -> bool:
        """Whether the vertebra is whole."""
        return self.trust == 2


@dataclass(frozen=True)
class Guess:
    """What is known of a vertebra from its neighbours: posterior, size, centre."""

    posterior: FloatArray | None = None
    semi_axes_mm: tuple[float, float] | None = None
    centre: FloatArray | None = None


def unit(vector: FloatArray) -> FloatArray:
    """Scale a vector to length 1."""
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


def axes_from(superior: FloatArray, posterior: FloatArray) -> FloatArray:
    """Right-handed rows left, posterior, superior; superior is kept, posterior made normal."""
    s = unit(superior)
    p = unit(posterior - (posterior @ s) * s)
    return np.stack([np.cross(p, s), p, s])


def angle_deg(first: FloatArray, second: FloatArray) -> float:
    """Angle between two directions in degrees."""
    return float(np.degrees(np.arccos(np.clip(unit(first) @ unit(second), -1.0, 1.0))))


def fit_vertebra(
    shape: Shape, superior: FloatArray, trust: int = 2, guess: Guess | None = None
) -> Fit:
    """Fit frame, body ellipse, canal and endplates of one vertebra with a body (C2–L6).

    Parameters
    ----------
    shape
        The vertebra.
    superior
        Direction to superior from the neighbouring vertebrae.
    trust
        As in `Fit`; below 2 the given directions are kept, at 0 no endplates are taken.
    guess
        What the neighbours suggest; without it everything is found from the vertebra itself.
    """
    guess = guess or Guess()
    centre = shape.centre if guess.centre is None else guess.centre
    posterior = guess.posterior
    if posterior is None:
        posterior = _towards_arch(shape, centre, superior)
    axes = axes_from(superior, posterior)
    notes: list[str] = []
    canal: Canal | None = None
    top = bottom = None
    semi = (20.0, 15.0)
    for _ in range(3):
        centre, semi = _body_ellipse(shape, centre, axes, guess.semi_axes_mm)
        hole = _canal_hole((shape.points - centre) @ axes.T, semi)
        if hole is not None:
            canal = _canal_from(hole)
            if guess.posterior is None and trust == 2:
                direction = np.append(hole.mean(axis=0), 0.0) @ axes
                axes = axes_from(axes[2], direction)
        if trust == 0:
            continue
        top, bottom = _endplates(shape, centre, axes, semi)
        if shape.level == "C2":
            top = None
        normals = [plane.normal for plane in (top, bottom) if plane is not None]
        if normals and trust == 2:
            tilted = unit(np.sum(normals, axis=0))
            if angle_deg(tilted, superior) <= _MAX_TILT_DEG:
                axes = axes_from(tilted, axes[1])
    if top is not None and bottom is not None:
        centre = (top.point + bottom.point) / 2
    if canal is None:
        canal = typical_canal(semi)
        notes.append(f"the arch of {shape.level} is open or missing")
    return Fit(
        level=shape.level,
        centre=centre,
        axes=axes,
        semi_axes_mm=semi,
        canal=canal,
        top=top,
        bottom=bottom,
        trust=trust,
        notes=tuple(notes),
    )


def typical_canal(semi_axes_mm: tuple[float, float]) -> Canal:
    """Canal of usual size for a body: used where the arch is not there to measure it."""
    half_width, half_depth = semi_axes_mm
    return Canal(0.95 * half_depth, 15.0, float(np.clip(half_width, 16.0, 26.0)), measured=False)


def harmonise(fits: Mapping[str, Fit], shapes: Mapping[str, Shape]) -> dict[str, Fit]:
    """Refit vertebrae that are cut, odd or without an arch, using their neighbours.

    A whole vertebra is odd when its posterior direction is more than 25° off its neighbours'
    or its body appears over a third larger (a collapsed body that cannot be told from its
    arch by thickness).
    """
    names = list(fits)
    result = dict(fits)
    for place, name in enumerate(names):
        fit = fits[name]
        near = [fits[n] for n in names[max(place - 2, 0) : place + 3] if n != name]
        near = [f for f in near if f.trust >= max(fit.trust, 1)]
        if not near:
            continue
        arched = [f for f in near if f.canal.measured] or near
        posterior = unit(np.sum([f.axes[1] for f in arched], axis=0))
        turned = angle_deg(axes_from(fit.axes[2], posterior)[1], fit.axes[1]) > _MAX_TILT_DEG
        semi = np.median([f.semi_axes_mm for f in near], axis=0)
        swollen = bool((np.asarray(fit.semi_axes_mm) > _MAX_GROWTH * semi).any())
        if not (turned or swollen or fit.trust < 2 or not fit.canal.measured):
            continue
        superior = fit.axes[2]
        if fit.trust == 0:
            superior = unit(np.sum([f.axes[2] for f in near], axis=0))
        guess = Guess(
            posterior=posterior if turned or fit.trust < 2 or not fit.canal.measured else None,
            semi_axes_mm=(float(semi[0]), float(semi[1])),
            centre=_between(names, place, fits) if swollen else None,
        )
        again = fit_vertebra(shapes[name], superior, fit.trust, guess)
        if not again.canal.measured:
            depth = float(np.median([f.canal.depth_mm for f in arched]))
            width = float(np.median([f.canal.width_mm for f in arched]))
            canal = Canal(0.95 * again.semi_axes_mm[1], depth, width, measured=False)
            again = replace(again, canal=canal)
        if turned and fit.trust == 2:
            note = f"the rotation of {name} was taken from its neighbours"
            again = replace(again, notes=(*again.notes, note))
        result[name] = again
    return result


def _between(names: list[str], place: int, fits: Mapping[str, Fit]) -> FloatArray | None:
    """Point half-way between the bodies above and below, None at the ends."""
    if place == 0 or place == len(names) - 1:
        return None
    above, below = fits[names[place - 1]], fits[names[place + 1]]
    if min(above.trust, below.trust) < 2:
        return None
    return (above.centre + below.centre) / 2


def trimmed_plane(columns: FloatArray, heights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Least-squares plane ``s = a l + b p + c`` without the worst-fitting fifth of the columns.

    Parameters
    ----------
    columns
        Coordinates l, p, shape (n, 2), mm.
    heights
        Heights s, shape (n,), mm.

    Returns
    -------
    coefficients, residuals
        ``(a, b, c)`` and the residual of every column, mm.
    """
    design = np.column_stack([columns, np.ones(len(columns))])
    kept = np.ones(len(columns), dtype=bool)
    coefficients = np.array([0.0, 0.0, float(np.median(heights))])
    residuals = heights - coefficients[2]
    for _ in range(6):
        coefficients, *_rest = np.linalg.lstsq(design[kept], heights[kept], rcond=None)
        residuals = heights - design @ coefficients
        kept = np.abs(residuals) <= np.quantile(np.abs(residuals), 0.8) + 1e-9
    return coefficients, residuals


def _towards_arch(shape: Shape, centre: FloatArray, superior: FloatArray) -> FloatArray:
    """Direction from the body to the bone far from it, normal to superior."""
    s = unit(superior)
    away = shape.points - centre
    away = away - np.outer(away @ s, s)
    distance = np.linalg.norm(away, axis=1)
    far = ~shape.thick & (distance > 1.2 * np.median(distance[shape.thick]))
    if far.sum() < 20:
        far = distance > np.quantile(distance, 0.8)
    return unit(away[far].mean(axis=0))


def _body_ellipse(
    shape: Shape, centre: FloatArray, axes: FloatArray, limit: tuple[float, float] | None
) -> tuple[FloatArray, tuple[float, float]]:
    """Centre and semi-axes of the ellipse with the mean and variances of the body's projection.

    With a limit, only thick bone within 1.1 of an ellipse of that size counts, and the ellipse
    moves to where that bone is.
    """
    local = (shape.points[shape.thick] - centre) @ axes.T
    local[:, 2] = 0.0
    shift = np.zeros(3)
    used = local
    if limit is not None:
        for _ in range(6):
            offset = (local - shift)[:, :2] / (1.1 * np.asarray(limit))
            inside = np.hypot(offset[:, 0], offset[:, 1]) <= 1.0
            if inside.sum() < 30:
                return centre, limit
            used = local[inside]
            shift = used.mean(axis=0)
    deviation = used[:, :2].std(axis=0)
    semi = (float(2.0 * deviation[0]), float(2.0 * deviation[1]))
    return centre + used.mean(axis=0) @ axes, semi


def _canal_hole(local: FloatArray, semi: tuple[float, float]) -> FloatArray | None:
    """Columns l, p (n, 2) of the hole that the arch closes behind the body, None without one."""
    low = local[:, :2].min(axis=0) - 3 * _BIN_MM
    index = np.floor((local[:, :2] - low) / _BIN_MM).astype(int)
    filled = np.zeros(index.max(axis=0) + 4, dtype=bool)
    filled[index[:, 0], index[:, 1]] = True
    filled = ndimage.binary_closing(filled, structure=np.ones((3, 3), dtype=bool))
    holes, count = ndimage.label(ndimage.binary_fill_holes(filled) & ~filled)
    best, best_score = None, 0.0
    for number in range(1, count + 1):
        columns = (np.argwhere(holes == number) + 0.5) * _BIN_MM + low
        area = len(columns) * _BIN_MM**2
        middle = columns.mean(axis=0)
        behind = 0.5 * semi[1] < np.hypot(*middle) < semi[1] + 25.0
        # Of an arch whose body is not there, the thickest part lies behind the canal.
        if area < _MIN_CANAL_MM2 or not behind or abs(middle[0]) > middle[1]:
            continue
        if area > best_score:
            best, best_score = columns, area
    return best


def _canal_from(hole: FloatArray) -> Canal:
    """Sizes of the canal from its columns."""
    middle = hole.mean(axis=0)
    strip = hole[np.abs(hole[:, 0] - middle[0]) <= 3.0]
    wall = float(strip[:, 1].min()) - _BIN_MM / 2
    depth = float(np.ptp(strip[:, 1])) + _BIN_MM
    width = float(np.ptp(np.quantile(hole[:, 0], [0.02, 0.98]))) + _BIN_MM
    return Canal(wall, depth, width, measured=True)


def _endplates(
    shape: Shape, centre: FloatArray, axes: FloatArray, semi: tuple[float, float]
) -> tuple[Plane | None, Plane | None]:
    """Superior and inferior endplate planes inside 0.78 of the body ellipse."""
    local = (shape.points - centre) @ axes.T
    inside = np.hypot(local[:, 0] / semi[0], local[:, 1] / semi[1]) <= ELLIPSE_SHARE
    top = _surface(local[inside], shape.border[inside], upper=True)
    bottom = _surface(local[inside], shape.border[inside], upper=False)
    planes = [
        None if fitted is None else plane_in_lps(fitted, centre, axes) for fitted in (top, bottom)
    ]
    planes = [
        p if p and angle_deg(p.normal, axes[2]) <= _MAX_ENDPLATE_DEG else None for p in planes
    ]
    return planes[0], planes[1]


def plane_in_lps(coefficients: FloatArray, centre: FloatArray, axes: FloatArray) -> Plane:
    """Plane ``s = a l + b p + c`` of a local frame in LPS."""
    a, b, c = (float(x) for x in coefficients)
    return Plane(centre + c * axes[2], unit(np.array([-a, -b, 1.0]) @ axes))


def _surface(local: FloatArray, border: BoolArray, upper: bool) -> FloatArray | None:
    """Plane coefficients of the outermost voxels, None when the image's border cuts them."""
    if len(local) < 30:
        return None
    columns = np.floor(local[:, :2] / (2 * STEP_MM)).astype(int)
    key = (columns - columns.min(axis=0)) @ np.array([10_000, 1])
    sign = 1.0 if upper else -1.0
    order = np.lexsort((-sign * local[:, 2], key))
    first = order[np.r_[True, np.diff(key[order]) != 0]]
    if len(first) < 8 or border[first].mean() > _BORDER_SHARE:
        return None
    heights = local[first, 2] + sign * STEP_MM / 4
    return trimmed_plane(local[first, :2], heights)[0]
