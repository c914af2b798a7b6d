"""The course of the spine, and the surfaces that follow it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.geometry import apply_matrix, ijk_to_lps, image_centre_mm
from CTSpectSpineLib.model import FloatArray, Joint, SpineJoints
from CTSpectSpineLib.report.sampling import Surface

FINEST_PIXEL_MM = 0.3
"""Smallest pixel of any picture, mm. Judgement: about that of a CT reconstructed for the spine (160
mm in 512 pixels); finer ones would show interpolation only."""

SAGITTAL_MM = (42.0, 78.0, 30.0, 45.0)
"""Room around the bodies' centres: anterior, posterior, superior, inferior. Judgement: from the
anterior wall to the skin behind the spinous processes."""
STRIP_MM = (52.0, 30.0, 30.0, 45.0)
"""Room around the facet joints: anterior, posterior, superior, inferior. Judgement: from the body's
middle, through the pedicles, to the back muscles."""

_LPS: FloatArray = np.eye(3)
"""Unit vectors to the left, posterior and superior. By definition: the axes of LPS."""


@dataclass(frozen=True)
class Course:
    """Where the spine runs, in axes of its own.

    Coordinates are (left, posterior, superior) mm from `origin` along the rows of `axes`.

    Attributes
    ----------
    origin
        LPS mm, shape (3,).
    axes
        Rows are unit vectors in LPS: to the patient's left, to posterior, to superior.
    bodies
        Level to the position of its body, caudal to cranial, in the axes above.
    facets
        Middles of the facet joints of each level, shape (n, 3), in the axes above.
    sides
        Side to the centres of its facet joints, shape (n, 3), in the axes above; empty where there
        are none.
    extent
        Lowest and highest coordinates that the CT reaches, shape (2, 3).
    heights
        Lowest and highest vertebra, cut ones too, mm along the superior axis.
    """

    origin: FloatArray
    axes: FloatArray
    bodies: Mapping[str, FloatArray]
    facets: FloatArray
    sides: Mapping[str, FloatArray]
    extent: FloatArray
    heights: tuple[float, float]

    def pixel_mm(self, rows: int, superior: float, inferior: float) -> float:
        """Pixel size at which a sagittal or coronal picture with these margins has `rows`."""
        low, high = self.heights
        low = max(low - inferior, self.extent[0, 2])
        high = min(high + superior, self.extent[1, 2])
        return max(float(high - low) / rows, FINEST_PIXEL_MM)

    def sagittal(self, pixel_mm: float, margins: Sequence[float]) -> Surface:
        """Surface through the middle of all bodies, anterior on the left of the picture.

        Parameters
        ----------
        pixel_mm
            Size of a pixel.
        margins
            Room beyond the bodies' centres: anterior, posterior, superior, inferior, in mm.
        """
        knots = np.array(list(self.bodies.values()))
        anterior, posterior, superior, inferior = margins
        across = self._range(
            1, knots[:, 1].min() - anterior, knots[:, 1].max() + posterior, pixel_mm
        )
        up = self._range(2, self.heights[0] - inferior, self.heights[1] + superior, pixel_mm)
        return self._ruled(across, up[::-1], 1, _curve(knots[:, 2], knots[:, 0]), pixel_mm)

    def strip(self, side: str, pixel_mm: float, margins: Sequence[float]) -> Surface:
        """Parasagittal surface through all facet joints of a side, anterior on the left.

        Parameters
        ----------
        side
            ``left`` or ``right``, the patient's.
        pixel_mm
            Size of a pixel.
        margins
            Room beyond the joints: anterior, posterior, and beyond the bodies: superior, inferior,
            in mm.
        """
        knots = self.sides[side]
        anterior, posterior, superior, inferior = margins
        across = self._range(
            1, knots[:, 1].min() - anterior, knots[:, 1].max() + posterior, pixel_mm
        )
        up = self._range(2, self.heights[0] - inferior, self.heights[1] + superior, pixel_mm)
        return self._ruled(across, up[::-1], 1, _curve(knots[:, 2], knots[:, 0]), pixel_mm)

    def coronal(self, pixel_mm: float, margins: Sequence[float], facets: bool = False) -> Surface:
        """Surface through all bodies, or all facet joints, patient's right on the left.

        Parameters
        ----------
        pixel_mm
            Size of a pixel.
        margins
            Room beyond the bodies' centres: to each side, superior, inferior, in mm.
        facets
            Follow the facet joints; the bodies otherwise.
        """
        knots = np.array(list(self.bodies.values()))
        side, superior, inferior = margins
        across = self._range(0, knots[:, 0].min() - side, knots[:, 0].max() + side, pixel_mm)
        up = self._range(2, self.heights[0] - inferior, self.heights[1] + superior, pixel_mm)
        followed = self.facets if facets else knots
        curve = _curve(followed[:, 2], followed[:, 1])
        return self._ruled(across, up[::-1], 0, curve, pixel_mm)

    def _range(self, axis: int, low: float, high: float, pixel_mm: float) -> FloatArray:
        low, high = max(low, self.extent[0, axis]), min(high, self.extent[1, axis])
        count = max(2, round((high - low) / pixel_mm))
        return np.asarray(np.arange(count) * pixel_mm + low, dtype=np.float64)

    def _ruled(
        self,
        across: FloatArray,
        up: FloatArray,
        axis: int,
        curve: tuple[FloatArray, FloatArray],
        pixel_mm: float,
    ) -> Surface:
        """Surface over (`axis`, superior) that follows a curve along the remaining axis."""
        left, posterior, superior = self.axes
        right, through = (left, posterior) if axis == 0 else (posterior, left)
        depth = _follow(curve, up)
        points = (
            self.origin
            + across[None, :, None] * right
            + up[:, None, None] * superior
            + depth[:, None, None] * through
        )
        return Surface(points, pixel_mm, right, -superior)


def course_of(joints: SpineJoints, labels: sitk.Image, ct: sitk.Image) -> Course:
    """Course of the spine from vertebra frames, else from the labels, else the CT's middle."""
    frames = joints.frames.items()
    bodies = {level: frame.centre_mm for level, frame in frames if frame.reliable}
    # A cut vertebra's centre is off the line; it is used only where there is nothing better.
    bodies = bodies or {level: frame.centre_mm for level, frame in frames}
    bodies = bodies or _label_centres(labels) or {"": image_centre_mm(ct)}
    facets: dict[tuple[str, str], FloatArray] = {
        (joint.level, joint.side): joint.centre_mm
        for joint in joints.joints
        if joint.kind == "facet" and joint.centre_mm is not None
    }
    lefts = [frame.axes[0] for frame in joints.frames.values() if frame.reliable]
    every = [frame.centre_mm for frame in joints.frames.values()]
    return _course(bodies, every, facets, lefts, ct)


