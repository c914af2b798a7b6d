"""Uptake by level as a Slicer plot. One of the files that know MRML."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from CTSpectSpineLib.joint_table import Row
from CTSpectSpineLib.scene.mrml import Node, add_node, by_class, mrml

_COLOURS = {
    "disc": (0.90, 0.45, 0.05),
    "facet left": (0.13, 0.45, 0.75),
    "facet right": (0.20, 0.60, 0.30),
    "disc bound": (0.90, 0.45, 0.05),
    "facet bound": (0.16, 0.52, 0.53),
    "95 % interval": (0.45, 0.45, 0.45),
}
"""RGB, 0 to 1. Judgement: discs warm, facet joints cool, bounds in the colour of their kind."""
_ASIDE = {"disc": 0.0, "facet left": -0.2, "facet right": 0.2}
"""Shift of the markers of one level, in levels. Judgement: intervals of one level stay apart."""
_MARKERS = {"disc": "Circle", "facet left": "Square", "facet right": "Diamond"}
_INTERVAL = "95 % interval"
_UNIT = "multiples of reference"
_HEADROOM = 1.5
"""Height of the axis over the highest interval. Judgement: the legend's six lines fit above it in a
pane of 300 pixels."""


@dataclass(frozen=True)
class Plot:
    """Nodes of the plot: its chart, the table for a person to read, and what else it needs."""

    chart: Node
    table: Node
    lines: Node
    series: tuple[Node, ...]


def add_uptake_plot(scene: Node, rows: Sequence[Row], bounds: Mapping[str, float]) -> Plot:
    """Add the uptake by level: markers with their intervals, and the bounds as lines.

    Parameters
    ----------
    rows
        Joints in the order of the spine.
    bounds
        Kind of joint to the ratio from which it is positive.
    """
    levels = list(dict.fromkeys(row.level for row in rows))
    place = {level: number for number, level in enumerate(levels, start=1)}
    counting = [row for row in rows if row.measurable and not math.isnan(row.ratio)]
    table = _reading_table(scene, place, counting, bounds)
    lines = _line_table(scene, place, counting, bounds)
    chart = add_node(scene, "vtkMRMLPlotChartNode", "Uptake by level")
    chart.SetTitle("Uptake by level")
    chart.SetXAxisTitle(f"level, from 1 = {levels[0]} to {len(levels)} = {levels[-1]}")
    chart.SetYAxisTitle("uptake, multiples of the reference bone")
    chart.SetLegendFontSize(10)
    tops = [row.ratio for row in counting] + [row.high for row in counting if row.high == row.high]
    chart.SetYAxisRangeAuto(False)
    chart.SetYAxisRange(0.0, math.ceil(_HEADROOM * max([*tops, *bounds.values()], default=1.0)))
    chart.SetXAxisRangeAuto(False)
    chart.SetXAxisRange(0.5, len(levels) + 0.5)
    series = [
        *(_markers(scene, table, name) for name in _ASIDE),
        *(_line(scene, lines, f"{kind} bound", "Dash") for kind in bounds),
        _line(scene, lines, _INTERVAL, "Solid"),
    ]
    for node in series:
        chart.AddAndObservePlotSeriesNodeID(node.GetID())
    return Plot(chart, table, lines, tuple(series))


def _series_name(row: Row) -> str:
    return f"{row.kind} {row.side}".strip()


def _reading_table(
    scene: Node, place: Mapping[str, int], rows: Sequence[Row], bounds: Mapping[str, float]
) -> Node:
    _, vtk = mrml()
    table = add_node(scene, "vtkMRMLTableNode", "Uptake by level, table")
    table.SetUseColumnTitleAsColumnHeader(True)
    names = vtk.vtkStringArray()
    names.SetName("level")
    for level in place:
        names.InsertNextValue(level)
    table.AddColumn(names)
    for name, aside in _ASIDE.items():
        of_kind = {row.level: row for row in rows if _series_name(row) == name}
        for column, value in (("", "ratio"), (" low", "low"), (" high", "high")):
            values = [
                getattr(of_kind[level], value) if level in of_kind else math.nan for level in place
            ]
            _add_column(table, name + column, values, _UNIT)
        _add_column(table, f"{name} place", [number + aside for number in place.values()])
    for kind, bound in bounds.items():
        _add_column(table, f"{kind} bound", [bound] * len(place), _UNIT)
    table.SetLocked(True)
    return table


def _line_table(
    scene: Node, place: Mapping[str, int], rows: Sequence[Row], bounds: Mapping[str, float]
) -> Node:
    """What is drawn as lines: a gap (NaN) ends each interval."""
    across: list[float] = []
    up: list[float] = []
    for row in rows:
        if not (math.isnan(row.low) or math.isnan(row.high)):
            across += [place[row.level] + _ASIDE[_series_name(row)]] * 3
            up += [row.low, row.high, math.nan]
    count = max(len(across), 2)
    table = add_node(scene, "vtkMRMLTableNode", "Uptake by level, lines")
    _add_column(table, f"{_INTERVAL} place", across + [0.5] * (count - len(across)))
    _add_column(table, _INTERVAL, up + [math.nan] * (count - len(up)), _UNIT)
    ends = [0.5] + [len(place) + 0.5] * (count - 1)
    for kind, bound in bounds.items():
        _add_column(table, f"{kind} bound place", ends)
        _add_column(table, f"{kind} bound", [bound] * count, _UNIT)
    table.SetLocked(True)
    return table


def _add_column(table: Node, name: str, values: Sequence[float], unit: str = "") -> None:
    _, vtk = mrml()
    column = vtk.vtkDoubleArray()
    column.SetName(name)
    for value in values:
        column.InsertNextValue(value)
    table.AddColumn(column)
    if unit:
        table.SetColumnUnitLabel(name, unit)


def _series(scene: Node, table: Node, name: str) -> Node:
    slicer, _ = mrml()
    node = add_node(scene, "vtkMRMLPlotSeriesNode", name)
    # The legend shows the node's name, which needs not be the only one of its kind.
    node.SetName(name)
    node.SetAndObserveTableNodeID(table.GetID())
    node.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    node.SetXColumnName(f"{name} place")
    node.SetYColumnName(name)
    node.SetColor(*_COLOURS[name])
    return node


def _markers(scene: Node, table: Node, name: str) -> Node:
    slicer, _ = mrml()
    kind, node = slicer.vtkMRMLPlotSeriesNode, _series(scene, table, name)
    node.SetLabelColumnName("level")
    node.SetMarkerStyle(getattr(kind, f"MarkerStyle{_MARKERS[name]}"))
    node.SetMarkerSize(9)
    node.SetLineStyle(kind.LineStyleNone)
    return node


def _line(scene: Node, table: Node, name: str, style: str) -> Node:
    slicer, _ = mrml()
    kind, node = slicer.vtkMRMLPlotSeriesNode, _series(scene, table, name)
    node.SetMarkerStyle(kind.MarkerStyleNone)
    node.SetLineStyle(getattr(kind, f"LineStyle{style}"))
    node.SetLineWidth(1.0)
    return node


def plot_nodes(chart: Node) -> list[Node]:
    """Series of a chart, and the tables that they draw, the chart's own first."""
    count = chart.GetNumberOfPlotSeriesNodes()
    series = [chart.GetNthPlotSeriesNode(i) for i in range(count)]
    tables = [node.GetTableNode() for node in series if node is not None]
    found = [*series, *dict.fromkeys(tables)]
    return [node for node in found if node is not None]


