"""From the panel's settings to a request for an analysis."""

from pathlib import Path

import vtk


def firstRequest(panel):
    """Analyse what is selected."""
    values = panel.parameters
    return _request(
        panel, values.vertebrae, ct=values.ct, spect=values.spect, initial=values.initialTransform
    )


def nextRequest(panel, vertebrae=None, initial=None, transform=None, settings=()):
    """Analyse the shown images again; the new results replace the old ones.

    Parameters
    ----------
    vertebrae
        Label map with other names; None for the same labels.
    initial, transform
        Transform nodes from which to register, or to use as they are; without them the
        registration is kept.
    settings
        Further options of the command line.
    """
    nodes, record = panel.nodes, panel.record
    keep = nodes.manifest if initial is None and transform is None else None
    changed = dict(settings)
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


def _request(panel, vertebrae, changed=(), **others):
    from CTSpectSpineLib.scene_run import Request

    values = panel.parameters
    settings = {
        "fwhm": values.fwhm.strip(),
        "reference": values.referenceBone,
        "save-volumes": values.saveVolumes,
    }
    if values.threads:
        settings["threads"] = values.threads
    if isinstance(vertebrae, vtk.vtkObject):
        settings["label-scheme"] = values.labelScheme
    settings.update(changed)
    return Request(
        vertebrae=vertebrae,
        protocol=values.protocolFile or values.protocol,
        labeller=values.labeller,
        context=panel.patient.context(),
        out=Path(values.outputFolder) if values.outputFolder else None,
        settings=settings,
        **others,
    )
