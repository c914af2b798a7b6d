"""The commands that run one stage of an analysis alone."""

from __future__ import annotations

from argparse import Namespace

import pandas as pd

from CTSpectSpineLib.command_line.images import named_images
from CTSpectSpineLib.command_line.printing import (
    joint_lines,
    print_json,
    print_lines,
    progress_printer,
)
from CTSpectSpineLib.results.folder import check_step_folder, kept_results, step_folder
from CTSpectSpineLib.results.ownership import readable

REGISTER_FILES = ("spect_to_ct.tfm", "registration.json")
"""Files that ``register`` writes."""
JOINTS_FILES = ("joints.csv", "joints.seg.nrrd", "joint_parts.seg.nrrd")
"""Files that ``joints`` writes."""


def register(options: Namespace) -> int:
    """``ctspectspine register``."""
    from CTSpectSpineLib.analysis.inputs import as_volume
    from CTSpectSpineLib.registration import register as run
    from CTSpectSpineLib.registration.files import read_transform
    from CTSpectSpineLib.results.stage_files import RegisteredPair, write_registration
    from CTSpectSpineLib.volumes.checks import check_inputs, share_frame

    check_step_folder(options.out)
    ct_source, spect_source = named_images(options)
    ct, spect = as_volume(ct_source, "ct"), as_volume(spect_source, "spect")
    start = read_transform(options.initial_transform) if options.initial_transform else None
    notes = (*check_inputs(ct, spect, placed=start is not None), *ct.notes, *spect.notes)
    inputs = [p for p in (ct.path, spect.path, options.initial_transform) if p is not None]
    with step_folder(options.out, "register", REGISTER_FILES, inputs) as folder:
        registration = run(
            ct.image,
            spect.image,
            start,
            progress=progress_printer(options.progress),
            threads=options.threads,
            same_frame=share_frame(ct, spect),
        )
        pair = RegisteredPair.of(ct.image, spect.image)
        record = write_registration(registration, pair, folder, notes)
    if options.json:
        print_json({"folder": str(folder), **record})
    else:
        error = registration.stated_error_mm
        stated = "" if error is None else f", expected error {error:.1f} mm"
        print(f"Registration: {registration.quality}{stated}; {folder / 'spect_to_ct.tfm'}")
        print_lines([*registration.reasons, *notes])
    return 1 if registration.quality == "failed" else 0


def joints(options: Namespace) -> int:
    """``ctspectspine joints``."""
    from CTSpectSpineLib.joints import build_joints
    from CTSpectSpineLib.joints.build import check_neighbours
    from CTSpectSpineLib.labelling import import_labels
    from CTSpectSpineLib.results.stage_files import write_joint_segments, write_joint_table

    check_step_folder(options.out)
    labels = import_labels(options.vertebrae, None, scheme=options.label_scheme)
    check_neighbours(labels, str(options.vertebrae))
    with step_folder(options.out, "joints", JOINTS_FILES, [options.vertebrae]) as folder:
        found = build_joints(labels.image, None, progress=progress_printer(options.progress))
        table = pd.DataFrame([joint.geometry() for joint in found.joints])
        write_joint_segments(found, labels.image, folder)
        write_joint_table(table, folder / "joints.csv")
    if options.json:
        warnings = [*labels.warnings, *found.warnings]
        record = {"folder": str(folder), "joints": table.to_dict("records"), "warnings": warnings}
        print_json(record)
    else:
        print_lines(joint_lines(table))
        print_lines([*labels.warnings, *found.warnings])
        print(f"Joints: {folder / 'joints.seg.nrrd'}")
    return 0


def report(options: Namespace) -> int:
    """``ctspectspine report``."""
    from CTSpectSpineLib.report import write_pdf, write_report

    with kept_results(options.results), readable(options.results):
        path = write_report(options.results)
        pdf = write_pdf(path) if options.pdf else None
    if options.json:
        print_json({"report": str(path), **({"pdf": str(pdf)} if pdf else {})})
    else:
        print(f"Report: {pdf or path}")
    return 0
