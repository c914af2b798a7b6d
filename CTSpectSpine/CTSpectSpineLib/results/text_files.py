"""Text and JSON files of the results folder, always written whole."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.volumes.files import replacing


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


def write_json(path: Path, values: Any) -> None:
    """Write strict JSON (NaN becomes null), atomically."""
    write_text(path, json.dumps(plain(values), indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    InputError
        If it is missing or broken.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path.") from error
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); write it again.") from error


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
