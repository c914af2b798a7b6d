"""Division of the spine and its surroundings into regions that do not overlap.

The regions stand on a lattice that is the SPECT grid divided by a whole number, with SPECT voxel
centres on lattice nodes. Every node belongs to at most one region:

1. bone bands of a disc, disc space, and bone of a facet joint, as the joints define them; where
   the bone of two joints overlaps, the nearer joint centre gets the node;
2. what remains of each vertebral body and of its posterior elements; of the sacrum; of the hips;
3. around them, out to 22 mm, soft tissue and whatever else is not labelled (kidneys, bladder,
   ribs), in blocks of about 22 mm, cut along the edges of hot organs (`surroundings`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.geometry import ijk_to_lps
from CTSpectSpineLib.model import BoolArray, FloatArray, Joint, Region, SpineJoints
from CTSpectSpineLib.uptake.lattice import Box, CodeArray, Lattice, Part, PartKind, lookup
from CTSpectSpineLib.uptake.nodes import Nodes, nodes_of
from CTSpectSpineLib.uptake.sampling import SpectField
from CTSpectSpineLib.uptake.surroundings import add_background

SLAB_MM, WING_MM, BODY_MM = 25.0, 27.0, 36.0
"""Height of the sacrum's pieces; where its wings begin beside the middle plane, and its arch behind
its front. Judgement: about the height of an adult's sacral segment, and the half width and the
depth of S1 with its canal."""
_SLABS, _LEAST_PIECE = 4, 0.15
"""Number of the slabs at most, and the share of the largest piece that one must have. Judgement:
below S4 little bone is left, and a smaller piece is not resolved by itself."""


@dataclass(frozen=True)
class Partition:
    """Regions on the lattice.

    Attributes
    ----------
    parts
        The regions, each with at least one node.
    codes
        Lattice ``[k, j, i]``; ``r + 1`` at nodes of ``parts[r]``, 0 where nothing is modelled.
    factor
        Lattice steps per SPECT voxel along ``(k, j, i)``; node 0 is the centre of voxel 0.
    """

    parts: tuple[Part, ...]
    codes: CodeArray
    factor: tuple[int, int, int]

    def position(self, kind: PartKind, owner: str) -> int | None:
        """Number of a region, None when it has no node."""
        return self._numbers.get(Part(kind, owner))

    @cached_property
    def _numbers(self) -> dict[Part, int]:
        return {part: number for number, part in enumerate(self.parts)}

    @cached_property
    def boxes(self) -> tuple[Box, ...]:
        """Bounding box of each region on the lattice."""
        return tuple(_as_box(found) for found in ndimage.find_objects(self.codes))

    @cached_property
    def sizes(self) -> NDArray[np.intp]:
        """Nodes of each region, shape (regions,)."""
        return _counts(self.codes, len(self.parts))[1:]

    def mask(self, number: int) -> tuple[Box, BoolArray]:
        """Bounding box of a region and its nodes in there."""
        box = self.boxes[number]
        return box, self.codes[box] == number + 1

    @cached_property
    def nodes(self) -> tuple[Nodes, ...]:
        """`mask` of every region, in few numbers."""
        return tuple(nodes_of(*self.mask(number)) for number in range(len(self.parts)))

    def of_kind(self, *kinds: PartKind) -> list[int]:
        """Numbers of the regions of some kinds."""
        return [number for number, part in enumerate(self.parts) if part.kind in kinds]


def _as_box(found: tuple[slice, ...] | None) -> Box:
    assert found is not None, "every region has nodes"
    return found[0], found[1], found[2]


def build_partition(field: SpectField, spine: SpineJoints, labels: sitk.Image) -> Partition:
    """Divide a SPECT field into regions.

    Parameters
    ----------
    field
        The SPECT, usually cropped to the spine with a margin.
    spine
        Joints and vertebra frames.
    labels
        Vertebra labels on the CT, ids of `anatomy`.
    """
    lattice = Lattice(field)
    label_nodes = _labels_on_lattice(lattice, labels)
    _add_bones(lattice, spine, label_nodes)
    _add_joints(lattice, spine.joints)
    add_background(lattice, field)
    return _without_empty(lattice)


def nodes_inside(field: SpectField, region: Region, box: Box) -> BoolArray:
    """Which nodes of a box of a field's lattice lie in a region."""
    return Lattice(field).inside(region, box)


