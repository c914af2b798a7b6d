"""What each command of the command line does."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from CTSpectSpineLib import results as folder_io
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.label_commands import label as label
from CTSpectSpineLib.label_commands import shift as shift
from CTSpectSpineLib.model import FloatArray
from CTSpectSpineLib.printing import joint_lines, progress_printer, verdict_lines
from CTSpectSpineLib.progress import Progress
from CTSpectSpineLib.study_commands import bounds as bounds
from CTSpectSpineLib.study_commands import validate as validate
from CTSpectSpineLib.triage_commands import print_json, print_lines
from CTSpectSpineLib.triage_commands import protocols as protocols
from CTSpectSpineLib.triage_commands import triage as triage

if TYPE_CHECKING:
    from CTSpectSpineLib.phantom import Phantom, SpectConfig
    from CTSpectSpineLib.pipeline import Results


def analyze(options: Namespace) -> int:
    """``ctspectspine analyze``."""
    from CTSpectSpineLib import pipeline
    from CTSpectSpineLib.triage_protocol import read_context

    truth = None if options.truth is None else _read_truth(options.truth)
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
        registration=options.registration,
        fwhm_mm=options.fwhm,
        reference=options.reference,
        accept_registration=options.accept_registration,
        confirm_levels=options.confirm_levels,
        anchor=options.anchor,
        device=options.device,
        fast=options.fast,
        save_volumes=options.save_volumes,
        save_scene=options.save_scene,
        threads=options.threads,
        seed=options.seed,
    )
    _print_results(results, options, truth)
    return 1 if results.refused else 0


def _read_truth(path: Path) -> dict[str, Any]:
    truth = folder_io.read_json(path)
    try:
        joints = truth["joints"].values()
        centres = np.array([joint["centre_mm"] for joint in joints], dtype=float)
        ratios = [float(joint["true_ratio"]) for joint in joints]
        matrix = np.array(truth["ct_to_spect"], dtype=float)
        good = bool(ratios) and matrix.shape == (4, 4) and centres.shape == (len(ratios), 3)
        good = good and isinstance(truth["dispositions"], dict)
    except (TypeError, KeyError, AttributeError, ValueError):
        good = False
    if not good:
        raise InputError(f"{path} is no truth of a phantom; give the truth.json that it wrote.")
    return dict(truth)


def _results_record(results: Results) -> dict[str, Any]:
    """What ``--json`` prints of an analysis."""
    return {
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


def _print_results(
    results: Results, options: Namespace, truth: Mapping[str, Any] | None = None
) -> None:
    """Print an analysis, compared with a phantom's truth where it is given."""
    compared = None if truth is None else compare_with_truth(results, truth)
    if options.json:
        record = _results_record(results)
        print_json(record if compared is None else {**record, "truth": compared})
        return
    ratios = truth and {name: joint["true_ratio"] for name, joint in truth["joints"].items()}
    print_lines(joint_lines(results.table, ratios))
    quality, error = results.registration.quality, results.registration.expected_error_mm
    print(f"\nRegistration: {quality}, expected error at the joints {error:.1f} mm")
    print_lines(verdict_lines(results.verdict))
    if compared is not None:
        equal = "equal to" if compared["verdict_equals_truth"] else "DIFFERENT FROM"
        print(
            f"\nTruth: {compared['disposition']}; the verdict is {equal} the truth."
            "\nRegistration error at the joint centres: "
            f"mean {compared['registration_error_mean_mm']:.2f} mm, "
            f"worst {compared['registration_error_worst_mm']:.2f} mm."
        )
    print(f"\nReport to open: {results.report}")


def compare_with_truth(results: Results, truth: Mapping[str, Any]) -> dict[str, Any]:
    """An analysis of a phantom beside its ``truth.json``."""
    errors = registration_errors_mm(truth, results.registration.matrix)
    expected = truth["dispositions"].get(results.verdict.protocol["id"], "unknown")
    return {
        "disposition": expected,
        "verdict_equals_truth": expected == results.verdict.disposition,
        "registration_error_mean_mm": float(errors.mean()),
        "registration_error_worst_mm": float(errors.max()),
    }


