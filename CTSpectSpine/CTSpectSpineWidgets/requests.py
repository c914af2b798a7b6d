"""From the panel's settings to a request for an analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import vtk

if TYPE_CHECKING:
    import SimpleITK as sitk

    from CTSpectSpine import CTSpectSpineWidget
    from CTSpectSpineLib.analysis.options import Options
    from CTSpectSpineLib.panel.request import Request
    from CTSpectSpineLib.scene.mrml import Node
    from CTSpectSpineWidgets.parameters import CTSpectSpineParameterNode


def firstRequest(panel: CTSpectSpineWidget) -> Request:
    """Analyse what is selected."""
    values = panel.chosen()
    return _request(
        panel,
        values.vertebrae,
        ct=values.ct,
        spect=values.spect,
        out=Path(values.outputFolder) if values.outputFolder else None,
        initial=values.initialTransform,
    )


def cohortRequest(panel: CTSpectSpineWidget, cohort: Path, workers: int) -> list[str]:
    """Words of ``batch`` for a cohort, with the panel's settings.

    Raises
    ------
    InputError
        If a setting is wrong; names it.
    """
    from CTSpectSpineWidgets.logic import cohortWords

    values = panel.chosen()
    protocol = values.protocolFile or values.protocol
    options = _options(values, True, {})
    return cohortWords(cohort, workers, protocol, values.labeller, options)


def nextRequest(
    panel: CTSpectSpineWidget,
    vertebrae: sitk.Image | None = None,
    initial: Node | None = None,
    transform: Node | None = None,
    settings: Mapping[str, Any] | None = None,
    edited: Sequence[str] = (),
    joints: Sequence[str] = (),
) -> Request:
    """Analyse the shown images again; the new results replace the old ones.

    What was edited by hand before stays, and the new results say so, too.

    Parameters
    ----------
    vertebrae
        Label map with other names or outlines; None for the same labels, which keep their
        confirmation.
    initial, transform
        Transform nodes: where the registration starts, or what is used unchanged; without them
        the registration is kept.
    settings
        Fields of `CTSpectSpineLib.Options` that differ from those of the panel.
    edited, joints
        Vertebrae and joints that have been edited by hand since.
    """
    from CTSpectSpineLib.analysis.edited_joints import new_names, renamed_regions
    from CTSpectSpineLib.scene.edits import joint_regions

    nodes, record = panel.shown()
    keep = nodes.manifest if initial is None and transform is None else None
    levels: dict[str, Any] = {"confirm_levels": record.levels_confirmed_by_user}
    levels["keep_levels"] = record.levels_confirmed and not record.levels_confirmed_by_user
    levels["doubted_levels"] = ",".join(record.doubted_levels) or None
    same = vertebrae is None
    outlines = tuple(dict.fromkeys([*record.edited_vertebrae, *edited]))
    regions = joint_regions(nodes, dict.fromkeys([*record.edited_joints, *joints]))
    labels = panel.logic.labels(nodes) if same or outlines or regions else None
    if labels is not None and vertebrae is not None:
        names = new_names(labels, vertebrae)
        outlines = tuple(dict.fromkeys(names.get(name, name) for name in outlines))
        regions = renamed_regions(regions, names)
    told = {"edited": ",".join(outlines) or None}
    return _request(
        panel,
        labels if same else vertebrae,
        {**(levels if same else {}), **told, **(settings or {})},
        ct=nodes.ct,
        spect=nodes.spect,
        joints=regions,
        out=_ownFolder(panel),
        initial=initial,
        transform=transform,
        keep=keep,
        replaces=nodes.manifest,
    )


def _ownFolder(panel: CTSpectSpineWidget) -> Path | None:
    """The chosen results folder, where it holds the shown analysis; else a temporary one.

    What the user saved elsewhere, and what another analysis left in the chosen folder, stays.
    """
    chosen = panel.chosen().outputFolder
    folder = Path(chosen) if chosen else None
    shown = panel.resultsFolder()
    same = folder is not None and shown is not None and folder.resolve() == shown.resolve()
    return folder if same else None


def _request(
    panel: CTSpectSpineWidget,
    vertebrae: Node | sitk.Image | None,
    changed: Mapping[str, Any] | None = None,
    **others: Any,
) -> Request:
    from CTSpectSpineLib.panel.request import Request

    values = panel.chosen()
    return Request(
        vertebrae=vertebrae,
        protocol=values.protocolFile or values.protocol,
        labeller=values.labeller,
        context=panel.patient.context(),
        options=_options(values, isinstance(vertebrae, vtk.vtkObject), changed or {}),
        **others,
    )


def _options(
    values: CTSpectSpineParameterNode, givenAsNode: bool, changed: Mapping[str, Any]
) -> Options:
    """The panel's settings; raises `InputError` that names a wrong one."""
    from CTSpectSpineLib.analysis.options import Options
    from CTSpectSpineLib.panel.context_form import number_from_text
    from CTSpectSpineWidgets.patient import NOT_GIVEN

    fwhm = values.fwhm.strip()
    settings: dict[str, Any] = {
        "fwhm_mm": number_from_text("SPECT resolution", fwhm) if fwhm else None,
        "reconstruction": None if values.reconstruction == NOT_GIVEN else values.reconstruction,
        "reference": values.referenceBone,
        "bend_spine": values.bendSpine,
        "save_volumes": values.saveVolumes,
        "threads": values.threads or None,
    }
    if givenAsNode:
        settings["label_scheme"] = values.labelScheme
    return Options(**{**settings, **changed})
