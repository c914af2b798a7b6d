"""Where the views look: the spine fills them, one joint is in the middle of them.

One of the files that know MRML; see `mrml` for what they need.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from CTSpectSpineLib.joint_table import Row
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.scene.mrml import Node, by_class
from CTSpectSpineLib.scene.nodes import SceneNodes

FRAME_MM = 90.0
"""Height of the slice views that frame one joint. Judgement: shows both neighbouring joints."""
AXES = {"Axial": (0, 1), "Sagittal": (1, 2), "Coronal": (0, 2)}
"""View to the RAS axes across and up. By definition."""
_MARGIN_MM = 12.0
"""Margin around the vertebrae. Judgement: the outer contours stay clear of the border."""
_AXIAL_MM = 120.0
"""Height of the axial view. Judgement: one vertebra with its processes and the muscles."""
_POINTS_MARGIN_MM = (45.0, 60.0, 25.0)
"""Half size of a vertebra about its body's middle (RAS). Judgement: a large lumbar one, with its
processes; only where there is no segmentation of the vertebrae."""
_ARCH_MM = 20.0
"""From the middle of a body back to the canal. Judgement: half a lumbar body and half a canal."""
_SEEN_FROM = (0.6, -1.0, 0.25)
"""Where the camera stands (right, anterior, superior; the side changes). Judgement: from behind and
from the side, so that facets lie in front of the bodies and discs are seen between them."""
_FILLED = 0.98
"""Share of the 3D view that the spine fills. Judgement: the names at its ends stay readable."""


@dataclass(frozen=True)
class Spine:
    """Where the spine of an analysis lies, RAS mm.

    Attributes
    ----------
    low, high
        Corners of the box around the vertebrae, shape (3,).
    middle_x
        Right coordinate of the plane through the canal.
    through
        Point of interest: the hottest joint that counts, or the middle.
    axial_centre
        Middle of the vertebra at the height of that point.
    side
        Side from which the point is seen best, +1 right, -1 left.
    """

    low: FloatArray
    high: FloatArray
    middle_x: float
    through: FloatArray
    axial_centre: FloatArray
    side: float

    @property
    def middle_lps(self) -> tuple[float, float, float]:
        """Point in the middle plane at the height of the point of interest, LPS mm."""
        return -self.middle_x, -float(self.through[1]), float(self.through[2])


def find_spine(nodes: SceneNodes) -> Spine | None:
    """The spine of an analysis from its segments, names and joints; None where it has none."""
    bodies, rows = _bodies(nodes), _located(nodes)
    joints = np.array([row.centre_lps for row in rows], dtype=float).reshape(-1, 3)
    joints = joints * (-1.0, -1.0, 1.0)
    points = np.concatenate([bodies, joints])
    box = _box(nodes.vertebrae)
    if box is None and not len(points):
        return None
    if box is None:
        half = np.array(_POINTS_MARGIN_MM)
        box = points.min(axis=0) - half, points.max(axis=0) + half
    low, high = box
    middle = 0.5 * (low + high)
    middle_x = float(np.median(bodies[:, 0])) if len(bodies) else float(middle[0])
    row, through = _hottest(rows), middle
    if row is not None and row.centre_lps is not None:
        through = np.array(row.centre_lps) * (-1.0, -1.0, 1.0)
    near = bodies[np.argmin(np.abs(bodies[:, 2] - through[2]))] if len(bodies) else middle
    axial = np.array([near[0], near[1] - _ARCH_MM, through[2]])
    side = -1.0 if row is not None and row.side == "left" else 1.0
    return Spine(low, high, middle_x, through, axial, side)


def _bodies(nodes: SceneNodes) -> FloatArray:
    names = nodes.levels
    if names is None:
        return np.empty((0, 3))
    count = names.GetNumberOfControlPoints()
    points = [names.GetNthControlPointPosition(i) for i in range(count)]
    return np.array(points, dtype=float).reshape(-1, 3)


def _located(nodes: SceneNodes) -> list[Row]:
    record = nodes.record()
    return [row for row in record.rows if row.centre_lps] if record is not None else []


def _hottest(rows: Sequence[Row]) -> Row | None:
    counting = [row for row in rows if row.measurable and not math.isnan(row.ratio)]
    if counting:
        return max(counting, key=lambda row: row.ratio)
    return rows[0] if rows else None


def _box(vertebrae: Node | None) -> tuple[FloatArray, FloatArray] | None:
    """Box around a segmentation, RAS mm; None where it is empty."""
    if vertebrae is None or not vertebrae.GetSegmentation().GetNumberOfSegments():
        return None
    bounds = [0.0] * 6
    vertebrae.GetRASBounds(bounds)
    low, high = np.array(bounds[::2]), np.array(bounds[1::2])
    return (low, high) if bool((high > low).all()) else None


def frame_spine(scene: Node, spine: Spine) -> None:
    """Fill all slice views with the spine; the sagittal one cuts the canal.

    The coronal and axial slices cut the hottest joint.
    """
    low, high = spine.low - _MARGIN_MM, spine.high + _MARGIN_MM
    extent, middle = high - low, 0.5 * (low + high)
    places = {
        "Sagittal": (extent, np.array([spine.middle_x, middle[1], middle[2]])),
        "Coronal": (extent, np.array([middle[0], spine.through[1], middle[2]])),
        "Axial": (np.full(3, _AXIAL_MM), spine.axial_centre),
    }
    for view in by_class(scene, "vtkMRMLSliceNode"):
        if view.GetOrientation() in places:
            size, centre = places[view.GetOrientation()]
            _fit_slice(view, size)
            view.JumpSliceByCentering(*centre.tolist())


def fit_volume(scene: Node, volume: Node) -> None:
    """Fill all slice views with a volume, in slices through its middle."""
    bounds = [0.0] * 6
    volume.GetRASBounds(bounds)
    low, high = np.array(bounds[::2]), np.array(bounds[1::2])
    for view in by_class(scene, "vtkMRMLSliceNode"):
        if view.GetOrientation() in AXES:
            _fit_slice(view, high - low)
            view.JumpSliceByCentering(*(0.5 * (low + high)).tolist())


def _fit_slice(view: Node, size: FloatArray) -> None:
    across, up = (float(size[axis]) for axis in AXES[view.GetOrientation()])
    width, height, _ = view.GetDimensions()
    scale = max(across / max(width, 1), up / max(height, 1))
    view.SetFieldOfView(scale * width, scale * height, view.GetFieldOfView()[2])


def frame(scene: Node, point_lps: Sequence[float], height_mm: float = FRAME_MM) -> None:
    """Centre all views on a point and zoom the slice views to its surroundings."""
    x, y, z = (float(value) for value in point_lps)
    for view in by_class(scene, "vtkMRMLSliceNode"):
        width, height, _ = view.GetDimensions()
        view.SetFieldOfView(height_mm * width / max(height, 1), height_mm, view.GetFieldOfView()[2])
        view.JumpSliceByCentering(-x, -y, z)
    for camera in by_class(scene, "vtkMRMLCameraNode"):
        move = np.subtract((-x, -y, z), camera.GetFocalPoint())
        camera.SetPosition(*np.add(camera.GetPosition(), move).tolist())
        camera.SetFocalPoint(-x, -y, z)


def _corners(low: FloatArray, high: FloatArray) -> FloatArray:
    """Corners of a box, shape (8, 3)."""
    corners: FloatArray = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T
    return corners


def _outline(vertebrae: Node | None, spine: Spine) -> FloatArray:
    """Points around the spine, RAS mm: the corners of every vertebra's own box if known."""
    boxes = []
    if vertebrae is not None:
        segmentation = vertebrae.GetSegmentation()
        bounds = [0.0] * 6
        for segment_id in segmentation.GetSegmentIDs():
            surface = segmentation.GetSegment(segment_id).GetRepresentation("Closed surface")
            if surface is not None and surface.GetNumberOfPoints():
                surface.GetBounds(bounds)
                boxes.append(_corners(np.array(bounds[::2]), np.array(bounds[1::2])))
    return np.concatenate(boxes) if boxes else _corners(spine.low, spine.high)