def _announce(options: Namespace, message: str) -> None:
    progress_printer(options.progress)(Progress("phantom", 0.0, message))


def demo(options: Namespace) -> int:
    """``ctspectspine demo``."""
    from CTSpectSpineLib import pipeline
    from CTSpectSpineLib.phantom import load_case, make_phantom

    case = load_case(options.case)
    folder_io.check_folder(options.out / "results")
    _check_phantom_folder(options.out / "phantom")
    _announce(options, f"Making phantom '{case.name}': {case.description}")
    folder = options.out / "phantom"
    truth = _write_phantom(make_phantom(case), folder)
    results = pipeline.analyze(
        folder / "ct.nii.gz",
        folder / "spect.nii.gz",
        folder / "vertebrae.nii.gz",
        progress=progress_printer(options.progress),
        out=options.out / "results",
    )
    _print_results(results, options, truth)
    return 0 if compare_with_truth(results, truth)["verdict_equals_truth"] else 1


def registration_errors_mm(truth: Mapping[str, Any], found: FloatArray) -> FloatArray:
    """Target registration error at the joint centres of a truth record, mm, shape (joints,)."""
    from CTSpectSpineLib.geometry import apply_matrix

    centres = np.array([joint["centre_mm"] for joint in truth["joints"].values()])
    difference = apply_matrix(np.array(truth["ct_to_spect"]), centres) - apply_matrix(
        found, centres
    )
    errors: FloatArray = np.linalg.norm(difference, axis=1)
    return errors


def phantom(options: Namespace) -> int:
    """``ctspectspine phantom``."""
    if (options.ct is None) != (options.vertebrae is None):
        raise InputError("--ct and --vertebrae belong together; give both or neither.")
    if options.ct is not None and options.case is not None:
        raise InputError("--case names a procedural phantom; leave it out together with --ct.")
    if options.ct is not None and options.ct_spacing is not None:
        raise InputError("--ct-spacing is for a procedural phantom; a real CT keeps its voxels.")
    _check_phantom_folder(options.out)
    real = options.ct is not None
    made = _real_phantom(options) if real else _procedural_phantom(options)
    truth = _write_phantom(made, options.out, with_ct=not real)
    if options.json:
        print_json({"folder": str(options.out), "truth": truth})
    else:
        hot = [
            f"{name} ({joint['true_ratio']:.2f})"
            for name, joint in truth["joints"].items()
            if joint["uptake"] == "positive"
        ]
        print(f"Hot joints (true ratio): {', '.join(hot) or 'none'}")
        for name, disposition in truth["dispositions"].items():
            print(f"True disposition by {name}: {disposition}")
        print(f"Phantom: {options.out} (truth in {options.out / 'truth.json'})")
    return 0


