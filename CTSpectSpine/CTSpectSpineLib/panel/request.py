"""What is to be analysed of a scene, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from CTSpectSpineLib.analysis.options import Options
from CTSpectSpineLib.model import Region
from CTSpectSpineLib.protocol_files import USUAL_PROTOCOL

if TYPE_CHECKING:
    import SimpleITK as sitk

    from CTSpectSpineLib.scene.mrml import Node


@dataclass(frozen=True)
class Request:
    """What is to be analysed, and how.

    Attributes
    ----------
    ct, spect
        Scalar volume nodes.
    vertebrae
        Segmentation or label map node, or a label map in memory with the ids of `anatomy`; None
        to let the labeller make one.
    context
        Clinical context.
    out
        Results folder; None for a temporary one.
    joints
        Joint to its region where a person edited it.
    initial, transform
        Transform nodes that move the SPECT: where the registration starts; what is used as it is.
    keep
        Manifest node of an earlier analysis whose registration is kept.
    replaces
        Manifest node of the analysis whose nodes the new ones replace.
    options
        Settings; its transforms and registration stay empty, since nodes stand for them.
    """

    ct: Node
    spect: Node
    vertebrae: Node | sitk.Image | None = None
    protocol: str = USUAL_PROTOCOL
    labeller: str = "auto"
    context: Mapping[str, Any] = field(default_factory=dict)
    out: Path | None = None
    joints: Mapping[str, Region] = field(default_factory=dict)
    initial: Node | None = None
    transform: Node | None = None
    keep: Node | None = None
    replaces: Node | None = None
    options: Options = field(default_factory=Options)
