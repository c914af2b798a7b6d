"""Time and peak memory of each stage of the pipeline, on phantoms of clinical size.

A lumbar CT of 512×512×400 voxels, and a whole spine of 512×512×600 with 24 vertebrae.

    python -m benchmarks.chain [--small] [--out docs/validation/chain.md]

Times differ between machines, so each is also given as a ratio to one resampling of the SPECT
to the CT's grid, done in the same run. Peak memory is the resident set of the process during a
stage, above what it held before (Linux only; elsewhere the column is empty).
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from CTSpectSpineLib.processes import large_arrays_apart, one_thread_for_sums

# As the command line does, before NumPy is imported.
one_thread_for_sums()
large_arrays_apart()

import numpy as np
import SimpleITK as sitk

from benchmarks.meter import Result, metered
from benchmarks.sizes import WHOLE_SPINE, resampled
from CTSpectSpineLib import __version__
from CTSpectSpineLib.analysis.pipeline import analyze
from CTSpectSpineLib.joints import build_joints
from CTSpectSpineLib.labelling import label_vertebrae
from CTSpectSpineLib.phantom import load_case, make_phantom
from CTSpectSpineLib.registration import register
from CTSpectSpineLib.triage_protocol import load_protocol, triage
from CTSpectSpineLib.uptake import measure

FULL_SPACING = (0.78, 0.78, 1.0)
"""Voxel of the lumbar CT, mm. Judgement: a clinical CT, 400 mm in 512 pixels and slices of 1 mm."""
FULL_SIZE = (512, 512, 400)
"""Voxels of the lumbar CT along i, j, k. Judgement: 400 mm in each direction."""


@dataclass(frozen=True)
class Row:
    """One measured stage; memory in MiB, None where it cannot be read."""

    name: str
    wall_s: float
    cpu_s: float
    memory_mib: float | None


class Meter:
    """Measures calls, one row each."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def __call__(self, name: str, call: Callable[[], Result]) -> Result:
        """Call and record."""
        cost = metered(call)
        self.rows.append(Row(name, cost.wall_s, cost.cpu_s, cost.memory_mib))
        return cost.result


@dataclass(frozen=True)
class Pair:
    """A CT with the labels of its vertebrae, and a SPECT."""

    name: str
    ct: sitk.Image
    labels: sitk.Image
    spect: sitk.Image


def lumbar(small: bool) -> Pair:
    """Lumbar phantom; the full one is cut to the size of a clinical CT."""
    case = load_case("lumbar-disc")
    if small:
        phantom = make_phantom(replace(case, spine=replace(case.spine, spacing_mm=3.0)))
        return Pair("Lumbar spine", phantom.anatomy.ct, phantom.anatomy.labels, phantom.spect)
    spine = replace(case.spine, spacing_mm=FULL_SPACING, first="T8", last="sacrum")
    spine = replace(spine, lateral_mm=399.0, ap_mm=399.0)
    phantom = make_phantom(replace(case, spine=spine))
    ct, labels = (_lower_part(i) for i in (phantom.anatomy.ct, phantom.anatomy.labels))
    return Pair("Lumbar spine", ct, labels, phantom.spect)


def whole_spine(small: bool) -> Pair:
    """C1 to sacrum, built in voxels of 1.5 mm and resampled to the full size."""
    case = load_case("whole-spine")
    voxel_mm = 3.0 if small else 1.5
    spine = replace(case.spine, lateral_mm=360.0, ap_mm=360.0, spacing_mm=voxel_mm)
    phantom = make_phantom(replace(case, spine=spine))
    ct, labels = phantom.anatomy.ct, phantom.anatomy.labels
    if not small:
        ct = resampled(ct, WHOLE_SPINE, sitk.sitkLinear)
        labels = resampled(labels, WHOLE_SPINE, sitk.sitkNearestNeighbor)
    return Pair("Whole spine", ct, labels, phantom.spect)


def _lower_part(image: sitk.Image) -> sitk.Image:
    """The caudal part of the image with the benchmark's number of slices."""
    size = [min(n, wanted) for n, wanted in zip(image.GetSize(), FULL_SIZE, strict=True)]
    return sitk.RegionOfInterest(image, size, [0, 0, 0])


def run(pair: Pair) -> list[Row]:
    """Measure every stage alone, then the whole pipeline with its results folder."""
    ct, spect, labels_image = pair.ct, pair.spect, pair.labels
    bounds = load_protocol("tender-2019").bounds
    meter = Meter()
    meter("resampling (unit)", lambda: sitk.Resample(spect, ct, sitk.Transform(), sitk.sitkLinear))
    registration = meter("register", lambda: register(ct, spect))
    meter("label (built-in labeller)", lambda: label_vertebrae(ct, "builtin"))
    labels = meter("label (import)", lambda: label_vertebrae(ct, labels_image))
    joints = meter("joints", lambda: build_joints(labels.image, ct))
    uptake = meter("uptake", lambda: measure(spect, joints, labels.image, registration, bounds))
    meter("triage", lambda: triage(uptake.table, draws=uptake.draws))
    with tempfile.TemporaryDirectory() as folder:
        meter(
            "whole pipeline with folder and report",
            lambda: analyze(ct, spect, labels_image, out=Path(folder) / "results"),
        )
    return meter.rows


def table(pair: Pair, rows: list[Row]) -> str:
    """The measurements as Markdown."""
    unit = rows[0].wall_s
    vertebrae = len(set(np.unique(sitk.GetArrayFromImage(pair.labels)).tolist()) - {0})
    lines = [
        f"## {pair.name}",
        "",
        f"CT of {'×'.join(map(str, pair.ct.GetSize()))} voxels with {vertebrae} labels, version "
        f"{__version__}, {os.cpu_count()} logical cores, {platform.machine()}, load "
        f"{os.getloadavg()[0]:.1f} (processes that wanted a core).",
        "",
        "| stage | wall s | CPU s | wall / resampling | peak memory above start, MiB |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        memory = "" if row.memory_mib is None else f"{row.memory_mib:.0f}"
        lines.append(
            f"| {row.name} | {row.wall_s:.2f} | {row.cpu_s:.2f} | {row.wall_s / unit:.1f} "
            f"| {memory} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a 3 mm phantom, in seconds")
    parser.add_argument("--out", type=Path, help="write the table to this file")
    options = parser.parse_args()
    parts = []
    for make in (lumbar, whole_spine):
        pair = make(options.small)
        parts.append(table(pair, run(pair)))
        print(parts[-1], flush=True)
    text = "\n".join(parts)
    if options.out is not None:
        heading = "# Time and memory of the pipeline\n\nMade by `python -m benchmarks.chain`.\n\n"
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(heading + text, encoding="utf-8")


if __name__ == "__main__":
    main()
