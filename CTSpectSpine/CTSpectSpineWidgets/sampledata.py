"""Phantoms for Slicer's Sample Data module, made on the user's machine: nothing is downloaded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from CTSpectSpineWidgets import packages

if TYPE_CHECKING:
    from CTSpectSpineLib.scene.mrml import Node

CATEGORY = "CT SPECT Spine"
CASES = {
    "lumbar-disc": _("Phantom: one active lumbar disc"),
    "lumbar-facet": _("Phantom: one active lumbar facet joint"),
    "multiple-areas": _("Phantom: several active areas"),
}
"""Case of the library to its name."""
TOUR_CASE = "lumbar-disc"
"""Case of the tour."""
SAMPLE = {"spacing_mm": 2.0}
SMALL = {
    "first": "L3",
    "spacing_mm": 2.0,
    "lateral_mm": 200.0,
    "ap_mm": 170.0,
    "margin_mm": 10.0,
}
"""Settings of the phantom's spine: for samples, and for tests."""


def register(iconFolder: str) -> None:
    """Offer the phantoms in the Sample Data module, if it is there."""
    try:
        import SampleData
    except ImportError:
        logging.info("There is no Sample Data module: the phantoms are not offered")
        return
    samples = [(case, case, name, _maker(case)) for case, name in CASES.items()]
    samples.append(("tour", TOUR_CASE, _("Tour: a phantom, step by step"), makeTour))
    for sample, case, name, make in samples:
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=name,
            uris=f"ctspectspine:{sample}",
            fileNames=None,
            nodeNames=None,
            thumbnailFileName=str(Path(iconFolder) / f"{case}.png"),
            loadFiles=False,
            customDownloader=make,
        )


def makeTour(source: object = None) -> list[Node]:
    """Make the phantom of the tour, open the module, and begin the tour in its panel."""
    nodes = _maker(TOUR_CASE)()
    with slicer.util.tryWithErrorDisplay(_("The tour cannot begin.")):
        slicer.util.selectModule("CTSpectSpine")
        slicer.util.getModuleWidget("CTSpectSpine").tour.begin(*nodes)
    return nodes


def _maker(case: str) -> Callable[..., list[Node]]:
    def make(source: object = None) -> list[Node]:
        with slicer.util.tryWithErrorDisplay(_("The phantom cannot be made."), waitCursor=True):
            packages.ensure(packages.REQUIREMENTS)
            from CTSpectSpineLib.scene.presentation import show_inputs

            ct, spect, vertebrae = addPhantom(case, SAMPLE)
            show_inputs(slicer.mrmlScene, ct, spect)
            return [ct, spect, vertebrae]

    return make


def addPhantom(case: str, spine: Mapping[str, Any]) -> tuple[Node, Node, Node]:
    """Add CT, SPECT and vertebrae of a phantom to the scene.

    Parameters
    ----------
    case
        Name of one of the library's cases.
    spine
        Settings of its spine that are changed.
    """
    from dataclasses import replace

    from CTSpectSpineLib.phantom import load_case, make_phantom
    from CTSpectSpineLib.scene.mrml import add_volume

    loaded = load_case(case)
    phantom = make_phantom(replace(loaded, spine=replace(loaded.spine, **spine)))
    scene, name = slicer.mrmlScene, case.replace("-", " ").capitalize()
    ct = add_volume(scene, phantom.anatomy.ct, f"{name} CT")
    spect = add_volume(scene, phantom.spect, f"{name} SPECT")
    vertebrae = add_volume(
        scene, phantom.anatomy.labels, f"{name} vertebrae", "vtkMRMLLabelMapVolumeNode"
    )
    return ct, spect, vertebrae
