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
from time import perf_counter, process_time

import SimpleITK as sitk

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.joints import build_joints
from CTSpectSpineLib.phantom.config import SpineConfig
from CTSpectSpineLib.phantom.spine import make_anatomy

SIZE = (512, 512, 600)
_WIDTH_MM = 360.0
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


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
    size = tuple(n // 3 for n in SIZE) if small else SIZE
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
        old = image.GetSize()
        spacing = [s * n / m for s, n, m in zip(image.GetSpacing(), old, size, strict=True)]
        first = [n / m / 2 - 0.5 for n, m in zip(old, size, strict=True)]
        origin = image.TransformContinuousIndexToPhysicalPoint(first)
        axes = image.GetDirection()
        resampled = sitk.Resample(
            image, list(size), sitk.Transform(), order, origin, spacing, axes, 0
        )
        sitk.WriteImage(resampled, str(folder / f"{name}.mha"))


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
    before = _reset_peak()
    wall, cpu = perf_counter(), process_time()
    found = build_joints(labels, ct)
    wall, cpu = perf_counter() - wall, process_time() - cpu
    peak = _status_mib("VmHWM")
    sacral = {"S1", anatomy.SACRUM}
    values = {
        "size": labels.GetSize(),
        "vertebrae": len(set(found.frames) - sacral),
        "joints": sum(j.located for j in found.joints),
        "wall_s": wall,
        "cpu_s": cpu,
        "memory_mib": None if before is None or peak is None else peak - before,
        "with_ct": with_ct,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }
    print(json.dumps(values))


def _reset_peak() -> float | None:
    """Forget the peak of the resident set; return the present size in MiB."""
    try:
        _CLEAR.write_text("5", encoding="ascii")
    except OSError:
        return None
    return _status_mib("VmRSS")


def _status_mib(key: str) -> float | None:
    if not _STATUS.exists():
        return None
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / 1024
    return None


if __name__ == "__main__":
    _child(Path(sys.argv[1]), sys.argv[2] == "1")
