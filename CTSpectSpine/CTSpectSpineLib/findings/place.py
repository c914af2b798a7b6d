"""Where a focus lies: bone or tissue, vertebra, side, and words for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.findings.grid import Scene
from CTSpectSpineLib.findings.shapes import Shape
from CTSpectSpineLib.geometry import apply_matrix, inverse
from CTSpectSpineLib.model import FloatArray, Region, Side, SpineJoints, VertebraFrame

BALL_MM = (6.0, 12.0)
"""Least and largest radius in which labels around a focus are counted. Judgement: below it names
hang on single voxels, above it neighbours speak louder."""
SIDE_MM = 6.0
"""Offset from the middle plane from which a focus has a side. Judgement: half a SPECT's width."""
SPINOUS_MM, TRANSVERSE_MM = 8.0, 26.0
"""Offset from the middle plane up to which the arch is spinous process, and from which it is
transverse process. Judgement: an adult's lumbar arch."""
MEET_SHARE = 0.1
"""The same where the hip bones are labelled, in a wider ball. Judgement: labels do not guess."""
BOTH_SHARE = 0.15
"""Share of the bone around a focus that each side of the sacroiliac joint has at least.
Judgement."""
JOINT_GAP_MM = 6.0
"""How much further around a focus the other side of the sacroiliac joint is looked for. Judgement:
the joint space with half of what the SPECT resolves."""
BODY_SHARE = 0.6
"""Share of a vertebra's voxels around a focus that lie in its body where it counts as of the body.
Judgement: a pedicle joins both."""
RIB_NEAR_MM = 32.0
"""Distance from the middle plane up to which unlabelled bone beside a thoracic vertebra belongs to
its costovertebral joints. Judgement: half width of a body with the head of the rib."""
KIDNEY_MM, URETER_MM = (25.0, 100.0), (15.0, 60.0)
"""Offsets from the middle plane of kidneys and of ureters. Judgement: adults on CT."""
KIDNEY_LEVELS = ("T11", "T12", "T13", "L1", "L2", "L3", "L4")
"""Vertebrae beside which kidneys lie. Standard anatomy, with room for low ones."""
ORGAN_MM = 12.0
"""Radius from which uptake in soft tissue is an organ, not a duct. Judgement."""
BLADDER_MM, BEFORE_MM = 45.0, 15.0
"""Offset of the bladder from the middle plane at most, and before the sacrum at least.
Judgement."""
SKIN_MM, FAR_MM = 22.0, 70.0
"""An injection site lies this near to the skin, and this far from the spine. Judgement."""
SITE_RATIO = 4.0
"""Ratio from which a small focus beside the body is an injection site. Judgement: above bone."""


@dataclass(frozen=True)
class Place:
    """Where a focus lies; see `model.Finding`."""

    where: str
    level: str
    side: Side
    physiologic: str
    words: str


@dataclass(frozen=True)
class _Around:
    """What surrounds a focus.

    Attributes
    ----------
    level, frame
        Nearest vertebra with a frame.
    lateral, posterior
        Offset from the middle of its body to the left and to the back, mm.
    labels
        Label id to voxels around it; 0 is bone without a label, -1 soft tissue.
    """

    level: str
    frame: VertebraFrame | None
    lateral: float
    posterior: float
    labels: Mapping[int, int]
    air: float

    @property
    def side(self) -> Side:
        if abs(self.lateral) < SIDE_MM:
            return ""
        return "left" if self.lateral > 0 else "right"


def place_of(scene: Scene, joints: SpineJoints, shape: Shape, ratio: float) -> Place:
    """Name the place of a shape.

    Parameters
    ----------
    ratio
        Its uncorrected ratio.
    """
    if shape.kind == "vertebra":
        return Place("vertebra", shape.name, "", "", f"all of {shape.name}")
    around = _around(scene, joints, shape)
    inside = apply_matrix(scene.ct_to_index, shape.centre_mm[None])[0]
    at = np.clip(np.rint(inside[::-1]).astype(int), 0, np.array(scene.ratio.shape) - 1)
    if scene.seen_share[tuple(at)] < 0.5:
        return _outside(around, shape, ratio)
    if shape.kind == "organ" or not any(n for key, n in around.labels.items() if key >= 0):
        return _soft(scene, around, shape, ratio)
    return _bone(scene, around, shape)


