"""Values of a results folder as words for a reader; whatever is missing becomes an en dash."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent


@cache
def data(name: str) -> Any:
    """A JSON file beside this module."""
    return json.loads((_HERE / name).read_text(encoding="utf-8"))


def mapping(value: Any) -> Mapping[str, Any]:
    """The value where it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> list[Any]:
    """The value where it is a list, else an empty one."""
    return list(value) if isinstance(value, list | tuple) else []


def sentences(value: Any) -> list[str]:
    """One or several values as a list of text."""
    if value is None:
        return []
    return [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]


def number(value: Any, digits: int = 2) -> str:
    """A number for reading; an en dash where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    # Adding zero turns a negative zero into a plain one.
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def vector(values: Any, unit: str, digits: int = 1) -> str:
    """Numbers with a unit; an en dash where there are none."""
    if not isinstance(values, list | tuple) or not values:
        return "–"
    return ", ".join(number(value, digits) for value in values) + f" {unit}"


def share(value: Any) -> str:
    """A share in whole per cent that never rounds to certainty."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    if 0 < value < 0.01:
        return "< 1 %"
    return "> 99 %" if 0.99 < value < 1 else f"{100 * value:.0f} %"
