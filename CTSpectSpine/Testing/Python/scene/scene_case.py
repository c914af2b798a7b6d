"""A results folder in a scene."""

from __future__ import annotations

import vtk

from CTSpectSpineLib.scene.mrml import (
    ROLE,
)


def tag(segment: object, name: str) -> str:
    value = vtk.reference("")
    segment.GetTag(name, value)
    return str(value)


def by_role(scene: object, role: str) -> object:
    found = [
        node
        for i in range(scene.GetNumberOfNodes())
        if (node := scene.GetNthNode(i)).GetAttribute(ROLE) == role
    ]
    assert len(found) == 1, role
    return found[0]
