"""From SPECT, CT, labels and joints to the list of findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.finding import Finding
from CTSpectSpineLib.findings.fit import Model, fitted, joint_excess
from CTSpectSpineLib.findings.grid import Scene, scene_of
from CTSpectSpineLib.findings.place import Place, place_of
from CTSpectSpineLib.findings.shapes import EXCESS, Shape
from CTSpectSpineLib.geometry import apply_matrix
from CTSpectSpineLib.model import FloatArray, Joint, SpineJoints

CLEAR_EXCESS = 1.0
"""Excess over the ordinary from which a finding is certain. Judgement: twice the one from which it
is looked at."""
LOST_SHARE, LOST_EXCESS = 0.5, 0.5
"""A joint is explained by a focus beside it where at least this share of its own excess, which is
at least `LOST_EXCESS`, goes over to the focus. Judgement: more than half."""
BESIDE_MM = 32.0
"""How far from a joint's centre such a focus lies at most. Judgement: the height of a body."""
_CORE = (0.5, 0.8)
"""Share of its height above which a voxel belongs to a focus, and to an organ, whose neighbours may
be hotter. Judgement."""
FAINT_RATIO = 1.6
"""Ratio below which uptake in soft tissue is left out. Judgement: the upper limit of ordinary
pelvic bone, which thin bone that is not labelled may have while it looks like soft tissue on CT."""
TOGETHER_MM = 8.0
"""Gap between balls that are one finding where they lie in the same part of a bone, and distance of
their middles where they lie in body and arch of a vertebra. Judgement: less than the SPECT
resolves."""


def find_findings(
    spect: sitk.Image,
    ct: sitk.Image,
    labels: sitk.Image,
    joints: SpineJoints,
    ct_to_spect: FloatArray,
    reference: float,
    fwhm_mm: float,
) -> tuple[Finding, ...]:
    """Find uptake above the ordinary that no joint explains.

    The SPECT is explained by ordinary uptake of bone and soft tissue, by the parts of the joints,
    by whole vertebrae and by balls, all blurred as the SPECT is. A ball or a vertebra is added
    only where what is left exceeds the ordinary and the share by which hot joints may be modelled
    wrongly; organs are taken as they are seen. A joint that keeps less than half of its excess
    beside a focus is named in it.

    Parameters
    ----------
    spect
        The SPECT.
    ct, labels
        CT in HU and vertebra labels (ids of `anatomy`).
    joints
        Joints and frames of these labels.
    ct_to_spect
        4×4 matrix from CT to SPECT points, LPS mm.
    reference
        Uptake of the reference bone, SPECT units.
    fwhm_mm
        Point spread of the SPECT.

    Returns
    -------
    Findings, those that look physiologic last, the hottest first; empty without a reference.
    """
    if not (np.isfinite(reference) and reference > 0):
        return ()
    scene = scene_of(spect, ct, labels, ct_to_spect, reference, fwhm_mm)
    model, alone = fitted(scene, joints)
    found = _merged(
        [
            _Found(shape, float(value), _place(scene, joints, shape))
            for shape, value in zip(model.shapes, model.values, strict=True)
            if shape.kind != "joint" and value > 0 and not _is_faint(scene, shape)
        ]
    )
    explained = _explained(model, alone, found, joints)
    findings = [_finding(scene, each, explained.get(n, ())) for n, each in enumerate(found)]
    findings.sort(key=lambda f: (bool(f.physiologic), -max(f.ratio_max, f.ratio_corrected)))
    return tuple(replace(f, name=f"finding {n}") for n, f in enumerate(findings, start=1))


@dataclass(frozen=True)
class _Found:
    """Shapes that make one finding."""

    shape: Shape
    value: float
    place: Place
    others: tuple[Shape, ...] = ()

    @property
    def shapes(self) -> tuple[Shape, ...]:
        return self.shape, *self.others

    @property
    def radius_mm(self) -> float:
        """Radius of a ball of the volume of all shapes."""
        return float(sum(s.radius_mm**3 for s in self.shapes) ** (1 / 3))


def _place(scene: Scene, joints: SpineJoints, shape: Shape) -> Place:
    ratio, _ = _ratios(scene, (shape,))
    return place_of(scene, joints, shape, ratio)


