"""The joint table and the verdict as table nodes of a Slicer scene."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from CTSpectSpineLib.joint_columns import TEXT_COLUMNS
from CTSpectSpineLib.joint_table import number
from CTSpectSpineLib.scene.mrml import Node, add_node, mrml

_UNITS = {
    **dict.fromkeys(("x_mm", "y_mm", "z_mm"), "mm"),
    "volume_mm3": "mm3",
    **dict.fromkeys(("suv_mean", "suv_max", "suv_peak"), "g/ml"),
}


def _cell(text: str) -> str:
    # Slicer's table writer does not escape quotes, tabs and line ends.
    return text.replace('"', "'").replace("\t", " ").replace("\n", " ")


def _add_column(table: Node, name: str, values: Sequence[str], *, text: bool) -> None:
    _, vtk = mrml()
    column = vtk.vtkStringArray() if text else vtk.vtkDoubleArray()
    column.SetName(name)
    for value in values:
        column.InsertNextValue(_cell(value) if text else number(value))
    table.AddColumn(column)


def add_joint_table(scene: Node, rows: Sequence[Mapping[str, str]]) -> Node:
    """Add the joint table.

    Parameters
    ----------
    scene
        The ``vtkMRMLScene``.
    rows
        Rows of ``joints.csv``, at least one. Columns of numbers become columns of doubles, with
        units; empty cells become NaN.
    """
    table = add_node(scene, "vtkMRMLTableNode", "Joint table")
    fill_joint_table(table, rows)
    return table


def fill_joint_table(table: Node, rows: Sequence[Mapping[str, str]]) -> None:
    """Write the rows of ``joints.csv`` into a table in place of what it holds."""
    table.SetLocked(False)
    table.RemoveAllColumns()
    table.SetUseColumnTitleAsColumnHeader(True)
    for name in rows[0]:
        values = [row[name] or "" for row in rows]
        text = name in TEXT_COLUMNS or any(v and math.isnan(number(v)) for v in values)
        _add_column(table, name, values, text=text)
        if name in _UNITS:
            table.SetColumnUnitLabel(name, _UNITS[name])
    table.SetLocked(True)


def _stability(share: Any, stable: Any) -> str:
    if share is None:
        return ""
    return f"{float(share):.0%}{' (unstable)' if stable is False else ''}"


def add_verdict_table(scene: Node, verdict: Mapping[str, Any]) -> Node:
    """Add what ``verdict.json`` says as a table of items and values, for a person to read."""
    table = add_node(scene, "vtkMRMLTableNode", "Verdict")
    fill_verdict_table(table, verdict)
    return table


def verdict_lines(verdict: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What ``verdict.json`` says as items and values, for a person to read."""
    protocol = verdict.get("protocol") or {}
    eligibility = verdict.get("eligibility") or {}
    stability = verdict.get("stability")
    found = [entry for entry in verdict.get("findings") or () if isinstance(entry, Mapping)]
    return [
        *(("headline", str(verdict["headline"])) for _ in range(bool(verdict.get("headline")))),
        ("disposition", str(verdict.get("disposition", ""))),
        ("recommendation", str(verdict.get("recommendation", ""))),
        *(("finding", str(entry.get("sentence", ""))) for entry in found),
        *(("reason", str(sentence)) for sentence in verdict.get("reasons", ())),
        ("eligibility", str(eligibility.get("status", eligibility.get("eligibility", "")))),
        ("stability", _stability(stability, verdict.get("stable"))),
        ("protocol", " ".join(str(protocol.get(key, "")) for key in ("id", "version")).strip()),
        *(("caveat", str(sentence)) for sentence in verdict.get("caveats", ())),
        ("use", "for research only"),
    ]


def fill_verdict_table(table: Node, verdict: Mapping[str, Any]) -> None:
    """Write what ``verdict.json`` says into a table in place of what it holds."""
    lines = verdict_lines(verdict)
    table.SetLocked(False)
    table.RemoveAllColumns()
    table.SetUseColumnTitleAsColumnHeader(True)
    _add_column(table, "item", [item for item, _ in lines], text=True)
    _add_column(table, "value", [value for _, value in lines], text=True)
    table.SetLocked(True)
