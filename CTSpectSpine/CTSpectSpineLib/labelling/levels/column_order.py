"""Whether a column of labelled vertebrae is plausible: order, gaps, pieces."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.geometry import Box, Grid, apply_matrix, grid_of, label_boxes
from CTSpectSpineLib.labelling.importing.schemes import typical_steps_mm
from CTSpectSpineLib.model import BoolArray, FloatArray

_SPECK_MM3 = 100.0
"""Largest volume of a speck. Judgement: far below any part of a vertebra."""
_SPECK_SHARE = 0.01
"""Its largest share of its vertebra. Judgement: a small vertebra must not lose its pieces."""
_SECOND_SHARE = 0.2
"""Share of the largest piece that a second one must exceed. Judgement: smaller ones are torn
processes."""
_SECOND_DISTANCE_MM = 15.0
"""Along the body, between two places of one level. Judgement: just below the smallest step (17
mm)."""
LANDMARKS = {"C1", "C2", "S1", anatomy.SACRUM}
"""Vertebrae that are identified by their shape; all others are counted from them."""
_DOUBTED, _TRANSITION, _NO_LANDMARK = 0.4, 0.8, 0.7
"""What remains of the confidence. Judgement: it ranks vertebrae for a person; it is not a
probability."""


@dataclass(frozen=True)
class Finding:
    """An observation about the levels.

    Attributes
    ----------
    sentence
        For the user.
    levels
        The vertebrae that it concerns.
    doubtful
        Whether it casts doubt on the numbering.
    trust
        What remains of the confidence in these levels, 0 to 1.
    """

    sentence: str
    levels: tuple[str, ...] = ()
    doubtful: bool = False
    trust: float = 1.0


@dataclass(frozen=True)
class Column:
    """The levels of a label map after the checks.

    Attributes
    ----------
    image
        The label map without specks.
    levels
        Vertebrae present, cranial to caudal.
    findings
        What was found, doubts about the numbering first.
    """

    image: sitk.Image
    levels: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """The findings as sentences."""
        return tuple(finding.sentence for finding in self.findings)


@dataclass(frozen=True)
class _Piece:
    centre_mm: FloatArray
    volume_mm3: float


def check_column(labels: sitk.Image) -> Column:
    """Check a label map with this library's ids, level by level.

    Specks (under 100 mm³ and 1 % of their vertebra) are removed. Doubts that concern the
    numbering make the column implausible: levels out of order, one level in two places, gaps
    without room for the missing vertebra.
    """
    array = sitk.GetArrayViewFromImage(labels)
    grid = grid_of(labels)
    pieces: dict[str, list[_Piece]] = {}
    removed: dict[str, tuple[Box, BoolArray]] = {}
    for number, box in label_boxes(array).items():
        level = anatomy.name_of_id(number)
        if level is None:
            continue
        pieces[level], specks = _pieces(array[box] == number, grid, box)
        if specks.any():
            removed[level] = box, specks
    levels = anatomy.sort_levels(pieces)
    main = {level: parts[0] for level, parts in pieces.items()}
    doubts = [*_twice(levels, pieces), *_out_of_order(levels, main), *_numbering_gaps(levels, main)]
    remarks = _remarks(levels, main)
    if removed:
        remarks.append(
            Finding(
                "Specks far smaller than a vertebra were removed from "
                f"{', '.join(sorted(removed))}."
            )
        )
    image = labels
    if removed:
        array = sitk.GetArrayFromImage(labels)
        for box, specks in removed.values():
            array[box][specks] = 0
        image = sitk.GetImageFromArray(array)
        image.CopyInformation(labels)
    return Column(image, levels, (*doubts, *remarks))


def missing_vertebrae(centres: Mapping[str, FloatArray]) -> dict[str, int]:
    """How many vertebrae have room below those whose next names are missing.

    Parameters
    ----------
    centres
        Name to centre of the vertebra, LPS mm, shape (3,).

    Returns
    -------
    dict
        Name of the vertebra above the gap in the names to the number of vertebrae that lie there
        without a label; 0 where its lower neighbour follows directly.
    """
    levels = anatomy.sort_levels(centres)
    return {
        upper: len(missing) if distance >= _room(upper, missing) else 0
        for upper, _, missing, distance in _gaps(levels, centres)
    }


def _pieces(mask: BoolArray, grid: Grid, box: tuple[slice, ...]) -> tuple[list[_Piece], BoolArray]:
    """Connected pieces, the largest first, and the specks among them."""
    components, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    specks = np.zeros_like(mask)
    volumes = np.bincount(components.ravel(), minlength=count + 1)[1:] * float(
        np.prod(grid.spacing_mm)
    )
    found = []
    for number in np.argsort(-volumes, kind="stable"):
        volume = float(volumes[number])
        if volume < _SPECK_MM3 and volume < _SPECK_SHARE * volumes.max():
            specks |= components == number + 1
            continue
        centre = np.argwhere(components == number + 1).mean(axis=0) + [s.start for s in box]
        found.append(_Piece(apply_matrix(grid.ijk_to_lps, centre[np.newaxis, ::-1])[0], volume))
    return found, specks


def _twice(levels: tuple[str, ...], pieces: Mapping[str, list[_Piece]]) -> list[Finding]:
    """Levels whose label is in two places along the body."""
    found = []
    for level in levels:
        first, *others = pieces[level]
        for other in others:
            apart = abs(float(first.centre_mm[2] - other.centre_mm[2]))
            step = typical_steps_mm().get(level, 30.0)
            far = apart > max(_SECOND_DISTANCE_MM, 0.6 * step)
            if far and other.volume_mm3 > _SECOND_SHARE * first.volume_mm3:
                words = f"{level} is labelled in two places, {apart:.0f} mm apart."
                found.append(Finding(words, (level,), doubtful=True, trust=_DOUBTED))
                break
    return found


def _out_of_order(levels: tuple[str, ...], main: Mapping[str, _Piece]) -> list[Finding]:
    """Neighbours in the list that lie the wrong way round in the body."""
    found = []
    for upper, lower in itertools.pairwise(levels):
        drop = float(main[upper].centre_mm[2] - main[lower].centre_mm[2])
        if drop <= 0 and not {upper, lower} <= {"S1", anatomy.SACRUM}:
            words = f"{upper} lies below {lower}: the levels are out of order."
            found.append(Finding(words, (upper, lower), doubtful=True, trust=_DOUBTED))
    return found


def _numbering_gaps(levels: tuple[str, ...], main: Mapping[str, _Piece]) -> list[Finding]:
    """Gaps in the numbers without room for the missing vertebrae."""
    return [
        Finding(
            f"{_listed(missing)} missing between {upper} and {lower}, which are only "
            f"{distance:.0f} mm apart: the levels below or above may be misnumbered.",
            (upper, lower),
            doubtful=True,
            trust=_DOUBTED,
        )
        for upper, lower, missing, distance in _gaps(levels, _centres(main))
        if distance < _room(upper, missing) and not set(missing) <= set(anatomy.TRANSITIONAL)
    ]


def _remarks(levels: tuple[str, ...], main: Mapping[str, _Piece]) -> list[Finding]:
    remarks: list[Finding] = []
    for upper, lower, missing, distance in _gaps(levels, _centres(main)):
        if distance >= _room(upper, missing):
            words = (
                f"{_listed(missing)} not labelled between {upper} and {lower} ({distance:.0f} mm "
                "apart): no joints are found there."
            )
            remarks.append(Finding(words))
        elif set(missing) <= set(anatomy.TRANSITIONAL):
            words = (
                f"{_listed(missing)} missing between {upper} and {lower}, which are neighbours: "
                "taken as transitional anatomy; check the levels."
            )
            remarks.append(Finding(words, (upper, lower), trust=_TRANSITION))
    for extra in anatomy.SUPERNUMERARY:
        if extra in levels:
            words = f"{extra} is labelled: transitional anatomy; check the levels."
            remarks.append(Finding(words, (extra,), trust=_TRANSITION))
    if not LANDMARKS & set(levels):
        words = (
            "Neither C1, C2 nor the sacrum is labelled: the numbering rests on the label map alone."
        )
        remarks.append(Finding(words, levels, trust=_NO_LANDMARK))
    return remarks


def _centres(main: Mapping[str, _Piece]) -> dict[str, FloatArray]:
    return {level: piece.centre_mm for level, piece in main.items()}


def _gaps(
    levels: tuple[str, ...], centres: Mapping[str, FloatArray]
) -> list[tuple[str, str, tuple[str, ...], float]]:
    """Neighbours in the list with required or transitional levels missing between them."""
    order = anatomy.usual_levels()
    found = []
    chain = [level for level in levels if level in order]
    if "S1" in chain and anatomy.SACRUM in chain:
        chain.remove(anatomy.SACRUM)
    for upper, lower in itertools.pairwise(chain):
        low = order.index(lower) - (1 if lower == anatomy.SACRUM else 0)
        missing = order[order.index(upper) + 1 : low]
        if missing and not (upper == "L4" and "L6" in levels):
            distance = float(np.linalg.norm(centres[upper] - centres[lower]))
            found.append((upper, lower, missing, distance))
    return found


def _room(upper: str, missing: Sequence[str]) -> float:
    """Least distance, mm, at which the missing vertebrae fit between their neighbours."""
    steps = typical_steps_mm()
    last = steps.get(upper, 30.0)
    return last + 0.5 * sum(steps.get(name, 30.0) for name in missing)


def _listed(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"{names[0]} is"
    return f"{names[0]} to {names[-1]} are" if len(names) > 2 else f"{' and '.join(names)} are"
