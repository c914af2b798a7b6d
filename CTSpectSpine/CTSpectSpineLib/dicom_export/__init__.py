"""Results as DICOM objects: segmentations, report, registration, fused SPECT, pictures.

`export_results` makes them and writes nothing; it needs the package highdicom, which is asked for
when it is called.
"""

from CTSpectSpineLib.dicom_export.export import Exported, export_results, write_objects
from CTSpectSpineLib.dicom_export.sources import Sources, find_sources

__all__ = ["Exported", "Sources", "export_results", "find_sources", "write_objects"]
