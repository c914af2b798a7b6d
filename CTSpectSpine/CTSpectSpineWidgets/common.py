"""What the sections of the panel share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

if TYPE_CHECKING:
    from CTSpectSpine import CTSpectSpineWidget

QtObject = Any
"""A Qt object, such as a widget, or the widgets of the ``.ui`` file (Qt has no type stubs)."""

MISSING_IMAGES = {
    (False, False): _("Select a CT and a SPECT."),
    (False, True): _("Select a CT."),
    (True, False): _("Select a SPECT."),
}
"""Whether there is a CT and a SPECT, to what the user is asked for."""
UPTAKE_WORDS = {
    "positive": _("positive"),
    "indeterminate": _("indeterminate"),
    "negative": _("negative"),
    "not_measurable": _("not measurable"),
}


class Section:
    """One section of the panel.

    Parameters
    ----------
    panel
        The module's panel.
    """

    def __init__(self, panel: CTSpectSpineWidget) -> None:
        self.panel, self.ui = panel, panel.ui
        self.setup()

    def setup(self) -> None:
        """Connect the widgets of the section."""
        raise NotImplementedError


def statusColour(palette: QtObject, name: str) -> str:
    """Colour (``#rrggbb``) of a word of `CTSpectSpineLib.display.STATUS_HEX` on a palette."""
    from CTSpectSpineLib.display import status_hex

    return status_hex(name, palette.color(qt.QPalette.Window).name())


def coloured(widget: QtObject, name: str, text: str) -> str:
    """Rich text in bold type, in the colour of a status that can be read on a widget."""
    return f'<b style="color:{statusColour(widget.palette, name)}">{escaped(text)}</b>'


def colourText(label: QtObject, name: str = "") -> None:
    """Give the text of a label the colour of a status; without a name its usual one."""
    # A label with a style sheet does not follow the palette any more; what it lies on does.
    ground = label.parentWidget().palette
    style = f"color: {statusColour(ground, name)};" if name else ""
    if label.styleSheet != style:
        label.styleSheet = style


def showProblem(label: QtObject, problem: str) -> None:
    """Show an error in a label; an empty one hides the label."""
    label.visible = bool(problem)
    if label.text != problem:
        label.text = problem
    colourText(label, "failed")


def enable(button: QtObject, missing: str, tip: str) -> None:
    """Enable a button, or let its tooltip say what is missing.

    A button that is enabled here has its tooltip from here, not from the ``.ui`` file.

    Parameters
    ----------
    missing
        What is missing, for a person; empty to enable.
    tip
        What the button does.
    """
    button.enabled = not missing
    button.toolTip = missing or tip


def followPath(edit: QtObject, slot: Callable[..., object]) -> None:
    """Call a function whenever the text of a ``ctkPathLineEdit`` changes, also when it is emptied.

    Its own ``currentPathChanged`` comes only for what it takes for a path.
    """
    if hasattr(edit, "comboBox"):
        edit.comboBox().connect("editTextChanged(QString)", slot)
    else:
        edit.connect("currentPathChanged(QString)", slot)


@contextmanager
def errorsShown(title: str) -> Iterator[None]:
    """Show an error in a window, and raise it: Slicer logs it."""
    with slicer.util.tryWithErrorDisplay(title, waitCursor=False):
        yield


def fillCombo(combo: QtObject, texts: Sequence[str], current: str | None = None) -> None:
    """Fill a combo box without sending signals."""
    combo.blockSignals(True)
    combo.clear()
    for text in texts:
        combo.addItem(text)
    if current in texts:
        combo.setCurrentIndex(texts.index(current))
    combo.blockSignals(False)


def escaped(text: object) -> str:
    """Text for a rich-text label."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
