"""What the panel shows in the views: the module's layout, and the shown analysis in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import slicer

if TYPE_CHECKING:
    from CTSpectSpine import CTSpectSpineWidget


class Views:
    """Shows the results of the panel in the views.

    Parameters
    ----------
    panel
        The module's panel.
    """

    def __init__(self, panel: CTSpectSpineWidget) -> None:
        self.panel = panel

    def showFirstView(self) -> None:
        """Show the results as a reader wants them at first: the module's layout, the spine."""
        for _step in self.firstViewSteps():
            pass

    def firstViewSteps(self) -> Iterator[None]:
        """`showFirstView` in short steps, between which the window can answer."""
        from CTSpectSpineLib.scene.presentation import present_steps

        panel = self.panel
        panel.unseen = False
        if panel.nodes is not None:
            if not panel.reading.active:
                showLayout()
            yield
            yield from present_steps(slicer.mrmlScene, panel.nodes, panel.registration.look())
            panel.export.nameAxes()
            panel.reading.resume()

    def show(self) -> None:
        """Show the results, and no others, in the layout that is there."""
        from CTSpectSpineLib.scene.presentation import present

        panel = self.panel
        if panel.nodes is not None:
            present(slicer.mrmlScene, panel.nodes, panel.registration.look())
            panel.export.nameAxes()


def registerLayout() -> None:
    """Make the module's layout known to Slicer; does nothing without a main window."""
    from CTSpectSpineLib.scene.reading import register_reading_layout
    from CTSpectSpineLib.scene.survey import register_survey_layout
    from CTSpectSpineLib.scene.views import register_layout

    manager = slicer.app.layoutManager()
    if manager is not None:
        register_layout(manager.layoutLogic().GetLayoutNode())
        register_reading_layout(manager.layoutLogic().GetLayoutNode())
        register_survey_layout(manager.layoutLogic().GetLayoutNode())


def showLayout() -> None:
    """Show the module's layout; does nothing without a main window."""
    from CTSpectSpineLib.scene.views import LAYOUT_ID

    manager = slicer.app.layoutManager()
    if manager is not None:
        registerLayout()
        manager.setLayout(LAYOUT_ID)
