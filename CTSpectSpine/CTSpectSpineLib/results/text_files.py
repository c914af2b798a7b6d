"""Text and JSON files of the results folder, always written whole."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import replacing

_MOST_DIGITS = 300
"""Digits of the largest whole number. Numerical: a double holds 308."""
AGAIN = "run the analysis again"
"""What to do about a file of a results folder that is missing or broken."""


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file so that it is always whole.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(text.encode("utf-8"))
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}); choose another place."
        ) from error


def json_text(values: Any) -> str:
    """Strict JSON (NaN becomes null) as the files of the folder hold it."""
    return json.dumps(plain(values), indent=2, allow_nan=False) + "\n"


def write_json(path: Path, values: Any) -> None:
    """Write `json_text`, atomically."""
    write_text(path, json_text(values))


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    InputError
        If it is missing or broken.
    """
    try:
        return json_values(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not valid JSON ({error}); write it again.") from error


def parse_json(text: str) -> Any:
    """Values of a JSON text.

    Raises
    ------
    ValueError, RecursionError
        If it is broken, or holds a number that is too large for arithmetic.
    """
    return json.loads(text, parse_int=_whole_number)


def _whole_number(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def json_values(text: str, origin: str) -> Any:
    """Values of a JSON text; ``origin`` is where it came from.

    Raises
    ------
    InputError
        If it is broken.
    """
    try:
        return parse_json(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{origin} is not valid JSON ({error}); write it again.") from error


def read_json_part(path: Path, kind: type) -> Any:
    """Content of a JSON file of a results folder, None where there is no such file.

    Raises
    ------
    InputError
        If it is broken, or holds something else than a ``kind``.
    """
    if not path.exists():
        return None
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}); {AGAIN}") from error
    if not isinstance(content, kind):
        wanted = "an object" if kind is dict else "a list"
        raise InputError(f"{path}: holds no JSON {wanted.split()[1]}; {AGAIN}")
    return content


def plain(value: Any) -> Any:
    """Turn numpy values, mappings, tuples and paths into what JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)
