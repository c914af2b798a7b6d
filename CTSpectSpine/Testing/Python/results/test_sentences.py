"""What records say of files: their names, and not who the patient is."""

from __future__ import annotations

from pathlib import Path

import pytest

from CTSpectSpineLib.files import without_folders


@pytest.mark.parametrize(
    ("sentence", "paths", "said"),
    [
        ("x/ct.nii is cut off.", ["x/ct.nii"], "ct.nii is cut off."),
        ("ct.nii is cut off.", ["ct.nii"], "ct.nii is cut off."),
        ("/a/b c/d is no file; /a/b c/e neither.", ["/a/b c/d"], "d is no file; e neither."),
        ("Values in Bq/ml; see /b/ct.", ["Bq/ct", "/ct"], "Values in Bq/ml; see /b/ct."),
        ("max/ct.nii is another.", ["x/ct.nii"], "max/ct.nii is another."),
        ("/a/b/x and /a/b/c/y", ["/a/b/x", "/a/b/c/y"], "x and y"),
    ],
)
def test_sentences_without_folders(sentence: str, paths: list[str], said: str) -> None:
    assert without_folders(sentence, map(Path, paths)) == said
