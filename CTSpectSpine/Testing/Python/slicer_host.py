"""What tests need around ``slicer-core``: VTK errors as failures, off-screen slices."""

from __future__ import annotations

import vtk


class VtkErrors:
    """Collects the errors that VTK and MRML print instead of raising them."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __enter__(self) -> VtkErrors:
        self._before = vtk.vtkOutputWindow.GetInstance()
        self._window = vtk.vtkOutputWindow()
        vtk.vtkOutputWindow.SetInstance(self._window)

        @vtk.calldata_type(vtk.VTK_STRING)
        def collect(_caller: object, event: str, text: str = "") -> None:
            self.texts.append(f"{event}: {text}")

        self._window.AddObserver("ErrorEvent", collect)
        return self

    def __exit__(self, *_: object) -> None:
        vtk.vtkOutputWindow.SetInstance(self._before)