def _check_phantom_folder(folder: Path) -> None:
    for part in (folder, *folder.parents):
        if part.exists() and not part.is_dir():
            raise InputError(f"Output {part} is a file; give a folder with --out.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "truth.json").is_file():
        raise InputError(
            f"Output folder {folder} is not empty and holds no earlier phantom; "
            "give a new or an empty folder with --out."
        )


def _procedural_phantom(options: Namespace) -> Phantom:
    from CTSpectSpineLib.phantom import DEFAULT_CASE, load_case, make_phantom

    case = load_case(options.case or DEFAULT_CASE)
    spine = case.spine
    if options.ct_spacing is not None:
        spine = replace(spine, spacing_mm=options.ct_spacing)
    hot = case.hot if options.hot is None else _hot_joints(options.hot)
    return make_phantom(replace(case, spine=spine, hot=hot, spect=_scanner(case.spect, options)))


def _real_phantom(options: Namespace) -> Phantom:
    from CTSpectSpineLib.joints import build_joints
    from CTSpectSpineLib.labelling import label_vertebrae
    from CTSpectSpineLib.phantom import SpectConfig, phantom_from_ct
    from CTSpectSpineLib.volumes.checks import check_ct
    from CTSpectSpineLib.volumes.reading import read_volume

    ct = read_volume(options.ct, "ct")
    check_ct(ct)
    labels = label_vertebrae(ct.image, options.vertebrae, scheme=options.label_scheme)
    joints = build_joints(labels.image, ct.image)
    hot = _hot_joints(options.hot or [])
    return phantom_from_ct(ct.image, labels.image, joints, hot, _scanner(SpectConfig(), options))


def _hot_joints(texts: Sequence[str]) -> dict[str, float]:
    """Parse ``JOINT=RATIO``."""
    hot = {}
    for text in texts:
        name, separator, ratio = text.rpartition("=")
        try:
            hot[name.strip()] = float(ratio)
        except ValueError:
            separator = ""
        if not separator:
            raise InputError(f"--hot '{text}' is not JOINT=RATIO; write it like 'L4-L5 disc=4'.")
    return hot


def _scanner(default: SpectConfig, options: Namespace) -> SpectConfig:
    """The scanner's settings with those of the command line put in."""
    given = {
        "translation_mm": None if options.translation is None else tuple(options.translation),
        "rotation_deg": None if options.rotation is None else tuple(options.rotation),
        "fwhm_mm": options.fwhm,
        "counts": options.counts,
        "spacing_mm": options.spacing,
        "seed": options.seed,
    }
    return replace(default, **{key: value for key, value in given.items() if value is not None})


def _write_phantom(made: Phantom, folder: Path, *, with_ct: bool = True) -> Mapping[str, Any]:
    """Write a phantom; what an earlier one left goes first, its truth before all."""
    from CTSpectSpineLib.phantom import write_phantom
    from CTSpectSpineLib.triage_protocol import protocol_ids
    from CTSpectSpineLib.triage_protocol import triage as run

    for name in ("truth.json", "ct.nii.gz", "vertebrae.nii.gz"):
        (folder / name).unlink(missing_ok=True)

    def disposition_of(table: pd.DataFrame, protocol: str) -> str:
        return run(table, None, protocol).disposition

    return write_phantom(made, folder, disposition_of, protocol_ids(), with_ct=with_ct)


def register(options: Namespace) -> int:
    """``ctspectspine register``."""
    from CTSpectSpineLib.outputs import write_registration
    from CTSpectSpineLib.registration import register as run
    from CTSpectSpineLib.registration.files import read_transform, registration_record
    from CTSpectSpineLib.volumes.checks import check_inputs
    from CTSpectSpineLib.volumes.reading import read_volume

    ct, spect = read_volume(options.ct, "ct"), read_volume(options.spect, "spect")
    start = read_transform(options.initial) if options.initial else None
    check_inputs(ct, spect, placed=start is not None)
    folder = folder_io.prepare_folder(
        options.out, (options.ct, options.spect), ("spect_to_ct.tfm", "registration.json")
    )
    registration = run(
        ct.image,
        spect.image,
        start,
        progress=progress_printer(options.progress),
        threads=options.threads,
    )
    write_registration(registration, ct.image, folder)
    if options.json:
        print_json({"folder": str(folder), **registration_record(registration)})
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
    from CTSpectSpineLib.labelling import import_labels
    from CTSpectSpineLib.outputs import check_neighbours, write_joint_segments

    labels = import_labels(options.vertebrae, None, scheme=options.label_scheme)
    check_neighbours(labels, str(options.vertebrae))
    found = build_joints(labels.image, None, progress=progress_printer(options.progress))
    folder = folder_io.prepare_folder(
        options.out,
        [options.vertebrae],
        ("joints.csv", "joints.seg.nrrd", "joint_parts.seg.nrrd"),
    )
    table = pd.DataFrame([joint.geometry() for joint in found.joints])
    write_joint_segments(found, labels.image, folder)
    folder_io.write_joint_table(table, folder / "joints.csv")
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
