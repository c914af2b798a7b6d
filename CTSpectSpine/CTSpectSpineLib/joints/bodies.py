"""Vertebral bodies and their cancellous cores as regions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from CTSpectSpineLib.geometry import largest_piece
from CTSpectSpineLib.joints.frames import Fit
from CTSpectSpineLib.joints.label_volume import (
    LabelVolume,
    crop_to_content,
    local_grid,
    occupancy,
)
from CTSpectSpineLib.model import BoolArray, Region, VertebraFrame

STEP_MM = 1.0
"""Voxels of a body's local grid, mm. Numerical: a fifth of `CORE_DEPTH_MM`."""
CORE_DEPTH_MM = 5.0
"""Depth of the core below every surface of the body, mm. Judgement: half of the blur of bone SPECT
(8 to 12 mm), so that the core shows the body more than its surroundings."""

_CORE_SHARE = 0.6
"""The same as a share of the inscribed radius, where that is less. Judgement: leaves small bodies a
core."""
_OUTLINE = 1.25
"""Outline of the body, relative to the axes of its ellipse. Judgement: bodies are squarer than
ellipses."""
_BODY_HALF_HEIGHT_MM = 26.0
"""Reach above and below the centre where no endplate is known, mm. Judgement: the height of a
lumbar body, since the centre of one that is cut may lie near either end."""


def vertebra_frame(volume: LabelVolume, fit: Fit, ids: Sequence[int]) -> VertebraFrame:
    """Cut the body out of a vertebra and erode its core.

    The body is the bone in front of the posterior wall, inside 1.25 of the body ellipse. The
    core keeps 5 mm from every surface, or 0.6 of the inscribed radius in smaller bodies
    (cervical ones keep about 4 mm); C1, which has no body, has an empty core.
    """
    half_width, half_depth = (_OUTLINE * x + 2.0 for x in fit.semi_axes_mm)
    high = _BODY_HALF_HEIGHT_MM
    if fit.level == "C2":
        high = 45.0
    elif fit.top is not None:
        high = float((fit.top.point - fit.centre) @ fit.axes[2]) + 8.0
    low = _BODY_HALF_HEIGHT_MM
    if fit.bottom is not None:
        low = float((fit.centre - fit.bottom.point) @ fit.axes[2]) + 8.0
    elif fit.top is not None:
        low = high - 8.0
    grid = local_grid(
        fit.centre,
        fit.axes,
        np.array([-half_width, -half_depth, -low]),
        np.array([half_width, fit.canal.wall_mm + 1.0, high]),
        STEP_MM,
    )
    bone = occupancy(volume, ids, grid) >= 0.5
    l_mm, p_mm = (
        grid.ijk_to_lps[:3, axis] @ fit.axes[axis] * np.arange(grid.size[axis])
        + (grid.ijk_to_lps[:3, 3] - fit.centre) @ fit.axes[axis]
        for axis in (0, 1)
    )
    ellipse = np.hypot(l_mm[None, :] / half_width, p_mm[:, None] / half_depth) <= 1.0
    body = largest_piece(bone & ellipse)
    core = _core(body) if fit.level != "C1" else np.zeros_like(body)
    matrix = grid.ijk_to_lps
    return VertebraFrame(
        level=fit.level,
        centre_mm=fit.centre,
        axes=fit.axes,
        body=Region(*crop_to_content(body, matrix)),
        core=Region(*crop_to_content(core, matrix)),
        reliable=fit.reliable,
    )


def _core(body: BoolArray) -> BoolArray:
    """Voxels deeper than 5 mm, or than 0.6 of the inscribed radius if that is less."""
    if not body.any():
        return body
    depth = ndimage.distance_transform_edt(np.pad(body, 1))[1:-1, 1:-1, 1:-1] * STEP_MM
    core: BoolArray = depth > min(CORE_DEPTH_MM, _CORE_SHARE * float(depth.max()))
    return largest_piece(core)
