"""Off-screen pictures of the module's layout: slice views, 3D view and plot, as Slicer has them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

if sys.platform == "linux":  # no X server: EGL, or OSMesa where VTK finds no EGL
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")

_SLICE_MANAGERS = (
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
)
_SPACE_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
)


class _View:
    def __init__(self, factory: Any, names: tuple[str, ...], application: Any, size: Any) -> None:
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)
        self.window.SetSize(*size)
        self.renderer = vtk.vtkRenderer()
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.interactor.Initialize()
        self.managers = slicer.vtkMRMLDisplayableManagerGroup()
        self._factory, self._names, self._application = factory, names, application

    def manage(self) -> None:
        factory = self._factory.GetInstance()
        factory.SetMRMLApplicationLogic(self._application)
        for name in self._names:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self.managers.Initialize(factory, self.renderer)

    def picture(self) -> np.ndarray:
        """RGB bytes, shape (rows, columns, 3), first row on top."""
        self.window.Render()
        return grab(self.window)


def grab(window: Any) -> np.ndarray:
    """RGB bytes of a render window, first row on top."""
    source = vtk.vtkWindowToImageFilter()
    source.SetInput(window)
    source.ReadFrontBufferOff()
    source.Update()
    columns, rows, _ = source.GetOutput().GetDimensions()
    scalars = vtk_to_numpy(source.GetOutput().GetPointData().GetScalars())
    return scalars.reshape(rows, columns, 3)[::-1].copy()


class SliceView(_View):
    """A slice view with its own slice node."""

    def __init__(
        self, scene: Any, application: Any, name: str, orientation: str, size: tuple[int, int]
    ) -> None:
        super().__init__(
            slicer.vtkMRMLSliceViewDisplayableManagerFactory, _SLICE_MANAGERS, application, size
        )
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        overlay = vtk.vtkRenderer()
        overlay.SetLayer(1)
        self.window.SetNumberOfLayers(2)
        self.window.AddRenderer(overlay)
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        image = vtk.vtkActor2D()
        image.SetMapper(self._mapper)
        image.GetProperty().SetDisplayLocationToBackground()
        self.renderer.AddViewProp(image)  # before the managers, whose fills lie above it
        self.manage()
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(application)
        application.GetSliceLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(scene)
        self.node = self.logic.AddSliceNode(name)
        self.managers.SetMRMLDisplayableNode(self.node)
        # Here the legend's manager does not take the scene of its slice node by itself.
        legends = self.managers.GetDisplayableManagerByClassName(_SLICE_MANAGERS[-1])
        legends.SetAndObserveMRMLScene(scene)
        self.node.SetOrientation(orientation)
        self.logic.ResizeSliceNode(*size)

    def picture(self) -> np.ndarray:
        self._mapper.SetInputConnection(self.logic.GetImageDataConnection())
        legends = self.node.GetScene().GetNodesByClass("vtkMRMLColorLegendDisplayNode")
        for i in range(legends.GetNumberOfItems()):
            legends.GetItemAsObject(i).Modified()
        return super().picture()


class SpaceView(_View):
    """A 3D view."""

    def __init__(self, scene: Any, application: Any, size: tuple[int, int]) -> None:
        super().__init__(
            slicer.vtkMRMLThreeDViewDisplayableManagerFactory, _SPACE_MANAGERS, application, size
        )
        self.manage()
        logic = slicer.vtkMRMLViewLogic()
        logic.SetMRMLApplicationLogic(application)
        application.GetViewLogics().AddItem(logic)
        logic.SetMRMLScene(scene)
        self.logic = logic
        self.node = logic.AddViewNode("1")
        self.managers.SetMRMLDisplayableNode(self.node)

    def follow_camera(self) -> None:
        """Have a camera node, as a 3D view of the desktop does."""
        self.window.Render()
        manager = self.managers.GetDisplayableManagerByClassName("vtkMRMLCameraDisplayableManager")
        if manager.GetCameraNode() is None:
            camera = self.node.GetScene().AddNewNodeByClass("vtkMRMLCameraNode")
            camera.SetLayoutName(self.node.GetLayoutName())
            camera.SetAndObserveCamera(self.renderer.GetActiveCamera())

    def picture(self) -> np.ndarray:
        self.window.Render()
        self.renderer.ResetCameraClippingRange()
        return super().picture()


def plot_picture(chart: Any, size: tuple[int, int], names: Any = None) -> np.ndarray:
    """A plot chart node, drawn with VTK's charts as Slicer's plot view draws it.

    ``names`` is the table of the uptake by level, where the module names the axis.
    """
    from CTSpectSpineLib.scene.plot import name_axis

    view = vtk.vtkContextView()
    view.GetRenderWindow().SetOffScreenRendering(1)
    view.GetRenderWindow().SetMultiSamples(0)
    view.GetRenderWindow().SetSize(*size)
    view.GetRenderer().SetBackground(1, 1, 1)
    plot = vtk.vtkChartXY()
    view.GetScene().AddItem(plot)
    plot.SetShowLegend(True)
    plot.GetLegend().GetLabelProperties().SetFontSize(chart.GetLegendFontSize())
    plot.SetTitle(chart.GetTitle())
    left, bottom = plot.GetAxis(0), plot.GetAxis(1)
    left.SetTitle(chart.GetYAxisTitle())
    bottom.SetTitle(chart.GetXAxisTitle())
    for axis, name in ((left, "Y"), (bottom, "X")):
        if not getattr(chart, f"Get{name}AxisRangeAuto")():
            axis.SetBehavior(vtk.vtkAxis.FIXED)
            axis.SetRange(*getattr(chart, f"Get{name}AxisRange")())
    for i in range(chart.GetNumberOfPlotSeriesNodes()):
        series = chart.GetNthPlotSeriesNode(i)
        line = vtk.vtkPlotLine()
        line.SetUseIndexForXSeries(False)
        table = series.GetTableNode().GetTable()
        line.SetInputData(table, series.GetXColumnName(), series.GetYColumnName())
        line.SetLabel(series.GetName())
        line.SetColorF(*series.GetColor())
        line.SetWidth(series.GetLineWidth())
        line.SetMarkerStyle(series.GetMarkerStyle())
        line.SetMarkerSize(series.GetMarkerSize())
        line.GetPen().SetLineType(series.GetLineStyle())
        plot.AddPlot(line)
    if names is not None:
        name_axis(bottom, names)
    view.GetRenderWindow().Render()
    return grab(view.GetRenderWindow())


class Layout:
    """The views of the module's layout, 1300 × 800 pixels.

    As on the desktop they are there before what they show.
    """

    def __init__(self, scene: Any, application: Any) -> None:
        self.scene = scene
        self.sagittal = SliceView(scene, application, "Yellow", "Sagittal", (540, 800))
        self.coronal = SliceView(scene, application, "Green", "Coronal", (380, 430))
        self.axial = SliceView(scene, application, "Red", "Axial", (380, 430))
        self.space = SpaceView(scene, application, (380, 370))

    def picture(self, nodes: Any, look: Any = None) -> np.ndarray:
        """All views."""
        from CTSpectSpineLib.scene.presentation import present

        self.space.follow_camera()
        present(self.scene, nodes, look)
        canvas = np.full((800, 1300, 3), 255, dtype=np.uint8)
        canvas[:, :540] = self.sagittal.picture()
        canvas[:430, 540:920] = self.coronal.picture()
        canvas[:430, 920:] = self.axial.picture()
        canvas[430:, 540:920] = self.space.picture()
        canvas[430:, 920:] = plot_picture(nodes.chart, (380, 370), nodes.uptake_table)
        canvas[:, 539:541] = 90
        canvas[429:431, 540:] = 90
        canvas[:, 919:921] = 90
        return canvas


class ReadingLayout:
    """The views of the reader's layout, 1300 × 800 pixels."""

    def __init__(self, scene: Any, application: Any) -> None:
        from CTSpectSpineLib.scene.reading import view_name

        self.scene = scene
        self.places: list[tuple[SliceView, int, int]] = []
        for row, plane in enumerate(("Sagittal", "Axial")):
            for column, content in enumerate(("SPECT", "CT", "fused")):
                view = SliceView(scene, application, view_name(plane, content), plane, (310, 400))
                self.places.append((view, 400 * row, 310 * column))
        for row, side in enumerate(("right", "left")):
            name = view_name("facet", side)
            view = SliceView(scene, application, name, "Sagittal", (370, 400))
            self.places.append((view, 400 * row, 930))

    def picture(self, nodes: Any, row: Any) -> np.ndarray:
        """All views at a joint."""
        from CTSpectSpineLib.scene.reading import begin_reading, end_reading, read_joint

        begin_reading(self.scene, nodes)
        read_joint(self.scene, nodes, row)
        canvas = np.full((800, 1300, 3), 90, dtype=np.uint8)
        for view, top, left in self.places:
            drawn = view.picture()[:-1, :-1]
            canvas[top : top + drawn.shape[0], left : left + drawn.shape[1]] = drawn
        end_reading(self.scene)
        return canvas


