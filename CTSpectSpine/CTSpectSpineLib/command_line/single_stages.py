"""The commands that run one stage of an analysis alone."""

from __future__ import annotations

from argparse import Namespace

import pandas as pd

from CTSpectSpineLib.command_line.printing import (
    joint_lines,
    print_json,
    print_lines,
    progress_printer,
)
from CTSpectSpineLib.results.folder import prepare_folder


def register(options: Namespace) -> int:
    """``ctspectspine register``."""
    from CTSpectSpineLib.registration import register as run
    from CTSpectSpineLib.registration.files import read_transform
    from CTSpectSpineLib.results.stage_files import RegisteredPair, write_registration
    from CTSpectSpineLib.volumes.checks import check_inputs
    from CTSpectSpineLib.volumes.reading import read_volume

    ct, spect = read_volume(options.ct, "ct"), read_volume(options.spect, "spect")
    start = read_transform(options.initial_transform) if options.initial_transform else None
    check_inputs(ct, spect, placed=start is not None)
    folder = prepare_folder(
        options.out, (options.ct, options.spect), ("spect_to_ct.tfm", "registration.json")
    )
    registration = run(
        ct.image,
        spect.image,
        start,
        progress=progress_printer(options.progress),
        threads=options.threads,
    )
    record = write_registration(registration, RegisteredPair.of(ct.image, spect.image), folder)
    if options.json:
        print_json({"folder": str(folder), **record})
    else:
        print(
            f"Registration: {registration.quality}, expected error "
            f"{registration.expected_error_mm:.1f} mm; {folder / 'spect_to_ct.tfm'}"
        )
        print_lines(registration.reasons)
    return 1 if registration.quality == "failed" else 0


def joints(options: Namespace) -> int:
    """``ctspectspine joints``."""
    from CTSpectSpineLib.joints import build_joints
    from CTSpectSpineLib.joints.build import check_neighbours
    from CTSpectSpineLib.labelling import import_labels
    from CTSpectSpineLib.results.stage_files import write_joint_segments, write_joint_table

    labels = import_labels(options.vertebrae, None, scheme=options.label_scheme)
    check_neighbours(labels, str(options.vertebrae))
    found = build_joints(labels.image, None, progress=progress_printer(options.progress))
    folder = prepare_folder(
        options.out,
        [options.vertebrae],
        ("joints.csv", "joints.seg.nrrd", "joint_parts.seg.nrrd"),
    )
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
    from CTSpectSpineLib.report import write_report

    path = write_report(options.results)
    print_json({"report": str(path)}) if options.json else print(f"Report: {path}")
    return 0