def course_through(
    bodies: Mapping[str, FloatArray], facets: Mapping[tuple[str, str], FloatArray], ct: sitk.Image
) -> Course:
    """Course of the spine from points alone.

    Parameters
    ----------
    bodies
        Level to the centre of its body, LPS mm, cranial to caudal; without any, the spine is taken
        to run through the middle of the CT.
    facets
        Level and side (``left``, ``right``) to the centre of the facet joint, LPS mm. Where both
        sides of a level are known they tell how the patient is turned.
    """
    bodies = bodies or {"": image_centre_mm(ct)}
    levels = dict.fromkeys(level for level, _ in facets)
    pairs = [[facets.get((level, side)) for side in ("left", "right")] for level in levels]
    steps = [left - right for left, right in pairs if left is not None and right is not None]
    lefts = [step / max(float(np.linalg.norm(step)), 1e-6) for step in steps]
    return _course(bodies, [], facets, lefts, ct)


def _course(
    bodies: Mapping[str, FloatArray],
    others: Sequence[FloatArray],
    facets: Mapping[tuple[str, str], FloatArray],
    lefts: Sequence[FloatArray],
    ct: sitk.Image,
) -> Course:
    """Course through bodies; `others` are vertebrae that only its ends reach."""
    centres = np.array(list(bodies.values()))
    origin = centres.mean(axis=0)
    axes = _axes(lefts, centres)
    pairs: dict[str, list[FloatArray]] = {}
    sides: dict[str, list[FloatArray]] = {}
    for (level, side), centre in facets.items():
        pairs.setdefault(level, []).append(centre)
        sides.setdefault(side, []).append(axes @ (centre - origin))
    middles = np.array([np.mean(pair, axis=0) for pair in pairs.values()]).reshape(-1, 3)
    strips = {side: np.array(centres_) for side, centres_ in sides.items()}
    positions = {name: axes @ (centre - origin) for name, centre in bodies.items()}
    ordered = dict(sorted(positions.items(), key=lambda item: float(item[1][2])))
    corner_index = np.array(np.meshgrid(*[(0, n - 1) for n in ct.GetSize()])).reshape(3, -1).T
    corners = (apply_matrix(ijk_to_lps(ct), corner_index.astype(float)) - origin) @ axes.T
    extent = np.array([corners.min(axis=0), corners.max(axis=0)])
    heights = (np.array([*centres, *others]) - origin) @ axes[2]
    span = (float(heights.min()), float(heights.max()))
    return Course(origin, axes, ordered, (middles - origin) @ axes.T, strips, extent, span)


