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
        Fields of `CTSpectSpineLib.Options` that differ from the panel's.
    """
    nodes, record = panel.nodes, panel.record
    keep = nodes.manifest if initial is None and transform is None else None
    changed = dict(settings)
    if record.levels_confirmed:
        changed["confirm_levels"] = True
    accepted = (record.manifest.get("parameters") or {}).get("accept_registration")
    if accepted and keep is not None:
        changed["accept_registration"] = True
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
    from CTSpectSpineLib.panel.request import Request

    values = panel.parameters
    return Request(
        vertebrae=vertebrae,
        protocol=values.protocolFile or values.protocol,
        labeller=values.labeller,
        context=panel.patient.context(),
        out=Path(values.outputFolder) if values.outputFolder else None,
        options=_options(values, isinstance(vertebrae, vtk.vtkObject), changed),
        **others,
    )


def _options(values, givenAsNode, changed):
    """The panel's settings; raises `InputError` that names a wrong one."""
    from CTSpectSpineLib.analysis.options import Options
    from CTSpectSpineLib.panel.context_form import number_from_text

    fwhm = values.fwhm.strip()
    settings = {
        "fwhm_mm": number_from_text("SPECT resolution", fwhm) if fwhm else None,
        "reference": values.referenceBone,
        "save_volumes": values.saveVolumes,
        "threads": values.threads or None,
    }
    if givenAsNode:
        settings["label_scheme"] = values.labelScheme
    return Options(**{**settings, **dict(changed)})
