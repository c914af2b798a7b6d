"""The self-test of the module: runs inside Slicer, with ``Reload and Test`` or CTest."""

# It is written for unittest, which is what Slicer runs.
# ruff: noqa: PT009, PT027

from __future__ import annotations

from typing import Any

import slicer
import vtk
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from CTSpectSpineWidgets import sampledata
from CTSpectSpineWidgets.logic import CTSpectSpineLogic


class CTSpectSpineTest(ScriptedLoadableModuleTest):
    """Runs inside Slicer, with ``Reload and Test`` or CTest."""

    def setUp(self) -> None:
        """Start from an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """Run all tests."""
        self.setUp()
        self.test_analysisOfPhantom()
        self.setUp()
        self.test_badInputs()

    def test_analysisOfPhantom(self) -> None:
        """A phantom with one hot joint: found in the table, coloured in the scene."""
        from CTSpectSpineLib.scene.mrml import image_from_node

        ct, spect, vertebrae = sampledata.addPhantom("lumbar-disc", sampledata.SMALL)
        before = image_from_node(spect)
        logic = CTSpectSpineLogic()
        results = logic.process(ct, spect, vertebrae, threads=2)
        table = results.table.set_index("joint")
        self.assertEqual(list(table.index[table["uptake"] == "positive"]), [PHANTOM_HOT_JOINT])
        self.assertEqual(results.verdict.disposition, "lumbar_disc")
        self.assertNotEqual(results.registration.quality, "failed")

        nodes: Any = logic.nodes
        self.assertIs(nodes.ct, ct)
        self.assertIs(spect.GetParentTransformNode(), nodes.transform)
        segment = nodes.joints.GetSegmentation().GetSegment(PHANTOM_HOT_JOINT)
        tag = vtk.reference("")
        self.assertTrue(segment.GetTag("CTSpectSpine.uptake", tag))
        self.assertEqual(str(tag), "positive")
        self.assertEqual(nodes.joint_table.GetNumberOfRows(), len(results.table))
        composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
        for composite in composites:
            self.assertEqual(composite.GetForegroundVolumeID(), nodes.relative.GetID())

        # A second analysis of the same nodes would start from the scanner's position again.
        self.assertEqual(image_from_node(spect).GetOrigin(), before.GetOrigin())
        self.assertEqual(image_from_node(spect).GetDirection(), before.GetDirection())

    def test_badInputs(self) -> None:
        """Errors are sentences that name the input."""
        from CTSpectSpineLib.errors import InputError

        logic = CTSpectSpineLogic()
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty one")
        with self.assertRaisesRegex(InputError, "no SPECT was given"):
            logic.process(volume, None)
        with self.assertRaisesRegex(InputError, "'empty one' holds no voxels"):
            logic.process(volume, volume)


PHANTOM_HOT_JOINT = "L4-L5 disc"
