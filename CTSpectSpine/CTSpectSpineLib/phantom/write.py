"""A phantom's files: CT, SPECT, labels, joints, activity, and ``truth.json``.

The same phantom gives the same bytes: neither ITK's NIfTI writer nor the segmentation writer
puts a time or a file name into the gzip header.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from CTSpectSpineLib.phantom.product import POSITIVE_RATIO, Phantom
from CTSpectSpineLib.results.segments import joint_segments
from CTSpectSpineLib.results.text_files import plain, write_json
from CTSpectSpineLib.version import __version__
from CTSpectSpineLib.volumes.segmentation_nrrd import write_segmentation
from CTSpectSpineLib.volumes.writing import write_image

SCHEMA = "ctspectspine-truth-1"

DispositionOf = Callable[[pd.DataFrame, str], str]
"""Disposition of a joint table (``level``, ``kind``, ``side``, ``uptake``) under a protocol id."""


def write_phantom(
    phantom: Phantom,
    folder: Path | str,
    disposition_of: DispositionOf | None = None,
    protocols: Sequence[str] = (),
    *,
    with_ct: bool = True,
) -> Mapping[str, Any]:
    """Write a phantom.

    Parameters
    ----------
    phantom
        The phantom.
    folder
        Folder to write to; it is made if need be.
    disposition_of, protocols
        The function that gives the true disposition, called for each protocol id.
    with_ct
        Also write CT and labels, which a phantom on a real CT was given.

    Returns
    -------
    mapping
        The contents of ``truth.json``.

    Raises
    ------
    InputError
        If a file cannot be written.
    """
    folder = Path(folder)
    table = phantom.joint_table()
    truth = truth_record(phantom)
    truth["dispositions"] = (
        {} if disposition_of is None else {name: disposition_of(table, name) for name in protocols}
    )
    if with_ct:
        write_image(phantom.ct, folder / "ct.nii.gz")
        write_image(phantom.anatomy.labels, folder / "vertebrae.nii.gz")
    write_image(phantom.spect, folder / "spect.nii.gz")
    write_image(phantom.activity, folder / "activity.nii.gz")
    write_segmentation(
        folder / "joints.seg.nrrd", joint_segments(phantom.joints, table), phantom.ct
    )
    write_json(folder / "truth.json", truth)
    return truth


def truth_record(phantom: Phantom) -> dict[str, Any]:
    """``truth.json`` without the dispositions, as plain JSON values."""
    joints = {}
    for joint in phantom.joints:
        joints[joint.id] = {
            "level": joint.level,
            "kind": joint.kind,
            "side": joint.side,
            "spine_region": joint.spine_region,
            "centre_mm": joint.centre_mm,
            "true_ratio": round(phantom.truth.ratios[joint.id], 6),
            "uptake": phantom.true_uptake(joint.id),
        }
    scan = {} if phantom.scan is None else {"scanner": phantom.scan}
    record: dict[str, Any] = plain(
        {
            "schema": SCHEMA,
            "software_version": __version__,
            "coordinates": "LPS mm",
            "ct_to_spect": phantom.ct_to_spect,
            "reference": {
                "name": "vertebral_bodies",
                "definition": "Mean over vertebrae of the mean activity of the body's core: 4 mm "
                "inside its surface, outside the bone of every joint.",
                "activity": round(phantom.truth.reference, 6),
                "levels": phantom.truth.reference_levels,
            },
            "true_ratio": "Mean activity concentration in the bone of the joint (endplate bands or "
            "facet bone, without metal and air) / activity of the reference. Voxels of "
            "activity.nii.gz at the bone's edge hold the mixture of what they cover (the CT grid's "
            "partial volume), so that the total activity is right on every grid; a plain mean of "
            "the voxels over the bone therefore reads lower, the more so the coarser the CT.",
            "positive_from": POSITIVE_RATIO,
            "joints": joints,
            "seed": phantom.seed,
            "config": phantom.config,
            **scan,
        }
    )
    return record
