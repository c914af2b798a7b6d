"""The files of the results folder that hold what was found, and the pictures of its report."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from CTSpectSpineLib import ct_sign
from CTSpectSpineLib.analysis.options import Options
from CTSpectSpineLib.analysis.results import Results
from CTSpectSpineLib.analysis.stages import Images
from CTSpectSpineLib.finding import to_csv
from CTSpectSpineLib.results.background import Background
from CTSpectSpineLib.results.records import verdict_record
from CTSpectSpineLib.results.stage_files import joint_box, write_joint_segments, write_joint_table
from CTSpectSpineLib.results.text_files import write_json, write_text
from CTSpectSpineLib.volumes import write_image


def write_results(
    folder: Path, results: Results, images: Images, options: Options, later: Background
) -> None:
    """Write the tables, the verdict, the joint regions and what was asked for besides."""
    write_joint_table(results.table, folder / "joints.csv")
    write_text(folder / "findings.csv", to_csv(results.findings))
    write_text(folder / ct_sign.FILE, ct_sign.to_csv(results.ct_signs))
    write_json(folder / "verdict.json", verdict_record(results.verdict))
    write_joint_segments(results.joints, results.labels.image, folder, results.table, later)
    if options.save_volumes:
        region = joint_box(images.ct.image, results.joints)
        resampled = sitk.Resample(
            images.spect.image, region, results.registration.transform, sitk.sitkLinear, 0.0
        )
        write_image(resampled, folder / "spect_on_ct.nrrd")


def draw_report(folder: Path, results: Results, images: Images, threads: int | None) -> None:
    """Draw the pictures of the report."""
    from CTSpectSpineLib.report import draw_pictures

    draw_pictures(
        folder,
        ct=images.ct.image,
        spect=images.spect.image,
        registration=results.registration,
        labels=results.labels.image,
        joints=results.joints,
        table=results.table,
        verdict=results.verdict,
        uptake=results.uptake,
        threads=threads,
    )