def fit_space(scene: Node, spine: Spine, vertebrae: Node | None = None) -> None:
    """Fill the 3D views with the spine, without Slicer's box and its letters.

    Parameters
    ----------
    vertebrae
        Segmentation whose surfaces are to fit; None to fit the box around the spine.
    """
    for view in by_class(scene, "vtkMRMLViewNode"):
        view.SetBoxVisible(False)
        view.SetAxisLabelsVisible(False)
    middle = 0.5 * (spine.low + spine.high)
    corners = _outline(vertebrae, spine)
    right, forward, upward = _SEEN_FROM
    towards = np.array([spine.side * right, forward, upward])
    towards /= np.linalg.norm(towards)
    across = np.cross((0.0, 0.0, 1.0), towards)
    across /= np.linalg.norm(across)
    up = np.cross(towards, across)
    for camera in by_class(scene, "vtkMRMLCameraNode"):
        slope = _FILLED * math.tan(0.5 * math.radians(camera.GetViewAngle()))
        offsets = corners - middle
        aside = np.maximum(np.abs(offsets @ across), np.abs(offsets @ up))
        distance = float((aside / slope + offsets @ towards).max())
        camera.SetFocalPoint(*middle.tolist())
        camera.SetPosition(*(middle + distance * towards).tolist())
        camera.SetViewUp(*up.tolist())
        camera.SetParallelScale(float(np.abs(offsets @ up).max()) / _FILLED)
        camera.ResetClippingRange()
