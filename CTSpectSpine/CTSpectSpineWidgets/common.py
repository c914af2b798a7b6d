"""What the sections of the panel share."""

from contextlib import contextmanager

import slicer
from slicer.i18n import tr as _

UPTAKE_WORDS = {
    "positive": _("positive"),
    "indeterminate": _("indeterminate"),
    "negative": _("negative"),
    "not_measurable": _("not measurable"),
}


def enable(button, missing, tip):
    """Enable a button, or let its tooltip say what is missing.

    Parameters
    ----------
    missing
        What is missing, for a person; empty to enable.
    tip
        What the button does.
    """
    button.enabled = not missing
    button.toolTip = missing or tip


@contextmanager
def errorsShown(title):
    """Show an error in a window, and raise it: Slicer logs it."""
    with slicer.util.tryWithErrorDisplay(title, waitCursor=False):
        yield


def fillCombo(combo, texts, current=None):
    """Fill a combo box without telling anyone."""
    combo.blockSignals(True)
    combo.clear()
    for text in texts:
        combo.addItem(text)
    if current in texts:
        combo.setCurrentIndex(list(texts).index(current))
    combo.blockSignals(False)


def escaped(text):
    """Text for a label of rich text."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
