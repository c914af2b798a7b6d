"""Uptake by level as a Slicer plot. One of the files that know MRML."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from CTSpectSpineLib.joint_table import Row
from CTSpectSpineLib.scene.mrml import Node, add_node, by_class, mrml

_COLOURS = {
    "disc": (0.90, 0.45, 0.05),
    "facet left": (0.13, 0.45, 0.75),
    "facet right": (0.20, 0.60, 0.30),
    "disc bound": (0.90, 0.45, 0.05),
    "facet bound": (0.16, 0.52, 0.53),
}
"""RGB, 0 to 1. Judgement: discs warm, facet joints cool, bounds in the colour of their kind."""


def add_uptake_plot(
    scene: Node, rows: Sequence[Row], bounds: Mapping[str, float]
) -> tuple[Node, Node, list[Node]]:
    """Add the table of uptake by level, its chart and the chart's series.

    Parameters
    ----------
    rows
        Joints in the order of the spine.
    bounds
        Kind of joint to the ratio from which it is positive.

    Returns
    -------
    chart, table, series
    """
    slicer, vtk = mrml()
    levels = list(dict.fromkeys(row.level for row in rows))
    table = add_node(scene, "vtkMRMLTableNode", "Uptake by level, table")
    table.SetUseColumnTitleAsColumnHeader(True)
    labels = vtk.vtkStringArray()
    labels.SetName("level")
    for level in levels:
        labels.InsertNextValue(level)
    table.AddColumn(labels)
    columns = {
        name: dict.fromkeys(levels, math.nan) for name in ("disc", "facet left", "facet right")
    }
    for row in rows:
        name = f"{row.kind} {row.side}".strip()
        if row.measurable:
            columns[name][row.level] = row.ratio
    for kind, bound in bounds.items():
        columns[f"{kind} bound"] = dict.fromkeys(levels, bound)
    for name, values in columns.items():
        column = vtk.vtkDoubleArray()
        column.SetName(name)
        for level in levels:
            column.InsertNextValue(values[level])
        table.AddColumn(column)
        table.SetColumnUnitLabel(name, "multiples of reference")
    table.SetLocked(True)
    chart = add_node(scene, "vtkMRMLPlotChartNode", "Uptake by level")
    chart.SetTitle("Uptake by level")
    chart.SetXAxisTitle("level")
    chart.SetYAxisTitle("uptake, multiples of the reference bone")
    # Room above the curves for the legend.
    highest = max((v for values in columns.values() for v in values.values() if v == v), default=1)
    chart.SetYAxisRangeAuto(False)
    chart.SetYAxisRange(0.0, math.ceil(1.5 * highest))
    series = [_series(scene, slicer, table, name) for name in columns]
    for node in series:
        chart.AddAndObservePlotSeriesNodeID(node.GetID())
    return chart, table, series


def _series(scene: Node, slicer: Node, table: Node, name: str) -> Node:
    kind = slicer.vtkMRMLPlotSeriesNode
    node = add_node(scene, "vtkMRMLPlotSeriesNode", name)
    node.SetAndObserveTableNodeID(table.GetID())
    node.SetPlotType(kind.PlotTypeLine)
    node.SetLabelColumnName("level")
    node.SetYColumnName(name)
    bound = name.endswith("bound")
    node.SetColor(*_COLOURS[name])
    node.SetMarkerStyle(kind.MarkerStyleNone if bound else kind.MarkerStyleCircle)
    node.SetMarkerSize(9)
    node.SetLineWidth(1.0 if bound else 2.0)
    node.SetLineStyle(kind.LineStyleDash if bound else kind.LineStyleSolid)
    return node


def show_plot(scene: Node, chart: Node, table: Node) -> None:
    """Show a chart and a table in the views for them that are open."""
    for view in by_class(scene, "vtkMRMLPlotViewNode"):
        view.SetPlotChartNodeID(chart.GetID())
    for view in by_class(scene, "vtkMRMLTableViewNode"):
        view.SetTableNodeID(table.GetID())
    for selection in by_class(scene, "vtkMRMLSelectionNode"):
        selection.SetActivePlotChartID(chart.GetID())
        selection.SetActiveTableID(table.GetID())
