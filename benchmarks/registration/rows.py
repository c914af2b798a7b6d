"""The table of measurements: one row per method and pair, in a CSV that grows as they come."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

Key = tuple[str, str, str, str]


@dataclass(frozen=True)
class Row:
    """One method on one pair.

    Attributes
    ----------
    set_name, split, pair, method
        What was measured.
    seed
        Of the pair.
    right
        Whether CT and SPECT belong together.
    joints
        Number of joints that errors are taken at.
    start_mm
        Mean error at the joints of the pose that the method begins at; None for wrong pairs.
    mean_mm, worst_mm
        Error at the joints: mean over the pair's joints, and worst joint; that of the start
        where the method failed, None for wrong pairs.
    failed
        Whether the method raised or was ended.
    wall_s, cpu_s, memory_mib
        As in `measure.Measured`.
    threads
        Threads that the method could use.
    version
        Of the method's package.
    expected_mm, quality
        The method's own judgement, where it gives one.
    message
        What went wrong, or the reasons of the judgement.
    """

    set_name: str
    split: str
    pair: str
    method: str
    seed: int
    right: bool
    joints: int
    start_mm: float | None
    mean_mm: float | None
    worst_mm: float | None
    failed: bool
    wall_s: float | None
    cpu_s: float | None
    memory_mib: float | None
    threads: int
    version: str
    expected_mm: float | None = None
    quality: str = ""
    message: str = ""

    @property
    def key(self) -> Key:
        """What identifies a row."""
        return self.set_name, self.split, self.pair, self.method


@dataclass(frozen=True)
class SpeedRow:
    """One method on one size of CT; memory and times as in `measure.Measured`.

    Attributes
    ----------
    resampling_s
        Wall time of one resampling of the SPECT to this CT's grid, the unit of time.
    machine
        What it ran on, in words.
    """

    size: str
    voxels: int
    method: str
    wall_s: float | None
    cpu_s: float | None
    memory_mib: float | None
    threads: int
    version: str
    resampling_s: float
    machine: str
    message: str = ""


COLUMNS = tuple(field.name for field in fields(Row))
SPEED_COLUMNS = tuple(field.name for field in fields(SpeedRow))


def open_rows(path: Path, columns: Iterable[str] = COLUMNS) -> None:
    """Make the file with its heading, or drop an unfinished last line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.stat().st_size == 0:
        path.write_text(",".join(columns) + "\n", encoding="utf-8")
        return
    text = path.read_bytes()
    if not text.endswith(b"\n"):
        path.write_bytes(text[: text.rfind(b"\n") + 1])


def append(path: Path, row: Row | SpeedRow) -> None:
    """Add a row, in one write, so that several processes can write to one file."""
    buffer = io.StringIO()
    values: Mapping[str, Any] = asdict(row)
    csv.writer(buffer, lineterminator="\n").writerow(
        f"{value:.6g}" if isinstance(value, float) else value for value in values.values()
    )
    handle = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(handle, buffer.getvalue().encode("utf-8"))
    finally:
        os.close(handle)


def read_rows(path: Path) -> pd.DataFrame:
    """Rows as a table; texts that are empty stay empty texts.

    Raises
    ------
    ValueError
        If the file is not such a table.
    """
    table = pd.read_csv(
        path, keep_default_na=False, na_values={c: [""] for c in _NUMBERS}, dtype=_TEXTS
    )
    missing = set(COLUMNS) - set(table.columns)
    if missing:
        raise ValueError(f"{path} lacks the columns {', '.join(sorted(missing))}.")
    return table


def read_speed_rows(path: Path) -> pd.DataFrame:
    """Rows of the speed section as a table."""
    return pd.read_csv(
        path, keep_default_na=False, na_values={c: [""] for c in _NUMBERS}, dtype=_TEXTS
    )


def keys_of(table: pd.DataFrame) -> set[Key]:
    """Which rows a table holds."""
    columns = ["set_name", "split", "pair", "method"]
    return {(str(a), str(b), str(c), str(d)) for a, b, c, d in table[columns].to_numpy()}


_TEXTS = dict.fromkeys(
    ("set_name", "split", "pair", "method", "version", "quality", "message", "size"), str
)
_NUMBERS = (
    "start_mm",
    "mean_mm",
    "worst_mm",
    "wall_s",
    "cpu_s",
    "memory_mib",
    "expected_mm",
)
