"""What the panel does when the scene changes: closed, opened, nodes added, moved or deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import qt
import slicer

if TYPE_CHECKING:
    from CTSpectSpine import CTSpectSpineWidget
    from CTSpectSpineLib.scene.mrml import Node
    from CTSpectSpineLib.scene.nodes import SceneNodes
    from CTSpectSpineWidgets.parameters import CTSpectSpineParameterNode


class SceneWatch:
    """Keeps the panel in agreement with the scene.

    Parameters
    ----------
    panel
        The module's panel.
    """

    def __init__(self, panel: CTSpectSpineWidget) -> None:
        self.panel = panel
        self._refreshing = False
        self._followed: list[tuple[Node, int]] = []
        scene = slicer.mrmlScene
        panel.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        panel.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        panel.addObserver(scene, scene.EndImportEvent, self.onSceneEndImport)
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent):
            panel.addObserver(scene, event, self.onNodesChanged)

    def onSceneStartClose(self, caller: Node = None, event: object = None) -> None:
        """Forget what is removed with the scene."""
        self.panel.analysis.cancel()
        self.panel.registration.stopAdjusting()
        self.panel.levels.stopPicking()
        self.panel.reading.stop()
        self.panel.setParameterNode(None)
        self.panel.showResults(None)
        self.panel.unseen = False
        self.panel.analysis.say("")
        self.panel.logic.discardInputs()

    def onSceneEndClose(self, caller: Node = None, event: object = None) -> None:
        """Start again in an empty scene."""
        if self.panel.entered:
            self.panel.initializeParameterNode()

    def onSceneEndImport(self, caller: Node = None, event: object = None) -> None:
        """Show the results of a scene that was opened."""
        self.panel.analysis.say("")
        self.panel.unseen = True
        if self.panel.entered:
            self.panel.initializeParameterNode()
            self.panel.views.showFirstView()

    def onNodesChanged(self, caller: Node = None, event: object = None) -> None:
        """Look again, once all nodes of this moment have come or gone."""
        if not self._refreshing:
            self._refreshing = True
            qt.QTimer.singleShot(0, self.refresh)

    def refresh(self) -> None:
        """Show what the scene holds now: results may have been deleted, volumes loaded."""
        from CTSpectSpineLib.scene.nodes import scene_nodes
        from CTSpectSpineLib.scene.presentation import dismiss

        self._refreshing = False
        parameters, scene = self.panel.parameters, slicer.mrmlScene
        if parameters is None or scene.IsClosing() or scene.IsImporting():
            return
        self.choose(parameters)
        manifest, shown = parameters.analysis, self.panel.nodes
        if manifest is self.panel.named and (shown is None or scene_nodes(manifest) == shown):
            return
        self.panel.showResults(manifest)
        if shown is not None and self.panel.nodes is None:
            dismiss(scene)

    def choose(self, parameters: CTSpectSpineParameterNode) -> None:
        """Choose what is not in doubt: the inputs, and the newest analysis of the scene."""
        self._chooseInputs(parameters)
        self._chooseAnalysis(parameters)

    def _chooseInputs(self, parameters: CTSpectSpineParameterNode) -> None:
        from CTSpectSpineLib.scene.likely_inputs import likely_inputs

        if parameters.ct or parameters.spect:
            return
        ct, spect, vertebrae = likely_inputs(slicer.mrmlScene)
        if ct is not None and spect is not None:
            parameters.ct, parameters.spect = ct, spect
            parameters.vertebrae = parameters.vertebrae or vertebrae

    def _chooseAnalysis(self, parameters: CTSpectSpineParameterNode) -> None:
        """The newest analysis of the scene where none is named, as in the command line's scene."""
        from CTSpectSpineLib.scene.nodes import analyses

        found = analyses(slicer.mrmlScene)
        if parameters.analysis not in found:
            parameters.analysis = found[-1] if found else None

    def follow(self, nodes: SceneNodes | None) -> None:
        """Follow where CT and SPECT of the shown results lie."""
        for node, event in self._followed:
            self.panel.removeObserver(node, event, self.onMoved)
        found = () if nodes is None else (nodes.transform, nodes.ct, nodes.spect)
        self._followed = [(node, node.TransformModifiedEvent) for node in found if node is not None]
        for node, event in self._followed:
            self.panel.addObserver(node, event, self.onMoved)

    def onMoved(self, caller: Node = None, event: object = None) -> None:
        """CT or SPECT of the shown results has been moved, by this module or another."""
        self.panel.registration.update()
        self.panel.levels.update()
