"""Reading the user's labels in all the forms they may have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import image_suffix
from CTSpectSpineLib.geometry import (
    Grid,
    apply_matrix,
    grid_of,
    inverse,
    label_box,
    label_counts,
)
from CTSpectSpineLib.labelling.importing.level_names import is_hip, level_of_name, library_id
from CTSpectSpineLib.labelling.importing.schemes import (
    SCHEMES,
    LabelledBlob,
    detect_scheme,
    is_subregion_map,
    scheme_table,
)
from CTSpectSpineLib.labelling.levels.ribs import rib_contacts, rib_numbers, rib_of_name
from CTSpectSpineLib.model import Region
from CTSpectSpineLib.volumes.nifti import read_nifti_header
from CTSpectSpineLib.volumes.orthogonal import orthogonal_image
from CTSpectSpineLib.volumes.reading import read_volume
from CTSpectSpineLib.volumes.segmentation_nrrd import Segment, read_segmentation

_LARGEST_LABEL = 4095
"""Largest number that can be a label. Judgement: more than any scheme has; images hold larger
ones."""
_LARGE_OVERLAP = 0.5
"""Share of a mask. Judgement: no two vertebrae overlap by as much."""
_THINNED_MM = 3.0
"""Size to which voxels are thinned. Numerical: centres and volumes need no finer grid."""
_IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")


@dataclass(frozen=True)
class ImportedLabels:
    """Labels with this library's ids, still on the grid of their source.

    Attributes
    ----------
    image
        Label map, uint8.
    name
        What the user named, for messages.
    scheme
        How the levels were read: ``"names"`` or one of `schemes.SCHEMES`.
    certain
        Whether the levels follow from the source without doubt.
    notes
        Sentences on what was ignored or assumed.
    ribs
        Rib to the vertebra that it meets, where the source has ribs.
    """

    image: sitk.Image
    name: str
    scheme: str
    certain: bool = True
    notes: tuple[str, ...] = ()
    ribs: Mapping[str, str] = field(default_factory=dict)


def load_labels(source: Path | str | sitk.Image, scheme: str = "auto") -> ImportedLabels:
    """Read labels from a label map, a folder of masks, a ``.seg.nrrd`` or an image.

    Names decide where there are any (segments, file names, TotalSegmentator's header table);
    otherwise the numbers do, by the scheme given or detected.

    Raises
    ------
    InputError
        If the source cannot be read or holds no vertebra.
    """
    if scheme != "auto" and scheme not in SCHEMES:
        raise InputError(f"Label scheme '{scheme}' is unknown; use auto, {', '.join(SCHEMES)}.")
    if isinstance(source, sitk.Image):
        return _from_image(source, {}, scheme, "the label map")
    path = Path(source)
    if path.is_dir():
        return _from_folder(path, scheme)
    if path.is_file() and image_suffix(path) in (".seg.nrrd", ".nrrd") and _has_segments(path):
        return _from_segments(path, scheme)
    volume = read_volume(path, "labels")
    names: Mapping[int, str] = {}
    if image_suffix(path) in (".nii", ".nii.gz"):
        names = read_nifti_header(path).label_names
    loaded = _from_image(volume.image, names, scheme, str(path))
    return replace(loaded, notes=(*volume.notes, *loaded.notes))


def _from_image(
    image: sitk.Image, names: Mapping[int, str], scheme: str, name: str
) -> ImportedLabels:
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(f"{name}: a label map is a 3D image with one number per voxel.")
    present = _present_labels(image, name)
    if not present:
        raise InputError(f"{name}: the label map is empty; give one with vertebrae.")
    # A table that lists everything the program knows does not help where the map has other numbers.
    names = {number: text for number, text in names.items() if number in present}
    doubts: tuple[str, ...] = ()
    used, certain = "names", True
    if names and scheme == "auto":
        meaning = {n: level for n, text in names.items() if (level := level_of_name(text))}
        _require_vertebra(meaning.values(), name, "classes", list(names.values()))
    else:
        meaning, used, certain, doubts = _by_numbers(image, present, scheme, name)
    ribs = _ribs(names if used == "names" else None, used, present)
    ignored = set(present) - set(meaning) - set(ribs)
    notes = [*doubts]
    if ignored:
        notes.append(f"{len(ignored)} labels of other structures were ignored.")
    numbers = {n: library_id(level) for n, level in meaning.items()}
    kept = all(numbers.get(n) == n for n in present)
    mapped = _bare(image) if kept else _relabel(image, numbers)
    met = rib_contacts(image, ribs, mapped) if ribs else {}
    return ImportedLabels(mapped, name, used, certain, tuple(notes), met)


def _ribs(names: Mapping[int, str] | None, scheme: str, present: Sequence[int]) -> dict[int, str]:
    """Which of the numbers are ribs, by their names or by TotalSegmentator's table."""
    if names is not None:
        return {n: rib for n, text in names.items() if (rib := rib_of_name(text))}
    known = rib_numbers() if scheme == "totalsegmentator" else {}
    return {n: known[n] for n in present if n in known}


def _by_numbers(
    image: sitk.Image, present: Sequence[int], scheme: str, name: str
) -> tuple[dict[int, str], str, bool, tuple[str, ...]]:
    """Meaning of the labels by their numbers."""
    certain = True
    doubts: tuple[str, ...] = ()
    if scheme == "auto":
        detection = detect_scheme(label_blobs(image))
        # TotalSegmentator numbers the neck as SPINEPS does the parts: the places tell them apart.
        if (detection is None or not detection.certain) and is_subregion_map(present):
            raise InputError(
                f"{name}: holds parts of vertebrae without their levels, as SPINEPS' subregion "
                "maps do; give its map of vertebrae (seg-vert) instead, or name the label scheme."
            )
        if detection is None:
            numbers = ", ".join(map(str, present[:8])) + (", ..." if len(present) > 8 else "")
            raise InputError(
                f"{name}: the numbers of its labels ({numbers}) are not clearly those of "
                "TotalSegmentator or VerSe; give such a map, a .seg.nrrd with names such as L5, "
                "or name the label scheme."
            )
        scheme, certain = detection.scheme, detection.certain
        doubts = (detection.doubt,) if detection.doubt else ()
    table = scheme_table(scheme)
    meaning = {number: table[number] for number in present if number in table}
    _require_vertebra(meaning.values(), name, f"{scheme} labels", [str(n) for n in present])
    return meaning, scheme, certain, doubts


def _require_vertebra(levels: object, name: str, what: str, present: Sequence[str]) -> None:
    if not any(not is_hip(level) for level in levels):  # type: ignore[attr-defined]
        shown = ", ".join(present[:6]) + (", ..." if len(present) > 6 else "")
        raise InputError(
            f"{name}: no vertebra by level among its {what} ({shown}); give labels of whole "
            "vertebrae with their levels, as TotalSegmentator's 'total' task makes them."
        )


def _present_labels(image: sitk.Image, name: str) -> list[int]:
    """Label numbers in the map, without the background; checks that they are whole numbers."""
    array = sitk.GetArrayViewFromImage(image)
    # In slabs, so that a large map in double precision needs no copy.
    for slab in _slabs(array):
        if slab.dtype.kind == "f":
            finite = np.isfinite(slab)
            if not finite.all() or not np.array_equal(slab, np.rint(slab)):
                bad = slab[~finite | (slab != np.rint(slab))].flat[0]
                raise InputError(
                    f"{name}: holds the value {bad:g}, which is not a label; give a label map with "
                    "whole numbers (not a probability map or an image)."
                )
        low, high = slab.min(), slab.max()
        if low < 0 or high > _LARGEST_LABEL:
            bad = low if low < 0 else high
            raise InputError(
                f"{name}: holds the value {bad:g}, which is not a label of a vertebra; give a "
                "label map (not the CT)."
            )
    return [number for number in np.flatnonzero(label_counts(array)).tolist() if number]


def label_blobs(image: sitk.Image) -> dict[int, LabelledBlob]:
    """Centre and volume of the largest piece of every label, on a thinned grid."""
    grid = grid_of(image)
    stride = np.maximum(1, np.floor(_THINNED_MM / grid.spacing_mm)).astype(int)
    small = _as_small_integers(image, stride)
    voxel = float(np.prod(grid.spacing_mm * stride))
    blobs = {}
    boxes: list[tuple[slice, ...] | None] = list(ndimage.find_objects(small))
    for number, box in enumerate(boxes, start=1):
        if box is None:
            continue
        pieces, _ = ndimage.label(small[box] == number, structure=np.ones((3, 3, 3)))
        largest = int(np.bincount(pieces.ravel())[1:].argmax()) + 1
        index = np.argwhere(pieces == largest)
        centre = (index.mean(axis=0) + [s.start for s in box])[::-1] * stride
        point = apply_matrix(grid.ijk_to_lps, centre[np.newaxis])[0]
        blobs[number] = LabelledBlob(point, len(index) * voxel)
    return blobs


def _as_small_integers(image: sitk.Image, stride: NDArray[np.integer]) -> NDArray[np.integer]:
    i, j, k = (int(n) for n in stride)
    array = sitk.GetArrayViewFromImage(image)[::k, ::j, ::i]
    kind = array.dtype if array.dtype.kind in "iu" and array.dtype.itemsize <= 2 else np.int16
    return np.ascontiguousarray(array, dtype=kind)


def _bare(image: sitk.Image) -> sitk.Image:
    """The label map in uint8, without what its file said besides; itself where it is that."""
    keys = image.GetMetaDataKeys()
    if not keys and image.GetPixelID() == sitk.sitkUInt8:
        return image
    same = sitk.Cast(image, sitk.sitkUInt8)
    for key in keys:
        same.EraseMetaData(key)
    return same


def _relabel(image: sitk.Image, mapping: Mapping[int, int]) -> sitk.Image:
    """Label map in uint8 with other numbers; what the mapping lacks becomes background."""
    array = sitk.GetArrayViewFromImage(image)
    table = np.zeros(_LARGEST_LABEL + 1, dtype=np.uint8)
    for old, new in mapping.items():
        table[old] = new
    result = np.zeros(array.shape, dtype=np.uint8)
    box = label_box(array)
    if box is not None:
        for slab, out in zip(_slabs(array[box]), _slabs(result[box]), strict=True):
            out[:] = table[slab.astype(np.int64 if slab.dtype.kind == "f" else slab.dtype)]
    mapped = sitk.GetImageFromArray(result)
    mapped.CopyInformation(image)
    return mapped


def _slabs(array: NDArray[np.generic], depth: int = 16) -> Iterator[NDArray[np.generic]]:
    for low in range(0, array.shape[0], depth):
        yield array[low : low + depth]


def _has_segments(path: Path) -> bool:
    """Whether an NRRD file names segments."""
    with path.open("rb") as stream:
        for line in stream:
            if not line.strip():
                return False
            if line.startswith(b"Segment0_ID:="):
                return True
    return False


def _from_segments(path: Path, scheme: str) -> ImportedLabels:
    segments, grid = read_segmentation(path)
    if scheme == "auto":
        named = [(s, level) for s in segments if (level := level_of_name(s.name))]
    else:
        table = scheme_table(scheme)
        named = [(s, table[s.label_value or 0]) for s in segments if s.label_value in table]
    _require_vertebra(
        [level for _, level in named], str(path), "segments", [s.name for s in segments]
    )
    parts = [_Part(s.name, level, s) for s, level in named]
    image, notes = _compose(parts, grid, str(path))
    ignored = len(segments) - len(named)
    if ignored:
        notes.append(f"{ignored} segments of other structures were ignored.")
    return ImportedLabels(
        image, str(path), "names" if scheme == "auto" else scheme, True, tuple(notes)
    )


def _from_folder(folder: Path, scheme: str) -> ImportedLabels:
    files = sorted(p for p in folder.iterdir() if image_suffix(p) in _IMAGE_SUFFIXES)
    named = [(p, level) for p in files if (level := level_of_name(_stem(p)))]
    if not named:
        if len(files) == 1:
            return load_labels(files[0], scheme)
        raise InputError(
            f"{folder}: no file is named after a vertebra (such as vertebrae_L5.nii.gz); give a "
            "folder with one mask per vertebra, or one label map."
        )
    _require_vertebra(
        [level for _, level in named], str(folder), "files", [p.name for p, _ in named]
    )
    first = read_volume(named[0][0], "labels")
    grid = grid_of(first.image)
    parts = [
        _Part(path.name, level, _mask_reader(path, grid, named[0][0])) for path, level in named
    ]
    image, notes = _compose(parts, grid, str(folder))
    ignored = len(files) - len(named)
    if ignored:
        notes.append(f"{ignored} files of other structures were ignored.")
    return ImportedLabels(image, str(folder), "names", True, tuple(notes))


def _stem(path: Path) -> str:
    return path.name[: len(path.name) - len(image_suffix(path))]


def _mask_reader(path: Path, grid: Grid, first: Path) -> Callable[[], Region]:
    """Reads one mask when it is needed, so that only one is in memory."""

    def read() -> Region:
        image = read_volume(path, "labels").image
        if not grid_of(image).matches(grid, tolerance=0.01):
            raise InputError(
                f"{path}: its grid differs from that of {first.name}; save all masks of the "
                "folder on the grid of the CT."
            )
        present = _present_labels(image, str(path))
        if len(present) > 1:
            raise InputError(
                f"{path}: holds {len(present)} labels; a mask of one vertebra has 0 and 1 only."
            )
        return Region(np.asarray(sitk.GetArrayFromImage(image) > 0), grid.ijk_to_lps)

    return read


@dataclass(frozen=True)
class _Part:
    """One mask on its way into the label map."""

    name: str
    level: str
    content: Segment | Callable[[], Region]

    def region(self) -> Region:
        if isinstance(self.content, Segment):
            region = self.content.region
            assert isinstance(region, Region)
            return region
        return self.content()


def _compose(parts: Sequence[_Part], grid: Grid, name: str) -> tuple[sitk.Image, list[str]]:
    """One label map from masks; overlaps go to the first and are reported."""
    seen: dict[str, str] = {}
    for part in parts:
        if part.level in seen:
            raise InputError(
                f"{name}: '{seen[part.level]}' and '{part.name}' are both {part.level}; keep one."
            )
        seen[part.level] = part.name
    labels = np.zeros(grid.shape, dtype=np.uint8)
    names = {library_id(part.level): part.name for part in parts}
    overlaps: list[str] = []
    for part in parts:
        region = part.region()
        if not region.mask.any():
            continue
        start = np.rint(
            apply_matrix(inverse(grid.ijk_to_lps), region.ijk_to_lps[np.newaxis, :3, 3])[0]
        ).astype(int)
        box = tuple(slice(s, s + n) for s, n in zip(start[::-1], region.mask.shape, strict=True))
        target = labels[box]
        total = int(np.count_nonzero(region.mask))
        taken = target[region.mask]
        number = int(np.bincount(taken)[1:].argmax() + 1) if taken.any() else 0
        shared = int(np.count_nonzero(taken == number)) if number else 0
        if shared > _LARGE_OVERLAP * total:
            raise InputError(
                f"{name}: '{part.name}' and '{names[number]}' overlap by {shared / total:.0%}: the "
                "same vertebra carries two names; remove the wrong one."
            )
        if shared:
            overlaps.append(f"{part.name} and {names[number]} ({shared} voxels)")
        target[region.mask & (target == 0)] = library_id(part.level)
    if not labels.any():
        raise InputError(f"{name}: all masks of vertebrae are empty; give labels with vertebrae.")
    notes = []
    if overlaps:
        more = ", ..." if len(overlaps) > 3 else ""
        notes.append(f"Vertebrae overlap: {', '.join(overlaps[:3])}{more}; the first one was kept.")
    image, resampled = orthogonal_image(labels, grid.ijk_to_lps, nearest=True)
    if resampled:
        notes.append("The axes of the labels are sheared: they were put on an orthogonal grid.")
    return image, notes
