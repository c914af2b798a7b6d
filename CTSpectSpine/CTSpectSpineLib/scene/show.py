"""Show the nodes of an analysis in the views that are open."""

from __future__ import annotations

import math

from CTSpectSpineLib.scene.level_names import show_where_readable
from CTSpectSpineLib.scene.mrml import Node
from CTSpectSpineLib.scene.nodes import SceneNodes
from CTSpectSpineLib.scene.plot import show_plot
from CTSpectSpineLib.scene.views import fuse, overview

VERTEBRAE_OPACITY = 0.35
"""Opacity of the vertebrae in 3D. Judgement: the joints are seen through them."""


def show(scene: Node, nodes: SceneNodes) -> None:
    """Show the fused images around the joints, the plot and the joint table in the views."""
    fuse(scene, nodes.ct, nodes.relative or nodes.spect)
    if nodes.levels is not None:
        show_where_readable(nodes.levels)
    if nodes.chart is not None and nodes.joint_table is not None:
        show_plot(scene, nodes.chart, nodes.joint_table)
    record = nodes.record()
    located = [row for row in record.rows if row.centre_lps] if record is not None else []
    if located:
        counting = [row for row in located if row.measurable and not math.isnan(row.ratio)]
        hottest = max(counting or located[:1], key=lambda row: row.ratio)
        points = [row.centre_lps for row in located if row.centre_lps]
        overview(scene, points, hottest.centre_lps or points[0])


def show_surfaces(nodes: SceneNodes) -> None:
    """Show the vertebrae, translucent, and the joints in 3D."""
    for segmentation in (nodes.vertebrae, nodes.joints):
        if segmentation is not None:
            segmentation.CreateClosedSurfaceRepresentation()
    if nodes.vertebrae is not None:
        nodes.vertebrae.GetDisplayNode().SetOpacity3D(VERTEBRAE_OPACITY)
