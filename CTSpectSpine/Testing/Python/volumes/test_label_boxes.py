"""Boxes and counts of labels, against those of whole arrays."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from CTSpectSpineLib.geometry import content_box, label_box, label_boxes, label_counts


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32])
@pytest.mark.parametrize("filled", [0, 1, 4, 400])
def test_as_looking_at_every_voxel(dtype: type, filled: int) -> None:
    draw = np.random.default_rng(filled)
    labels = np.zeros((9, 11, 13), dtype=dtype)
    at = draw.integers(0, labels.size, filled)
    labels.flat[at] = draw.choice([1, 3, 7, 31], filled)
    counts = label_counts(labels)
    assert counts.tolist() == np.bincount(labels.astype(int).ravel()).tolist()
    found = np.argwhere(labels)
    if not filled:
        assert label_box(labels) is None
        return
    box = label_box(labels)
    assert box is not None
    assert [s.start for s in box] == found.min(axis=0).tolist()
    assert [s.stop - 1 for s in box] == found.max(axis=0).tolist()
    assert content_box(labels > 0) == box
    # Every second voxel, as a view that is not contiguous.
    assert label_counts(labels[::2, ::2, ::2]).sum() == labels[::2, ::2, ::2].size
    if np.issubdtype(dtype, np.integer):
        expected = {n: b for n, b in enumerate(ndimage.find_objects(labels), 1) if b is not None}
        assert label_boxes(labels) == expected
        assert label_boxes(labels, 7) == {n: b for n, b in expected.items() if n <= 7}


def test_an_array_without_voxels_holds_no_label() -> None:
    empty = np.zeros((0, 3, 3), dtype=np.uint8)
    assert label_box(empty) is None
    assert label_boxes(empty) == {}
    assert label_counts(empty).tolist() == [0]
