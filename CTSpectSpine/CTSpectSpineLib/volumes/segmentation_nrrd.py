"""Segmentations as 3D Slicer's ``.seg.nrrd``.

The header fields ``SegmentN_*`` and ``Segmentation_*`` are those that Slicer's
``vtkMRMLSegmentationStorageNode`` writes and reads. Segments that overlap are put in several
layers (the ``list`` axis, which varies fastest). The same input gives the same bytes.

The package ``slicerio`` (1.4 was tried) does not fit here. It reads a file without space or space
directions as if its matrix were the identity, accepts a layer that is not in the file, refuses
LAS and short names of spaces, and ends in an IndexError or ValueError on a short terminology, a
tag without colon or two blanks in a colour. Its writer puts the date into the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import replacing
from CTSpectSpineLib.geometry import Grid, affine, grid_of
from CTSpectSpineLib.model import BoolArray, FloatArray, Region
from CTSpectSpineLib.volumes.mostly_zeros import GzipOfMostlyZeros
from CTSpectSpineLib.volumes.nrrd_files import TO_LPS, read_nrrd
from CTSpectSpineLib.volumes.plausible import check_grid
from CTSpectSpineLib.volumes.regions import Box, overlap, resample_region

TERMINOLOGY_TAG = "TerminologyEntry"
_LARGEST_VALUE = 65535
"""Largest value of a label. By definition: of 16 bits, the largest that is written here."""
_TYPES = {"uint8": "unsigned char", "uint16": "unsigned short"}


@dataclass(frozen=True)
class Segment:
    """One segment of a segmentation.

    Attributes
    ----------
    id, name
        Identifier (unique in the file) and the name that is shown.
    colour
        Red, green and blue, 0 to 1.
    region
        The voxels: a `Region` on any grid, or an array ``[k, j, i]`` on the file's grid.
    label_value
        Value of the voxels in the file, 1 to 65535. Without it: the number of the segment.
        Segments of one layer never share a value.
    terminology
        Slicer's string ``context~category~type~modifier~region context~region~modifier`` with
        ``scheme^code^meaning`` triples; empty for none.
    tags
        Further tags; they are shown by Slicer and survive there.
    """

    id: str
    name: str
    colour: tuple[float, float, float]
    region: Region | BoolArray
    label_value: int | None = None
    terminology: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Placed:
    """A segment's voxels on the output grid, and where in the file they go."""

    mask: BoolArray
    box: Box
    value: int
    layer: int


def write_segmentation(
    path: Path | str, segments: Sequence[Segment], grid: sitk.Image | Grid
) -> None:
    """Write segments as a ``.seg.nrrd`` on the given grid.

    Regions are resampled by `resample_region`. Each segment goes to the first layer in which it
    overlaps no other; a file without overlaps has one layer and is an ordinary label map.

    Parameters
    ----------
    path
        File to write; it appears only when it is complete.
    segments
        The segments in the order in which they are listed.
    grid
        Geometry of the file.

    Raises
    ------
    ValueError
        If ids or a layer's label values repeat, a label value is out of range, or an array does
        not have the shape of the grid.
    """
    geometry = grid if isinstance(grid, Grid) else grid_of(grid)
    _check_segments(segments)
    placed = _place(segments, geometry)
    layers = max((p.layer for p in placed), default=0) + 1
    highest = max((p.value for p in placed), default=1)
    dtype = np.dtype(np.uint8 if highest < 256 else np.uint16)
    header = _header(segments, placed, geometry, layers, dtype)
    with replacing(Path(path)) as temporary, temporary.open("wb") as stream:
        stream.write(header.encode("utf-8"))
        voxels = GzipOfMostlyZeros(stream)
        _write_planes(voxels, placed, geometry, layers, dtype)
        voxels.finish()


