"""The examples in the docstrings of the public functions run and show what they say."""

from __future__ import annotations

import doctest
import inspect
import sys

import pytest

import CTSpectSpineLib

FUNCTIONS = [
    name for name in CTSpectSpineLib.__all__ if inspect.isfunction(getattr(CTSpectSpineLib, name))
]


def test_the_public_functions_are_found() -> None:
    assert {"analyze", "register", "triage"} <= set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_examples(name: str) -> None:
    function = getattr(CTSpectSpineLib, name)
    parts = doctest.DocTestFinder(recurse=False).find(
        function, name, module=sys.modules[function.__module__], globs={}
    )
    examples = [part for part in parts if part.examples]
    assert examples, f"the docstring of {name} has no example"
    assert "Examples\n    --------" in function.__doc__
    printed: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for part in examples:
        runner.run(part, out=printed.append)
    assert not runner.failures, "".join(printed)
