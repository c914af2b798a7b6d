"""Analyses a phantom inside Slicer and keeps a picture of the window; see ``slicer_tests``."""

import os
from pathlib import Path

import slicer
import slicer.util

logs = Path(os.environ["CTSPECTSPINE_LOGS"])

window = slicer.util.mainWindow()
window.showMaximized()
slicer.util.selectModule("CTSpectSpine")

from CTSpectSpineWidgets import sampledata  # noqa: E402 - on the path once the module is loaded

widget = slicer.util.getModuleWidget("CTSpectSpine")
ct, spect, vertebrae = sampledata.addPhantom("lumbar-disc", sampledata.SMALL)
results = widget.logic.process(ct, spect, vertebrae, threads=2)
widget.showNewResults()
for _ in range(10):
    slicer.app.processEvents()
    slicer.util.forceRenderAllViews()
picture = logs / "slicer.png"
window.grab().save(str(picture))

passed = results.verdict.disposition == "lumbar_disc" and picture.is_file()
(logs / "picture.result").write_text("passed" if passed else "failed", encoding="utf-8")
if not passed:
    raise RuntimeError(f"the verdict is {results.verdict.disposition}")
