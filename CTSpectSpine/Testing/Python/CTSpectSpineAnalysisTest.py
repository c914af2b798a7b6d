"""Analyses by the panel in child processes; inside Slicer and under pytest."""

# It is written for unittest, which is what Slicer runs.
# ruff: noqa: PT009, PT027

import sys
import time
from pathlib import Path

import slicer
import slicer.util

sys.path.insert(0, str(Path(__file__).resolve().parent / "host"))

from slicer_panel import PanelTestCase


class CTSpectSpineAnalysisTest(PanelTestCase):
    """Real analyses of a small phantom in child processes."""

    def setUp(self):
        super().setUp()
        from CTSpectSpineWidgets import sampledata

        small = {**sampledata.SMALL, "spacing_mm": 2.5}
        self.ct, self.spect, self.vertebrae = sampledata.addPhantom("lumbar-disc", small)
        self.ui.ctSelector.setCurrentNode(self.ct)
        self.ui.spectSelector.setCurrentNode(self.spect)
        self.ui.vertebraeSelector.setCurrentNode(self.vertebrae)
        self.ui.threads.value = 1

    def contents(self):
        scene = slicer.mrmlScene
        nodes = [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())]
        return sorted(f"{node.GetID()} {node.GetName()}" for node in nodes)

    def temporary(self):
        return sorted(Path(slicer.app.temporaryPath).glob("CTSpectSpine-*"))

    def idle(self):
        return not self.widget.analysis.running

    def gone(self, pid):
        from process_state import gone

        return gone(pid)

    def test_cancelLeavesNothing(self):
        before, files = self.contents(), self.temporary()
        out = self.folder / "results"
        self.ui.outputPath.currentPath = str(out)
        for stage in ("start", "register", "joints", "uptake", "report"):
            self.ui.applyButton.click()
            self.assertEqual(self.ui.applyButton.text, "Cancel")
            run = self.widget.analysis.run
            self.wait(lambda run=run, stage=stage: run.stage == stage)
            self.ui.applyButton.click()
            self.assertTrue(self.idle())
            self.assertEqual(self.ui.applyButton.text, "Analyse")
            self.assertEqual(self.ui.statusLabel.text, "Cancelled.")
            self.assertFalse(self.ui.progressBar.visible)
            self.assertTrue(self.gone(run.pid), stage)
            self.assertEqual(self.contents(), before, stage)
            self.assertEqual(self.temporary(), files, stage)
            self.assertFalse(out.exists(), stage)

    def test_crashIsOneSentence(self):
        import os
        import signal

        before, files = self.contents(), self.temporary()
        self.ui.applyButton.click()
        run = self.widget.analysis.run
        self.wait(lambda: run.fraction > 0)
        os.kill(run.pid, signal.SIGKILL)
        self.wait(self.idle)
        self.assertIn("ended unexpectedly (SIGKILL", self.ui.statusLabel.text)
        self.assertNotIn("\n", self.ui.statusLabel.text)
        self.assertEqual(self.contents(), before)
        self.assertEqual(self.temporary(), files)
        self.assertTrue(self.ui.applyButton.enabled)

    def test_badInputIsSaid(self):
        before = self.contents()
        self.ui.spectSelector.setCurrentNode(self.ct)
        empty = self.addVolume("empty SPECT")
        self.ui.spectSelector.setCurrentNode(empty)
        with self.assertRaisesRegex(ValueError, "'empty SPECT' holds no voxels"):
            self.widget.analysis.onApplyButton()
        self.assertIn("'empty SPECT' holds no voxels", self.ui.statusLabel.text)
        self.assertTrue(self.idle())
        slicer.mrmlScene.RemoveNode(empty)
        self.ui.spectSelector.setCurrentNode(self.spect)
        occupied = self.folder / "occupied"
        occupied.mkdir()
        (occupied / "thesis.txt").touch()
        self.ui.outputPath.currentPath = str(occupied)
        with self.assertRaisesRegex(ValueError, "not empty"):
            self.widget.analysis.onApplyButton()
        self.ui.outputPath.currentPath = ""
        self.ui.protocolPath.currentPath = str(self.folder / "none.json")
        self.ui.applyButton.click()
        self.wait(self.idle)
        self.assertIn("none.json", self.ui.statusLabel.text)
        self.assertEqual(self.contents(), before)

    def test_closingTheSceneEndsTheAnalysis(self):
        files = self.temporary()
        self.ui.applyButton.click()
        pid = self.widget.analysis.run.pid
        slicer.mrmlScene.Clear()
        self.assertTrue(self.idle())
        self.assertTrue(self.gone(pid))
        self.assertEqual(self.temporary(), files)

    def test_analysisIsThatOfTheCommandLine(self):
        from CTSpectSpineLib.command_line.main import main
        from CTSpectSpineLib.scene.nodes import analyses

        out = self.folder / "results"
        self.ui.outputPath.currentPath = str(out)
        self.ui.vasAxial.text = "8"
        seen = set()
        self.ui.applyButton.click()
        inputs = {f: f.read_bytes() for f in self.widget.logic.workplace().inputs.folder.iterdir()}
        while not self.idle():
            slicer.app.processEvents()
            seen.add(self.ui.progressBar.value)
            time.sleep(0.02)
        self.assertGreater(len(seen), 5)
        self.assertIn(f"Results in {out}", self.ui.statusLabel.text)
        self.assertIn("Lumbar disc", self.ui.verdictLabel.text)
        self.assertEqual([row[0] for row in self.table()], ["L4-L5 disc"])
        self.assertIn("Registering", self.ui.logText.toPlainText())
        self.assertTrue(self.ui.reportButton.enabled)
        self.assertIs(self.spect.GetParentTransformNode(), self.widget.nodes.transform)

        given = {}
        for path, data in inputs.items():
            given[path.stem] = self.folder / path.name
            given[path.stem].write_bytes(data)
        context = self.folder / "context.json"
        context.write_text('{"vas_axial": 8.0}', encoding="utf-8")
        by_hand = self.folder / "by_hand"
        words = ["analyze", "--out", str(by_hand), "--threads", "1", "--progress", "none", "--json"]
        words += ["--context", str(context)]
        for role in ("ct", "spect", "vertebrae"):
            words += [f"--{role}", str(given[role])]
        self.assertEqual(main(words), 0)
        for name in ("joints.csv", "verdict.json", "spect_to_ct.tfm", "joints.seg.nrrd"):
            self.assertEqual((out / name).read_bytes(), (by_hand / name).read_bytes(), name)
        self.assertEqual(
            sorted(f.name for f in out.iterdir()), sorted(f.name for f in by_hand.iterdir())
        )

        # Levels follow without new registration, and back again to the same numbers.
        table, registration = (out / "joints.csv").read_bytes(), self.widget.record.registration
        self.ui.shiftUpButton.click()
        self.wait(self.idle)
        self.assertEqual([row[0] for row in self.table()], ["L3-L4 disc"])
        self.assertEqual(self.widget.record.registration, registration)
        self.assertFalse(self.widget.record.levels_confirmed_by_user, "L5 is lost")
        self.assertEqual(len(analyses(slicer.mrmlScene)), 1)
        self.ui.shiftDownButton.click()
        self.wait(self.idle)
        # The levels are now the user's word.
        again = (out / "joints.csv").read_bytes().replace(b",confirmed", b",plausible")
        self.assertEqual(again, table)

        # A second analysis in the same scene stands beside the first.
        first = self.widget.nodes
        self.ui.outputPath.currentPath = ""
        self.ui.applyButton.click()
        self.wait(self.idle)
        second = self.widget.nodes
        self.assertIsNot(second.manifest, first.manifest)
        self.assertEqual(len(analyses(slicer.mrmlScene)), 2)
        self.assertNotEqual(second.folder_item, first.folder_item)
        self.assertEqual(self.widget.record.texts["joints.csv"].encode(), table)
        self.assertIn("temporary until you save them", self.ui.statusLabel.text)

    def test_consoleUse(self):
        from CTSpectSpineLib.analysis.options import Options
        from CTSpectSpineLib.panel.request import Request
        from CTSpectSpineLib.panel.run import run_to_end

        logic = self.widget.logic
        request = Request(self.ct, self.spect, self.vertebrae, options=Options(threads=1))
        run = logic.startRun(request)
        self.assertTrue(run.running)
        seen = []
        run_to_end(run, progress=lambda progress: seen.append(progress.stage))
        folder = logic.finishRun(run)
        self.assertEqual(list(dict.fromkeys(seen))[:3], ["check", "label", "register"])
        self.assertIs(logic.nodes.ct, self.ct)

        files = logic.workplace().inputs.folder
        slicer.mrmlScene.Clear()
        self.assertTrue(folder.exists(), "unsaved results outlive their scene")
        self.assertFalse(files.exists())
        logic.discard()
        self.assertFalse(folder.exists())

    def test_resultsThatAreThereAreNotReplacedUnasked(self):
        from slicer_panel import Answers

        self.addResults()
        out = self.folder / "results"
        before = {path.name: path.read_bytes() for path in out.iterdir()}
        self.widget.ask = Answers(yes=False)
        self.ui.ctSelector.setCurrentNode(self.ct)
        self.ui.spectSelector.setCurrentNode(self.spect)
        self.ui.applyButton.click()
        self.assertTrue(self.idle())
        self.assertIn(str(out), self.widget.ask.questions[0])
        self.assertEqual({path.name: path.read_bytes() for path in out.iterdir()}, before)

    def test_pathThatIsEmptiedIsNotUsed(self):
        out = self.folder / "kept"
        self.ui.outputPath.currentPath = str(out)
        self.assertEqual(self.widget.parameters.outputFolder, str(out))
        self.ui.outputPath.blockSignals(True)
        self.ui.outputPath.currentPath = ""
        self.ui.outputPath.blockSignals(False)
        self.ui.applyButton.click()
        self.assertIsNone(self.widget.analysis.run.request.out)

    def test_folderIsTriedBeforeTheAnalysis(self):
        (self.folder / "file").touch()
        self.ui.outputPath.currentPath = str(self.folder / "file" / "results")
        with self.assertRaisesRegex(ValueError, "cannot be written|is a file"):
            self.widget.analysis.onApplyButton()
        self.assertTrue(self.idle())

    def test_imagesThatGoMeanwhileAreNamed(self):
        from CTSpectSpineLib.scene.nodes import analyses

        out = self.folder / "results"
        self.ui.outputPath.currentPath = str(out)
        self.ui.applyButton.click()
        slicer.mrmlScene.RemoveNode(self.ct)
        before = self.contents()
        with self.assertRaisesRegex(ValueError, "CT was removed from the scene"):
            while not self.idle():
                self.widget.analysis.onTimer()
                time.sleep(0.05)
        self.assertIn(f"they are in {out}", self.ui.statusLabel.text)
        self.assertTrue((out / "report.html").is_file())
        self.assertEqual(self.contents(), before)
        self.assertEqual(analyses(slicer.mrmlScene), [])

    def test_filesAndFolders(self):
        inputs = self.widget.logic.workplace().inputs
        paths = inputs.ct(self.ct), inputs.spect(self.spect)
        labels = inputs.vertebrae(self.vertebrae, self.ct)
        self.assertEqual(inputs.ct(self.ct), paths[0])
        written = paths[0].stat().st_mtime_ns
        inputs.ct(self.ct)
        self.assertEqual(paths[0].stat().st_mtime_ns, written, "what is the same is written once")
        self.ct.GetImageData().Modified()
        inputs.ct(self.ct)
        self.assertGreater(paths[0].stat().st_mtime_ns, written)
        logic = self.widget.logic
        results = logic.processFolder(
            *paths,
            labels,
            outputFolder=self.folder / "results",
            context={"vas_axial": 8},
            threads=1,
        )
        self.assertIs(results, logic.results)
        self.assertEqual(results.verdict.disposition, "lumbar_disc")
        self.assertIsNot(logic.nodes.ct, self.ct)
        self.assertIs(logic.getParameterNode().analysis, logic.nodes.manifest)
