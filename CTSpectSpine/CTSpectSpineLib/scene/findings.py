"""Uptake that no joint explains, as points. One of the files that know MRML."""

from __future__ import annotations

from collections.abc import Sequence

from CTSpectSpineLib.display import STATUS_HEX
from CTSpectSpineLib.finding import ShownFinding
from CTSpectSpineLib.scene.mrml import Node, add_node

_PHYSIOLOGIC = (0.45, 0.45, 0.45)
"""Colour of a list that holds physiologic uptake only. Judgement: it calls for no action."""


def add_findings(scene: Node, findings: Sequence[ShownFinding]) -> Node:
    """Add the findings that have a place as a locked point list, described by their sentences."""
    node = add_node(scene, "vtkMRMLMarkupsFiducialNode", "Findings")
    fill_findings(node, findings)
    node.SetLocked(True)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetPointLabelsVisibility(True)
    display.SetPropertiesLabelVisibility(False)
    display.SetTextScale(3.0)
    display.SetGlyphScale(2.0)
    physiologic = all(finding.physiologic for finding in findings)
    colour = _PHYSIOLOGIC if physiologic else _rgb(STATUS_HEX["indeterminate"][1])
    display.SetSelectedColor(*colour)
    display.SetColor(*colour)
    display.SetHandlesInteractive(False)
    return node


def fill_findings(node: Node, findings: Sequence[ShownFinding]) -> None:
    """Write findings into a point list in place of what it holds."""
    node.SetLocked(False)
    node.RemoveAllControlPoints()
    for finding in findings:
        if finding.centre_lps is None:
            continue
        x, y, z = finding.centre_lps
        index = node.AddControlPoint([-x, -y, z], f"{finding.place} {finding.ratio:.1f} ×")
        node.SetNthControlPointDescription(index, finding.sentence)
    node.SetLocked(True)


def _rgb(text: str) -> tuple[float, float, float]:
    red, green, blue = (int(text[i : i + 2], 16) / 255.0 for i in (1, 3, 5))
    return red, green, blue
