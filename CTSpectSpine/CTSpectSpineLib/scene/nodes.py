"""The nodes of an analysis in a scene, and how to find them again.

One of the files that know MRML; see `mrml` for what they need.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from CTSpectSpineLib.results.shown import FILES, Record, record_from_texts
from CTSpectSpineLib.results.text_files import json_values
from CTSpectSpineLib.scene.mrml import ROLE, Node, by_class, mrml

FOLDER = "CTSpectSpine.folder"
"""Attribute of a manifest node: the results folder of its analysis."""


@dataclass(frozen=True)
class SceneNodes:
    """What `populate_scene` put into the scene; None for what the results do not hold.

    Attributes
    ----------
    folder_item
        Subject hierarchy item of the folder that holds all of it.
    ct, spect
        The scalar volumes that were analysed.
    transform
        Linear transform from SPECT to CT, the SPECT's parent.
    relative
        The SPECT in multiples of the patient's reference, under the same transform; this is
        what the views show.
    vertebrae, joints
        Segmentations.
    levels
        The names of the vertebrae as a point list.
    joint_table, verdict_table, uptake_table
        Tables: one row per joint; the verdict for a person to read; uptake by level.
    chart
        Plot of the uptake by level.
    manifest, registration_text, verdict_text, joints_text
        The texts of the results folder as they are. ``manifest`` refers to all other nodes.
    """

    folder_item: int
    ct: Node
    spect: Node
    transform: Node
    relative: Node | None
    vertebrae: Node | None
    joints: Node | None
    levels: Node | None
    joint_table: Node | None
    verdict_table: Node | None
    uptake_table: Node | None
    chart: Node | None
    manifest: Node | None
    registration_text: Node | None
    verdict_text: Node | None
    joints_text: Node | None

    def mark(self) -> None:
        """Give every node the attribute `mrml.ROLE`, and the manifest references to them."""
        for name, node in self._named():
            node.SetAttribute(ROLE, name)
            if self.manifest is not None and node is not self.manifest:
                self.manifest.SetNodeReferenceID(name, node.GetID())

    def _named(self) -> list[tuple[str, Node]]:
        return [
            (name, node)
            for name, node in vars(self).items()
            if name != "folder_item" and node is not None
        ]

    def nodes(self) -> tuple[Node, ...]:
        """All nodes, in the order of the folder, without the texts."""
        every = (
            self.verdict_table,
            self.joint_table,
            self.joints,
            self.vertebrae,
            self.levels,
            self.relative,
            self.ct,
            self.spect,
            self.transform,
            self.chart,
            self.uptake_table,
        )
        return tuple(node for node in every if node is not None)

    def texts(self) -> dict[str, Node]:
        """The text nodes by the name of their file."""
        named = {
            "manifest.json": self.manifest,
            "registration.json": self.registration_text,
            "verdict.json": self.verdict_text,
            "joints.csv": self.joints_text,
        }
        return {name: node for name, node in named.items() if node is not None}

    def record(self) -> Record | None:
        """What the results say; None where the scene does not hold all of their texts."""
        texts = {name: node.GetText() or "" for name, node in self.texts().items()}
        if set(texts) != set(FILES):
            return None
        return record_from_texts(texts, "The scene")


def scene_nodes(manifest: Node) -> SceneNodes:
    """The nodes of an analysis from its manifest node, for instance in a scene that was opened."""
    found: dict[str, Any] = {}
    for field in fields(SceneNodes):
        found[field.name] = manifest.GetNodeReference(field.name)
    found["manifest"] = manifest
    hierarchy = manifest.GetScene().GetSubjectHierarchyNode()
    item = hierarchy.GetItemByDataNode(found["joints"] or manifest)
    found["folder_item"] = int(hierarchy.GetItemParent(item)) if item else 0
    return SceneNodes(**found)


def analyses(scene: Node) -> list[Node]:
    """Manifest nodes of all analyses in a scene, the oldest first."""
    return [n for n in by_class(scene, "vtkMRMLTextNode") if n.GetAttribute(ROLE) == "manifest"]


def describe(manifest: Node) -> str:
    """One line on an analysis: its CT, protocol and time."""
    ct = manifest.GetNodeReference("ct")
    values = json_values(manifest.GetText() or "{}", "The scene's manifest.json")
    protocol = (values.get("protocol") or {}).get("id", "")
    time = str(values.get("created", "")).replace("T", " ")[:16]
    name = "" if ct is None else ct.GetName()
    return ", ".join(part for part in (name, protocol, time) if part)


def remove_analysis(manifest: Node) -> None:
    """Remove the results of an analysis from its scene; CT and SPECT stay."""
    scene, found = manifest.GetScene(), scene_nodes(manifest)
    series = []
    if found.chart is not None:
        count = found.chart.GetNumberOfPlotSeriesNodes()
        series = [found.chart.GetNthPlotSeriesNode(i) for i in range(count)]
    kept = (found.ct, found.spect)
    everything = [*found.nodes(), *found.texts().values(), *series]
    if found.spect is not None and found.spect.GetParentTransformNode() is found.transform:
        found.spect.SetAndObserveTransformNodeID(None)
    hierarchy = scene.GetSubjectHierarchyNode()
    for node in everything:
        if node not in kept and node is not None:
            extra = [node.GetNthDisplayNode(i) for i in range(_display_count(node))]
            if node.IsA("vtkMRMLStorableNode"):
                extra.append(node.GetStorageNode())
            # Slicer's desktop removes the item of a node that goes; a scene alone does not.
            item = hierarchy.GetItemByDataNode(node)
            if item:
                hierarchy.RemoveItem(item, False, True)
            scene.RemoveNode(node)
            for display in extra:
                if display is not None and display.GetScene() is scene:
                    scene.RemoveNode(display)
    if found.folder_item:
        _remove_empty(hierarchy, found.folder_item)


def _remove_empty(hierarchy: Node, folder: int) -> None:
    """Remove the empty folders in a folder, and the folder where nothing is left in it."""
    _, vtk = mrml()
    inside = vtk.vtkIdList()
    hierarchy.GetItemChildren(folder, inside)
    for child in [inside.GetId(i) for i in range(inside.GetNumberOfIds())]:
        if hierarchy.GetItemDataNode(child) is None:
            _remove_empty(hierarchy, child)
    if not hierarchy.GetNumberOfItemChildren(folder):
        hierarchy.RemoveItem(folder, False, True)


def _display_count(node: Node) -> int:
    return node.GetNumberOfDisplayNodes() if node.IsA("vtkMRMLDisplayableNode") else 0


def results_folder(manifest: Node) -> Path | None:
    """Results folder of an analysis; None where it is not there any more."""
    name = manifest.GetAttribute(FOLDER)
    folder = Path(name) if name else None
    same = (
        folder is not None
        and (folder / "manifest.json").is_file()
        and (folder / "spect_to_ct.tfm").is_file()
    )
    return folder if same else None
