"""Joints and labels of the CT as they lie where the spine is bent differently in the SPECT.

Regions are moved, not voxels of the SPECT: these keep their noise and their width, on which the
estimates of both rest.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import SimpleITK as sitk

from CTSpectSpineLib.geometry import grid_of, label_box
from CTSpectSpineLib.model import FloatArray, Joint, Region, SpineJoints, VertebraFrame
from CTSpectSpineLib.posture import Posture

_MARGIN_MM = 20.0
"""What is kept around the labels, mm. Judgement: more than any vertebra moves."""


def posed(
    joints: SpineJoints, labels: sitk.Image, posture: Posture
) -> tuple[SpineJoints, sitk.Image]:
    """Move joints, vertebrae and labels to where the SPECT shows them, in the CT's frame.

    Each joint and each vertebra moves rigidly, by the motion at its centre, so volumes stay; the
    labels, whose neighbours bound each other, follow the blended motion.

    Parameters
    ----------
    joints, labels
        As found on the CT.
    posture
        Motions of the vertebrae.

    Returns
    -------
    The same joints and labels in the posture of the SPECT; the labels on a grid cropped to them.
    """
    moved = tuple(_joint(joint, posture) for joint in joints.joints)
    frames = {level: _frame(frame, posture) for level, frame in joints.frames.items()}
    return replace(joints, joints=moved, frames=frames), _labels(labels, posture)


def placed_on_ct(table: pd.DataFrame, joints: SpineJoints) -> pd.DataFrame:
    """The joint table with the joints' centres on the CT, rows in the order of the joints."""
    rows = [joint.geometry() for joint in joints.joints]
    columns = {name: [row[name] for row in rows] for name in ("x_mm", "y_mm", "z_mm")}
    placed: pd.DataFrame = table.assign(**columns)
    return placed


def _joint(joint: Joint, posture: Posture) -> Joint:
    if joint.centre_mm is None:
        return joint
    motion = posture.rigid_at(joint.centre_mm)
    return replace(
        joint,
        region=_moved(joint.region, motion),
        bone=_moved(joint.bone, motion),
        centre_mm=(motion @ np.append(joint.centre_mm, 1.0))[:3],
        parts={name: _region(part, motion) for name, part in joint.parts.items()},
    )


def _frame(frame: VertebraFrame, posture: Posture) -> VertebraFrame:
    motion = posture.rigid_at(frame.centre_mm)
    return replace(
        frame,
        centre_mm=(motion @ np.append(frame.centre_mm, 1.0))[:3],
        axes=frame.axes @ motion[:3, :3].T,
        body=_region(frame.body, motion),
        core=_region(frame.core, motion),
    )


def _moved(region: Region | None, motion: FloatArray) -> Region | None:
    return None if region is None else _region(region, motion)


def _region(region: Region, motion: FloatArray) -> Region:
    return replace(region, ijk_to_lps=motion @ region.ijk_to_lps)


def _labels(labels: sitk.Image, posture: Posture) -> sitk.Image:
    box = label_box(sitk.GetArrayViewFromImage(labels))
    if box is None:
        return labels
    margin = np.ceil(_MARGIN_MM / np.array(labels.GetSpacing())).astype(int)
    size = np.array(labels.GetSize())
    low = np.maximum(np.array([part.start for part in box[::-1]]) - margin, 0)
    high = np.minimum(np.array([part.stop for part in box[::-1]]) + margin, size)
    part = sitk.RegionOfInterest(labels, (high - low).tolist(), low.tolist())
    return sitk.Resample(
        part, part, posture.back_transform(grid_of(part)), sitk.sitkNearestNeighbor, 0
    )
