"""The nodes of an analysis in a scene, and how to find them again.

One of the files that know MRML; see `mrml` for what they need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.results.manifest import MANIFEST
from CTSpectSpineLib.results.shown import FILES, Record, record_from_texts
from CTSpectSpineLib.results.text_files import json_values
from CTSpectSpineLib.scene.colours import remove_unused_colours
from CTSpectSpineLib.scene.mrml import ROLE, Node, by_class, mrml
from CTSpectSpineLib.scene.plot import plot_nodes

FOLDER = "CTSpectSpine.folder"
"""Attribute of a manifest node: the results folder of its analysis."""
NUMBER = "CTSpectSpine.number"
"""Attribute of a manifest node: the number of its analysis in the scene, from 1."""
PART_ROLE = "part"
"""Value of `mrml.ROLE` of what nodes of an analysis need: displays, storages, series of plots."""
OWN_COPY = "CTSpectSpine.copy"
"""Attribute of a SPECT that was copied for an analysis, because another transform holds it."""


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
    levels, findings
        The names of the vertebrae, and uptake that no joint explains, as point lists.
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
    findings: Node | None
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
        """The nodes that the analysis added, in the order of its folder, without the texts.

        CT and SPECT are the user's, but for a SPECT that was copied for it.
        """
        copied = self.spect is not None and self.spect.GetAttribute(OWN_COPY) is not None
        every = (
            self.verdict_table,
            self.joint_table,
            self.joints,
            self.vertebrae,
            self.levels,
            self.findings,
            self.relative,
            self.spect if copied else None,
            self.transform,
            self.chart,
            self.uptake_table,
        )
        return tuple(node for node in every if node is not None)

    def plot_nodes(self) -> list[Node]:
        """What the plot needs besides its chart and the table for a person to read."""
        if self.chart is None:
            return []
        return [node for node in plot_nodes(self.chart) if node is not self.uptake_table]

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
    # The texts lie in a folder of their own in that of the analysis.
    item, depth = hierarchy.GetItemByDataNode(manifest), 2
    for name in ("transform", "verdict_table", "joints", "vertebrae"):
        if found[name] is not None and hierarchy.GetItemByDataNode(found[name]):
            item, depth = hierarchy.GetItemByDataNode(found[name]), 1
            break
    for _ in range(depth):
        item = hierarchy.GetItemParent(item) if item else 0
    found["folder_item"] = 0 if item == hierarchy.GetSceneItemID() else int(item)
    return SceneNodes(**found)


def analyses(scene: Node) -> list[Node]:
    """Manifest nodes of all analyses in a scene, the oldest first."""
    return [n for n in by_class(scene, "vtkMRMLTextNode") if n.GetAttribute(ROLE) == "manifest"]


def number_of(manifest: Node) -> int:
    """Number of an analysis in its scene; 0 for one of an older scene."""
    text = manifest.GetAttribute(NUMBER) or ""
    return int(text) if text.isdigit() else 0


def describe(manifest: Node) -> str:
    """One line on an analysis: its number, CT, verdict, protocol and time."""
    ct = manifest.GetNodeReference("ct")
    values = json_values(manifest.GetText() or "{}", "The scene's manifest.json")
    protocol = (values.get("protocol") or {}).get("id", "")
    time = str(values.get("created", "")).replace("T", " ")[:19]
    name = "" if ct is None else ct.GetName()
    text = manifest.GetNodeReference("verdict_text")
    verdict = json_values((text.GetText() if text else "") or "{}", "The scene's verdict.json")
    disposition = str(verdict.get("disposition", "")).replace("_", " ")
    line = ", ".join(part for part in (name, disposition, protocol, time) if part)
    number = number_of(manifest)
    return f"{number}: {line}" if number else line


def remove_analysis(manifest: Node) -> None:
    """Remove the results of an analysis from its scene; CT and SPECT stay where they are."""
    scene, found = manifest.GetScene(), scene_nodes(manifest)
    others = [scene_nodes(node) for node in analyses(scene) if node is not manifest]
    kept = {id(node) for other in others for node in (other.ct, other.spect) if node is not None}
    if found.spect is not None and found.spect.GetParentTransformNode() is found.transform:
        found.spect.SetAndObserveTransformNodeID(None)
    every = [*found.plot_nodes(), *found.nodes(), *found.texts().values()]
    remove_nodes(scene, [node for node in every if id(node) not in kept])
    hierarchy = scene.GetSubjectHierarchyNode()
    if found.folder_item and hierarchy.GetItemLevel(found.folder_item) == "Folder":
        _remove_empty(hierarchy, found.folder_item)
    remove_unused_colours(scene)


def remove_nodes(scene: Node, nodes: Sequence[Node]) -> None:
    """Remove nodes with all that belongs to them alone: items, displays and storages."""
    hierarchy = scene.GetSubjectHierarchyNode()
    for node in nodes:
        # What still displays or lists a node that is gone asks it for its scene.
        item = hierarchy.GetItemByDataNode(node)
        if item:
            hierarchy.RemoveItem(item, False, False)
        for other in belongings(node):
            if other.GetScene() is scene:
                scene.RemoveNode(other)
        if node.GetScene() is scene:
            scene.RemoveNode(node)


def remove_orphans(scene: Node) -> None:
    """Remove displays, storages and parts of plots whose analysis was deleted by the user."""
    count = scene.GetNumberOfNodes()
    every = [scene.GetNthNode(i) for i in range(count)]
    parts = [node for node in every if node.GetAttribute(ROLE) == PART_ROLE]
    if parts:
        used: set[int] = set()
        for node in every:
            if node.GetAttribute(ROLE) not in (None, PART_ROLE):
                used |= {id(other) for other in belongings(node)}
                if node.GetAttribute(ROLE) == "chart":
                    used |= {id(other) for other in plot_nodes(node)}
        used |= {id(other) for node in parts if id(node) in used for other in belongings(node)}
        remove_nodes(scene, [node for node in parts if id(node) not in used])
    remove_unused_colours(scene)


def belongings(node: Node) -> list[Node]:
    """Display and storage nodes of a node."""
    found = []
    if node.IsA("vtkMRMLDisplayableNode"):
        found = [node.GetNthDisplayNode(i) for i in range(node.GetNumberOfDisplayNodes())]
    if node.IsA("vtkMRMLStorableNode"):
        found.append(node.GetStorageNode())
    return [other for other in found if other is not None]


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


def lies_in(manifest: Node, folder: Path) -> None:
    """Say where the results of an analysis lie; the scene then has their manifest as it stands."""
    manifest.SetAttribute(FOLDER, str(folder))
    manifest.SetText((folder / MANIFEST).read_bytes().decode("utf-8"))


def results_folder(manifest: Node) -> Path | None:
    """Results folder of an analysis; None where it is gone or holds those of another analysis."""
    name = manifest.GetAttribute(FOLDER)
    if not name or not (Path(name) / "spect_to_ct.tfm").is_file():
        return None
    try:
        text = (Path(name) / MANIFEST).read_bytes().decode("utf-8")
        there = json_values(text, name)
        ours = json_values(manifest.GetText() or "{}", "The scene's manifest.json")
    except (OSError, ValueError, InputError):
        return None
    key = "id" if ours.get("id") and there.get("id") else "created"
    return Path(name) if there.get(key) == ours.get(key) else None
