"""Off-screen pictures of slice views, as Slicer draws them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk

if sys.platform == "linux":  # no X server: EGL, or OSMesa where VTK finds no EGL
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")

_PROBE = """
import vtk
window = vtk.vtkRenderWindow()
window.SetOffScreenRendering(1)
window.AddRenderer(vtk.vtkRenderer())
window.Render()
"""
_MANAGERS = ("vtkMRMLModelSliceDisplayableManager", "vtkMRMLSegmentationsDisplayableManager2D")


@cache
def gl_problem(probe: str = _PROBE) -> str:
    """Why VTK cannot render off screen; empty if it can. VTK ends a process that it fails in."""
    command = [sys.executable, "-c", probe]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if result.returncode == 0:
        return ""
    return f"VTK cannot render off screen ({result.stderr.strip().splitlines()[-1:] or 'crash'})"


def render_slice(
    scene: Any,
    application: Any,
    orientation: str,
    through_lps: Sequence[float],
    *,
    background: Any,
    foreground: Any,
    opacity: float,
    size: tuple[int, int] = (400, 400),
    png: Path | None = None,
) -> tuple[np.ndarray, Callable[[Sequence[float]], tuple[int, int]]]:
    """Draw one slice view with segmentations.

    Returns
    -------
    picture, to_pixel
        RGB bytes, shape (rows, columns, 3), first row on top; and the function that gives the
        row and column of a point in LPS mm.
    """
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(0)
    window.SetSize(*size)
    renderer = vtk.vtkRenderer()
    renderer.GetActiveCamera().ParallelProjectionOn()
    window.AddRenderer(renderer)
    interactor = vtk.vtkRenderWindowInteractor()
    interactor.SetRenderWindow(window)

    mapper = vtk.vtkImageMapper()
    mapper.SetColorWindow(255)
    mapper.SetColorLevel(127.5)
    image = vtk.vtkActor2D()
    image.SetMapper(mapper)
    image.GetProperty().SetDisplayLocationToBackground()
    renderer.AddViewProp(image)  # before the managers: their translucent fills lie above it

    factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
    factory.SetMRMLApplicationLogic(application)
    for name in _MANAGERS:
        if not factory.IsDisplayableManagerRegistered(name):
            factory.RegisterDisplayableManager(name)
    managers = slicer.vtkMRMLDisplayableManagerGroup()
    managers.Initialize(factory, renderer)

    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLApplicationLogic(application)
    application.GetSliceLogics().AddItem(logic)
    logic.SetMRMLScene(scene)
    node = logic.AddSliceNode(f"Test{orientation}")
    managers.SetMRMLDisplayableNode(node)
    node.SetOrientation(orientation)
    logic.ResizeSliceNode(*size)
    composite = logic.GetSliceCompositeNode()
    composite.SetBackgroundVolumeID(background.GetID())
    composite.SetForegroundVolumeID(foreground.GetID())
    composite.SetForegroundOpacity(opacity)
    logic.FitSliceToBackground()
    x, y, z = through_lps
    node.JumpSliceByOffsetting(-x, -y, z)
    mapper.SetInputConnection(logic.GetImageDataConnection())
    window.Render()

    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(window)
    grab.ReadFrontBufferOff()
    grab.Update()
    from vtk.util.numpy_support import vtk_to_numpy

    columns, rows, _ = grab.GetOutput().GetDimensions()
    scalars = vtk_to_numpy(grab.GetOutput().GetPointData().GetScalars())
    picture = scalars.reshape(rows, columns, 3)[::-1].copy()
    if png is not None:
        writer = vtk.vtkPNGWriter()
        writer.SetFileName(str(png))
        writer.SetInputConnection(grab.GetOutputPort())
        writer.Write()

    to_xy = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(node.GetXYToRAS(), to_xy)

    def to_pixel(point_lps: Sequence[float]) -> tuple[int, int]:
        x, y, z = point_lps
        column, row, _, _ = to_xy.MultiplyPoint((-x, -y, z, 1.0))
        return rows - 1 - round(row), round(column)

    managers.SetMRMLDisplayableNode(None)
    window.Finalize()
    return picture, to_pixel