def _around(scene: Scene, joints: SpineJoints, shape: Shape) -> _Around:
    radius = float(np.clip(shape.radius_mm, *BALL_MM))
    wide, _ = scene.coarse.near(shape.centre_mm, SKIN_MM)
    air = float(np.mean(~scene.coarse.body[tuple(wide.T)])) if len(wide) else 0.0
    level, frame, offset = _nearest(joints, shape.centre_mm)
    return _Around(
        level,
        frame,
        float(offset[0]),
        float(offset[1]),
        _labels(scene, shape, radius),
        air,
    )


def _labels(scene: Scene, shape: Shape, radius_mm: float) -> dict[int, int]:
    """Label id to voxels in a ball; 0 is bone without a label, -1 soft tissue."""
    kji, _ = scene.coarse.near(shape.centre_mm, radius_mm)
    at = tuple(kji.T)
    label = np.where(scene.coarse.bone[at], scene.coarse.labels[at].astype(int), -1)
    ids, counts = np.unique(label, return_counts=True)
    return {int(key): int(n) for key, n in zip(ids, counts, strict=True)}


def _nearest(
    joints: SpineJoints, centre: FloatArray
) -> tuple[str, VertebraFrame | None, FloatArray]:
    """The vertebra at whose height a point lies, and the point in its frame (left, back, up)."""
    best: tuple[float, str, VertebraFrame, FloatArray] | None = None
    for level, frame in joints.frames.items():
        offset = frame.axes @ (centre - frame.centre_mm)
        distance = abs(float(offset[2])) + 0.15 * float(np.hypot(offset[0], offset[1]))
        if best is None or distance < best[0]:
            best = distance, level, frame, offset
    if best is None:
        return "", None, np.zeros(3)
    return best[1], best[2], best[3]


def _bone(scene: Scene, around: _Around, shape: Shape) -> Place:
    bone = {key: n for key, n in around.labels.items() if key >= 0}
    total = sum(bone.values())
    share = {key: n / total for key, n in bone.items()}
    sacrum = sum(v for key, v in share.items() if _region(key) == "sacral")
    hips = sum(share.get(n, 0.0) for n in anatomy.hip_ids().values())
    loose = share.get(0, 0.0)
    lumbar = around.level not in ("", *anatomy.SACRAL)
    beside = hips + (loose if not lumbar or around.level in ("L5", "L6") else 0.0)
    if around.side and (sacrum >= BOTH_SHARE or beside >= BOTH_SHARE):
        wide = _labels(scene, shape, float(np.clip(shape.radius_mm, *BALL_MM)) + JOINT_GAP_MM)
        labelled = np.isin(scene.coarse.labels, list(anatomy.hip_ids().values())).any()
        if _meet(wide, unlabelled=not labelled):
            return _pelvic("sacroiliac", around, "sacroiliac joint")
    if sacrum >= 0.5:
        return _pelvic("sacrum", around, "sacrum")
    if hips >= 0.5:
        return _pelvic("hip", around, "hip bone")
    vertebrae = {key: v for key, v in share.items() if _region(key) not in ("", "sacral")}
    if vertebrae and max(vertebrae.values()) >= min(loose, 0.4):
        return _vertebral(scene, around, shape, max(vertebrae, key=vertebrae.__getitem__), loose)
    return _loose_bone(around)


def _meet(labels: Mapping[int, int], *, unlabelled: bool) -> bool:
    """Whether sacrum and hip bone both have a good share of the bone around a focus."""
    bone = {key: n for key, n in labels.items() if key >= 0}
    total = max(sum(bone.values()), 1)
    sacrum = sum(n for key, n in bone.items() if _region(key) == "sacral")
    hips = sum(bone.get(n, 0) for n in anatomy.hip_ids().values())
    hips += bone.get(0, 0) if unlabelled else 0
    return min(sacrum, hips) >= (BOTH_SHARE if unlabelled else MEET_SHARE) * total


def _region(label: int) -> str:
    name = anatomy.name_of_id(label) if label > 0 else None
    return "" if name is None else anatomy.vertebra(name).region


def _pelvic(where: str, around: _Around, words: str) -> Place:
    return Place(where, "", around.side, "", f"{around.side} {words}".strip())


