"""What each command of the command line does."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from CTSpectSpineLib import results as folder_io
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.printing import joint_lines, progress_printer, verdict_lines


def analyze(options: Namespace) -> int:
    """``ctspectspine analyze``."""
    from CTSpectSpineLib import pipeline
    from CTSpectSpineLib.triage_protocol import read_context

    results = pipeline.analyze(
        options.ct,
        options.spect,
        options.vertebrae,
        labeller=options.labeller,
        protocol=options.protocol,
        context=read_context(options.context) if options.context else None,
        progress=progress_printer(options.progress),
        out=options.out,
        label_scheme=options.label_scheme,
        transform=options.transform,
        initial_transform=options.initial,
        fwhm_mm=options.fwhm,
        reference=options.reference,
        accept_registration=options.accept_registration,
        confirm_levels=options.confirm_levels,
        save_volumes=options.save_volumes,
        save_scene=options.save_scene,
        threads=options.threads,
        seed=options.seed,
    )
    _print_results(results, options)
    return 1 if results.refused else 0


def _print_results(results: Any, options: Namespace) -> None:
    if options.json:
        _print_json(
            {
                "folder": str(results.folder),
                "report": str(results.report),
                "status": results.manifest["status"],
                "registration": {
                    "quality": results.registration.quality,
                    "expected_error_mm": results.registration.expected_error_mm,
                },
                "verdict": folder_io.verdict_record(results.verdict),
                "joints": results.table.to_dict("records"),
            }
        )
        return
    _print_lines(joint_lines(results.table))
    quality = results.registration
    print(
        f"\nRegistration: {quality.quality}, expected error {quality.expected_error_mm:.1f} mm"
    )
    _print_lines(verdict_lines(results.verdict))
    print(f"\nReport: {results.report}")


def demo(options: Namespace) -> int:
    """``ctspectspine demo``."""
    from CTSpectSpineLib import pipeline
    from CTSpectSpineLib.phantom import load_case, make_phantom

    show = progress_printer(options.progress)
    truth, folder = _write_phantom(make_phantom(load_case(options.case)), options.out / "phantom")
    results = pipeline.analyze(
        folder / "ct.nii.gz",
        folder / "spect.nii.gz",
        folder / "vertebrae.nii.gz",
        progress=show,
        out=options.out / "results",
    )
    errors = registration_errors(np.array(truth["ct_to_spect"]), results.registration.matrix, truth)
    expected = truth["dispositions"]["tender-2019"]
    comparison = {
        "true_disposition": expected,
        "disposition": results.verdict.disposition,
        "verdict_equals_truth": expected == results.verdict.disposition,
        "registration_error_mean_mm": float(errors.mean()),
        "registration_error_worst_mm": float(errors.max()),
    }
    if options.json:
        _print_json(
            {
                "report": str(results.report),
                "truth": comparison,
                "verdict": folder_io.verdict_record(results.verdict),
                "joints": results.table.to_dict("records"),
            }
        )
    else:
        true_ratio = {name: joint["true_ratio"] for name, joint in truth["joints"].items()}
        _print_lines(joint_lines(results.table, true_ratio))
        _print_lines(verdict_lines(results.verdict))
        equal = "equal to" if comparison["verdict_equals_truth"] else "DIFFERENT FROM"
        print(
            f"\nTruth: {expected}; the verdict is {equal} the truth."
            f"\nRegistration error at the joints: mean {errors.mean():.2f} mm, "
            f"worst {errors.max():.2f} mm."
            f"\nReport: {results.report}"
        )
    return 0 if comparison["verdict_equals_truth"] else 1


def registration_errors(
    truth: np.ndarray, found: np.ndarray, record: Mapping[str, Any]
) -> np.ndarray:
    """Target registration error in mm at the joint centres of a truth record."""
    from CTSpectSpineLib.volumes.geometry import apply_matrix

    centres = np.array([joint["centre_mm"] for joint in record["joints"].values()])
    difference = apply_matrix(truth, centres) - apply_matrix(found, centres)
    return np.asarray(np.linalg.norm(difference, axis=1))


def phantom(options: Namespace) -> int:
    """``ctspectspine phantom``."""
    if (options.ct is None) != (options.vertebrae is None):
        raise InputError("--ct and --vertebrae belong together; give both or neither.")
    if options.ct is not None and options.case is not None:
        raise InputError("--case names a procedural phantom; leave it out together with --ct.")
    if options.ct is not None and options.spacing is not None:
        raise InputError("--spacing is for a procedural phantom; a real CT keeps its voxels.")
    made = _real_phantom(options) if options.ct is not None else _procedural_phantom(options)
    truth, folder = _write_phantom(made, options.out)
    if options.json:
        _print_json({"folder": str(folder), "truth": truth})
    else:
        print(f"Phantom written to {folder}; its truth is in {folder / 'truth.json'}.")
    return 0


def register(options: Namespace) -> int:
    """``ctspectspine register``."""
    from CTSpectSpineLib.pipeline import write_registration
    from CTSpectSpineLib.registration import register as run
    from CTSpectSpineLib.registration.files import read_transform, registration_record
    from CTSpectSpineLib.volumes.checks import check_ct, check_pair, check_spect
    from CTSpectSpineLib.volumes.reading import read_volume

    ct, spect = read_volume(options.ct, "ct"), read_volume(options.spect, "spect")
    start = read_transform(options.initial) if options.initial else None
    check_ct(ct)
    check_spect(spect)
    check_pair(ct, spect, placed=start is not None)
    folder = folder_io.prepare_folder(options.out)
    registration = run(
        ct.image,
        spect.image,
        start,
        progress=progress_printer(options.progress),
        threads=options.threads,
    )
    write_registration(registration, ct.image, folder)
    if options.json:
        _print_json(registration_record(registration))
    else:
        print(
            f"Registration: {registration.quality}, expected error "
            f"{registration.expected_error_mm:.1f} mm; {folder / 'spect_to_ct.tfm'}"
        )
        _print_lines(registration.reasons)
    return 1 if registration.quality == "failed" else 0


def label(options: Namespace) -> int:
    """``ctspectspine label``."""
    from CTSpectSpineLib.labelling import label_vertebrae
    from CTSpectSpineLib.pipeline import labels_record, write_labels
    from CTSpectSpineLib.volumes.checks import check_ct
    from CTSpectSpineLib.volumes.reading import read_volume

    ct = read_volume(options.ct, "ct")
    check_ct(ct)
    labels = label_vertebrae(
        ct.image, options.vertebrae or options.labeller, scheme=options.label_scheme
    )
    folder = folder_io.prepare_folder(options.out)
    write_labels(labels, folder)
    if options.json:
        _print_json(labels_record(labels))
    else:
        confirmed = "" if labels.levels_confirmed else " (levels not confirmed)"
        print(f"Levels: {', '.join(labels.levels)}{confirmed}; {folder / 'vertebrae.seg.nrrd'}")
        _print_lines(labels.warnings)
    return 0


def joints(options: Namespace) -> int:
    """``ctspectspine joints``."""
    from CTSpectSpineLib.joints import build_joints
    from CTSpectSpineLib.labelling import import_labels
    from CTSpectSpineLib.pipeline import geometry_table, write_joint_segments

    labels = import_labels(options.vertebrae, None, scheme=options.label_scheme)
    found = build_joints(labels.image, None, progress=progress_printer(options.progress))
    folder = folder_io.prepare_folder(options.out)
    table = geometry_table(found)
    write_joint_segments(found, labels.image, folder)
    folder_io.write_joint_table(table, folder / "joints.csv")
    if options.json:
        _print_json({"joints": table.to_dict("records"), "warnings": [*labels.warnings]})
    else:
        _print_lines(joint_lines(table))
        _print_lines([*labels.warnings, *found.warnings])
        print(f"Joints: {folder / 'joints.seg.nrrd'}")
    return 0


def triage(options: Namespace) -> int:
    """``ctspectspine triage``."""
    from CTSpectSpineLib.triage_protocol import read_context, read_joint_table
    from CTSpectSpineLib.triage_protocol import triage as run

    verdict = run(
        read_joint_table(options.joints),
        read_context(options.context) if options.context else None,
        options.protocol,
    )
    record = folder_io.verdict_record(verdict)
    if options.out is not None:
        folder_io.write_json(options.out, record)
    if options.json:
        _print_json(record)
    else:
        _print_lines(verdict_lines(verdict))
    return 1 if verdict.disposition == "no_verdict" else 0


def report(options: Namespace) -> int:
    """``ctspectspine report``."""
    from CTSpectSpineLib.report import write_report

    path = write_report(options.results)
    _print_json({"report": str(path)}) if options.json else print(f"Report: {path}")
    return 0


def _print_json(values: Any) -> None:
    json.dump(folder_io.plain(values), sys.stdout, indent=2, allow_nan=False)
    print()


def _print_lines(lines: Any) -> None:
    for line in lines:
        print(line)