def read_segmentation(path: Path | str) -> tuple[tuple[Segment, ...], Grid]:
    """Read a ``.seg.nrrd``; a plain label map in NRRD gives one unnamed segment per value.

    Returns
    -------
    segments, grid
        The segments, each with a `Region` that is cropped to its bounding box, and the geometry
        of the whole file.

    Raises
    ------
    InputError
        If the file is missing, unreadable or not a label map.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{file}: the file does not exist; check the path.")
    header, data = read_nrrd(file)
    matrix = _matrix(header, file)
    if data.ndim == 3:
        data = data[..., np.newaxis]
    if data.ndim != 4 or data.dtype.kind not in "iu":
        raise InputError(f"{file}: this NRRD file holds no segmentation (3D integer labels).")
    if data.min() < 0 or data.max() > _LARGEST_VALUE:
        raise InputError(
            f"{file}: holds values from {data.min()} to {data.max()}; labels are 0 to "
            f"{_LARGEST_VALUE}. Give a segmentation."
        )
    shape = data.shape[:3]
    check_grid(str(file), shape[::-1], matrix)
    grid = Grid((shape[2], shape[1], shape[0]), matrix)
    entries = list(_segment_entries(header, data.shape[3], file)) or list(_unnamed_entries(data))
    boxes: dict[int, list[Any]] = {}
    segments = []
    for entry in entries:
        layer, value = entry.layer, entry.value
        if not 0 <= layer < data.shape[3]:
            raise InputError(
                f"{file}: segment '{entry.name}' names layer {layer}, not in the file."
            )
        if layer not in boxes:
            boxes[layer] = list(ndimage.find_objects(data[..., layer].astype(np.int32)))
        found = boxes[layer][value - 1] if 0 < value <= len(boxes[layer]) else None
        segments.append(entry.segment(data, found, matrix))
    return tuple(segments), grid


@dataclass(frozen=True)
class _Entry:
    """What the header says about one segment."""

    id: str
    name: str
    colour: tuple[float, float, float]
    tags: Mapping[str, str]
    value: int
    layer: int

    def segment(self, data: NDArray[np.generic], box: Box | None, matrix: FloatArray) -> Segment:
        box = box or (slice(0, 0), slice(0, 0), slice(0, 0))
        local = matrix.copy()
        local[:3, 3] += matrix[:3, :3] @ [box[2].start, box[1].start, box[0].start]
        index = (*box, self.layer)
        mask = np.asarray(data[index] == self.value)
        tags = dict(self.tags)
        terminology = tags.pop(TERMINOLOGY_TAG, "")
        return Segment(
            self.id, self.name, self.colour, Region(mask, local), self.value, terminology, tags
        )


def _check_segments(segments: Sequence[Segment]) -> None:
    ids = [segment.id for segment in segments]
    if len(set(ids)) != len(ids):
        raise ValueError("segment ids repeat")
    for segment in segments:
        if segment.label_value is not None and not 1 <= segment.label_value <= _LARGEST_VALUE:
            raise ValueError(f"label value {segment.label_value} of {segment.id} is out of range")


def _place(segments: Sequence[Segment], grid: Grid) -> list[_Placed]:
    """Put every segment on the grid, in the first layer where it does not collide with another."""
    placed: list[_Placed] = []
    for number, segment in enumerate(segments, start=1):
        if isinstance(segment.region, Region):
            mask, box = resample_region(segment.region, grid)
        else:
            if segment.region.shape != grid.shape:
                raise ValueError(f"the array of {segment.id} does not have the grid's shape")
            mask, box = resample_region(Region(segment.region, grid.ijk_to_lps), grid)
        value = number if segment.label_value is None else segment.label_value
        taken = {p.layer for p in placed if p.value == value or _overlap(p.mask, p.box, mask, box)}
        layer = next(n for n in range(len(placed) + 1) if n not in taken)
        placed.append(_Placed(mask, box, value, layer))
    return placed


def _overlap(mask_a: BoolArray, box_a: Box, mask_b: BoolArray, box_b: Box) -> bool:
    """Whether two masks, each in its box, share a voxel."""
    shared = overlap(box_a, box_b)
    return shared is not None and bool(np.any(mask_a[shared[0]] & mask_b[shared[1]]))


def _write_planes(
    voxels: GzipOfMostlyZeros,
    placed: Sequence[_Placed],
    grid: Grid,
    layers: int,
    dtype: np.dtype[np.generic],
) -> None:
    """Write the voxels, plane by plane, as arrays ``[j, i, layer]``: only filled rows are made."""
    depth, rows, columns = grid.shape
    row_bytes = columns * layers * dtype.itemsize
    empty = 0
    for plane in range(depth):
        here = [
            item
            for item in placed
            if item.mask.size and item.box[0].start <= plane < item.box[0].stop
        ]
        top = min((item.box[1].start for item in here), default=rows)
        bottom = max((item.box[1].stop for item in here), default=top)
        filled = np.zeros((bottom - top, columns, layers), dtype=dtype)
        for item in here:
            k, j, i = item.box
            lines = slice(j.start - top, j.stop - top)
            filled[lines, i, item.layer][item.mask[plane - k.start]] = item.value
        voxels.zeros((empty + top) * row_bytes)
        voxels.write(filled.tobytes())
        empty = rows - bottom
    voxels.zeros(empty * row_bytes)


def _header(
    segments: Sequence[Segment],
    placed: Sequence[_Placed],
    grid: Grid,
    layers: int,
    dtype: np.dtype[np.generic],
) -> str:
    several = layers > 1
    vectors = [_vector(grid.ijk_to_lps[:3, axis]) for axis in range(3)]
    sizes = [*([layers] if several else []), *grid.size]
    lines = [
        "NRRD0004",
        "# Complete NRRD file format specification at:",
        "# http://teem.sourceforge.net/nrrd/format.html",
        f"type: {_TYPES[dtype.name]}",
        f"dimension: {len(sizes)}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, sizes))}",
        f"space directions: {'none ' if several else ''}{' '.join(vectors)}",
        f"kinds: {'list ' if several else ''}domain domain domain",
        # Slabs are written in the machine's byte order.
        *(["endian: " + ("little" if np.little_endian else "big")] if dtype.itemsize > 1 else []),
        "encoding: gzip",
        f"space origin: {_vector(grid.ijk_to_lps[:3, 3])}",
    ]
    for number, (segment, item) in enumerate(zip(segments, placed, strict=True)):
        lines += [f"Segment{number}_{key}:={value}" for key, value in _fields(segment, item)]
    lines += [
        "Segmentation_ContainedRepresentationNames:=Binary labelmap|",
        "Segmentation_ConversionParameters:=",
        "Segmentation_MasterRepresentation:=Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset:=0 0 0",
    ]
    return "\n".join(lines) + "\n\n"


def _fields(segment: Segment, item: _Placed) -> Iterator[tuple[str, str]]:
    """The fields of one segment, in Slicer's (alphabetical) order."""
    tags = dict(segment.tags)
    if segment.terminology:
        tags[TERMINOLOGY_TAG] = segment.terminology
    k, j, i = item.box
    ends = [(s.start, s.stop - 1) for s in (i, j, k)] if item.mask.size else [(0, -1)] * 3
    yield "Color", " ".join(f"{c:.6g}" for c in segment.colour)
    yield "ColorAutoGenerated", "0"
    yield "Extent", " ".join(f"{first} {last}" for first, last in ends)
    yield "ID", _plain(segment.id)
    yield "LabelValue", str(item.value)
    yield "Layer", str(item.layer)
    yield "Name", _plain(segment.name)
    yield "NameAutoGenerated", "0"
    text = "".join(f"{_tag(key)}:{_tag_value(value)}|" for key, value in sorted(tags.items()))
    yield "Tags", text


