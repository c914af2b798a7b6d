"""Pictures of labelled columns: the sagittal plane bent along the spine, found and true names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import SimpleITK as sitk
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from CTSpectSpineLib import anatomy

INK = "#333333"
WRONG = "#FFB070"
# Neighbours differ in brightness too (Okabe and Ito).
_COLOURS = ListedColormap(["#0072B2", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#CC79A7"])
_VOXEL_MM = 1.5
"""Voxel of the pictures, mm. Judgement: fine enough for the outline of a vertebra."""
_BEFORE_MM, _BEHIND_MM = 70.0, 45.0
"""Shown before and behind the middles of the vertebrae, mm. Judgement: bodies and spinous processes
with a margin."""
_LEAST_SHOWN = 40
"""Least number of pixels in the plane for a vertebra to be named. Judgement: 90 mm², about a tenth
of a lumbar body."""
_RC: dict[Any, Any] = {"font.size": 8, "text.color": INK}


@dataclass(frozen=True)
class Panel:
    """One labelled CT.

    Attributes
    ----------
    title
        Shown above it.
    ct, found
        CT and the labels that were found, ids of `anatomy`.
    true
        The true labels; None where there are none.
    """

    title: str
    ct: sitk.Image
    found: sitk.Image
    true: sitk.Image | None = None


def draw_columns(panels: Sequence[Panel], path: Path) -> None:
    """Draw the columns side by side; a found name that is not the true one is orange."""
    views = [_view(panel) for panel in panels]
    shapes = [view[0].shape for view in views]
    wide = [max(width / height, 0.36) for height, width in shapes]
    with mpl.rc_context(_RC):
        figure = Figure(figsize=(5.6 * sum(wide) + 0.3, 6.0), layout="constrained")
        every = figure.subplots(1, len(panels), width_ratios=wide, squeeze=False)[0]
        for axes, panel, view in zip(every, panels, views, strict=True):
            _draw(axes, panel.title, *view)
        figure.savefig(path, dpi=110, bbox_inches="tight")


def _view(panel: Panel) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """CT, found and true labels in the bent plane, rows from below, columns from front to back."""
    ct, found = (_even(i, how) for i, how in ((panel.ct, sitk.sitkLinear), (panel.found, _LABEL)))
    true = found if panel.true is None else _even(panel.true, _LABEL)
    across, (front, back) = _plane(true if (true > 0).any() else found)
    rows = np.arange(ct.shape[0])
    low = max(0, front - round(_BEFORE_MM / _VOXEL_MM))
    high = min(ct.shape[1], back + round(_BEHIND_MM / _VOXEL_MM))
    ct, found, true = (a[rows, :, across][:, low:high] for a in (ct, found, true))
    return ct, found, true


def _draw(
    axes: Axes, title: str, ct: NDArray[Any], found: NDArray[Any], true: NDArray[Any]
) -> None:
    axes.imshow(np.clip(ct, -250, 900), cmap="gray", origin="lower", interpolation="bilinear")
    axes.imshow(
        np.ma.masked_equal(found, 0) % _COLOURS.N,
        cmap=_COLOURS,
        alpha=0.45,
        origin="lower",
        vmin=0,
        vmax=_COLOURS.N - 1,
        interpolation="nearest",
    )
    for number in np.unique(true)[1:]:
        level = _name(int(number))
        at = np.argwhere(true == number)
        if level is None or len(at) < _LEAST_SHOWN:
            continue
        names = np.bincount(found[true == number], minlength=2)
        names[0] = 0
        other = _name(int(names.argmax())) if names.any() else "missed"
        right = other == level
        text = level if right else f"{level}→{other}"
        axes.text(1, at[:, 0].mean(), text, color="white" if right else WRONG, va="center")
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()


def _name(number: int) -> str | None:
    """Name of a label; S1 is part of the sacrum, as it is one bone."""
    name = anatomy.name_of_id(number)
    return anatomy.SACRUM if name == "S1" else name


_LABEL = sitk.sitkNearestNeighbor


def _even(image: sitk.Image, how: int) -> NDArray[Any]:
    """The image in even voxels, axes to the left, back and up, ``[k, j, i]``."""
    image = sitk.DICOMOrient(image, "LPS")
    size = [
        max(1, round(n * s / _VOXEL_MM))
        for n, s in zip(image.GetSize(), image.GetSpacing(), strict=True)
    ]
    even = sitk.Resample(
        image, size, sitk.Transform(), how, image.GetOrigin(), [_VOXEL_MM] * 3,
        image.GetDirection(), 0.0 if how == _LABEL else -1000.0,
    )  # fmt: skip
    return np.asarray(sitk.GetArrayFromImage(even))


def _plane(labels: NDArray[Any]) -> tuple[NDArray[np.intp], tuple[int, int]]:
    """Column of the spine's middle in every row, and the frontmost and hindmost of its middles."""
    middles = [
        np.argwhere(labels == number).mean(axis=0)
        for number in np.unique(labels)[1:]
        if _name(int(number)) is not None
    ]
    at = np.array(sorted(middles, key=lambda m: m[0])).reshape(-1, 3)
    if not len(at):
        return np.full(labels.shape[0], labels.shape[2] // 2), (0, labels.shape[1])
    across = np.interp(np.arange(labels.shape[0]), at[:, 0], at[:, 2])
    inside = np.clip(np.rint(across), 0, labels.shape[2] - 1).astype(int)
    return inside, (int(at[:, 1].min()), int(at[:, 1].max()))