def name_axis(axis: Any, table: Node | None) -> None:
    """Write the names of the levels at the lower axis of a VTK chart.

    A chart node of Slicer has no place for them: its view has to be told.

    Parameters
    ----------
    axis
        ``vtkAxis``.
    table
        ``SceneNodes.uptake_table``; None for numbers again.
    """
    _, vtk = mrml()
    names = None if table is None else table.GetTable().GetColumnByName("level")
    if names is None:
        axis.SetCustomTickPositions(None, None)
        return
    places = vtk.vtkDoubleArray()
    for number in range(1, names.GetNumberOfValues() + 1):
        places.InsertNextValue(number)
    axis.SetCustomTickPositions(places, names)


def show_plot(scene: Node, chart: Node | None, table: Node | None) -> None:
    """Show a chart and a table in the views for them that are open; None for nothing."""
    chart_id = None if chart is None else chart.GetID()
    table_id = None if table is None else table.GetID()
    for view in by_class(scene, "vtkMRMLPlotViewNode"):
        view.SetPlotChartNodeID(chart_id)
    for view in by_class(scene, "vtkMRMLTableViewNode"):
        view.SetTableNodeID(table_id)
    for selection in by_class(scene, "vtkMRMLSelectionNode"):
        selection.SetActivePlotChartID(chart_id)
        selection.SetActiveTableID(table_id)
