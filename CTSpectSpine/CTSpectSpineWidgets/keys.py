"""Keys that are the module's own for a while."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import qt
import slicer

from CTSpectSpineWidgets.common import QtObject

if TYPE_CHECKING:
    from CTSpectSpine import CTSpectSpineWidget


class Keys:
    """Keys of the window that holds the panel; what is typed into a field stays there.

    Parameters
    ----------
    panel
        The module's panel.
    actions
        Key, as Qt names it, to what it does.
    """

    def __init__(
        self, panel: CTSpectSpineWidget, actions: Mapping[str, Callable[[], object]]
    ) -> None:
        parent = slicer.util.mainWindow() or panel.parent
        self._shortcuts = [self._shortcut(parent, key, act) for key, act in actions.items()]

    def _shortcut(self, parent: QtObject, key: str, act: Callable[[], object]) -> QtObject:
        shortcut = qt.QShortcut(qt.QKeySequence(key), parent)
        shortcut.enabled = False
        shortcut.connect("activated()", act)
        return shortcut

    def enable(self, on: bool) -> None:
        """Take the keys, or give them back."""
        for shortcut in self._shortcuts:
            shortcut.enabled = on
