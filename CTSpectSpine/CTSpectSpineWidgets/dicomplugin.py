"""NM in Slicer's DICOM browser as the analysis reads it, and results by its dialog for export."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from CTSpectSpineWidgets import dicomexport, packages

if TYPE_CHECKING:
    from CTSpectSpineLib.scene.mrml import Node

NAME = "CTSpectSpineNuclearMedicinePlugin"
MANUFACTURER = "CTSpectSpine"
"""Manufacturer of results, as they are exported; the library may lack its packages here."""
_CONFIDENCE = 0.9
"""How sure the plugin is of a SPECT: above Slicer's own reader of scalar volumes (0.5), which takes
the spacing of the slices of many such files for 1 mm."""


def register() -> None:
    """Offer the plugin to Slicer's DICOM module, where there is one."""
    try:
        from DICOMLib import DICOMLoadable, DICOMPlugin
    except ImportError:
        logging.info("There is no DICOM module: SPECT is not offered in its browser")
        return
    if not hasattr(slicer.modules, "dicomPlugins"):
        slicer.modules.dicomPlugins = {}
    slicer.modules.dicomPlugins[NAME] = makePlugin(DICOMPlugin, DICOMLoadable)


def makePlugin(base: type, loadableKind: type) -> type:
    """The plugin's class.

    Parameters
    ----------
    base, loadableKind
        ``DICOMPlugin`` and ``DICOMLoadable`` of Slicer's ``DICOMLib``.
    """

    class CTSpectSpineNuclearMedicinePlugin(base):
        """Loads reconstructed SPECT and results of this software, and exports results."""

        def __init__(self) -> None:
            super().__init__()
            self.loadType = _("SPECT and results (CT SPECT Spine)")
            self.tags["modality"] = "0008,0060"
            self.tags["manufacturer"] = "0008,0070"
            self.tags["instanceUID"] = "0008,0018"
            self.tags["seriesInstanceUID"] = "0020,000E"

        def examineForImport(self, fileLists: list[list[str]]) -> list[Any]:
            """What can be loaded of these lists of files."""
            found = []
            for files in fileLists:
                cached = self.getCachedLoadables(files)
                if cached is None:
                    cached = self.examineFiles(list(files))
                    self.cacheLoadables(files, cached)
                found += cached
            return found

        def examineFiles(self, files: list[str]) -> list[Any]:
            """What can be loaded of one series."""
            database = slicer.dicomDatabase
            modality = database.fileValue(files[0], self.tags["modality"]) if files else ""
            if modality in ("SEG", "SR"):
                return self._results(files, modality)
            if modality != "NM":
                return []
            from CTSpectSpineLib.errors import InputError
            from CTSpectSpineLib.volumes.dicom.series import choose_series

            try:
                series, notes = choose_series(Path(files[0]), "spect")
            except InputError:
                # Whole-body pictures and projections are for Slicer's other plugins.
                return []
            loadable = loadableKind()
            loadable.files = [str(file.path) for file in series.files]
            uid = database.fileValue(files[0], self.tags["seriesInstanceUID"])
            loadable.name = self.defaultSeriesNodeName(uid)
            loadable.tooltip = series.describe()
            loadable.warning = " ".join(notes)
            loadable.selected = True
            loadable.confidence = _CONFIDENCE
            return [loadable]

        def _results(self, files: list[str], modality: str) -> list[Any]:
            """A segmentation or a report that this software wrote; others are for others."""
            database = slicer.dicomDatabase
            if database.fileValue(files[0], self.tags["manufacturer"]) != MANUFACTURER:
                return []
            loadable = loadableKind()
            loadable.files = list(files)
            uid = database.fileValue(files[0], self.tags["seriesInstanceUID"])
            loadable.name = self.defaultSeriesNodeName(uid)
            loadable.tooltip = _("Results of CT SPECT Spine. Research use only.")
            loadable.selected = True
            loadable.confidence = _CONFIDENCE
            return [loadable]

        def _loadResults(self, loadable: Any, modality: str) -> Node | None:
            from CTSpectSpineLib.dicom_export.read_back import read_report, read_segments
            from CTSpectSpineLib.errors import InputError
            from CTSpectSpineLib.scene.dicom import add_report, add_segments

            scene, files = slicer.mrmlScene, [Path(file) for file in sorted(loadable.files)]
            try:
                if modality == "SEG":
                    node = add_segments(scene, read_segments(files), loadable.name)
                else:
                    node = add_report(scene, read_report(files[0]), loadable.name)[0]
            except InputError as error:
                logging.error(str(error))
                return None
            self.addSeriesInSubjectHierarchy(loadable, node)
            return node

        def load(self, loadable: Any) -> Node | None:
            """Add a SPECT, a segmentation or the tables of a report to the scene."""
            packages.ensure(packages.REQUIREMENTS)
            database = slicer.dicomDatabase
            modality = database.fileValue(loadable.files[0], self.tags["modality"])
            if modality in ("SEG", "SR"):
                return self._loadResults(loadable, modality)
            from CTSpectSpineLib.errors import InputError
            from CTSpectSpineLib.scene.dicom import add_spect
            from CTSpectSpineLib.volumes import read_volume

            try:
                volume = read_volume(loadable.files[0], "spect")
            except InputError as error:
                logging.error(str(error))
                return None
            node = add_spect(slicer.mrmlScene, volume, loadable.name)
            self.addSeriesInSubjectHierarchy(loadable, node)
            uids = [
                slicer.dicomDatabase.fileValue(file, self.tags["instanceUID"])
                for file in loadable.files
            ]
            node.SetAttribute("DICOM.instanceUIDs", " ".join(uids))
            return node

        def examineForExport(self, subjectHierarchyItemID: int) -> list[Any]:
            """What can be exported of an item: the results that it belongs to."""
            return dicomexport.exportables(subjectHierarchyItemID, NAME)

        def export(self, exportables: list[Any]) -> str:
            """Write results as DICOM objects; return what is wrong, empty if nothing is."""
            return dicomexport.export(exportables)

    return CTSpectSpineNuclearMedicinePlugin
