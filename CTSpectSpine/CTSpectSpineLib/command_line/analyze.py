"""The command ``analyze``, and what it prints of an analysis."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from CTSpectSpineLib.analysis.options import Options
from CTSpectSpineLib.command_line.images import named_images
from CTSpectSpineLib.command_line.printing import (
    joint_lines,
    print_json,
    print_lines,
    progress_printer,
    verdict_lines,
)
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import registration_errors_mm
from CTSpectSpineLib.results.records import verdict_record
from CTSpectSpineLib.results.text_files import read_json

if TYPE_CHECKING:
    from CTSpectSpineLib.analysis.results import Results


_FOR_SUV = {
    *("body_weight_kg", "body_height_cm", "injected_dose_MBq", "injection_time", "scan_time"),
}
"""Fields of the context that serve the SUV alone."""


def analyze(options: Namespace) -> int:
    """``ctspectspine analyze``."""
    from CTSpectSpineLib.analysis import pipeline
    from CTSpectSpineLib.triage_protocol import read_context

    truth = None if options.truth is None else _read_truth(options.truth)
    ct, spect = named_images(options)
    results = pipeline.analyze(
        ct,
        spect,
        options.vertebrae,
        labeller=options.labeller,
        protocol=options.protocol,
        context=read_context(options.context) if options.context else None,
        progress=progress_printer(options.progress),
        out=options.out,
        options=Options.from_arguments(options),
    )
    print_results(results, options, truth)
    return 1 if results.refused else 0


def _read_truth(path: Path) -> dict[str, Any]:
    truth = read_json(path)
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
        raise InputError(
            f"{path} is not the truth of a phantom; give the truth.json that it wrote."
        )
    return dict(truth)


def _results_record(results: Results) -> dict[str, Any]:
    """What ``--json`` prints of an analysis."""
    return {
        "folder": str(results.folder),
        "report": str(results.report),
        "status": results.manifest["status"],
        "registration": {
            "quality": results.registration.quality,
            "expected_error_mm": results.registration.stated_error_mm,
        },
        "verdict": verdict_record(results.verdict),
        "joints": results.table.to_dict("records"),
    }


def print_results(
    results: Results, options: Namespace, truth: Mapping[str, Any] | None = None
) -> None:
    """Print an analysis, compared with a phantom's truth where it is given."""
    compared = None if truth is None else compare_with_truth(results, truth)
    if options.json:
        record = _results_record(results)
        print_json(record if compared is None else {**record, "truth": compared})
        return
    ratios = truth and {name: joint["true_ratio"] for name, joint in truth["joints"].items()}
    print_lines(joint_lines(results.table, results.bounds, ratios))
    quality, error = results.registration.quality, results.registration.stated_error_mm
    stated = "" if error is None else f", expected error at the joints {error:.1f} mm"
    print(f"\nRegistration: {quality}{stated}")
    print_lines(verdict_lines(results.verdict))
    print_lines(_unused(results))
    if compared is not None:
        equal = "equal to" if compared["verdict_equals_truth"] else "DIFFERENT FROM"
        print(
            f"\nTruth: {compared['disposition']}; the verdict is {equal} the truth."
            "\nRegistration error at the joint centres: "
            f"mean {compared['registration_error_mean_mm']:.2f} mm, "
            f"worst {compared['registration_error_worst_mm']:.2f} mm."
        )
    print(f"\nReport to open: {results.report}")


def _unused(results: Results) -> Iterator[str]:
    """Why there is no SUV, although the context has what it is for."""
    given = sorted(_FOR_SUV & set(results.manifest.get("context", {})))
    note = str(results.manifest.get("uptake", {}).get("suv", ""))
    if given and note.startswith("No SUV"):
        yield f"\n{note} Not used of the context: {', '.join(given)}."


def compare_with_truth(results: Results, truth: Mapping[str, Any]) -> dict[str, Any]:
    """An analysis of a phantom beside its ``truth.json``."""
    centres = np.array([joint["centre_mm"] for joint in truth["joints"].values()])
    true = np.array(truth["ct_to_spect"])
    errors = registration_errors_mm(true, results.registration.matrix, centres)
    expected = truth["dispositions"].get(results.verdict.protocol["id"], "unknown")
    return {
        "disposition": expected,
        "verdict_equals_truth": expected == results.verdict.disposition,
        "registration_error_mean_mm": float(errors.mean()),
        "registration_error_worst_mm": float(errors.max()),
    }
