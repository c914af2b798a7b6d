"""What is known of a reconstruction: given, or read from the header."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.reconstruction import (
    GIVEN,
    HEADER,
    UNKNOWN,
    given_reconstruction,
    read_reconstruction,
)


def test_names_and_files_are_read(tmp_path: Path) -> None:
    found = given_reconstruction("recovery")
    assert (found.family, found.source) == ("recovery", GIVEN)
    path = tmp_path / "mine.json"
    path.write_text(
        json.dumps({"resolution_recovery": False, "iterations": 4, "attenuation_correction": False})
    )
    found = given_reconstruction(str(path))
    assert (found.family, found.source, found.stated) == ("no-recovery", GIVEN, "mine.json")
    assert (found.iterations, found.attenuation_correction) == (4, False)
    assert found.scatter_correction is None
    path.write_text(json.dumps({"filter_fwhm_mm": 6.5}))
    assert given_reconstruction(str(path)).family is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("recovered", "recovered"),
        ("missing.json", "cannot be read"),
        ({"iteration": 3}, "iteration"),
        ({"iterations": 0}, "iterations 0"),
        ({"subsets": 2.5}, "whole number"),
        ({"resolution_recovery": "yes"}, "true or false"),
        ([1], "names with values"),
    ],
)
def test_what_cannot_be_used_is_refused(text: object, words: str, tmp_path: Path) -> None:
    if not isinstance(text, str):
        path = tmp_path / "wrong.json"
        path.write_text(json.dumps(text))
        text = str(path)
    with pytest.raises(InputError, match=words):
        given_reconstruction(text)


@pytest.mark.parametrize(
    ("method", "family"),
    [
        ("Flash3D/8i10s", "recovery"),
        ("EVOLUTION FOR BONE", "recovery"),
        ("Astonish", "recovery"),
        ("xSPECT Bone", "recovery"),
        ("FBP", "no-recovery"),
        ("OSEM2D", "no-recovery"),
        ("OSEM", None),
        ("", None),
    ],
)
def test_headers_name_the_method(method: str, family: str | None) -> None:
    found = read_reconstruction(method, "Butterworth", ("DECY", "ATTN"))
    assert found.family == family
    assert found.source == (HEADER if family else UNKNOWN)
    assert found.attenuation_correction is True
    assert found.scatter_correction is False
    assert read_reconstruction(method).attenuation_correction is None
