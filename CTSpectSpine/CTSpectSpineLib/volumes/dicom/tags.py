"""Values of DICOM tags: what is absent, empty or damaged reads as nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from pydicom.dataset import Dataset


def value(header: Dataset, keyword: str) -> Any:
    """Value of a tag, None when it is absent, empty or not readable."""
    try:
        found = header.get(keyword)
    except Exception:  # damaged values must not stop the load
        return None
    return None if found is None or found == "" else found


def values(header: Dataset, keyword: str) -> tuple[Any, ...]:
    """Values of a tag as a tuple, empty when it is absent."""
    found = value(header, keyword)
    if found is None:
        return ()
    several = isinstance(found, Iterable) and not isinstance(found, str | bytes)
    try:
        return tuple(found) if several else (found,)
    except Exception:  # a sequence is read when it is gone through
        return ()


def number(header: Dataset, keyword: str) -> float | None:
    """Value of a tag as a number, None when it is absent or no number."""
    found = values(header, keyword)
    try:
        first = float(found[0]) if found else math.nan
    except (TypeError, ValueError, OverflowError):
        return None
    return first if math.isfinite(first) else None
