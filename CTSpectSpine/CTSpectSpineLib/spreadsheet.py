"""Tables as spreadsheets save them: their encoding, their separator, their numbers.

Excel and LibreOffice write what is usual where their user lives: in English settings
``joint,ratio`` and ``3.78``, in German ones ``joint;ratio`` and ``3,78``. A number that can be
read in two ways is refused, never guessed.
"""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
from collections.abc import Collection, Mapping, Sequence

SEPARATORS = ",;\t"
MISSING = ("", "nan", "na", "n/a")
"""What stands in a cell, in small letters, where there is no number."""
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)
"""First line by which Excel tells itself the separator."""
_PLAIN = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_COMMA = re.compile(r"[+-]?(\d+,\d*|,\d+)([eE][+-]?\d+)?")
_GROUPED = {
    ".": re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?"),
    ",": re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d+)?"),
}
"""Numbers with separated thousands, by their decimal mark."""


def decoded(content: bytes) -> str:
    """Text of a file: UTF-8, UTF-16 with its mark, or else what Windows calls ANSI."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252")


def separated(text: str, known: Collection[str]) -> tuple[str, str]:
    """Text without a line that only tells the separator, and the separator.

    Parameters
    ----------
    known
        Names of columns; the separator that finds most of them in the header is taken.
    """
    told = _SEPARATOR_LINE.match(text)
    if told is not None:
        return text[told.end() :], told[1]
    header = next((line for line in text.splitlines() if line.strip()), "")

    def found(separator: str) -> int:
        try:
            names = next(csv.reader(io.StringIO(header), delimiter=separator), [])
        except csv.Error:
            return 0
        return len({name.strip() for name in names} & set(known))

    return text, max(SEPARATORS, key=found)


def numbers(
    columns: Mapping[str, Sequence[str]], lines: Sequence[int], separator: str
) -> dict[str, list[float]]:
    """Numbers of a table; NaN for an empty cell.

    Parameters
    ----------
    columns
        Cells by name of the column.
    lines
        Line of the file that each row ends in.
    separator
        The separator of the table; where it is a comma, ``1,234`` tells nothing by itself.

    Raises
    ------
    ValueError
        If a cell is not a number, or can be read in two ways; names line and column.
    """
    cells = [
        (n, line, cell) for n, row in columns.items() for line, cell in zip(lines, row, strict=True)
    ]
    mark = _decimal_mark(cells, separator)
    return {
        name: [
            _number(cell.strip(), mark, f"line {line}, column {name}")
            for line, cell in zip(lines, row, strict=True)
        ]
        for name, row in columns.items()
    }


def _decimal_mark(cells: Sequence[tuple[str, int, str]], separator: str) -> str:
    """What separates the decimals in all numbers of a table."""
    seen: dict[str, str] = {}
    doubtful = ""
    for name, line, cell in cells:
        text, where = cell.strip(), f"line {line}, column {name} ({cell.strip()!r})"
        readings = {mark for mark in ".," if _value(text, mark) is not None}
        if len(readings) == 1 and ("." in text or "," in text):
            seen.setdefault(readings.pop(), where)
        elif len(readings) == 2 and "," in text:
            doubtful = doubtful or where
    if len(seen) == 2:
        raise ValueError(
            f"it has a decimal point in {seen['.']} and a decimal comma in {seen[',']}"
        )
    if seen:
        return next(iter(seen))
    if doubtful and separator == ",":
        raise ValueError(f"{doubtful} can be read as thousands or as decimals")
    return "," if doubtful else "."


def _value(text: str, mark: str) -> float | None:
    """A number by its decimal mark; None where the text is none."""
    plain, grouped = _PLAIN if mark == "." else _COMMA, _GROUPED[mark]
    if plain.fullmatch(text) or (_PLAIN.fullmatch(text) and "." not in text):
        return float(text.replace(",", "."))
    if grouped.fullmatch(text):
        thousands = "," if mark == "." else "."
        return float(text.replace(thousands, "").replace(",", "."))
    return None


def is_number(text: str) -> bool:
    """Whether a cell that stands alone is a number with a decimal point, or says that none is."""
    return text.strip().lower() in MISSING or _PLAIN.fullmatch(text.strip()) is not None


def _number(text: str, mark: str, where: str) -> float:
    if text.lower() in MISSING:
        return math.nan
    value = _value(text, mark)
    if value is None or not math.isfinite(value):
        raise ValueError(f"{where}: {text!r} is not a number; correct it or leave it empty")
    other = "," if mark == "." else "."
    if other in text and mark not in text:
        raise ValueError(f"{where}: {text!r} can be read as thousands or as decimals")
    return value
