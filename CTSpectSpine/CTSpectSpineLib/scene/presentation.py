"""Which analysis is shown in the views.

One of the files that know MRML; see `mrml` for what they need.
"""

from __future__ import annotations

from dataclasses import dataclass

from CTSpectSpineLib.scene.mrml import Node
from CTSpectSpineLib.scene.nodes import SceneNodes
from CTSpectSpineLib.scene.show import show, show_surfaces


@dataclass(frozen=True)
class Look:
    """How CT and SPECT are shown together."""

    opacity: float = 0.6
    overlay: str = "blend"


def present(scene: Node, nodes: SceneNodes, look: Look | None = None) -> None:
    """Show one analysis."""
    show(scene, nodes)
    show_surfaces(nodes)


def dismiss(scene: Node) -> None:
    """Show none."""
