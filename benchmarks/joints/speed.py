"""Time and memory of the joints on 512×512×600 voxels with 24 vertebrae, in a child process.

The child reads the label map from a file, so it holds nothing but the library and the map when
the measurement starts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from benchmarks.meter import metered
from benchmarks.sizes import WHOLE_SPINE, resampled
from CTSpectSpineLib import anatomy
from CTSpectSpineLib.joints import build_joints
from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.config import SpineConfig

_WIDTH_MM = 360.0
"""Width and depth of the field of view, mm. Judgement: a usual one of the trunk."""


@dataclass(frozen=True)
class Speed:
    """What one build took.

    Attributes
    ----------
    size
        Voxels along i, j, k.
    vertebrae, joints
        Labelled vertebrae besides the sacrum, and joints located.
    wall_s, cpu_s
        Of the build alone.
    memory_mib
        Peak resident set above what the process held with the images read; None off Linux.
    with_ct
        Whether the check against CT was part of it.
    load
        Processes that wanted a core (the system's average of one minute); None off Unix.
    """

    size: tuple[int, int, int]
    vertebrae: int
    joints: int
    wall_s: float
    cpu_s: float
    memory_mib: float | None
    with_ct: bool
    load: float | None = None


def speed(threads: int, small: bool = False) -> list[Speed]:
    """Measure with and without the CT; ``small`` takes voxels three times as long."""
    size = tuple(n // 3 for n in WHOLE_SPINE) if small else WHOLE_SPINE
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_spine(folder, (size[0], size[1], size[2]))
        return [_measured_in_child(folder, threads, ct) for ct in (False, True)]


def _write_spine(folder: Path, size: tuple[int, int, int]) -> None:
    """A whole spine, C1 to sacrum, resampled to exactly that size; 24 vertebrae."""
    config = SpineConfig(seed=40900, spacing_mm=1.5, lateral_mm=_WIDTH_MM, ap_mm=_WIDTH_MM)
    spine = make_anatomy(config)
    for name, image, order in (
        ("labels", spine.labels, sitk.sitkNearestNeighbor),
        ("ct", spine.ct, sitk.sitkLinear),
    ):
        sitk.WriteImage(resampled(image, size, order), str(folder / f"{name}.mha"))


def _measured_in_child(folder: Path, threads: int, with_ct: bool) -> Speed:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(threads))}
    environment["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(threads)
    command = [sys.executable, "-m", "benchmarks.joints.speed", str(folder), str(int(with_ct))]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    values = json.loads(done.stdout.splitlines()[-1])
    i, j, k = values.pop("size")
    return Speed(size=(i, j, k), **values)


def _child(folder: Path, with_ct: bool) -> None:
    labels = sitk.ReadImage(str(folder / "labels.mha"))
    ct = sitk.ReadImage(str(folder / "ct.mha")) if with_ct else None
    cost = metered(lambda: build_joints(labels, ct))
    found = cost.result
    sacral = {"S1", anatomy.SACRUM}
    values = {
        "size": labels.GetSize(),
        "vertebrae": len(set(found.frames) - sacral),
        "joints": sum(j.located for j in found.joints),
        "wall_s": cost.wall_s,
        "cpu_s": cost.cpu_s,
        "memory_mib": cost.memory_mib,
        "with_ct": with_ct,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }
    print(json.dumps(values))


if __name__ == "__main__":
    _child(Path(sys.argv[1]), sys.argv[2] == "1")
