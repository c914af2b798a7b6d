"""The results as a 3D Slicer scene; the one place that knows MRML and VTK."""
