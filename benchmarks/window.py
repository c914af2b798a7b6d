"""How long adding results blocks Slicer's window, and what many analyses leave in a scene.

Results of the demo's phantom go into one scene again and again, shown in the three slice views,
first beside each other, then in place of each other; at last all are removed.

    python -m benchmarks.window [--ct-spacing MM] [--count 20] [--out docs/validation/window.md]

Between two steps the window answers, so the longest step is what the user waits for. The steps
are timed in one process and each number is also given as a ratio to one resampling of the SPECT to
the CT's grid. Drawing by the views and the surfaces of Slicer's own threads are not part of it.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import SimpleITK as sitk

from benchmarks.meter import settled_mib
from CTSpectSpineLib import __version__
from CTSpectSpineLib.analysis.pipeline import analyze
from CTSpectSpineLib.phantom import Phantom, load_case, make_phantom
from CTSpectSpineLib.scene.mrml import Node, add_volume, headless_scene
from CTSpectSpineLib.scene.nodes import remove_analysis
from CTSpectSpineLib.scene.populate import populate_steps
from CTSpectSpineLib.scene.presentation import dismiss, present_steps
from CTSpectSpineLib.scene.views import add_views


@dataclass(frozen=True)
class Added:
    """One analysis that was added and shown.

    Attributes
    ----------
    longest_s, whole_s
        The longest step, and all of them.
    nodes
        Nodes of the scene afterwards.
    memory_mib
        Resident set afterwards (Linux; elsewhere 0).
    """

    longest_s: float
    whole_s: float
    nodes: int
    memory_mib: float


@dataclass(frozen=True)
class Measured:
    """One run of the benchmark."""

    unit_s: float
    start: Added
    beside: list[Added]
    replaced: list[Added]
    removed: Added


def measured(phantom: Phantom, count: int) -> Measured:
    """Add results ``count`` times beside each other, and ``count`` times in place of each other."""
    with tempfile.TemporaryDirectory() as temporary, headless_scene() as (scene, _application):
        folder = Path(temporary) / "results"
        analyze(phantom.ct, phantom.spect, phantom.anatomy.labels, out=folder)
        begin = perf_counter()
        sitk.Resample(phantom.spect, phantom.ct)
        unit = perf_counter() - begin
        add_views(scene)
        ct, spect = add_volume(scene, phantom.ct, "CT"), add_volume(scene, phantom.spect, "SPECT")
        start = _state(scene, [0.0])
        beside, manifests = [], []
        for _ in range(count):
            added, manifest = _add(scene, ct, spect, folder)
            beside.append(added)
            manifests.append(manifest)
        replaced = []
        for _ in range(count):
            added, manifests[-1] = _add(scene, ct, spect, folder, manifests[-1])
            replaced.append(added)
        for manifest in manifests:
            remove_analysis(manifest)
        dismiss(scene)
        return Measured(unit, start, beside, replaced, _state(scene, [0.0]))


def _add(
    scene: Node, ct: Node, spect: Node, folder: Path, replaces: Node | None = None
) -> tuple[Added, Node]:
    times: list[float] = []
    steps = populate_steps(scene, ct=ct, spect=spect, folder=folder, replaces=replaces)
    nodes = _timed(steps, times)
    _timed(present_steps(scene, nodes), times)
    return _state(scene, times), nodes.manifest


def _timed(steps: Any, times: list[float]) -> Any:
    """Take all steps, noting what each takes; return what they return."""
    taken: Generator[None, None, Any] = _all_of(steps)
    while True:
        begin = perf_counter()
        try:
            next(taken)
        except StopIteration as end:
            times.append(perf_counter() - begin)
            return end.value
        times.append(perf_counter() - begin)


def _all_of(steps: Any) -> Generator[None, None, Any]:
    return (yield from steps)


def _state(scene: Node, times: list[float]) -> Added:
    return Added(max(times), sum(times), scene.GetNumberOfNodes(), settled_mib() or 0.0)


def document(found: Measured, phantom: Phantom) -> str:
    """The page, in Markdown."""
    size = "×".join(map(str, phantom.ct.GetSize()))
    lines = [
        "# Time and memory of results in Slicer's scene",
        "",
        "Made by `python -m benchmarks.window`.",
        "",
        f"CT of {size} voxels, version {__version__}, {os.cpu_count()} logical cores, "
        f"{platform.machine()}. One resampling of the SPECT to the CT's grid took "
        f"{found.unit_s:.2f} s (unit). The longest step is what the window is blocked for; drawing "
        "by the views comes on top, and was not measured in a desktop.",
        "",
        "| results | longest step s | / unit | all steps s | nodes | memory, MiB |",
        "|---|---:|---:|---:|---:|---:|",
        _line("none", found.start, found.unit_s),
    ]
    chosen = (0, len(found.beside) // 4, len(found.beside) - 1)
    for number in chosen:
        name = f"analysis {number + 1}, beside the others"
        lines.append(_line(name, found.beside[number], found.unit_s))
    for number in (0, len(found.replaced) - 1):
        name = f"replacement {number + 1} of the last one"
        lines.append(_line(name, found.replaced[number], found.unit_s))
    lines.append(_line("all removed", found.removed, found.unit_s))
    longest = max(added.longest_s for added in (*found.beside, *found.replaced))
    lines += ["", f"Longest step of all: {longest:.2f} s.", ""]
    return "\n".join(lines)


def _line(name: str, added: Added, unit_s: float) -> str:
    return (
        f"| {name} | {added.longest_s:.2f} | {added.longest_s / unit_s:.1f} | {added.whole_s:.2f} "
        f"| {added.nodes} | {added.memory_mib:.0f} |"
    )


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ct-spacing", type=float, default=1.0, metavar="MM")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    case = load_case("lumbar-disc")
    phantom = make_phantom(replace(case, spine=replace(case.spine, spacing_mm=options.ct_spacing)))
    text = document(measured(phantom, options.count), phantom)
    print(text)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