def joint_axes(joint: Joint, joints: SpineJoints, course: Course) -> FloatArray:
    """Axes (rows left, posterior, superior) midway between a joint's two vertebrae."""
    frames = [joints.frames[name] for name in (joint.upper, joint.lower) if name in joints.frames]
    axes = [frame.axes for frame in frames if frame.reliable]
    return _mean_rotation(axes) if axes else course.axes


def _axes(lefts: Sequence[FloatArray], centres: FloatArray) -> FloatArray:
    """Upright axes of the patient, turned about the superior axis as the vertebrae are.

    The superior axis is the scanner's, so that lordosis and kyphosis look familiar, unless the
    bodies then do not lie one above the other.
    """
    superior = _LPS[2]
    steps = np.diff(centres, axis=0)
    if len(centres) > 1 and np.any(steps @ superior >= 0):
        chord = centres[0] - centres[-1]
        superior = chord / max(float(np.linalg.norm(chord)), 1e-6)
    left = np.mean(lefts, axis=0) if len(lefts) else _LPS[0]
    left = left - (left @ superior) * superior
    if np.linalg.norm(left) < 0.1:
        return _LPS
    left = left / np.linalg.norm(left)
    return np.array([left, np.cross(superior, left), superior])


def _mean_rotation(axes: Sequence[FloatArray]) -> FloatArray:
    """Rotation nearest to the mean of rotations (chordal mean)."""
    return Rotation.from_matrix(np.array(axes)).mean().as_matrix()


def _label_centres(labels: sitk.Image) -> dict[str, FloatArray]:
    """Centroids of the labelled vertebrae, cranial to caudal, LPS mm."""
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(labels)
    names = {anatomy.name_of_id(label): label for label in shape.GetLabels()}
    present = anatomy.sort_levels(name for name in names if name is not None)
    return {name: np.asarray(shape.GetCentroid(names[name])) for name in present}


def _curve(heights: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Knots of a curve over height: sorted, equal heights averaged."""
    order = np.argsort(heights)
    groups = np.concatenate([[0], np.cumsum(np.diff(heights[order]) > 1.0)])
    counts = np.bincount(groups)
    return (
        np.bincount(groups, heights[order]) / counts,
        np.bincount(groups, values[order]) / counts,
    )


def _follow(curve: tuple[FloatArray, FloatArray], heights: FloatArray) -> FloatArray:
    """Curve at the given heights; constant beyond its ends."""
    knots, values = curve
    if len(knots) == 1:
        return np.full(len(heights), values[0])
    return PchipInterpolator(knots, values)(np.clip(heights, knots[0], knots[-1]))
