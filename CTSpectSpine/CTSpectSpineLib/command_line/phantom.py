"""The commands that make a phantom."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from CTSpectSpineLib.command_line.analyze import compare_with_truth, print_results
from CTSpectSpineLib.command_line.phantom_scan import (
    check_scanner,
    hot_joints,
    procedural_config,
    real_anatomy,
    scanner,
    special_phantom,
)
from CTSpectSpineLib.command_line.printing import print_json, print_lines, progress_printer
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.progress import Progress
from CTSpectSpineLib.results.folder import check_folder, check_step_folder, step_folder

if TYPE_CHECKING:
    from CTSpectSpineLib.phantom import Phantom

PHANTOM_FILES = (
    "ct.nii.gz",
    "spect.nii.gz",
    "vertebrae.nii.gz",
    "joints.seg.nrrd",
    "activity.nii.gz",
    "truth.json",
)
"""Files of a phantom."""


def demo(options: Namespace) -> int:
    """``ctspectspine demo``."""
    from CTSpectSpineLib.analysis.pipeline import analyze
    from CTSpectSpineLib.phantom import load_case, make_phantom

    case = load_case(options.case)
    check_folder(options.out / "results")
    folder = options.out / "phantom"
    check_step_folder(folder)
    _announce(options, f"Making phantom '{case.name}': {case.description}")
    with step_folder(folder, "phantom", PHANTOM_FILES):
        truth = _write_phantom(make_phantom(case), folder)
    results = analyze(
        folder / "ct.nii.gz",
        folder / "spect.nii.gz",
        folder / "vertebrae.nii.gz",
        progress=progress_printer(options.progress),
        out=options.out / "results",
    )
    print_results(results, options, truth)
    return 0 if compare_with_truth(results, truth)["verdict_equals_truth"] else 1


def phantom(options: Namespace) -> int:
    """``ctspectspine phantom``."""
    if (options.ct is None) != (options.vertebrae is None):
        raise InputError("--ct and --vertebrae belong together; give both or neither.")
    if options.ct is not None and options.case is not None:
        raise InputError("--case names a procedural phantom; leave it out together with --ct.")
    if options.ct is not None and options.ct_spacing is not None:
        raise InputError("--ct-spacing is for a procedural phantom; a real CT keeps its voxels.")
    if options.ct is not None and options.facets is not None:
        raise InputError("--facets is for a procedural phantom; a real CT has its own joints.")
    real = options.ct is not None
    inputs = [path for path in (options.ct, options.vertebrae) if path is not None]
    check_scanner(options)
    notes: list[str] = []
    with step_folder(options.out, "phantom", PHANTOM_FILES, inputs):
        if options.scanner == "projections" or options.patient is not None:
            made = special_phantom(options, notes)
        else:
            made = _real_phantom(options, notes) if real else _procedural_phantom(options)
        truth = _write_phantom(made, options.out, with_ct=not real)
    if options.json:
        print_json({"folder": str(options.out), "truth": truth, "notes": notes})
    else:
        hot = [
            f"{name} ({joint['true_ratio']:.2f})"
            for name, joint in truth["joints"].items()
            if joint["uptake"] == "positive"
        ]
        print(f"Hot joints (true ratio): {', '.join(hot) or 'none'}")
        for name, disposition in truth["dispositions"].items():
            print(f"True disposition by {name}: {disposition}")
        print_lines(notes)
        print(f"Phantom: {options.out} (truth in {options.out / 'truth.json'})")
    return 0


def _announce(options: Namespace, message: str) -> None:
    progress_printer(options.progress)(Progress("phantom", 0.0, message))


def _procedural_phantom(options: Namespace) -> Phantom:
    from CTSpectSpineLib.phantom import make_phantom

    return make_phantom(procedural_config(options))


def _real_phantom(options: Namespace, notes: list[str]) -> Phantom:
    from CTSpectSpineLib.phantom import SpectConfig, phantom_of

    hot = hot_joints(options.hot or [])
    return phantom_of(real_anatomy(options, notes), hot, scanner(SpectConfig(), options))


def _write_phantom(made: Phantom, folder: Path, *, with_ct: bool = True) -> Mapping[str, Any]:
    """Write a phantom, its truth last."""
    from CTSpectSpineLib.phantom import write_phantom
    from CTSpectSpineLib.triage_protocol import protocol_ids
    from CTSpectSpineLib.triage_protocol import triage as run

    def disposition_of(table: pd.DataFrame, protocol: str) -> str:
        return run(table, None, protocol).disposition

    return write_phantom(made, folder, disposition_of, protocol_ids(), with_ct=with_ct)
