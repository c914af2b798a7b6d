"""The results folder as a 3D Slicer scene.

One of the files that know MRML; see `mrml` for what they need.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib import joint_table
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import LPS_TO_RAS, inverse, transform_matrix
from CTSpectSpineLib.host import library_call
from CTSpectSpineLib.joint_table import Row
from CTSpectSpineLib.labelling.levels.numbering import body_centres
from CTSpectSpineLib.results.shown import FILES, record_from_texts
from CTSpectSpineLib.results.text_files import json_values
from CTSpectSpineLib.scene.colours import (
    add_legend,
    automatic_top,
    remove_unused_colours,
    show_spect,
)
from CTSpectSpineLib.scene.findings import add_findings
from CTSpectSpineLib.scene.level_names import add_level_names
from CTSpectSpineLib.scene.mrml import (
    RELATIVE_NAME,
    ROLE,
    TRANSFORM_ROLE,
    Node,
    add_node,
    add_volume,
    image_from_node,
    vtk_matrix,
)
from CTSpectSpineLib.scene.nodes import (
    NUMBER,
    OWN_COPY,
    PART_ROLE,
    SceneNodes,
    analyses,
    belongings,
    number_of,
    remove_analysis,
    remove_nodes,
)
from CTSpectSpineLib.scene.plot import Plot, add_uptake_plot
from CTSpectSpineLib.scene.segmentations import add_joints, add_vertebrae
from CTSpectSpineLib.scene.tables import add_joint_table, add_verdict_table

_T = TypeVar("_T")
_TEXTS = {
    "manifest": "manifest.json",
    "registration_text": "registration.json",
    "verdict_text": "verdict.json",
    "joints_text": "joints.csv",
}
_NAMES = {
    "transform": "SPECT to CT",
    "vertebrae": "Vertebrae",
    "joints": "Joints",
    "levels": "Levels",
    "findings": "Findings",
    "joint_table": "Joint table",
    "verdict_table": "Verdict",
    "uptake_table": "Uptake by level, table",
    "chart": "Uptake by level",
    **_TEXTS,
}
"""Role to the name of its node."""


def populate_scene(
    scene: Node,
    *,
    ct: sitk.Image | Node,
    spect: sitk.Image | Node,
    folder: Path,
    replaces: Node | None = None,
) -> SceneNodes:
    """Add the results of an analysis to a scene, and change nothing of what is there.

    The SPECT in multiples of the reference lies where the registration puts it; vertebrae and
    joints become segmentations with terminology, joints with the colour and tags of their
    uptake; the joint table, the verdict and the uptake by level become tables and a plot. All of
    it lies, hidden, in one subject hierarchy folder; `presentation.present` shows it.

    Parameters
    ----------
    scene
        The ``vtkMRMLScene``.
    ct, spect
        The images that were analysed, or the volume nodes of this scene that hold them.
    folder
        Results folder with ``spect_to_ct.tfm``; ``vertebrae.seg.nrrd`` (or ``.nii.gz``),
        ``joints.seg.nrrd``, ``joints.csv`` and ``verdict.json`` are taken where present.
    replaces
        Manifest node of an earlier analysis, which is removed once this one is there; its number
        and names go over to this one.

    Raises
    ------
    InputError
        If ``spect_to_ct.tfm`` is missing, a file of the folder cannot be read, or an image was
        removed from the scene. Nothing of this analysis is then left in the scene.
    """
    return at_once(populate_steps(scene, ct=ct, spect=spect, folder=folder, replaces=replaces))


def at_once(steps: Generator[None, None, _T]) -> _T:
    """Take all steps one after the other; return what they return."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("_T", end.value)


def populate_steps(
    scene: Node,
    *,
    ct: sitk.Image | Node,
    spect: sitk.Image | Node,
    folder: Path,
    replaces: Node | None = None,
) -> Generator[None, None, SceneNodes]:
    """`populate_scene` in short steps, between which a window can answer; returns the nodes.

    Where it is closed or fails on the way, what it added is removed again.
    """
    work = _Populating(scene, folder, replaces)
    try:
        for step in work.steps(ct, spect):
            with work.watched():
                step()
            yield
            work.check()
        nodes = work.finish()
    except BaseException:
        work.undo()
        raise
    if replaces is not None and replaces.GetScene() is scene:
        remove_analysis(replaces)
    return nodes


