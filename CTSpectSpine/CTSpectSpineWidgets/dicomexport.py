"""Results as segmentations and structured report, by Slicer's dialog for export to DICOM."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from CTSpectSpineWidgets import packages

if TYPE_CHECKING:
    from CTSpectSpineLib.scene.mrml import Node

REQUIREMENTS = packages.REQUIREMENTS.with_name("requirements-dicom.txt")
_CONFIDENCE = 0.4
"""How sure the plugin is that the results are wanted: below Slicer's own export of a volume (0.5),
since the CT itself may be meant."""
_SURE = 0.9
"""The same where what is exported is itself part of the results."""


def exportables(item: int, plugin: str) -> list[Any]:
    """What can be exported of an item of the subject hierarchy: the analysis that it belongs to.

    Parameters
    ----------
    item
        Of the CT of an analysis, or of anything that the analysis added to the scene.
    plugin
        Name under which Slicer knows the plugin.
    """
    try:
        from CTSpectSpineLib.scene.dicom import analysis_of
    except ImportError:
        # The library's packages come with the first analysis: there is none to export.
        return []
    node = slicer.mrmlScene.GetSubjectHierarchyNode().GetItemDataNode(item)
    manifest, own = (None, False) if node is None else analysis_of(node)
    if manifest is None:
        return []
    exportable = slicer.qSlicerDICOMExportable()
    exportable.name = _("Results of CT SPECT Spine (SEG, SR)")
    exportable.tooltip = _(
        "Segmentations of vertebrae and joints, a structured report of the measurements, "
        "registration, fused SPECT and pictures, in the study of the CT. Research use only."
    )
    exportable.subjectHierarchyItemID = item
    exportable.pluginClass = plugin
    exportable.confidence = _SURE if own else _CONFIDENCE
    return [exportable]


def export(chosen: Sequence[Any]) -> str:
    """Write the objects of the chosen analyses into their folders; say what is wrong, if anything.

    Patient and study are those of the CT's files, whatever is typed in the dialog.
    """
    try:
        packages.ensure(packages.REQUIREMENTS)
        packages.ensure(REQUIREMENTS)
        from CTSpectSpineLib.errors import InputError
    except RuntimeError as error:
        return str(error)
    from CTSpectSpineLib.scene.dicom import analysis_of

    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    found: dict[str, tuple[Node, str]] = {}
    for exportable in chosen:
        node = hierarchy.GetItemDataNode(exportable.subjectHierarchyItemID)
        manifest = None if node is None else analysis_of(node)[0]
        if manifest is None:
            return str(_("The results have been deleted from the scene."))
        found[manifest.GetID()] = (manifest, str(exportable.directory))
    try:
        for manifest, folder in found.values():
            _write(manifest, Path(folder))
    except InputError as error:
        return str(error)
    return ""


def _write(manifest: Node, folder: Path) -> None:
    from CTSpectSpineLib.dicom_export import export_results, write_objects
    from CTSpectSpineLib.errors import InputError
    from CTSpectSpineLib.scene.nodes import results_folder, scene_nodes

    nodes, results = scene_nodes(manifest), results_folder(manifest)
    if results is None:
        raise InputError(_("The results folder is not there any more: analyse again."))
    ct = _file(nodes.ct)
    if ct is None:
        raise InputError(
            _(
                "The CT did not come from the DICOM database, so that there is no study for the "
                "results: load CT and SPECT there and analyse again."
            )
        )
    exported = export_results(results, ct=ct, spect=_file(nodes.spect))
    for note in exported.notes:
        logging.warning(note)
    write_objects(exported, folder)


def _file(volume: Node | None) -> Path | None:
    """A file of the series that a volume was loaded from; None where the database has none."""
    uids = "" if volume is None else volume.GetAttribute("DICOM.instanceUIDs") or ""
    database = getattr(slicer, "dicomDatabase", None)
    if not uids.split() or database is None:
        return None
    path = Path(database.fileForInstance(uids.split()[0]) or "")
    return path if path.is_file() else None
