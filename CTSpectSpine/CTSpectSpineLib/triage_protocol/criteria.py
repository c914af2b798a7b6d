"""A criterion on one field of the clinical context."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_WORDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "above": "more than {}",
    "below": "less than {}",
    "equals": "{}",
}


def fulfils(value: Any, criterion: Mapping[str, Any]) -> bool:
    """Whether a value that was given fulfils all tests of a criterion."""
    tests: dict[str, Callable[[Any], bool]] = {
        "minimum": lambda bound: bool(value >= bound),
        "maximum": lambda bound: bool(value <= bound),
        "above": lambda bound: bool(value > bound),
        "below": lambda bound: bool(value < bound),
        "equals": lambda bound: bool(value == bound),
    }
    return all(test(criterion[name]) for name, test in tests.items() if name in criterion)


def bound_words(criterion: Mapping[str, Any]) -> str:
    """The tests of a criterion in words."""
    words = [text.format(value_words(criterion[k])) for k, text in _WORDS.items() if k in criterion]
    return " and ".join(words)


def value_words(value: Any) -> str:
    """A value in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, int | float) else str(value)