class _Populating:
    """The nodes of an analysis on their way into a scene."""

    def __init__(self, scene: Node, folder: Path, replaces: Node | None) -> None:
        self.scene, self.folder = scene, folder
        self.matrix = _read_transform(folder / "spect_to_ct.tfm")
        self.texts = {name: text for name in FILES if (text := _read_text(folder / name))}
        whole = set(self.texts) == set(FILES)
        self.record = record_from_texts(self.texts, str(folder)) if whole else None
        table = self.texts.get("joints.csv")
        self.rows: tuple[Row, ...] = ()
        if self.record is not None:
            self.rows = self.record.rows
        elif table:
            self.rows = joint_table.rows(table, {}, str(folder / "joints.csv"))
        self.found: dict[str, Any] = {}
        self.inputs: dict[str, Node] = {}
        self._added: list[Node] = []
        self.plot: Plot | None = None
        numbers = [number_of(node) for node in analyses(scene)]
        self.number = max([*numbers, len(numbers)], default=0) + 1
        if replaces is not None and number_of(replaces):
            self.number = number_of(replaces)

    def steps(
        self, ct: sitk.Image | Node, spect: sitk.Image | Node
    ) -> Iterator[Callable[[], None]]:
        """What is to be done, in order."""
        yield lambda: self._images(ct, spect)
        yield self._relative
        yield self._vertebrae
        yield self._levels
        yield self._joints
        yield self._findings
        yield self._tables
        yield self._plot
        yield self._files

    def check(self) -> None:
        """Raise where the user has removed an image meanwhile."""
        for name, node in self.inputs.items():
            if node.GetScene() is not self.scene:
                raise InputError(
                    f"The {name} was removed from the scene while its results were being added: "
                    "load it and analyse again."
                )

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Remember what is added to the scene meanwhile, whether or not all goes well."""
        count = self.scene.GetNumberOfNodes()
        before = {self.scene.GetNthNode(i).GetID() for i in range(count)}
        try:
            yield
        finally:
            every = [self.scene.GetNthNode(i) for i in range(self.scene.GetNumberOfNodes())]
            self._added += [node for node in every if node.GetID() not in before]

    def undo(self) -> None:
        """Remove what was added so far."""
        remove_nodes(self.scene, [n for n in self._added if n.GetScene() is self.scene])
        remove_unused_colours(self.scene)

    def finish(self) -> SceneNodes:
        """Name and mark the nodes, and put them into a folder."""
        missing = {field.name: None for field in fields(SceneNodes)}
        found = {**missing, **self.found, "ct": self.inputs["CT"], "spect": self.inputs["SPECT"]}
        suffix = "" if self.number == 1 else f" ({self.number})"
        spect_name = self.inputs["SPECT"].GetName()
        names = {**_NAMES, "relative": f"{spect_name}, {RELATIVE_NAME}"}
        for role, node in self.found.items():
            node.SetName(names[role] + suffix)
        if self.plot is not None:
            self.plot.lines.SetName(f"Uptake by level, lines{suffix}")
        if found["manifest"] is not None:
            found["manifest"].SetAttribute(NUMBER, str(self.number))
        title = f"CTSpectSpine {self.inputs['CT'].GetName()}{suffix}"
        folder_item = _add_folder(self.scene, title)
        nodes = SceneNodes(**{**found, "folder_item": folder_item})
        nodes.mark()
        kept = [other for image in self.inputs.values() for other in (image, *belongings(image))]
        for node in self._added:
            shared = node.IsA("vtkMRMLColorTableNode") or any(node is other for other in kept)
            if node.GetAttribute(ROLE) is None and not shared:
                node.SetAttribute(ROLE, PART_ROLE)
        _tidy(self.scene, nodes)
        return nodes

    def _keep(self, role: str, node: Node | None) -> None:
        if node is not None:
            self.found[role] = node

    def _images(self, ct: sitk.Image | Node, spect: sitk.Image | Node) -> None:
        transform = add_node(self.scene, "vtkMRMLLinearTransformNode", _NAMES["transform"])
        self._keep("transform", transform)
        transform.SetAttribute(ROLE, TRANSFORM_ROLE)
        transform.SetMatrixTransformToParent(_spect_to_ct_ras(self.matrix))
        for name, image in (("CT", ct), ("SPECT", spect)):
            node = image
            if isinstance(image, sitk.Image):
                node = add_volume(self.scene, image, name)
            elif name == "SPECT" and not _movable(image):
                node = add_volume(
                    self.scene, image_from_node(image), f"{image.GetName()} registered"
                )
                node.SetAttribute(OWN_COPY, "1")
            self.inputs[name] = node

    def _relative(self) -> None:
        """The SPECT divided by the reference, where the registration puts it."""
        reference = next((row.reference for row in self.rows if row.reference > 0), math.nan)
        if math.isnan(reference):
            return
        spect = self.inputs["SPECT"]
        scaled = sitk.Cast(image_from_node(spect), sitk.sitkFloat32) / reference
        node = add_volume(self.scene, scaled, f"{spect.GetName()}, {RELATIVE_NAME}")
        self._keep("relative", node)
        node.SetAndObserveTransformNodeID(self.found["transform"].GetID())
        top = automatic_top(self.rows)
        show_spect(self.scene, node, top)
        add_legend(node, top)

    def _vertebrae(self) -> None:
        for name in ("vertebrae.seg.nrrd", "vertebrae.nii.gz"):
            if (self.folder / name).is_file():
                self._keep("vertebrae", add_vertebrae(self.scene, self.folder / name))
                break
        self._hide("vertebrae")

    def _joints(self) -> None:
        path = self.folder / "joints.seg.nrrd"
        if path.is_file():
            self._keep("joints", add_joints(self.scene, path, self.rows))
        self._hide("joints")

    def _levels(self) -> None:
        path = self.folder / "vertebrae.nii.gz"
        centres = body_centres(sitk.ReadImage(str(path))) if path.is_file() else {}
        if centres:
            self._keep("levels", add_level_names(self.scene, centres))
        self._hide("levels")

    def _findings(self) -> None:
        findings = () if self.record is None else self.record.findings
        if any(finding.centre_lps is not None for finding in findings):
            self._keep("findings", add_findings(self.scene, findings))
        self._hide("findings")

    def _hide(self, role: str) -> None:
        node = self.found.get(role)
        if node is None:
            return
        node.GetDisplayNode().SetVisibility(False)
        if node.IsA("vtkMRMLSegmentationNode"):
            node.SetReferenceImageGeometryParameterFromVolumeNode(self.inputs["CT"])

    def _tables(self) -> None:
        if self.rows:
            cells = [row.cells for row in self.rows]
            self._keep("joint_table", add_joint_table(self.scene, cells))
        text = self.texts.get("verdict.json") or "{}"
        verdict = json_values(text, str(self.folder / "verdict.json"))
        if verdict:
            self._keep("verdict_table", add_verdict_table(self.scene, verdict))

    def _plot(self) -> None:
        if self.record is None or not self.record.rows:
            return
        self.plot = add_uptake_plot(self.scene, self.record.rows, self.record.bounds)
        self._keep("chart", self.plot.chart)
        self._keep("uptake_table", self.plot.table)

    def _files(self) -> None:
        for role, name in _TEXTS.items():
            if name in self.texts:
                node = add_node(self.scene, "vtkMRMLTextNode", name)
                node.SetText(self.texts[name])
                self._keep(role, node)


def _tidy(scene: Node, nodes: SceneNodes) -> None:
    hierarchy = scene.GetSubjectHierarchyNode()
    for node in nodes.nodes():
        _put(hierarchy, node, nodes.folder_item)
    for name, inner in (("Plot", nodes.plot_nodes()), ("Files", [*nodes.texts().values()])):
        if inner:
            item = hierarchy.CreateFolderItem(nodes.folder_item, name)
            hierarchy.SetItemExpanded(item, False)
            for node in inner:
                _put(hierarchy, node, item)


def _put(hierarchy: Node, node: Node, folder: int) -> None:
    item = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(folder, node)
    hierarchy.SetItemParent(item, folder)


def _read_text(path: Path) -> str:
    return path.read_bytes().decode("utf-8") if path.is_file() else ""


def _read_transform(path: Path) -> np.ndarray:
    """4×4 matrix from CT points to SPECT points, LPS mm."""
    try:
        with library_call():
            return transform_matrix(sitk.ReadTransform(str(path)))
    except RuntimeError as error:
        raise InputError(
            f"{path} is missing or no ITK transform: give the results folder of an analysis."
        ) from error


def _spect_to_ct_ras(ct_to_spect_lps: np.ndarray) -> Node:
    return vtk_matrix(LPS_TO_RAS @ inverse(ct_to_spect_lps) @ LPS_TO_RAS)


def _movable(spect: Node) -> bool:
    """Whether the registration can move a SPECT: no transform of the user's holds it."""
    parent = spect.GetParentTransformNode()
    return parent is None or (
        parent.GetAttribute(ROLE) == TRANSFORM_ROLE and parent.GetParentTransformNode() is None
    )


def _add_folder(scene: Node, name: str) -> int:
    hierarchy = scene.GetSubjectHierarchyNode()
    return int(hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), name))
