"""A small patient for the tests of pictures: three vertebrae and one hot facet joint."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from CTSpectSpineLib import anatomy, model
from CTSpectSpineLib.geometry import apply_matrix, ijk_to_lps

HOT = "L4-L5 facet left"
LEVELS = ("L3", "L4", "L5")
# Bodies one below the other, with a side bend and a lordosis that the surfaces must follow.
CENTRES = {"L3": (6.0, -8.0, 36.0), "L4": (0.0, -12.0, 0.0), "L5": (-7.0, -6.0, -36.0)}


def ball(image: sitk.Image, centre: Any, radius: float, value: float) -> None:
    """Set a ball of an image, in place, by the positions of its voxels."""
    array = sitk.GetArrayFromImage(image)
    k, j, i = np.indices(array.shape)
    points = apply_matrix(ijk_to_lps(image), np.stack([i, j, k], axis=-1).reshape(-1, 3))
    inside = np.linalg.norm(points - np.asarray(centre), axis=1).reshape(array.shape) <= radius
    array[inside] = value
    filled = sitk.GetImageFromArray(array)
    filled.CopyInformation(image)
    image[:] = filled


def grid(size: tuple[int, int, int], spacing: float, pixel: int, value: float) -> sitk.Image:
    image = sitk.Image(size, pixel) + value
    image.SetSpacing([spacing] * 3)
    image.SetOrigin([-(n - 1) * spacing / 2 for n in size])
    return image


def box_region(centre: np.ndarray, half: tuple[float, float, float]) -> model.Region:
    """Box region on a 1 mm grid that is turned against the patient's axes."""
    turn = Rotation.from_euler("xyz", [10, -7, 5], degrees=True).as_matrix()
    n = 2 * int(max(half)) + 9
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = centre - turn @ np.full(3, (n - 1) / 2)
    k, j, i = np.indices((n, n, n)) - (n - 1) / 2
    mask = (abs(i) <= half[0]) & (abs(j) <= half[1]) & (abs(k) <= half[2])
    return model.Region(mask, matrix)


def make_case() -> dict[str, Any]:
    ct = grid((64, 64, 60), 2.5, sitk.sitkInt16, 40)
    labels = grid((64, 64, 60), 2.5, sitk.sitkUInt8, 0)
    frames, joints = {}, []
    for level, centre in CENTRES.items():
        ball(ct, centre, 16, 300)
        ball(labels, centre, 16, anatomy.vertebra(level).id)
        region = box_region(np.array(centre), (10, 10, 8))
        frames[level] = model.VertebraFrame(level, np.array(centre), np.eye(3), region, region)
    for upper, lower in itertools.pairwise(LEVELS):
        middle = (np.array(CENTRES[upper]) + np.array(CENTRES[lower])) / 2
        level = f"{upper}-{lower}"
        for kind, side, offset, half in (
            ("disc", "", (0, 0, 0), (16, 12, 5)),
            ("facet", "left", (18, 32, 0), (5, 5, 7)),
            ("facet", "right", (-18, 32, 0), (5, 5, 7)),
        ):
            centre = middle + np.array(offset, dtype=float)
            region = box_region(centre, half)
            name = f"{level} {kind} {side}".strip()
            joints.append(
                model.Joint(name, level, kind, side, "lumbar", upper, lower, region, region, centre)
            )
    spine = model.SpineJoints(tuple(joints), frames)
    transform = sitk.Euler3DTransform()
    transform.SetRotation(0.05, -0.04, 0.1)
    transform.SetTranslation((14.0, -9.0, 11.0))
    spect = grid((48, 48, 48), 4.8, sitk.sitkFloat32, 0.0)
    for level in LEVELS:
        ball(spect, transform.TransformPoint(CENTRES[level]), 14, 100)
    ball(spect, transform.TransformPoint(spine[HOT].centre_mm.tolist()), 9, 500)
    table = pd.DataFrame(
        {
            "joint": [joint.id for joint in joints],
            "uptake": ["positive" if joint.id == HOT else "negative" for joint in joints],
            "ratio_max": [4.4 if joint.id == HOT else 1.1 for joint in joints],
        }
    )
    reference = model.ReferenceUptake(100.0, "vertebral_bodies", LEVELS, {}, 0.1)
    return {
        "ct": ct,
        "spect": spect,
        "registration": model.Registration(transform, "m", 0, 1, 1.0, "good", (), 1.0),
        "labels": labels,
        "joints": spine,
        "table": table,
        "verdict": model.Verdict({}, "x", "", (), (), {}, None, (), {HOT: "counts as an area"}),
        "uptake": model.Uptake(table, reference, np.zeros((0, 6)), 10.0, "given", 1.0),
    }
