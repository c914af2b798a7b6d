"""What the user chose: the module's typed parameter node."""

# Slicer reads the annotations of the parameter node when the file is loaded: they must be types,
# not texts, so this file does without "from __future__ import annotations".

from typing import TYPE_CHECKING, Annotated, Any, Union

from slicer import (
    vtkMRMLLabelMapVolumeNode,
    vtkMRMLLinearTransformNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLTextNode,
)
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper

from CTSpectSpineLib.analysis.options import Options
from CTSpectSpineLib.anatomy import LABEL_SCHEMES, REFERENCE_BONES
from CTSpectSpineLib.protocol_files import USUAL_PROTOCOL, protocol_files
from CTSpectSpineLib.reconstruction import FAMILIES
from CTSpectSpineWidgets.patient import CHOICES, NOT_GIVEN

DEFAULT_PROTOCOL = USUAL_PROTOCOL
PROTOCOLS = sorted(protocol_files(), key=lambda name: (name != DEFAULT_PROTOCOL, name))
RECONSTRUCTIONS = [NOT_GIVEN, *FAMILIES]
USUAL = Options()
"""Settings as the command line has them; panel and command line offer the same."""


@parameterNodeWrapper
class CTSpectSpineParameterNode:
    """What the user chose, and which results are shown; saved with the scene.

    Attributes
    ----------
    ct, spect, vertebrae, initialTransform
        Input nodes; the vertebra labels and the transform are optional.
    protocol, protocolFile
        Id of the triage protocol; a protocol file that is used instead, or empty.
    labeller, labelScheme, fwhm, reconstruction, referenceBone, bendSpine, threads, saveVolumes
        Settings, as the command line has them; ``fwhm`` empty and ``threads`` 0 for the default.
    outputFolder
        Results folder, empty for a temporary one.
    painRegion … scanTime
        The patient's clinical context as texts.
    contextExtra
        JSON of the clinical context that the panel has no field for.
    opacity
        How strongly the SPECT covers the CT, in percent.
    analysis
        Manifest node of the results that are shown.
    """

    ct: vtkMRMLScalarVolumeNode
    spect: vtkMRMLScalarVolumeNode
    vertebrae: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007
    initialTransform: vtkMRMLLinearTransformNode
    protocol: Annotated[str, Choice(PROTOCOLS)] = DEFAULT_PROTOCOL
    protocolFile: str = ""
    labeller: str = "auto"
    labelScheme: Annotated[str, Choice(list(LABEL_SCHEMES))] = USUAL.label_scheme
    fwhm: str = ""
    reconstruction: Annotated[str, Choice(RECONSTRUCTIONS)] = NOT_GIVEN
    referenceBone: Annotated[str, Choice(list(REFERENCE_BONES))] = USUAL.reference
    bendSpine: bool = USUAL.bend_spine
    threads: Annotated[int, WithinRange(0, 64)] = 0
    saveVolumes: bool = USUAL.save_volumes
    outputFolder: str = ""
    painRegion: Annotated[str, Choice(CHOICES["painRegion"])] = NOT_GIVEN
    vasAxial: str = ""
    painDuration: str = ""
    nonsurgicalTreatment: str = ""
    physicalTherapy: str = ""
    daysSinceSteroid: str = ""
    radicularPain: Annotated[str, Choice(CHOICES["radicularPain"])] = NOT_GIVEN
    instability: str = ""
    surgeryDeclined: Annotated[str, Choice(CHOICES["surgeryDeclined"])] = NOT_GIVEN
    exclusions: str = ""
    spectIntolerance: Annotated[str, Choice(CHOICES["spectIntolerance"])] = NOT_GIVEN
    age: str = ""
    sex: Annotated[str, Choice(CHOICES["sex"])] = NOT_GIVEN
    bodyWeight: str = ""
    bodyHeight: str = ""
    injectedDose: str = ""
    injectionTime: str = ""
    scanTime: str = ""
    contextExtra: str = ""
    opacity: Annotated[int, WithinRange(0, 100)] = 60
    analysis: vtkMRMLTextNode

    if TYPE_CHECKING:

        def __init__(self, parameterNode: Any) -> None: ...

        def connectGui(self, gui: Any) -> int:
            """Slicer's wrapper adds this."""

        def disconnectGui(self, tag: int | None) -> None:
            """Slicer's wrapper adds this."""