class SurveyLayout:
    """The views of the survey, 1300 × 800 pixels."""

    def __init__(self, scene: Any, application: Any) -> None:
        from CTSpectSpineLib.scene.survey import PROJECTIONS, SECTIONS, survey_view

        self.scene = scene
        self.places = [
            (SliceView(scene, application, survey_view(name), "Sagittal", (400, 400)), 400 * n, 0)
            for n, name in enumerate(PROJECTIONS)
        ]
        self.places += [
            (SliceView(scene, application, survey_view(name), "Sagittal", (300, 800)), 0, left)
            for name, left in zip(SECTIONS, (400, 700, 1000), strict=True)
        ]

    def picture(self, nodes: Any) -> np.ndarray:
        """All views."""
        from CTSpectSpineLib.scene.survey import end_survey, show_survey

        show_survey(self.scene, nodes)
        canvas = np.full((800, 1300, 3), 90, dtype=np.uint8)
        for view, top, left in self.places:
            drawn = view.picture()[:-1, :-1]
            canvas[top : top + drawn.shape[0], left : left + drawn.shape[1]] = drawn
        end_survey(self.scene)
        return canvas


def save(picture: np.ndarray, path: Path) -> None:
    """Write a picture as PNG."""
    from matplotlib.image import imsave

    path.parent.mkdir(parents=True, exist_ok=True)
    imsave(path, picture)
