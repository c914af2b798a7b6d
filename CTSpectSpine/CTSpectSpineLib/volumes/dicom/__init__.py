"""DICOM: series, stacks of slices, and nuclear medicine objects."""
