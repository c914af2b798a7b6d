"""Facet joints on the CT where it shows their space, else by the labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from CTSpectSpineLib.joints.arch import BONE_SHARE, Field, divide_arch
from CTSpectSpineLib.joints.facets import Facet, find_facets
from CTSpectSpineLib.joints.motion_segment import Pair

ON_CT = "CT"
"""Convention: how a joint is marked that lies where the CT shows its space."""

_BRIGHT_SHARE = 0.6
"""Share of full bone from which a voxel of a joint space is bright. Judgement: more bone than
gap."""
_MOST_BRIGHT = 0.05
"""Largest part of a joint space found on the CT that may be bright. Measured: 0 to 0.04 on 58 of 60
joints of phantoms of seeds 31001 and 31005 with voxels of 1 mm, whose centres then lie 0.3 to 2.5
mm from the true ones; 0.07 to 0.4 on a real CT of 1.5 mm, where spaces are partly lost."""
_AROUND_MM = 4
"""How far around a joint space bone is expected, mm. Judgement: both cortices."""
_LEAST_BONE = 0.15
"""Least share of bone there. Measured: 0.37 to 0.45 on a phantom, 0.17 to 0.39 on a real CT of 1.5
mm; 0 to 0.05 where the CT of that phantom ends 2 mm beyond the middle of the joint or before."""
_FARTHEST_MM = 12.0
"""Farthest from the place by the labels that a joint found on the CT may lie, mm. Measured on
phantoms with labels divided wrongly on purpose: those were up to 9.3 mm off."""


def outline_facets(pair: Pair, ct: sitk.Image | None) -> dict[str, Facet | str]:
    """Find the facet joints of a pair; see `facets.find_facets`.

    A joint whose space the CT shows is `Facet.outlined_on` the CT; the others are found by the
    labels alone, and `Facet.outlined_on` says why.
    """
    by_labels = find_facets(pair)
    if ct is None:
        return by_labels
    if pair.upper.level == "C1":
        reason = "the lateral joints of C1 and C2 are not sought on CT"
        return {side: _by_labels(found, reason) for side, found in by_labels.items()}
    divided = divide_arch(pair, ct)
    if isinstance(divided, str):
        return {side: _by_labels(found, divided) for side, found in by_labels.items()}
    on_ct = find_facets(divided.pair)
    return {side: _better(by_labels[side], on_ct[side], divided.share) for side in by_labels}


def _by_labels(found: Facet | str, reason: str) -> Facet | str:
    """The joint by the labels, with the reason why it is not the CT's."""
    return found if isinstance(found, str) else replace(found, outlined_on=f"labels: {reason}")


def _better(by_labels: Facet | str, on_ct: Facet | str, share: Field) -> Facet | str:
    """The joint on the CT where its space is dark throughout, else that by the labels."""
    if isinstance(on_ct, str) or on_ct.sheet is None:
        return _by_labels(by_labels, "no joint space was found on the CT")
    around = ndimage.binary_dilation(on_ct.sheet, iterations=_AROUND_MM)
    if not np.mean(share[around] >= BONE_SHARE) >= _LEAST_BONE:
        return _by_labels(by_labels, "the CT shows no bone around the joint space")
    if np.mean(share[on_ct.sheet] >= _BRIGHT_SHARE) > _MOST_BRIGHT:
        return _by_labels(by_labels, "the CT does not show the joint space throughout")
    if not isinstance(by_labels, str) and by_labels.sheet is not None:
        apart = float(np.linalg.norm(on_ct.centre - by_labels.centre))
        if apart > _FARTHEST_MM:
            return _by_labels(by_labels, "the joint space on the CT lies too far from there")
    return replace(on_ct, outlined_on=ON_CT)