def _vertebral(scene: Scene, around: _Around, shape: Shape, label: int, loose: float) -> Place:
    level = str(anatomy.name_of_id(label))
    side = around.side
    thoracic = anatomy.vertebra(level).region == "thoracic"
    if thoracic and loose >= BOTH_SHARE and side:
        words = f"{side} costovertebral joint at {level}"
        return Place("costovertebral", level, side, "", words)
    frame = around.frame
    kji, points = scene.coarse.near(shape.centre_mm, float(np.clip(shape.radius_mm, *BALL_MM)))
    mine = points[scene.coarse.labels[tuple(kji.T)] == label]
    in_body = 0.0 if frame is None else float(np.mean(_inside(frame.body, mine)))
    if frame is not None and frame.level != level:
        # The nearest frame is a neighbour's: what is not in its body may be in one without frame.
        in_body = 1.0 if around.posterior < 8.0 else 0.0
    if in_body >= BODY_SHARE:
        return Place("body", level, side, "", f"{side} half of the body of {level}".strip()
                     if side else f"body of {level}")  # fmt: skip
    part = "lamina or pars"
    if abs(around.lateral) < SPINOUS_MM:
        return Place("arch", level, "", "", f"spinous process of {level}")
    if abs(around.lateral) > TRANSVERSE_MM:
        part = "transverse process"
    elif in_body > 0.1:
        part = "pedicle"
    return Place("arch", level, side, "", f"{side} {part} of {level}".strip())


def _inside(region: Region, points: FloatArray) -> FloatArray:
    if not len(points):
        return np.zeros(1)
    index = np.rint(apply_matrix(inverse(region.ijk_to_lps), points)).astype(int)
    size = np.array(region.mask.shape[::-1])
    within = np.all((index >= 0) & (index < size), axis=1)
    found = np.zeros(len(points))
    i, j, k = index[within].T
    found[within] = region.mask[k, j, i]
    return found


def _loose_bone(around: _Around) -> Place:
    """Bone without a label: ribs beside thoracic and upper lumbar vertebrae, else pelvis."""
    level, side = around.level, around.side
    region = "" if not level else anatomy.vertebra(level).region
    ribs = region == "thoracic" or level in ("L1", "L2")
    if ribs and abs(around.lateral) <= RIB_NEAR_MM and region == "thoracic":
        return Place("costovertebral", level, side, "", f"{side} costovertebral joint at {level}")
    if ribs:
        return Place("rib", level, side, "", f"{side} rib at the height of {level}".strip())
    if region == "sacral" or level in ("L5", "L6"):
        return Place("hip", "", side, "", f"{side} hip bone".strip())
    return Place("bone", level, side, "", f"bone at the height of {level}")


def _outside(around: _Around, shape: Shape, ratio: float) -> Place:
    small = shape.radius_mm < ORGAN_MM and ratio >= SITE_RATIO
    far = abs(around.lateral) > FAR_MM
    physiologic = "injection site" if small and far else ""
    words = f"outside the CT, at the height of {around.level}" if around.level else "outside the CT"
    return Place("outside the CT", around.level, around.side, physiologic, words)


def _soft(scene: Scene, around: _Around, shape: Shape, ratio: float) -> Place:
    level, side = around.level, around.side
    off, back = abs(around.lateral), around.posterior
    large = shape.radius_mm >= ORGAN_MM
    sacral = level in anatomy.SACRAL
    tops = [row.id for row in anatomy.vertebrae() if row.region == "sacral"]
    sacrum = np.concatenate([scene.coarse.points_of(number) for number in tops])
    if not sacral and len(sacrum):
        sacral = bool(shape.centre_mm[2] < np.percentile(sacrum[:, 2], 70))
    physiologic = ""
    if large and off < BLADDER_MM and sacral and back < -BEFORE_MM:
        physiologic = "bladder"
    elif large and KIDNEY_MM[0] < off < KIDNEY_MM[1] and level in KIDNEY_LEVELS:
        physiologic = "kidney"
    elif around.air > 0.05 and max(off, abs(back)) > FAR_MM and ratio >= SITE_RATIO:
        physiologic = "injection site"
    elif not large and URETER_MM[0] < off < URETER_MM[1] and -60.0 < back < -5.0:
        physiologic = "ureter"
    beside = {"bladder": "before the sacrum", "": ""}.get(physiologic, f"at the height of {level}")
    name = f"{side} {physiologic}" if physiologic in ("kidney", "ureter") else physiologic
    words = f"{name} {beside}" if physiologic else f"{side} soft tissue at the height of {level}"
    return Place("soft tissue", level, side, physiologic, words.strip())
