"""The versions of a release: every dependency is pinned, and to what the project allows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement


@pytest.fixture(scope="module")
def pinned(repository: Path) -> list[Requirement]:
    lines = (repository / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


@pytest.fixture(scope="module")
def wanted(repository: Path) -> list[Requirement]:
    """The dependencies of ``pyproject.toml``, read without a parser that Python 3.10 lacks."""
    text = (repository / "pyproject.toml").read_text(encoding="utf-8")
    match = re.search(r"^dependencies = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    assert match is not None
    return [Requirement(line.strip(' ",')) for line in match[1].splitlines()]


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_every_dependency_is_pinned_once(
    version: str, pinned: list[Requirement], wanted: list[Requirement]
) -> None:
    environment = {**default_environment(), "python_version": version}
    here = [r for r in pinned if r.marker is None or r.marker.evaluate(environment)]
    names = [requirement.name.lower() for requirement in here]
    assert len(names) == len(set(names)), "a package is pinned twice"
    by_name = dict(zip(names, here, strict=True))
    assert len(wanted) > 8
    for requirement in wanted:
        found = by_name[requirement.name.lower()]
        (number,) = [pin.version for pin in found.specifier if pin.operator == "=="]
        assert requirement.specifier.contains(number), found


def test_every_pin_is_one_version(pinned: list[Requirement]) -> None:
    for requirement in pinned:
        assert [pin.operator for pin in requirement.specifier] == ["=="], requirement
