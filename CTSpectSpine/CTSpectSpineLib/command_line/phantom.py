"""The commands that make a phantom."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from CTSpectSpineLib.command_line.analyze import compare_with_truth, print_results
from CTSpectSpineLib.command_line.printing import print_json, progress_printer
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.progress import Progress
from CTSpectSpineLib.results.folder import check_folder, check_step_folder, step_folder

if TYPE_CHECKING:
    from CTSpectSpineLib.phantom import Phantom, SpectConfig

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
    real = options.ct is not None
    inputs = [path for path in (options.ct, options.vertebrae) if path is not None]
    with step_folder(options.out, "phantom", PHANTOM_FILES, inputs):
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


def _announce(options: Namespace, message: str) -> None:
    progress_printer(options.progress)(Progress("phantom", 0.0, message))


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
    """Write a phantom, its truth last."""
    from CTSpectSpineLib.phantom import write_phantom
    from CTSpectSpineLib.triage_protocol import protocol_ids
    from CTSpectSpineLib.triage_protocol import triage as run

    def disposition_of(table: pd.DataFrame, protocol: str) -> str:
        return run(table, None, protocol).disposition

    return write_phantom(made, folder, disposition_of, protocol_ids(), with_ct=with_ct)
