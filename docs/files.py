"""Writes ``docs/files.md`` anew: which files each command may create, replace or remove.

python docs/files.py
"""

from __future__ import annotations

from pathlib import Path

from CTSpectSpineLib.command_line.written import table

PAGE = Path(__file__).with_name("files.md")
_BEFORE = """# Files that are written

Made by `python docs/files.py`; a test runs every command and compares all files before and after.

Nothing is overwritten or removed that an earlier run did not write, and an input never. What a run
writes, it enters with its SHA-256 in a record in the same folder: `files` in `manifest.json` for
an analysis, `.ctspectspine-files.json` for all other commands. A file that the record does not
name, or that was changed since, is yours: the command says so in one sentence and touches nothing.
An output folder that holds other things, and no earlier result, is refused as well; beside the
single files of `calibrate`, `triage`, `bounds` and `reader-form`, and in the folders of `validate`,
other files may lie.

"""
_AFTER = """
While a command runs, its folder also holds `.ctspectspine.lock`, which says who writes there (a
second run into the folder is refused), and files named `.ctspectspine-XXXXXXXX-NAME` that are not
whole yet. Both are gone when the command ends; what a killed one leaves, the next run into that
folder removes. Its status tells a killed run from a complete one: `complete` is written last, after
the report, and only if every file is there.

Outside its folders a command keeps temporary files in the system's folder for them
(`ctspectspine-…`: `label` and `analyze` with TotalSegmentator, `bounds --out`), and Matplotlib its
list of fonts in its own cache. In 3D Slicer the analysis works in Slicer's temporary folder and
puts the results into the output folder by the same rules.
"""


def page() -> str:
    """The page as it should be."""
    return f"{_BEFORE}{table()}{_AFTER}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
