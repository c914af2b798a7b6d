"""Reloading the module, as developers do; inside Slicer and under pytest."""

# It is written for unittest, which is what Slicer runs.
# ruff: noqa: PT009

import sys
from pathlib import Path

import slicer
import slicer.util

sys.path.insert(0, str(Path(__file__).resolve().parent / "host"))

from slicer_panel import PanelTestCase


class CTSpectSpineReloadTest(PanelTestCase):
    """A file of its own: after a reload, classes of the library exist twice in the process."""

    def loaded(self):
        own = ("CTSpectSpine", "CTSpectSpineLib", "CTSpectSpineWidgets")
        return {n: m for n, m in sys.modules.items() if n.partition(".")[0] in own}

    def test_reloadTakesTheWholeModule(self):
        nodes = self.addResults()
        self.ui.vasAxial.text = "7"
        self.ui.adjustButton.click()
        verdict, rows = self.ui.verdictLabel.text, self.table()
        before, old = self.loaded(), self.widget
        old.onReload()
        self.widget = slicer.util.getModuleWidget("CTSpectSpine")
        self.ui = self.widget.ui
        self.assertIsNot(self.widget, old)
        self.assertIsNone(old.parameters)
        self.assertFalse(nodes.transform.GetDisplayNode().GetEditorVisibility())
        after = self.loaded()
        self.assertIn("CTSpectSpineLib.scene.nodes", after)
        self.assertIn("CTSpectSpineWidgets.results", after)
        same = [name for name in after if after[name] is before.get(name)]
        self.assertEqual(same, [], "not loaded again")
        # The panel is back with what the scene holds, and works.
        self.assertEqual((self.ui.verdictLabel.text, self.table()), (verdict, rows))
        self.assertEqual(self.ui.vasAxial.text, "7")
        self.ui.rejectButton.click()
        self.assertIn("You rejected it", self.ui.registrationLabel.text)
        self.assertEqual(self.widget.record.decision, "rejected")
