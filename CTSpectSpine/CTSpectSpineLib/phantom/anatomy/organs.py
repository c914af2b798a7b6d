"""Organs, vessels and airways as solids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.phantom.anatomy.landmarks import Landmarks
from CTSpectSpineLib.phantom.anatomy.pelvis import pelvic_pose
from CTSpectSpineLib.phantom.anatomy.shapes import IDENTITY, Ellipsoid, Part, Solid
from CTSpectSpineLib.phantom.anatomy.vertebra import bars
from CTSpectSpineLib.phantom.model import Tissue


@dataclass(frozen=True)
class Organ:
    """An organ and where it may be painted.

    Attributes
    ----------
    solid, tissue, hu
        What is painted; the tissue's own HU where None.
    over
        Tissues that it may cover.
    in_cavity
        Whether the rib cage and the abdominal wall bound it.
    """

    solid: Solid
    tissue: Tissue
    hu: float | None
    over: tuple[Tissue, ...]
    in_cavity: bool = True


_SOFT = (Tissue.MUSCLE, Tissue.FAT, Tissue.AIR)
_INNER = (Tissue.MUSCLE, Tissue.FAT)


def organs_of(marks: Landmarks) -> list[Organ]:
    """All organs, in the order they are painted."""
    liver = marks.origin("T11") + np.array([-66, -58, -4])
    left_lobe = marks.origin("T11") + np.array([-8, -92, 2])
    spleen = marks.origin("T11") + np.array([92, 2, -8])
    heart = marks.origin("T8") + np.array([24, -82, -2])
    stomach = marks.origin("T12") + np.array([52, -70, 4])
    organs = [
        Organ(_ellipsoid(stomach, (38, 34, 42)), Tissue.MUSCLE, 30.0, _SOFT),
        Organ(_ellipsoid(liver, (78, 88, 82)), Tissue.LIVER, None, _SOFT),
        Organ(_ellipsoid(left_lobe, (58, 34, 36)), Tissue.LIVER, None, _SOFT),
        Organ(_ellipsoid(spleen, (24, 40, 46), _tilted(1.0)), Tissue.MUSCLE, 50.0, _SOFT),
        Organ(_ellipsoid(heart, (54, 44, 52)), Tissue.BLOOD, None, (*_SOFT, Tissue.LUNG)),
    ]
    for side, drop in ((1.0, 0.0), (-1.0, -14.0)):
        centre = marks.origin("L1") + np.array([side * 58, -6, drop - 12])
        axes = _tilted(side)
        capsule = _ellipsoid(centre, (37, 33, 66), axes)
        kidney = _ellipsoid(centre, (29, 25, 54), axes)
        pelvis = centre + np.array([-side * 16, -7, 0])
        hilum = _ellipsoid(pelvis, (15, 8, 22), axes)
        over = (*_INNER, Tissue.LIVER, Tissue.AIR)
        organs.append(Organ(capsule, Tissue.FAT, None, over))
        organs.append(Organ(kidney, Tissue.KIDNEY, None, (Tissue.FAT,)))
        organs.append(Organ(hilum, Tissue.FAT, -70.0, (Tissue.KIDNEY,)))
    organs += _vessels(marks)
    organs += _airways(marks)
    pelvis_pose = pelvic_pose(marks.column)
    bladder = pelvis_pose.to_world(np.array([0.0, -50.0, -98.0]))
    rectum = [
        pelvis_pose.to_world(np.array(p)) for p in ((4.0, 28, -62), (0, 36, -92), (0, 22, -128))
    ]
    organs.append(Organ(_pipe(rectum, (30, 26)), Tissue.MUSCLE, 38.0, _SOFT, False))
    organs.append(Organ(_ellipsoid(bladder, (38, 30, 29)), Tissue.BLADDER, None, _SOFT, False))
    return organs


def _ellipsoid(
    centre: FloatArray, radii: tuple[float, float, float], axes: FloatArray | None = None
) -> Solid:
    shape = Ellipsoid(centre, radii, np.eye(3) if axes is None else axes)
    return Solid(IDENTITY, (Part(shape, 0.0),))


def _tilted(side: float) -> FloatArray:
    """Axes of a kidney: upper pole towards the spine, turned to face forward."""
    a = np.deg2rad(16.0) * side
    b = np.deg2rad(30.0) * side
    lean = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    turn = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return np.asarray((lean @ turn).T)


def _vessels(marks: Landmarks) -> list[Organ]:
    """Aorta with the iliac arteries, vena cava with the iliac veins."""
    over = (Tissue.MUSCLE, Tissue.FAT, Tissue.LUNG, Tissue.LIVER, Tissue.AIR)
    levels = marks.column.config.levels
    chest = [n for n in levels if n[0] == "T"][3:]
    loin = [n for n in levels if n[0] == "L"][:-1]
    aorta = []
    for i, name in enumerate([*chest, *loin]):
        share = i / (len(chest) + len(loin) - 1)
        gap = 0.5 * marks.column[name].size.depth + 12
        ahead = gap * (0.55 + 0.45 * share) + 2
        aorta.append(marks.origin(name) + np.array([(24 - 19 * share), -ahead, 0]))
    cava = [
        marks.origin(n) + np.array([-16, -0.5 * marks.column[n].size.depth - 12, 0])
        for n in ["T11", *loin]
    ]
    fork = marks.origin(loin[-1]) + np.array([4, -34, -16])
    vein = cava[-1] + np.array([0, 3, -14])
    pipes = [_pipe([*aorta, fork], (24, 18)), _pipe(cava, (23, 22))]
    pelvis = pelvic_pose(marks.column)
    for side in (1.0, -1.0):
        groin = pelvis.to_world(np.array([side * 62, -48.0, -70.0]))
        deeper = groin + np.array([-side * 4, 13, 0])
        pipes += [_pipe([fork, groin], (12, 10)), _pipe([vein, deeper], (14, 12))]
    return [Organ(pipe, Tissue.BLOOD, None, over, False) for pipe in pipes]


def _airways(marks: Landmarks) -> list[Organ]:
    """Trachea with the main bronchi."""
    levels = (("C4", 0, 34), ("C6", 0, 38), ("T2", 0, 40), ("T5", 0, 46))
    trachea = [marks.origin(n) + np.array([x, -y, 0]) for n, x, y in levels]
    pipes = [(trachea, 21.0, 16.0)]
    for side in (1.0, -1.0):
        end = trachea[-1] + np.array([side * 38, 4, -26])
        pipes.append(([trachea[-1], end], 15.0, 11.0))
    walls = [
        Organ(_pipe(p, (w, w)), Tissue.MUSCLE, None, (*_INNER, Tissue.LUNG), False)
        for p, w, _ in pipes
    ]
    lumens = [
        Organ(_pipe(p, (w, w)), Tissue.AIR, None, (Tissue.MUSCLE,), False) for p, _, w in pipes
    ]
    return walls + lumens


def _pipe(points: Sequence[FloatArray], width: tuple[float, float]) -> Solid:
    """A round tube along points."""
    widths = np.linspace(width[0], width[1], len(points)).tolist()
    up = np.array([1.0, 0.01, 0.02])
    return Solid(IDENTITY, tuple(bars(points, [(w, w) for w in widths], 2.0, up)))
