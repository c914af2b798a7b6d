"""The benchmark of Slicer's window, small: what many analyses leave in a scene."""

from __future__ import annotations

import pytest

from benchmarks.window import document, measured
from CTSpectSpineLib.phantom import example


@pytest.mark.slow
def test_scene_is_as_before_when_all_analyses_are_removed() -> None:
    phantom = example()
    found = measured(phantom, 2)
    first, second = (added.nodes for added in found.beside)
    assert second - first <= first - found.start.nodes, "shared nodes are made once"
    assert {added.nodes for added in found.replaced} == {second}
    assert found.removed.nodes == found.start.nodes
    page = document(found, phantom)
    assert f"| {found.start.nodes} |" in page
    assert "replacement 2 of the last one" in page
