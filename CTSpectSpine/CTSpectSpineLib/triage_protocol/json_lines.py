"""Line numbers of a JSON text: where each of its keys and items is."""

from __future__ import annotations

import re
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import TypeAlias

JsonPath: TypeAlias = tuple[str | int, ...]

_SPACE = re.compile(r"[ \t\r\n]*")
_SCALAR = re.compile(r"[^,\]\}\s]+")


class JsonLines:
    """Line numbers of a JSON text, which must be valid.

    Attributes
    ----------
    lines
        Path of a key or an item to its line, from 1.
    repeated
        Paths of keys that occur more than once in their object.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines: dict[JsonPath, int] = {}
        self.repeated: list[JsonPath] = []
        self._value(self._skip(0), ())

    def line(self, path: JsonPath) -> int:
        """Line of a path, or of the nearest object around it that is there."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines[path]

    def _skip(self, position: int) -> int:
        match = _SPACE.match(self.text, position)
        return position if match is None else match.end()

    def _mark(self, path: JsonPath, position: int) -> None:
        self.lines[path] = self.text.count("\n", 0, position) + 1

    def _value(self, position: int, path: JsonPath) -> int:
        """Walk one value; return the position after it."""
        if path not in self.lines:
            self._mark(path, position)
        opening = self.text[position]
        if opening == "{":
            return self._members(position, path, keyed=True)
        if opening == "[":
            return self._members(position, path, keyed=False)
        if opening == '"':
            return int(scanstring(self.text, position + 1, True)[1])
        match = _SCALAR.match(self.text, position)
        return position + 1 if match is None else match.end()

    def _members(self, position: int, path: JsonPath, *, keyed: bool) -> int:
        position = self._skip(position + 1)
        number = 0
        while self.text[position] not in "}]":
            name: str | int = number
            start = position
            if keyed:
                name, position = scanstring(self.text, position + 1, True)
                position = self._skip(self._skip(position) + 1)
                if (*path, name) in self.lines:
                    self.repeated.append((*path, name))
            self._mark((*path, name), start)
            position = self._skip(self._value(position, (*path, name)))
            if self.text[position] == ",":
                position = self._skip(position + 1)
            number += 1
        return position + 1


def dotted(path: JsonPath) -> str:
    """A path as a person writes it: ``rules[2].when.areas``."""
    words = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return words.removeprefix(".") or "the whole file"
