"""The built-in labeller: a small network trained on phantoms and a CT, and what follows it."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import apply_matrix, inverse
from CTSpectSpineLib.labelling.builtin.bones import hip_masks
from CTSpectSpineLib.labelling.builtin.evidence import (
    above_sacrum,
    look_around,
    no_fragments,
    on_course,
    sacrum_mask,
)
from CTSpectSpineLib.labelling.builtin.field import SpineField, spine_field
from CTSpectSpineLib.labelling.builtin.instances import (
    Column,
    chosen,
    find_column,
    vertebra_share,
)
from CTSpectSpineLib.labelling.builtin.naming import Naming, name_column
from CTSpectSpineLib.labelling.builtin.network import (
    CLASSES,
    Network,
    load_network,
    what_is_missing,
)
from CTSpectSpineLib.labelling.builtin.paint import paint
from CTSpectSpineLib.labelling.labellers import Labeller, register_labeller
from CTSpectSpineLib.labelling.levels.anchor import Anchor
from CTSpectSpineLib.model import BoolArray, VertebraLabels
from CTSpectSpineLib.progress import Progress, ProgressCallback

NAME = "builtin"
_NEAR_MM = 25.0
"""An anchor this near to a body's centre means that vertebra, even outside of it. Judgement: about
the half width of a lumbar body, and less than the way to the next one."""


def label_builtin(
    ct: sitk.Image, anchor: Anchor | None, progress: ProgressCallback
) -> VertebraLabels:
    """Label the vertebrae, sacrum and hips of a CT with the built-in network.

    Parameters
    ----------
    ct
        The CT in HU, on any orthogonal grid.
    anchor
        A vertebra whose level the user knows.
    progress
        Called before every step; cancels by raising.

    Raises
    ------
    InputError
        If the network cannot run, or no vertebra is found.
    """
    network = load_network()
    return label_with(network, ct, anchor, progress)


def label_with(
    network: Network, ct: sitk.Image, anchor: Anchor | None, progress: ProgressCallback
) -> VertebraLabels:
    """Label a CT with a network; see `label_builtin`."""
    field = spine_field(ct, network, progress)
    progress(Progress("label", 0.9, "Telling the vertebrae apart"))
    sacrum = sacrum_mask(field)
    column = find_column(field, ct)
    column = chosen(column, on_course(column.instances))
    column = chosen(column, above_sacrum(column.instances, field, sacrum))
    column = chosen(column, no_fragments(column.instances))
    if not column.instances:
        raise InputError(
            "The built-in labeller found no vertebra in the CT: check that it is a CT in HU that "
            "shows the spine, or give a label map with --vertebrae."
        )
    naming = name_column(
        look_around(column.instances, field, sacrum), _anchored(anchor, column, field)
    )
    progress(Progress("label", 0.95, "Putting the labels on the CT's grid"))
    image = _painted(ct, field, column, naming, sacrum)
    present = set(np.unique(sitk.GetArrayViewFromImage(image)).tolist())
    confidence = {
        name: round(float(sure * item.agreement**0.5), 3)
        for name, sure, item in zip(naming.levels, naming.confidence, column.instances, strict=True)
    }
    levels = anatomy.sort_levels(name for n in present if (name := anatomy.name_of_id(n)))
    return VertebraLabels(
        image=image,
        levels=levels,
        engine=NAME,
        engine_version=network.version,
        levels_confirmed=naming.confirmed,
        doubted_levels=naming.doubted,
        confidence={name: confidence[name] for name in levels if name in confidence},
        warnings=naming.warnings,
    )


def _anchored(anchor: Anchor | None, column: Column, field: SpineField) -> tuple[int, str] | None:
    """Which vertebra the anchor lies in; None where it lies in none."""
    if anchor is None or anchor.level in (anatomy.SACRUM, "S1"):
        return None
    index = apply_matrix(inverse(field.grid.ijk_to_lps), anchor.point[np.newaxis])[0]
    at = tuple(np.rint(index[::-1]).astype(int).tolist())
    if all(0 <= a < n for a, n in zip(at, column.assigned.shape, strict=True)):
        number = int(column.assigned[at])
        if number:
            return number - 1, anchor.level
    away = [float(np.linalg.norm(i.centre_mm - anchor.point)) for i in column.instances]
    nearest = int(np.argmin(away))
    return (nearest, anchor.level) if away[nearest] <= _NEAR_MM else None


def _painted(
    ct: sitk.Image, field: SpineField, column: Column, naming: Naming, sacrum: BoolArray
) -> sitk.Image:
    """All labels on the grid of the CT."""
    whole = vertebra_share(field)
    shares = {
        anatomy.vertebra(name).id: np.where(column.assigned == number, whole, np.float32(0))
        for number, name in enumerate(naming.levels, start=1)
    }
    masks = {anatomy.vertebra(anatomy.SACRUM).id: (sacrum, "sacrum")}
    hips = hip_masks(field, column)
    masks |= {anatomy.hip_ids()[name]: (mask, "hip") for name, mask in hips.items()}
    for label, (mask, kind) in masks.items():
        if mask.any():
            share = field.shares[CLASSES.index(kind)].astype(np.float32)
            shares[label] = np.where(_grown(mask), share, np.float32(0))
    return paint(ct, field.grid, shares)


def _grown(mask: BoolArray) -> BoolArray:
    """A mask and the voxels next to it, which hold the slope of its probability."""
    return np.asarray(ndimage.binary_dilation(mask, np.ones((3, 3, 3), dtype=bool), iterations=4))


register_labeller(Labeller(NAME, label_builtin, what_is_missing))
