"""ITK's text form of transforms, checked before ITK sees it.

ITK reads ``nan``, too few parameters and text among them without an error, and may crash on what
it made of them. HDF5 and MATLAB files are turned into text by a process of their own, because a
damaged one can end the process that reads it, or fill the memory.
"""

from __future__ import annotations

import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.processes import hidden

_COUNTS: Mapping[str, tuple[int, tuple[int, ...]]] = {
    "IdentityTransform": (0, (0,)),
    "TranslationTransform": (3, (0,)),
    "VersorTransform": (3, (3,)),
    "Euler3DTransform": (6, (3, 4)),
    "VersorRigid3DTransform": (6, (3,)),
    "QuaternionRigidTransform": (7, (3,)),
    "Similarity3DTransform": (7, (3,)),
    "ScaleTransform": (3, (3,)),
    "ScaleVersor3DTransform": (9, (3,)),
    "ScaleSkewVersor3DTransform": (15, (3,)),
    "ComposeScaleSkewVersor3DTransform": (12, (3,)),
    "AffineTransform": (12, (3,)),
    "MatrixOffsetTransformBase": (12, (3,)),
    "Rigid3DTransform": (12, (3,)),
    "CompositeTransform": (0, (0,)),
}
"""Class to how many parameters and fixed parameters it has in three dimensions. Standard: ITK."""
_MOST_BYTES = 1 << 20
"""Size up to which a file is read. Judgement: a rigid transform has a few hundred bytes."""
_SECONDS = 20.0
"""Longest reading of a binary file. Judgement: it takes about one second; in some damaged ones HDF5
never ends."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_CLASS = re.compile(r"(\w+?)_(?:double|float)_(\d)_\d(?:_\d)?")
_TO_TEXT = """
import sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))
except (ImportError, OSError, ValueError):
    pass
import SimpleITK as sitk
sitk.WriteTransform(sitk.ReadTransform(sys.argv[1]), sys.argv[2])
"""


def is_text(path: Path) -> bool:
    """Whether the name is that of a transform as text."""
    return path.suffix.lower() in (".tfm", ".txt")


def check_text(path: Path, name: str) -> None:
    """Check that a text file holds whole transforms with usable numbers.

    Parameters
    ----------
    path
        The file.
    name
        What to call it in the sentence.

    Raises
    ------
    InputError
        If it does not.
    """
    with path.open("rb") as stream:
        content = stream.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise _too_large(name)
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise _no_transform(name, "it is not text") from error
    found = 0
    kind, missing = "", 0
    for line in lines:
        key, _, rest = line.partition(":")
        if not line.strip() or line.startswith("#"):
            continue
        if key == "Transform":
            if missing:
                raise _no_transform(name, f"the {kind} has no parameters")
            kind = _kind(rest.strip(), name)
            missing, found = _COUNTS[kind][0], found + 1
        elif key == "Parameters" and kind:
            _check_numbers(rest, (_COUNTS[kind][0],), f"{key} of the {kind}", name)
            missing = 0
        elif key == "FixedParameters" and kind:
            _check_numbers(rest, _COUNTS[kind][1], f"{key} of the {kind}", name)
        else:
            raise _no_transform(name, f"unexpected line '{line.strip()[:60]}'")
    if missing or not found:
        raise _no_transform(name, "it has no parameters")


@contextmanager
def checked_text(path: Path) -> Iterator[Path]:
    """A text file with the transform of any file that ITK reads, checked by `check_text`.

    Raises
    ------
    InputError
        If ITK cannot read it, or its numbers cannot be used.
    """
    if is_text(path):
        check_text(path, str(path))
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "transform.tfm"
        _write_as_text(path.absolute(), text, str(path))
        check_text(text, str(path))
        yield text


def _write_as_text(path: Path, text: Path, name: str) -> None:
    if path.stat().st_size > _MOST_BYTES:
        raise _too_large(name)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TO_TEXT, str(path), str(text)],
            capture_output=True,
            check=False,
            timeout=_SECONDS,
            **hidden(),
        )
    except subprocess.TimeoutExpired as error:
        raise _no_transform(name, "it takes too long") from error
    if done.returncode != 0 or not text.exists():
        raise _no_transform(name, "it may be damaged")


def _kind(stated: str, name: str) -> str:
    known = _CLASS.fullmatch(stated)
    if known is None:
        raise _no_transform(name, f"unknown class '{stated[:60]}'")
    kind, dimension = known.group(1), known.group(2)
    if dimension != "3" or kind not in _COUNTS:
        raise InputError(
            f"{name}: a {kind} of {dimension} dimensions is not a rigid 3D transform; give a "
            "rotation with a translation."
        )
    return kind


def _check_numbers(text: str, counts: tuple[int, ...], what: str, name: str) -> None:
    words = text.split()
    bad = [w for w in words if not _NUMBER.fullmatch(w) or not math.isfinite(float(w))]
    if bad:
        raise InputError(
            f"{name}: '{bad[0][:40]}' among the {what} is no number; write the transform again."
        )
    if len(words) not in counts:
        raise InputError(
            f"{name}: {len(words)} numbers are the {what}, which has "
            f"{' or '.join(map(str, counts))}; write the transform again."
        )


def _too_large(name: str) -> InputError:
    return InputError(
        f"{name}: holds far more than a rigid transform; give a rotation with a translation."
    )


def _no_transform(name: str, reason: str) -> InputError:
    return InputError(
        f"{name}: ITK cannot read this as a transform ({reason}); give an ITK text file (*.tfm)."
    )
