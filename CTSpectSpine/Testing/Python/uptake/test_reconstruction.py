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


@pytest.mark.parametrize(
    ("method", "filter_words", "numbers", "family"),
    [
        ("OSEM-RR 6i10s", "", (6, 10, None), "recovery"),
        ("Flash3D 8i 4s G8.40", "", (8, 4, 8.4), "recovery"),
        ("Flash3D/8i10s", "Gauss 8.0", (8, 10, 8.0), "recovery"),
        ("xSPECT Bone 24i1s", "XYZ Gauss5.00", (24, 1, 5.0), "recovery"),
        ("OSEM3D_4i16ss", "Gaussian 3D / 8.4mm", (4, 16, 8.4), "recovery"),
        (
            "Evolution for Bone, 4 iterations 10 subsets, Butterworth",
            "Butterworth 0.48 10",
            (4, 10, None),
            "recovery",
        ),
        ("OSEM: Iterations 2 Subsets 10", "Butterworth", (2, 10, None), None),
        ("OSEM iterations=2, subsets=10", "FWHM: 6.5 mm", (2, 10, 6.5), None),
        ("Astonish 4 iter 16 subsets", "Hanning 1.0", (4, 16, None), "recovery"),
        ("Astonish 16 subsets, 4 iterations", "", (4, 16, None), "recovery"),
        ("OSEM 10s4i", "7.5 mm FWHM", (4, 10, 7.5), None),
        ("MLEM 40 iterations", "", (40, None, None), None),
    ],
)
def test_numbers_are_read_as_the_vendors_write_them(
    method: str,
    filter_words: str,
    numbers: tuple[int | None, int | None, float | None],
    family: str | None,
) -> None:
    found = read_reconstruction(method, filter_words)
    assert (found.iterations, found.subsets, found.filter_fwhm_mm) == numbers
    assert found.family == family


@pytest.mark.parametrize(
    "words",
    [
        "OSEM",
        "OSEM 4 10",
        "OSEM 8s",
        "20s per view",
        "OSEM 2.5 iterations",
        "OSEM 0i0s",
        "OSEM 900i900s",
        "2i10s and 4i8s",
        "Butterworth 0.48 8 mm",
        "Gauss 8.4",
        "Gauss 0.5 cycles/cm",
        "Flash3D Gauss 2 pixels",
        "Gaussian sigma 3 mm",
        "xSPECT Gauss 1.2cm",
        "slice 4.8 mm",
        "needle G22",
        "Gauss 45 mm",
    ],
)
def test_doubtful_numbers_are_not_read(words: str) -> None:
    for found in (
        read_reconstruction(words),
        read_reconstruction("", words),
        read_reconstruction("", comments=words),
    ):
        assert (found.iterations, found.subsets, found.filter_fwhm_mm) == (None, None, None)


def test_numbers_without_a_unit_are_mm_of_siemens_alone() -> None:
    assert read_reconstruction("OSEM", "Gauss 8.4", manufacturer="SIEMENS").filter_fwhm_mm == 8.4
    assert read_reconstruction("OSEM", "Gauss 8.4", manufacturer="GE").filter_fwhm_mm is None


@pytest.mark.parametrize(
    ("words", "family"),
    [
        ("OSEM without resolution recovery", "no-recovery"),
        ("Astonish RR off", "no-recovery"),
        ("OSEM, resolution recovery: no", "no-recovery"),
        ("OSEM with resolution recovery", "recovery"),
        ("FBP and OSEM3D", None),
        ("CDR", "recovery"),
        ("McDread", None),
    ],
)
def test_the_words_that_switch_recovery_off_win(words: str, family: str | None) -> None:
    assert read_reconstruction(words).family == family


def test_comments_tell_what_the_tags_for_it_do_not() -> None:
    said = "Doe Jane, seen by Dr Who, Astonish 4 iter 16 subsets"
    found = read_reconstruction("OSEM", "Hanning", comments=said)
    assert (found.family, found.iterations, found.subsets) == ("recovery", 4, 16)
    assert (found.source, found.stated) == (HEADER, "ASTONISH")
    assert "DOE" not in str(found).upper()
    own = read_reconstruction("OSEM2D 2i8s", comments=said)
    assert (own.family, own.iterations, own.subsets) == ("no-recovery", 2, 8)


@pytest.mark.parametrize(
    "words", ["slow evolution of pain", "CDR 2", "gated, no RR interval", "no PSF", ""]
)
def test_ordinary_words_of_comments_name_no_method(words: str) -> None:
    assert read_reconstruction("OSEM", comments=words).family is None
