"""From the panel's settings to a request for an analysis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import vtk

if TYPE_CHECKING:
    import SimpleITK as sitk

    from CTSpectSpine import CTSpectSpineWidget
    from CTSpectSpineLib.mrml import Node
    from CTSpectSpineLib.scene_run import Request


def firstRequest(panel: CTSpectSpineWidget) -> Request:
    """Analyse what is selected."""
    values = panel.chosen()
    return _request(
        panel, values.vertebrae, ct=values.ct, spect=values.spect, initial=values.initialTransform
    )


def nextRequest(
    panel: CTSpectSpineWidget,
    vertebrae: sitk.Image | None = None,
    initial: Node | None = None,
    transform: Node | None = None,
    settings: Mapping[str, bool] | None = None,
) -> Request:
    """Analyse the shown images again; the new results replace the old ones.

    Parameters
    ----------
    vertebrae
        Label map with other names; None for the same labels.
    initial, transform
        Transform nodes: where the registration starts, or what is used unchanged; without them
        the registration is kept.
    settings
        Further options of the command line.
    """
    nodes, record = panel.shown()
    keep = nodes.manifest if initial is None and transform is None else None
    changed = dict(settings or {})
    if record.levels_confirmed:
        changed["confirm-levels"] = True
    accepted = (record.manifest.get("parameters") or {}).get("accept_registration")
    if accepted and keep is not None:
        changed["accept-registration"] = True
    return _request(
        panel,
        panel.logic.labels(nodes) if vertebrae is None else vertebrae,
        changed,
        ct=nodes.ct,
        spect=nodes.spect,
        initial=initial,
        transform=transform,
        keep=keep,
        replaces=nodes.manifest,
    )


def _request(
    panel: CTSpectSpineWidget,
    vertebrae: Node | sitk.Image | None,
    changed: Mapping[str, bool] | None = None,
    **others: Node | None,
) -> Request:
    from CTSpectSpineLib.scene_run import Request

    values = panel.chosen()
    settings: dict[str, str | float | bool] = {
        "fwhm": values.fwhm.strip(),
        "reference": values.referenceBone,
        "save-volumes": values.saveVolumes,
    }
    if values.threads:
        settings["threads"] = values.threads
    if isinstance(vertebrae, vtk.vtkObject):
        settings["label-scheme"] = values.labelScheme
    settings.update(changed or {})
    return Request(
        vertebrae=vertebrae,
        protocol=values.protocolFile or values.protocol,
        labeller=values.labeller,
        context=panel.patient.context(),
        out=Path(values.outputFolder) if values.outputFolder else None,
        settings=settings,
        **others,
    )