def _is_faint(scene: Scene, shape: Shape) -> bool:
    """Whether it is in soft tissue and no hotter than bone, which it may be without a label."""
    return shape.kind == "organ" and _ratios(scene, (shape,))[0] < FAINT_RATIO


def _merged(found: Sequence[_Found]) -> list[_Found]:
    """Shapes that are one focus, and all in a vertebra that is hot as a whole."""
    whole = {each.place.level for each in found if each.place.where == "vertebra"}
    kept: list[_Found] = []
    for each in sorted(found, key=lambda f: -f.value * f.shape.radius_mm**3):
        inside = each.place.where in ("body", "arch") and each.place.level in whole
        twin = next((n for n, k in enumerate(kept) if _same(k, each)), None)
        if inside:
            continue
        if twin is None:
            kept.append(each)
        else:
            kept[twin] = replace(kept[twin], others=(*kept[twin].others, each.shape))
    return kept


def _same(a: _Found, b: _Found) -> bool:
    """Whether they touch in the same part of a bone, or share their middle in a pedicle's root."""
    one, two = a.place, b.place
    if (one.level, one.physiologic) != (two.level, two.physiologic):
        return False
    apart = [float(np.linalg.norm(s.centre_mm - b.shape.centre_mm)) for s in a.shapes]
    if {one.where, two.where} == {"body", "arch"}:
        return min(apart) < TOGETHER_MM
    if one.where != two.where or (one.where == "arch" and one.side != two.side):
        return False
    gaps = [d - s.radius_mm - b.shape.radius_mm for d, s in zip(apart, a.shapes, strict=True)]
    return min(gaps) < TOGETHER_MM


def _ratios(scene: Scene, shapes: Sequence[Shape]) -> tuple[float, float]:
    """Highest uncorrected ratio in some shapes and the mean of it, each within half its height."""
    flat = scene.ratio.ravel()
    cores = [
        s.column.indices[s.column.data > _CORE[s.kind == "organ"] * s.column.data.max()]
        for s in shapes
    ]
    rows = np.unique(np.concatenate(cores))
    return float(flat[rows].max()), float(flat[rows].mean())


def _finding(scene: Scene, found: _Found, joints: tuple[str, ...]) -> Finding:
    high, mean = _ratios(scene, found.shapes)
    index = apply_matrix(scene.ct_to_index, found.shape.centre_mm[None])[0]
    at = np.clip(np.rint(index[::-1]).astype(int), 0, np.array(scene.ratio.shape) - 1)
    usual = float(scene.usual[tuple(at)])
    excess = high - float(scene.limit[tuple(at)])
    confidence = "high" if excess >= CLEAR_EXCESS else "moderate" if excess >= EXCESS else "low"
    x, y, z = (float(v) for v in found.shape.centre_mm)
    place = found.place
    return Finding(
        name="",
        where=place.where,
        level=place.level,
        side=place.side,
        centre_mm=(x, y, z),
        diameter_mm=2.0 * found.radius_mm,
        ratio_max=high,
        ratio_mean=mean,
        ratio_corrected=usual + found.value,
        confidence=confidence,
        physiologic=place.physiologic,
        nearest=place.words,
        joints=joints,
    )


def _explained(
    model: Model, alone: Mapping[str, float], found: Sequence[_Found], joints: SpineJoints
) -> dict[int, tuple[str, ...]]:
    """Number of a finding to the joints whose uptake it takes over."""
    after = joint_excess(model)
    bones = [n for n, each in enumerate(found) if each.shape.kind != "organ"]
    result: dict[int, tuple[str, ...]] = {}
    for joint in joints.joints:
        before = alone.get(joint.id, 0.0)
        if before < LOST_EXCESS or after.get(joint.id, 0.0) > (1 - LOST_SHARE) * before:
            continue
        near = {n: _distance(found[n], joint) for n in bones}
        if near and min(near.values()) <= BESIDE_MM:
            n = min(near, key=near.__getitem__)
            result[n] = (*result.get(n, ()), joint.id)
    return result


def _distance(found: _Found, joint: Joint) -> float:
    assert joint.centre_mm is not None
    centre = joint.centre_mm
    return min(float(np.linalg.norm(s.centre_mm - centre)) for s in found.shapes)