def _labels_on_lattice(lattice: Lattice, labels: sitk.Image) -> NDArray[np.uint8]:
    matrix = ijk_to_lps(labels)
    to_index = np.linalg.inv(matrix) @ lattice.to_ct
    array = sitk.GetArrayViewFromImage(labels)
    # Every other node tells where labels are; all nodes there are then looked up.
    shape = lattice.shape
    coarse = ndimage.affine_transform(
        array,
        2.0 * to_index[:3, :3][::-1, ::-1],
        (to_index[:3, :3] @ [0.5, 0.5, 0.5] + to_index[:3, 3])[::-1],
        output_shape=tuple((n + 1) // 2 for n in shape),
        order=0,
        mode="grid-constant",
    )
    around = ndimage.maximum_filter(coarse > 0, size=3)
    found = np.zeros(shape, dtype=array.dtype)
    corner = np.argwhere(around) * 2
    for step in np.ndindex(2, 2, 2):
        near = corner + step
        near = near[np.all(near < shape, axis=1)]
        k, j, i = near.T
        found[k, j, i] = lookup(array, matrix, lattice.points(near))
    return found


def _add_bones(lattice: Lattice, spine: SpineJoints, label_nodes: NDArray[np.uint8]) -> None:
    boxes = dict(enumerate(ndimage.find_objects(label_nodes), start=1))
    hips = {number: name for name, number in anatomy.hip_ids().items()}
    for number, found in ((n, box) for n, box in boxes.items() if box):
        here = label_nodes[found] == number
        level = anatomy.name_of_id(number)
        target = lattice.codes[found]
        if number in hips:
            target[here] = lattice.code("hip", hips[number])
        elif level in (anatomy.SACRUM, "S1"):
            _add_sacrum(lattice, found, here)
        elif level is not None:
            target[here] = lattice.code("posterior", level)
            frame = spine.frames.get(level)
            box = lattice.box(frame.body) if frame is not None else None
            if frame is not None and box is not None:
                body = lattice.inside(frame.body, box) & (label_nodes[box] == number)
                lattice.codes[box][body] = lattice.code("body", level)


def _add_sacrum(lattice: Lattice, box: tuple[slice, ...], here: BoolArray) -> None:
    """The sacrum in pieces (bodies, arch and wings, in slabs from above): they differ in uptake.

    A single value would push the excess of the first segment into the lumbosacral disc, and that
    of the sacroiliac joints into the facet joints.
    """
    nodes = np.argwhere(here)
    points = lattice.points(nodes + [s.start for s in box])
    below = np.percentile(points[:, 2], 99) - points[:, 2]
    slab = np.clip(below // SLAB_MM, 0, _SLABS - 1).astype(int)
    side = points[:, 0] - np.median(points[:, 0])
    wing = np.where(side > WING_MM, 1, np.where(side < -WING_MM, 2, 0))
    for n in np.unique(slab):
        middle = (slab == n) & (wing == 0)
        if middle.any():
            depth = points[:, 1] - np.percentile(points[middle, 1], 2)
            wing[middle & (depth > BODY_MM)] = 3
    number = 4 * slab + wing
    sizes = np.bincount(number, minlength=4 * _SLABS)
    small = np.flatnonzero(sizes < _LEAST_PIECE * sizes.max())
    lost = np.isin(number, small)
    if lost.any():
        # What is too small for a value of its own goes to the nearest piece.
        nearest = cKDTree(points[~lost]).query(points[lost])[1]
        number[lost] = number[~lost][nearest]
    for piece in np.unique(number):
        name = ("", " left", " right", " arch")[piece % 4]
        owner = (
            f"{anatomy.SACRUM}{name}" if piece < 4 else f"{anatomy.SACRUM}{name} {piece // 4 + 1}"
        )
        k, j, i = nodes[number == piece].T
        lattice.codes[box][k, j, i] = lattice.code("sacrum", owner)


def _add_joints(lattice: Lattice, joints: tuple[Joint, ...]) -> None:
    claimed = np.zeros(lattice.codes.shape, dtype=bool)
    centres: dict[int, FloatArray] = {}
    for joint in joints:
        space = joint.parts.get("disc_space")
        if joint.bone is None or joint.centre_mm is None:
            continue
        if space is not None:
            _paint(lattice, space, lattice.code("disc_space", joint.id), claimed)
        kind: PartKind = "disc_bone" if joint.kind == "disc" else "facet_bone"
        code = lattice.code(kind, joint.id)
        centres[code] = joint.centre_mm
        box = lattice.box(joint.bone)
        if box is None:
            continue
        mine = lattice.inside(joint.bone, box)
        contested = mine & claimed[box]
        if contested.any():
            mine[contested] = _nearer_to(lattice, box, contested, code, centres)
        lattice.codes[box][mine] = code
        claimed[box][mine] = True


def _paint(lattice: Lattice, region: Region, code: int, kept: BoolArray) -> None:
    box = lattice.box(region)
    if box is not None:
        lattice.codes[box][lattice.inside(region, box) & ~kept[box]] = code


def _nearer_to(
    lattice: Lattice,
    box: Box,
    contested: BoolArray,
    code: int,
    centres: dict[int, FloatArray],
) -> BoolArray:
    """Which of the contested nodes are nearer to this joint's centre than to their owner's."""
    points = lattice.points(np.argwhere(contested) + [s.start for s in box])
    owner = np.array([centres[int(held)] for held in lattice.codes[box][contested]])
    mine = np.linalg.norm(points - centres[code], axis=1)
    return np.asarray(mine < np.linalg.norm(points - owner, axis=1))


def _without_empty(lattice: Lattice) -> Partition:
    """Drop regions that lost all nodes to others and renumber the rest."""
    present = _counts(lattice.codes, len(lattice.parts))[1:] > 0
    renumber = np.concatenate([[0], np.where(present, np.cumsum(present), 0)]).astype(np.uint16)
    parts = tuple(p for p, there in zip(lattice.parts, present, strict=True) if there)
    if not present.all():
        for codes in lattice.codes:
            codes[...] = renumber[codes]
    return Partition(parts, lattice.codes, lattice.factor)


def _counts(codes: CodeArray, largest: int) -> NDArray[np.intp]:
    """How many nodes hold each number from 0; plane by plane, as counting copies what it counts."""
    counts = np.zeros(largest + 1, dtype=np.intp)
    for plane in codes:
        counts += np.bincount(plane.ravel(), minlength=largest + 1)
    return counts
