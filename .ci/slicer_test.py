"""Runs one file of tests inside Slicer; started by ``slicer_tests``.

It does what ``slicer.testing.runUnitTest`` does, keeps what the tests say in a file, and takes a
run without tests, or with tests left out, as a failure.
"""

import os
import sys
import unittest
from pathlib import Path

script = Path(os.environ["CTSPECTSPINE_TEST"])
logs = Path(os.environ["CTSPECTSPINE_LOGS"])

sys.path.insert(0, str(script.parent))
with (logs / f"{script.stem}.tests.txt").open("w", encoding="utf-8") as stream:
    suite = unittest.defaultTestLoader.loadTestsFromName(script.stem)
    result = unittest.TextTestRunner(stream, verbosity=2).run(suite)
print((logs / f"{script.stem}.tests.txt").read_text(encoding="utf-8"))

passed = result.wasSuccessful() and result.testsRun > 0 and not result.skipped
(logs / f"{script.stem}.result").write_text("passed" if passed else "failed", encoding="utf-8")
if not passed:
    raise RuntimeError(f"{script.name} failed")
