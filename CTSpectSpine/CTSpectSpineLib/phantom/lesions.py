"""Uptake outside the joints with a known truth: fractures, metastases, organs, injections."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from CTSpectSpineLib import anatomy as names
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import apply_matrix, grid_of, inverse
from CTSpectSpineLib.model import BoolArray, FloatArray
from CTSpectSpineLib.phantom.activity import Painted
from CTSpectSpineLib.phantom.model import Anatomy, Tissue
from CTSpectSpineLib.phantom.pattern import BONE

_CASES = Path(__file__).parent / "lesions.json"
SPINOUS_TIP_MM = 12.0
"""How far before its tip a focus in a spinous process lies. Judgement: half of the process."""
PARS_MM, PEDICLE_MM = 14.0, 13.0
"""Half the distance between both partes interarticulares, and both pedicles. Judgement: an adult's
lumbar arch."""
URETER_MM = (38.0, -12.0)
"""A ureter beside and before the middle of a body (lateral, posterior). Judgement: at the tips of
the transverse processes, on the psoas."""
PSOAS_MM = (40.0, 5.0)
"""Belly of the psoas beside a body (lateral, posterior). Judgement."""
SKIN_MM = 12.0
"""Depth of an injection site under the skin. Judgement."""
RIB_MM, ILIAC_MM, WING_MM = 45.0, 40.0, 30.0
"""Distance of foci from the middle plane: shaft of a rib; from the sacroiliac joint into the iliac
bone; wing of the sacrum. Judgement: well outside of any joint."""

Points = FloatArray


@dataclass(frozen=True)
class Lesion:
    """One focus of uptake outside the joints.

    Attributes
    ----------
    where, level, side
        Bone or tissue, vertebra (empty where there is none), and side.
    part
        Which part of it.
    diameter_mm, ratio
        Size of the ball (0: all of the bone), and its uptake over that of the reference bone.
    """

    where: str
    level: str
    side: str
    part: str
    diameter_mm: float
    ratio: float


@dataclass(frozen=True)
class LesionCase:
    """A patient with uptake outside the joints.

    Attributes
    ----------
    name, about
        Name, and what it stands for.
    lesions
        The foci.
    physiologic
        Whether this uptake is no disease.
    hot
        Joint id to true ratio, where joints are hot as well.
    screws
        Levels with screws.
    """

    name: str
    about: str
    lesions: tuple[Lesion, ...]
    physiologic: bool = False
    hot: Mapping[str, float] = field(default_factory=dict)
    screws: tuple[str, ...] = ()


def lesion_cases() -> tuple[LesionCase, ...]:
    """The cases of ``lesions.json``."""
    return tuple(map(_case, json.loads(_CASES.read_text(encoding="utf-8"))))


def _case(row: Mapping[str, Any]) -> LesionCase:
    first = {key: row[key] for key in Lesion.__dataclass_fields__}
    lesions = [Lesion(**first), *(Lesion(**v) for v in [row.get("also")] if v)]
    return LesionCase(
        row["name"],
        row["about"],
        tuple(lesions),
        bool(row.get("physiologic", False)),
        dict(row.get("hot", {})),
        tuple(row.get("screws", ())),
    )


def with_lesions(anatomy: Anatomy, painted: Painted, lesions: Iterable[Lesion]) -> Painted:
    """The activity with foci in it; the truth of the joints stays that of the joints alone.

    Raises
    ------
    InputError
        If the anatomy lacks the bone or organ of a focus.
    """
    activity = sitk.GetArrayFromImage(painted.image)
    for lesion in lesions:
        where, share = lesion_voxels(anatomy, lesion)
        value = np.float32(lesion.ratio * painted.truth.reference)
        activity[where] = np.maximum(activity[where], share * value)
    image = sitk.GetImageFromArray(activity)
    image.CopyInformation(painted.image)
    return replace(painted, image=image)


def lesion_voxels(
    anatomy: Anatomy, lesion: Lesion
) -> tuple[tuple[NDArray[np.int_], ...], NDArray[np.float32]]:
    """Voxels ``(k, j, i)`` of a focus and the share of its uptake that each has."""
    space = _Space(anatomy)
    if lesion.where == "vertebra":
        mask = space.label(lesion.level)
    else:
        centre = centre_mm(space, lesion)
        mask = space.ball(centre, lesion.diameter_mm / 2)
        soft = lesion.where == "soft tissue"
        if not soft:
            mask &= np.isin(space.tissue, BONE)
    if not mask.any():
        raise InputError(f"The phantom has no {lesion.where} {lesion.level} {lesion.side}.")
    where = np.nonzero(mask)
    return where, np.ones(len(where[0]), dtype=np.float32)


class _Space:
    """Bones of an anatomy as points, LPS mm."""

    def __init__(self, anatomy: Anatomy) -> None:
        self.tissue = sitk.GetArrayFromImage(anatomy.tissue)
        self.labels = sitk.GetArrayViewFromImage(anatomy.labels)
        self.grid = grid_of(anatomy.ct)

    def label(self, level: str) -> BoolArray:
        return np.asarray(self.labels == names.vertebra(level).id)

    def points(self, mask: BoolArray, what: str) -> Points:
        kji = np.argwhere(mask)
        if not len(kji):
            raise InputError(f"The phantom has no {what}.")
        return apply_matrix(self.grid.ijk_to_lps, kji[:, ::-1].astype(float))

    def body(self, level: str) -> Points:
        bone = self.label(level)
        body = bone & (self.tissue == Tissue.BODY)
        return self.points(body if body.any() else bone, f"body of {level}")

    def arch(self, level: str) -> Points:
        bone = self.label(level) & (self.tissue == Tissue.POSTERIOR)
        return self.points(bone, f"arch of {level}")

    def of(self, tissue: Tissue) -> Points:
        return self.points(self.tissue == tissue, tissue.name.lower())

    def ball(self, centre: FloatArray, radius_mm: float) -> BoolArray:
        found: BoolArray = np.zeros(self.tissue.shape, dtype=bool)
        inside = inverse(self.grid.ijk_to_lps)
        middle = apply_matrix(inside, centre[None])[0]
        reach = radius_mm / self.grid.spacing_mm + 1
        low = np.clip(np.floor(middle - reach).astype(int), 0, self.grid.size)
        high = np.clip(np.ceil(middle + reach).astype(int) + 1, low, self.grid.size)
        i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        kji = np.indices(found[k, j, i].shape).reshape(3, -1).T + low[::-1]
        points = apply_matrix(self.grid.ijk_to_lps, kji[:, ::-1].astype(float))
        near = np.linalg.norm(points - centre, axis=1) <= radius_mm
        found[tuple(kji[near].T)] = True
        return found


def centre_mm(space: _Space, lesion: Lesion) -> FloatArray:
    """Middle of a focus, LPS mm."""
    sign = {"left": 1.0, "right": -1.0}.get(lesion.side, 0.0)
    if lesion.where == "body":
        return _in_body(space.body(lesion.level), lesion, sign)
    if lesion.where == "arch":
        return _in_arch(space, lesion, sign)
    if lesion.where in ("rib", "costovertebral"):
        return _in_rib(space, lesion, sign)
    if lesion.where == "soft tissue":
        return _in_soft_tissue(space, lesion, sign)
    return _in_pelvis(space, lesion, sign)


def _in_body(points: Points, lesion: Lesion, sign: float) -> FloatArray:
    middle = points.mean(axis=0)
    half = np.percentile(np.abs(points - middle), 95, axis=0)
    offsets = {
        "centre": (0.0, 0.0, 0.0),
        "upper": (0.0, 0.0, 0.45),
        "lower": (0.0, 0.0, -0.45),
        "half": (0.5 * sign, 0.0, 0.0),
        "corner": (0.4 * sign, -0.45, 0.45),
    }
    return np.asarray(middle + np.array(offsets[lesion.part]) * half)


def _in_arch(space: _Space, lesion: Lesion, sign: float) -> FloatArray:
    arch, body = space.arch(lesion.level), space.body(lesion.level)
    middle = body.mean(axis=0)
    if lesion.part == "spinous":
        near = arch[np.abs(arch[:, 0] - middle[0]) < 6.0]
        tip = near[near[:, 1] > np.percentile(near[:, 1], 90)].mean(axis=0)
        return np.asarray(tip - [0.0, SPINOUS_TIP_MM / 2, 0.0])
    lateral = PARS_MM if lesion.part == "pars" else PEDICLE_MM
    near = arch[np.abs(arch[:, 0] - middle[0] - sign * lateral) < 4.0]
    depth = np.percentile(near[:, 1], 60 if lesion.part == "pars" else 10)
    near = near[np.abs(near[:, 1] - depth) < 4.0]
    height = np.median(near[:, 2])
    return np.array([middle[0] + sign * lateral, depth, height])


def _in_rib(space: _Space, lesion: Lesion, sign: float) -> FloatArray:
    middle = space.body(lesion.level).mean(axis=0)
    ribs = space.of(Tissue.RIB)
    ribs = ribs[(ribs[:, 0] - middle[0]) * sign > 0]
    ribs = ribs[np.abs(ribs[:, 2] - middle[2]) < 25.0]
    if not len(ribs):
        raise InputError(f"The phantom has no rib at {lesion.level}.")
    lateral = np.abs(ribs[:, 0] - middle[0])
    if lesion.part == "shaft":
        return np.asarray(ribs[np.argmin(np.abs(lateral - RIB_MM))])
    return np.asarray(ribs[lateral <= np.percentile(lateral, 4)].mean(axis=0))


def _in_pelvis(space: _Space, lesion: Lesion, sign: float) -> FloatArray:
    sacrum, hips = space.of(Tissue.SACRUM), space.of(Tissue.PELVIS)
    middle = sacrum.mean(axis=0)
    upper = sacrum[:, 2] > np.percentile(sacrum[:, 2], 40)
    side = sacrum[(sacrum[:, 0] - middle[0]) * sign > 0]
    if lesion.where == "sacrum":
        near = side[np.abs(np.abs(side[:, 0] - middle[0]) - WING_MM) < 4.0]
        return np.asarray(near[near[:, 2] > np.percentile(near[:, 2], 50)].mean(axis=0))
    edge = sacrum[upper & ((sacrum[:, 0] - middle[0]) * sign > 0)]
    edge = edge[np.abs(edge[:, 0] - middle[0]) > np.percentile(np.abs(edge[:, 0] - middle[0]), 95)]
    joint = np.asarray(edge.mean(axis=0))
    if lesion.where == "sacroiliac":
        return joint
    own = hips[(hips[:, 0] - middle[0]) * sign > 0]
    away = np.linalg.norm(own - joint, axis=1)
    return np.asarray(own[np.argmin(np.abs(away - ILIAC_MM))])


def _in_soft_tissue(space: _Space, lesion: Lesion, sign: float) -> FloatArray:
    if lesion.part == "bladder":
        if (space.tissue == Tissue.BLADDER).any():
            return np.asarray(space.of(Tissue.BLADDER).mean(axis=0))
        sacrum = space.of(Tissue.SACRUM)
        return np.array([sacrum[:, 0].mean(), sacrum[:, 1].min() - 45.0, sacrum[:, 2].min() + 20.0])
    middle = space.body(lesion.level).mean(axis=0)
    if lesion.part == "kidney":
        kidney = space.of(Tissue.KIDNEY)
        return np.asarray(kidney[(kidney[:, 0] - middle[0]) * sign > 0].mean(axis=0))
    if lesion.part == "skin":
        row = space.points(space.tissue != Tissue.AIR, "body")
        row = row[np.abs(row[:, 2] - middle[2]) < 10.0]
        row = row[np.abs(row[:, 1] - middle[1]) < 10.0]
        x = row[:, 0].max() - SKIN_MM if sign > 0 else row[:, 0].min() + SKIN_MM
        return np.array([x, middle[1], middle[2]])
    lateral, posterior = URETER_MM if lesion.part == "ureter" else PSOAS_MM
    return np.asarray(middle + np.array([sign * lateral, posterior, 0.0]))
