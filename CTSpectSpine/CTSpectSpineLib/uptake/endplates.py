"""The two endplates of a disc apart: which of them takes up more.

A disc's bone is solved as one region, because its endplates lie less than a resolution apart. What
that leaves unexplained of the SPECT says which of the two has more: a difference that keeps the
disc's mean, fitted beside changes of the regions around, each held by what is known of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg, sparse

from CTSpectSpineLib.model import FloatArray, Joint
from CTSpectSpineLib.uptake.noise import Noise
from CTSpectSpineLib.uptake.partition import Partition, nodes_inside
from CTSpectSpineLib.uptake.resolution import View
from CTSpectSpineLib.uptake.response import Response
from CTSpectSpineLib.uptake.sampling import SpectField
from CTSpectSpineLib.uptake.transfer import Mask, mask_profiles

_DIFFERENCE_SD = 0.6
"""Expected difference of a disc's endplates, relative to its uptake. Judgement: where a disc is
hot, often one endplate is (Modic changes, erosive osteochondrosis); up to twice this is usual."""
_AROUND_SD = 0.1
"""How far the uptake of regions around may be off, relative to the reference or their own.
Judgement: about the error with which they were solved."""
_LEAST_NODES = 8
"""Nodes of each endplate. Numerical: fewer are a rim that another joint left over."""
_RESOLVED_VOXELS = 8.0
"""Voxels that share their noise and misfit, in effect. Judgement: a resolution of 10 to 12 mm holds
two to three voxels of 4 to 5 mm along each axis."""
_DECIMALS = 7
"""Decimals kept of a relative uptake. Numerical: sums over several threads differ beyond them."""


@dataclass(frozen=True)
class Endplates:
    """Nodes of a disc's endplates.

    Attributes
    ----------
    number
        The disc's bone in the partition.
    upper, lower
        The endplate of the vertebra above the disc, and of the one below.
    """

    number: int
    upper: Mask
    lower: Mask

    @property
    def share_upper(self) -> float:
        """Share of the nodes that the upper one has."""
        upper = float(np.count_nonzero(self.upper[1]))
        return upper / (upper + float(np.count_nonzero(self.lower[1])))


@dataclass(frozen=True)
class EndplateUptake:
    """Uptake of a disc's endplates relative to the disc's own."""

    upper: float
    lower: float


def find_endplates(
    field: SpectField, partition: Partition, joints: Sequence[Joint]
) -> dict[str, Endplates]:
    """Endplates of the discs that have both, by joint id.

    Parameters
    ----------
    field, partition
        The SPECT around the spine and its regions.
    joints
        The joints; discs have the parts ``endplate_upper`` and ``endplate_lower``.
    """
    found = {}
    for joint in joints:
        number = partition.position("disc_bone", joint.id)
        if number is None or not {"endplate_upper", "endplate_lower"} <= set(joint.parts):
            continue
        box, mine = partition.mask(number)
        upper = mine & nodes_inside(field, joint.parts["endplate_upper"], box)
        lower = mine & nodes_inside(field, joint.parts["endplate_lower"], box) & ~upper
        if min(np.count_nonzero(upper), np.count_nonzero(lower)) >= _LEAST_NODES:
            found[joint.id] = Endplates(number, (box, upper), (box, lower))
    return found


def endplate_uptakes(
    endplates: Mapping[str, Endplates],
    view: View,
    profiles: sparse.csc_matrix,
    response: Response,
    uptake: FloatArray,
    unit: float,
    noise: Noise,
) -> dict[str, EndplateUptake]:
    """Uptake of the endplates relative to that of their disc, by joint id.

    Parameters
    ----------
    endplates
        From `find_endplates`.
    view, profiles, response
        The SPECT around the spine, its regions, and how they are seen.
    uptake
        Of the regions as they are seen, SPECT units, shape (regions,).
    unit
        Reference uptake, SPECT units.
    noise
        The SPECT's noise.
    """
    if not endplates:
        return {}
    names = list(endplates)
    masks = [m for name in names for m in (endplates[name].upper, endplates[name].lower)]
    halves = mask_profiles(masks, "disc_bone", view.partition, view.field, response)
    left = view.field.array.ravel() - profiles @ uptake
    near = np.bincount(profiles.indices, minlength=len(left)) > 0
    error = np.sqrt(_RESOLVED_VOXELS) * np.hypot(noise.sd.ravel(), float(np.std(left[near])))
    # Only the voxels that see an endplate are looked at by rows.
    seen = np.unique(halves.indices)
    whole = sparse.csr_matrix(profiles[seen])
    result = {}
    for place, name in enumerate(names):
        found = endplates[name]
        upper, lower = halves[:, 2 * place], halves[:, 2 * place + 1]
        rows = np.unique(np.concatenate([upper.indices, lower.indices]))
        share = found.share_upper
        change = ((1.0 - share) * upper - share * lower)[rows].toarray()
        here = whole[np.searchsorted(seen, rows)]
        around = np.unique(here.indices)
        own = float(uptake[found.number])
        spread = np.append(
            _DIFFERENCE_SD * max(own, unit), _AROUND_SD * np.maximum(uptake[around], unit)
        )
        columns = np.concatenate([change, here.toarray()[:, around]], axis=1) * spread
        columns /= error[rows, None]
        normal = columns.T @ columns + np.eye(len(spread))
        solved = linalg.solve(normal, columns.T @ (left[rows] / error[rows]), assume_a="pos")
        result[name] = _relative(float(solved[0] * spread[0]), own, share)
    return result


def _relative(difference: float, own: float, share: float) -> EndplateUptake:
    """Both endplates over their mean, neither below zero."""
    if own <= 0.0:
        return EndplateUptake(1.0, 1.0)
    relative = float(np.clip(difference / own, -1.0 / max(share, 1e-6), 1.0 / max(share, 1e-6)))
    upper, lower = 1.0 + (1.0 - share) * relative, 1.0 - share * relative
    if min(upper, lower) < 0.0:
        upper, lower = (1.0 / share, 0.0) if lower < 0.0 else (0.0, 1.0 / (1.0 - share))
    return EndplateUptake(round(upper, _DECIMALS), round(lower, _DECIMALS))


def mean_endplates(many: Sequence[Mapping[str, EndplateUptake]]) -> dict[str, EndplateUptake]:
    """Mean over solutions of several families."""
    return {
        name: EndplateUptake(
            float(np.mean([one[name].upper for one in many])),
            float(np.mean([one[name].lower for one in many])),
        )
        for name in many[0]
        if all(name in one for one in many)
    }
