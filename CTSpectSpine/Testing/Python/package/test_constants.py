"""Every number that the library rests on says where it comes from."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[3] / "CTSpectSpineLib"
SOURCE = re.compile(
    r"\b(19|20)\d\d\b|\b(measured|judgement|by definition|standard|numerical|convention)\b",
    re.IGNORECASE,
)
"""A citation with its year, or one of the words that say what kind of source it is."""


def is_numeric(node: ast.expr) -> bool:
    """Whether an expression is made of numbers: a number, a formula, a table of numbers."""
    leaves = [n for n in ast.walk(node) if isinstance(n, ast.Constant)]
    numbers = [n for n in leaves if type(n.value) in (int, float)]
    if isinstance(node, ast.Dict):
        return any(is_numeric(value) for value in node.values)
    if isinstance(node, ast.Call | ast.Subscript | ast.Attribute | ast.Name | ast.Lambda):
        return False
    return bool(numbers)


def constants(file: Path) -> Iterator[tuple[str, int, str]]:
    """Name, line and docstring of every numeric constant of a module."""
    body = ast.parse(file.read_text(encoding="utf-8")).body
    for number, node in enumerate(body):
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        names = [
            name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)
        ]
        if not all(re.fullmatch(r"_?[A-Z][A-Z0-9_]*", name) for name in names):
            continue
        if not is_numeric(value):
            continue
        after = body[number + 1] if number + 1 < len(body) else None
        words = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            words = str(after.value.value)
        yield ", ".join(names), node.lineno, words


def test_every_numeric_constant_names_its_source() -> None:
    found = [
        (file, name, line, words)
        for file in sorted(LIBRARY.rglob("*.py"))
        for name, line, words in constants(file)
    ]
    assert len(found) > 250, "the constants are not found"
    silent = [
        f"{file.relative_to(LIBRARY)}:{line} {name}"
        for file, name, line, words in found
        if not SOURCE.search(words)
    ]
    assert not silent, "\n".join(silent)
