"""Renumbering of vertebrae that are already outlined: no voxel moves, only names change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import apply_matrix, ijk_to_lps, label_counts
from CTSpectSpineLib.model import FloatArray

_CENTRE_MM = 2.0
"""Size to which voxels are thinned. Numerical: a fraction of the smallest body."""
_BLUR_MM = 5.0
"""Smoothing of a vertebra's label. Judgement: half the depth of a cervical body, so that arches and
processes fade."""
_DENSE = 0.9
"""Share of the highest density that belongs to the middle. Judgement: only the inside of the
body."""


@dataclass(frozen=True)
class Numbering:
    """Names of the vertebrae of a label map, and what is to be changed.

    Vertebrae are numbered by counting along the spine from one whose name is set, the anchor.
    The sacrum keeps its name.

    Attributes
    ----------
    found
        Names in the label map, cranial to caudal, the sacral ones last.
    anchor, level
        Name in the label map of the anchor, and its true name. Empty: all names stay.
    extra
        Those of ``"T13"`` and ``"L6"`` that this spine has.
    sacralised
        The lowest lumbar vertebra is fused with the sacrum and counts as part of it.
    apart
        Where names are missing below a vertebra: how many vertebrae have room there
        (`column_order.missing_vertebrae`). None where only names are known: then all of them but
        T12 and L5 have.
    """

    found: tuple[str, ...]
    anchor: str = ""
    level: str = ""
    extra: frozenset[str] = frozenset()
    sacralised: bool = False
    apart: Mapping[str, int] | None = None

    @property
    def presacral(self) -> tuple[str, ...]:
        """Vertebrae above the sacrum, cranial to caudal."""
        return tuple(name for name in self.found if name not in anatomy.SACRAL)

    def mapping(self) -> dict[str, str]:
        """Name in the label map to true name.

        Raises
        ------
        InputError
            If counting runs past the end of the spine, or there is no sacrum to join.
        """
        names = self.presacral
        if not names:
            raise InputError("There is no vertebra above the sacrum to be numbered.")
        result = self._counted(names) if self.anchor else {name: name for name in names}
        result |= {name: name for name in self.found if name in anatomy.SACRAL}
        if self.sacralised:
            sacral = next((name for name in reversed(self.found) if name in anatomy.SACRAL), "")
            if not sacral or len(names) < 2:
                raise InputError(
                    "The lowest lumbar vertebra can only be joined to a sacrum that is labelled."
                )
            result[names[-1]] = sacral
        return result

    @property
    def chain(self) -> list[str]:
        """All levels above the sacrum that this spine can have, cranial to caudal."""
        names = [row.name for row in anatomy.vertebrae() if row.name not in anatomy.SACRAL]
        return [name for name in names if name not in anatomy.SUPERNUMERARY or name in self.extra]

    def _counted(self, names: Sequence[str]) -> dict[str, str]:
        chain = self.chain
        if self.level not in chain:
            raise InputError(f"{self.level} is not part of this spine; add it first.")
        steps = _steps(names, self.apart)
        start = chain.index(self.level) - steps[names.index(self.anchor)]
        if start < 0:
            raise InputError(
                f"With {self.anchor} as {self.level} there would be vertebrae above C1; choose "
                "another level."
            )
        if start + steps[-1] >= len(chain):
            raise InputError(
                f"With {self.anchor} as {self.level} there would be vertebrae below {chain[-1]}; "
                "choose another level, or add L6."
            )
        return {name: chain[start + step] for name, step in zip(names, steps, strict=True)}

    def shifted(self, places: int) -> Numbering:
        """Move every name by some places, towards the feet where positive."""
        current, names, chain = self.mapping(), self.presacral, self.chain
        place = chain.index(current[names[0]]) + places
        if not 0 <= place < len(chain):
            raise InputError("There is no further level in this direction.")
        return self._with(anchor=names[0], level=chain[place])

    def with_level(self, anchor: str, level: str) -> Numbering:
        """Name one vertebra (by its name in the label map); all others follow by counting."""
        return self._with(anchor=anchor, level=level)

    def with_extra(self, name: str, present: bool) -> Numbering:
        """Insert or remove T13 or L6; vertebrae above keep their names.

        Raises
        ------
        InputError
            As `mapping`.
        """
        extra = self.extra | {name} if present else self.extra - {name}
        top = self.presacral[0]
        return self._with(extra=extra, anchor=top, level=self.mapping()[top])

    def with_sacralised(self, sacralised: bool) -> Numbering:
        """Mark the lowest lumbar vertebra as part of the sacrum, or no longer."""
        return self._with(sacralised=sacralised)

    def _with(self, **changes: Any) -> Numbering:
        """Change the numbering; refused where the new one gives a vertebra no name."""
        changed = replace(self, **changes)
        changed.mapping()
        return changed

    @property
    def gap(self) -> str:
        """Sentence on a level that the names lose above the sacrum; empty where they lose none."""
        present = [name for name in self.mapping().values() if name not in anatomy.SACRAL]
        sacral = any(name in anatomy.SACRAL for name in self.found)
        lowest, expected = present[-1] if present else "", self.chain[-1]
        if not sacral or self.sacralised or lowest == expected:
            return ""
        return f"{expected} would be missing: {lowest} would lie next to the sacrum."

    @property
    def changed(self) -> bool:
        """Whether any name changes."""
        return any(old != new for old, new in self.mapping().items())


def _steps(names: Sequence[str], apart: Mapping[str, int] | None) -> list[int]:
    """How far each vertebra lies below the first; one that was not outlined keeps its place."""
    order = [row.name for row in anatomy.vertebrae()]
    steps = [0]
    for upper, lower in pairwise(names):
        between = order[order.index(upper) + 1 : order.index(lower)]
        if apart is None:
            missing = sum(name not in anatomy.TRANSITIONAL for name in between)
        else:
            missing = apart.get(upper, 0)
        steps.append(steps[-1] + 1 + missing)
    return steps


def numbering_of(levels: Sequence[str], apart: Mapping[str, int] | None = None) -> Numbering:
    """The numbering that a label map has; ``apart`` as in `Numbering`."""
    found = anatomy.sort_levels(levels)
    extra = frozenset(name for name in found if name in anatomy.SUPERNUMERARY)
    return Numbering(found, extra=extra, apart=apart)


def renumber(labels: sitk.Image, mapping: Mapping[str, str]) -> sitk.Image:
    """Give the vertebrae of a label map other names; hips and other labels stay.

    Parameters
    ----------
    labels
        Label map with the ids of `anatomy`.
    mapping
        Name in the label map to true name; two may become one.

    Returns
    -------
    sitk.Image
        uint8 label map on the same grid.
    """
    lookup = np.arange(256, dtype=np.uint8)
    for old, new in mapping.items():
        lookup[anatomy.vertebra(old).id] = anatomy.vertebra(new).id
    voxels = sitk.GetArrayViewFromImage(labels).astype(np.uint8, copy=False)
    result = sitk.GetImageFromArray(lookup[voxels])
    result.CopyInformation(labels)
    return result


def levels_in(labels: sitk.Image) -> tuple[str, ...]:
    """Names of the vertebrae of a label map, cranial to caudal."""
    values = np.flatnonzero(label_counts(sitk.GetArrayViewFromImage(labels)))
    names = (anatomy.name_of_id(int(value)) for value in values)
    return anatomy.sort_levels(name for name in names if name is not None)


def body_centres(labels: sitk.Image) -> dict[str, FloatArray]:
    """Middle of each vertebral body: where its label is densest, LPS mm.

    Arches and processes are thinner than bodies at any voxel size; the depth inside the label is
    not, when voxels are as large as half a cervical body.

    Returns
    -------
    dict
        Name to point, shape (3,), cranial to caudal.
    """
    step = [max(1, round(_CENTRE_MM / spacing)) for spacing in labels.GetSpacing()]
    coarse = sitk.GetArrayViewFromImage(labels)[:: step[2], :: step[1], :: step[0]]
    boxes = ndimage.find_objects(coarse.astype(np.uint8, copy=False))
    matrix = ijk_to_lps(labels)
    spacing_mm = np.array(labels.GetSpacing())[::-1] * step[::-1]
    centres = {}
    for number, box in enumerate(boxes, start=1):
        name = anatomy.name_of_id(number)
        if box is None or name is None:
            continue
        mask = np.pad(coarse[box] == number, 1).astype(np.float32)
        dense = ndimage.gaussian_filter(mask, _BLUR_MM / spacing_mm, mode="constant")
        parts, _ = ndimage.label(dense >= _DENSE * dense.max())
        core = parts == parts[np.unravel_index(int(dense.argmax()), dense.shape)]
        inside = np.average(np.argwhere(core), axis=0, weights=dense[core]) - 1
        kji = (inside + [axis.start for axis in box]) * step[::-1]
        centres[name] = apply_matrix(matrix, kji[np.newaxis, ::-1])[0]
    return {name: centres[name] for name in anatomy.sort_levels(centres)}
