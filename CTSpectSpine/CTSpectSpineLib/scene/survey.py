"""The whole scan at a glance: two projections of the SPECT, and the spine straightened.

They are volumes of one slice each, in views of a layout of their own. The projections are those of
the report, and so are the curved sections: through all bodies, and through the facet joints of
either side. One of the files that know MRML; see `mrml` for what they need.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.report.course import SAGITTAL_MM, STRIP_MM, Course, course_through
from CTSpectSpineLib.report.sampling import Sampler, Surface
from CTSpectSpineLib.report.whole_scan import projected, whole_scan
from CTSpectSpineLib.scene.level_names import level_centres, show_where_readable
from CTSpectSpineLib.scene.mrml import (
    ROLE,
    Node,
    add_node,
    by_class,
    image_from_node,
    mrml,
    vtk_matrix,
)
from CTSpectSpineLib.scene.nodes import SceneNodes, remove_nodes
from CTSpectSpineLib.scene.views import LAYOUT_ID, OPACITY, SURVEY_PREFIX, show_ct, view

SURVEY_LAYOUT_ID = LAYOUT_ID + 2
"""Number of the layout. Convention: beside those of the module and of the reader."""
SURVEY_ROLE = "survey"
"""Value of `mrml.ROLE` of the volumes that show the SPECT."""
_CT_ROLE = "survey CT"
PROJECTIONS = {"front": 0, "side": 1}
"""View to the axis of the course (0 left, 1 posterior) that runs across it. By definition."""
SECTIONS = ("right facets", "bodies", "left facets")
"""Views of the curved sections, sagittal, in the order in which they stand."""
_GREY = "vtkMRMLColorTableNodeInvertedGrey"
_PIXEL_MM = 2.0
"""Pixel of the projections, mm. Judgement: half a SPECT voxel; the view interpolates."""
_ROWS = 700
"""Height of the curved sections, pixels. Judgement: that of a view on a usual screen."""
_AWAY_MM = 10_000.0
"""How far from the patient the volumes lie along the normal of their view. Judgement: outlines are
cut there by nothing, since a straight cut through a curved section would not be what it shows."""
_THICK_MM = 100.0
"""Thickness of the one slice. Numerical: an offset that the user scrolls leaves the picture."""
_MARGIN = 1.04
"""Field of view over the size of the picture. Judgement: its edge is seen."""


def survey_layout() -> str:
    """The layout: the projections one above the other, the curved sections beside them."""
    groups = {name: n for n, name in enumerate((*PROJECTIONS, *SECTIONS), start=LAYOUT_ID)}
    items = {
        name: view("Slice", survey_view(name), name[0].upper(), _orientation(name), group)
        for name, group in groups.items()
    }
    above = "".join(f"<item>{items[name]}</item>" for name in PROJECTIONS)
    beside = "".join(f'<item splitSize="230">{items[name]}</item>' for name in SECTIONS)
    return (
        '<layout type="horizontal" split="true">'
        f'<item splitSize="310"><layout type="vertical" split="true">{above}</layout></item>'
        f"{beside}</layout>"
    )


def survey_view(name: str) -> str:
    """Name of a view, for instance ``CTSpectSpine survey front``."""
    return f"{SURVEY_PREFIX}{name}"


def _orientation(name: str) -> str:
    return "Coronal" if name == "front" else "Sagittal"


def register_survey_layout(layout_node: Node) -> None:
    """Make the layout known to Slicer under `SURVEY_LAYOUT_ID`."""
    if not layout_node.IsLayoutDescription(SURVEY_LAYOUT_ID):
        layout_node.AddLayoutDescription(SURVEY_LAYOUT_ID, survey_layout())


def show_survey(scene: Node, nodes: SceneNodes) -> None:
    """Fill the views of the survey with the images of an analysis, as they lie now."""
    end_survey(scene)
    spect = nodes.relative or nodes.spect
    if spect is None or nodes.ct is None:
        return
    ct_image = image_from_node(nodes.ct)
    ct = Sampler(ct_image, smooth=False)
    ratio = Sampler(image_from_node(spect, where_shown=True))
    course = _course(nodes, ct_image)
    views = {node.GetLayoutName(): node for node in by_class(scene, "vtkMRMLSliceNode")}
    composites = {
        node.GetLayoutName(): node for node in by_class(scene, "vtkMRMLSliceCompositeNode")
    }
    scan = whole_scan(ratio, np.eye(4), course)
    for name, axis in PROJECTIONS.items():
        surface, brightest = projected(scan, course, axis, _PIXEL_MM)
        grey = _spect_slice(scene, nodes, f"SPECT, from the {name}", surface, brightest, _GREY)
        _put(views, composites, name, surface, grey, None)
    table = spect.GetDisplayNode().GetColorNodeID()
    for name, surface in _sections(course):
        hu = _slice(scene, f"CT, {name}", surface, ct(surface.points), _CT_ROLE)
        show_ct(hu)
        hot = _spect_slice(scene, nodes, f"SPECT, {name}", surface, ratio(surface.points), table)
        _put(views, composites, name, surface, hu, hot)
    if nodes.levels is not None:
        show_where_readable(nodes.levels)


def end_survey(scene: Node) -> None:
    """Empty the views of the survey, and remove its volumes."""
    for composite in by_class(scene, "vtkMRMLSliceCompositeNode"):
        if (composite.GetLayoutName() or "").startswith(SURVEY_PREFIX):
            composite.SetBackgroundVolumeID(None)
            composite.SetForegroundVolumeID(None)
    volumes = by_class(scene, "vtkMRMLScalarVolumeNode")
    remove_nodes(scene, [n for n in volumes if n.GetAttribute(ROLE) in (SURVEY_ROLE, _CT_ROLE)])


def _course(nodes: SceneNodes, ct_image: sitk.Image) -> Course:
    bodies = {} if nodes.levels is None else level_centres(nodes.levels)
    record = nodes.record()
    facets = {
        (row.level, row.side): np.array(row.centre_lps)
        for row in (() if record is None else record.rows)
        if row.kind == "facet" and row.centre_lps is not None
    }
    return course_through(bodies, facets, ct_image)


def _sections(course: Course) -> Iterator[tuple[str, Surface]]:
    margins = {"bodies": SAGITTAL_MM, "left facets": STRIP_MM, "right facets": STRIP_MM}
    for name in SECTIONS:
        _, _, superior, inferior = margins[name]
        pixel = course.pixel_mm(_ROWS, superior, inferior)
        side = name.removesuffix(" facets")
        if name == "bodies":
            yield name, course.sagittal(pixel, margins[name])
        elif side in course.sides:
            yield name, course.strip(side, pixel, margins[name])


def _slice(scene: Node, name: str, surface: Surface, values: FloatArray, role: str) -> Node:
    """A volume of one slice, flat where the surface is curved, beside the patient."""
    slicer, _ = mrml()
    node = add_node(scene, "vtkMRMLScalarVolumeNode", name)
    node.SetAttribute(ROLE, role)
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    matrix = _plane(surface)
    matrix[:3, :3] *= (surface.pixel_mm, surface.pixel_mm, _THICK_MM)
    node.SetIJKToRASMatrix(vtk_matrix(matrix))
    plain = np.nan_to_num(values, nan=float(np.nanmin(values)) if np.isfinite(values).any() else 0)
    slicer.util.updateVolumeFromArray(node, plain[np.newaxis].astype(np.float32))
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetSaveWithScene(False)
    return node


def _spect_slice(
    scene: Node, nodes: SceneNodes, name: str, surface: Surface, values: FloatArray, table: str
) -> Node:
    node = _slice(scene, name, surface, np.nan_to_num(values), SURVEY_ROLE)
    shown = (nodes.relative or nodes.spect).GetDisplayNode()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(table)
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0.0, shown.GetWindowLevelMax())
    return node


def _plane(surface: Surface) -> FloatArray:
    """First pixel of a surface, columns and rows as unit vectors: 4×4 to RAS mm."""
    matrix = np.eye(4)
    to_ras = np.array([-1.0, -1.0, 1.0])
    matrix[:3, 0], matrix[:3, 1] = surface.right * to_ras, surface.down * to_ras
    matrix[:3, 2] = np.cross(matrix[:3, 0], matrix[:3, 1])
    # The first pixel of a curved surface lies off its flat plane, by its own depth.
    matrix[:3, 3] = surface.points[0, 0] * to_ras + _AWAY_MM * matrix[:3, 2]
    return matrix


def _put(
    views: dict[str, Node],
    composites: dict[str, Node],
    name: str,
    surface: Surface,
    below: Node,
    above: Node | None,
) -> None:
    """Show volumes in their view, which looks straight at them and holds all of them."""
    composite, node = composites.get(survey_view(name)), views.get(survey_view(name))
    if composite is None or node is None:
        return
    composite.SetLinkedControl(False)
    composite.SetBackgroundVolumeID(below.GetID())
    composite.SetForegroundVolumeID(above.GetID() if above is not None else None)
    composite.SetForegroundOpacity(OPACITY)
    rows, columns = surface.shape
    plane = _plane(surface)
    middle = 0.5 * surface.pixel_mm * np.array([columns - 1.0, rows - 1.0])
    plane[:3, 3] += plane[:3, :2] @ middle
    # Rows of a picture run down, the second axis of a slice runs up.
    plane[:3, 1], plane[:3, 2] = -plane[:3, 1], -plane[:3, 2]
    for i, j in np.ndindex(4, 4):
        node.GetSliceToRAS().SetElement(i, j, float(plane[i, j]))
    width, height, _ = node.GetDimensions()
    size = np.array([columns, rows]) * surface.pixel_mm * _MARGIN
    scale = max(size[0] / max(width, 1), size[1] / max(height, 1))
    node.SetFieldOfView(scale * width, scale * height, node.GetFieldOfView()[2])
    node.UpdateMatrices()
