"""Names of the levels at the axis of Slicer's plot view, as long as it shows the module's plot."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import slicer
import slicer_host
import vtk

slicer_host.start()

from CTSpectSpineWidgets.export import ExportSection  # noqa: E402


def test_only_the_plot_of_the_shown_analysis_gets_the_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = slicer.mrmlScene
    chart, other = (scene.AddNewNodeByClass("vtkMRMLPlotChartNode") for _ in range(2))
    table = scene.AddNewNodeByClass("vtkMRMLTableNode")
    names = vtk.vtkStringArray()
    names.SetName("level")
    for name in ("L4-L5", "L5-S1"):
        names.InsertNextValue(name)
    table.AddColumn(names)
    node, drawn = scene.AddNewNodeByClass("vtkMRMLPlotViewNode"), vtk.vtkChartXY()
    view = SimpleNamespace(mrmlPlotViewNode=lambda: node, chart=lambda: drawn)
    manager = SimpleNamespace(
        plotViewCount=1, plotWidget=lambda _index: SimpleNamespace(plotView=lambda: view)
    )
    monkeypatch.setattr(slicer.app, "layoutManager", lambda: manager)
    observed = []
    section = ExportSection.__new__(ExportSection)
    section.panel = SimpleNamespace(
        nodes=SimpleNamespace(chart=chart, uptake_table=table),
        hasObserver=lambda *_: bool(observed),
        addObserver=lambda *wanted: observed.append(wanted),
    )

    def ticks() -> list[str]:
        labels = drawn.GetAxis(1).GetTickLabels()
        return [labels.GetValue(i) for i in range(labels.GetNumberOfValues())]

    node.SetPlotChartNodeID(chart.GetID())
    section.nameAxes()
    assert ticks() == ["L4-L5", "L5-S1"]
    node.SetPlotChartNodeID(other.GetID())
    section.nameAxes()
    assert "L4-L5" not in ticks()
    assert observed == [(node, vtk.vtkCommand.ModifiedEvent, section.nameAxes)]
    section.panel.nodes = None
    section.nameAxes()
    scene.Clear()