def _plain(text: str) -> str:
    """One line without backslashes, which NRRD would take as escapes."""
    return " ".join(text.replace("\\", "/").split())


def _tag_value(text: str) -> str:
    """Tags are separated by bars in the file, so their text cannot hold one."""
    return _plain(text).replace("|", "/")


def _tag(text: str) -> str:
    return _tag_value(text).replace(":", ".")


def _vector(values: FloatArray) -> str:
    # repr keeps every digit, so geometry survives the text; + 0.0 makes negative zero positive.
    return "(" + ",".join(repr(float(v) + 0.0) for v in values) + ")"


def _matrix(header: Mapping[str, object], file: Path) -> FloatArray:
    """4×4 matrix from index to LPS mm of an NRRD header."""
    space = str(header.get("space", "")).lower()
    if space not in TO_LPS or "space directions" not in header:
        raise InputError(
            f"{file}: the NRRD header has no patient space (space, space directions); "
            "save it again from 3D Slicer."
        )
    directions = [
        np.asarray(row, dtype=float)
        for row in header["space directions"]  # type: ignore[attr-defined]
        if row is not None and not np.all(np.isnan(np.asarray(row, dtype=float)))
    ]
    origin = np.asarray(header.get("space origin", (0.0, 0.0, 0.0)), dtype=float)
    if len(directions) != 3 or origin.shape != (3,):
        raise InputError(f"{file}: the NRRD file is not three-dimensional.")
    flip = np.diag([*TO_LPS[space], 1.0])
    return flip @ affine(np.stack(directions, axis=1), origin)


def _segment_entries(header: Mapping[str, object], layers: int, file: Path) -> Iterator[_Entry]:
    number = 0
    while f"Segment{number}_ID" in header:

        def text(key: str, default: str, number: int = number) -> str:
            return str(header.get(f"Segment{number}_{key}", default))

        pairs = (tag.split(":", 1) for tag in text("Tags", "").split("|") if ":" in tag)
        try:
            red, green, blue = map(float, text("Color", "0.5 0.5 0.5").split()[:3])
            value = int(text("LabelValue", "1"))
            # Slicer's older files have no layers: every segment has its own.
            layer = int(text("Layer", str(number if layers > 1 else 0)))
            if not 0 <= value <= _LARGEST_VALUE or not np.isfinite([red, green, blue]).all():
                raise ValueError(f"label value {value}, colour {red:g} {green:g} {blue:g}")
        except ValueError as error:
            raise InputError(
                f"{file}: the colour, label value or layer of segment {number} is damaged "
                f"({error}); save the file again from 3D Slicer."
            ) from error
        name = text("Name", text("ID", ""))
        yield _Entry(text("ID", ""), name, (red, green, blue), dict(pairs), value, layer)
        number += 1


def _unnamed_entries(data: NDArray[np.generic]) -> Iterator[_Entry]:
    for layer in range(data.shape[3]):
        for value in np.unique(data[..., layer]):
            if value > 0:
                name = f"{int(value)}"
                yield _Entry(f"label_{layer}_{name}", name, (0.5, 0.5, 0.5), {}, int(value), layer)
