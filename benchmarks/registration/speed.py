"""Time and memory on CTs of clinical size, and their growth with the number of voxels."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import SimpleITK as sitk

from benchmarks.registration.measure import RESAMPLING, limit_threads, measure
from benchmarks.registration.methods import METHODS
from benchmarks.registration.rows import SPEED_COLUMNS, SpeedRow, append, open_rows
from CTSpectSpineLib.phantom import load_case, make_phantom

Size = tuple[int, int, int]
CLINICAL: Size = (512, 512, 400)
"""Voxels of a clinical CT along i, j, k. Judgement: 400 mm in each direction."""
SIZES: tuple[Size, ...] = ((256, 256, 200), CLINICAL, (512, 512, 800))
"""Sizes measured. By definition: an eighth, once and twice the voxels of the clinical one."""
SMALL_SIZES: tuple[Size, ...] = ((64, 64, 50), (128, 128, 100))
"""Sizes to try it out. By definition: a 512th and a 64th of the clinical one."""
_SPACING_MM = (0.78, 0.78, 1.0)
"""Voxel of the clinical CT, mm. Judgement: 400 mm in 512 pixels, slices of 1 mm."""
_WIDTH_MM = 399.0
"""Width and depth of the field of view, mm. By definition: about 512 of those voxels."""


def speed_images(largest: Size) -> tuple[sitk.Image, sitk.Image]:
    """CT and SPECT of a phantom's lower trunk, 400 mm in each direction.

    Parameters
    ----------
    largest
        The voxels of the CT are about as small as this size needs.
    """
    case = load_case("lumbar-disc")
    spacing = tuple(s * n / m for s, n, m in zip(_SPACING_MM, CLINICAL, largest, strict=True))
    x, y, z = spacing
    spine = replace(
        case.spine,
        spacing_mm=(x, y, z),
        first="T8",
        last="sacrum",
        lateral_mm=_WIDTH_MM,
        ap_mm=_WIDTH_MM,
    )
    phantom = make_phantom(replace(case, spine=spine))
    ct = phantom.anatomy.ct
    size = [min(n, wanted) for n, wanted in zip(ct.GetSize(), largest, strict=True)]
    return sitk.RegionOfInterest(ct, size, [0, 0, 0]), phantom.spect


def at_size(ct: sitk.Image, size: Size) -> sitk.Image:
    """The same field of view in another number of voxels."""
    if ct.GetSize() == size:
        return ct
    old, spacing = ct.GetSize(), ct.GetSpacing()
    new = [s * n / m for s, n, m in zip(spacing, old, size, strict=True)]
    first = ct.TransformContinuousIndexToPhysicalPoint(
        [n / m / 2 - 0.5 for n, m in zip(old, size, strict=True)]
    )
    return sitk.Resample(
        ct, size, sitk.Transform(), sitk.sitkLinear, first, new, ct.GetDirection(), -1000.0
    )


def run_speed(path: Path, methods: Sequence[str], threads: int, small: bool = False) -> None:
    """Measure this project's method at all sizes, and the peers at the clinical one.

    Parameters
    ----------
    path
        File of the rows; an old one is replaced.
    methods
        Keys of `methods.METHODS`.
    threads
        Threads of each call.
    small
        Tiny CTs, to try it out.
    """
    path.unlink(missing_ok=True)
    open_rows(path, SPEED_COLUMNS)
    for row in speed_rows(methods, threads, SMALL_SIZES if small else SIZES):
        append(path, row)
        print(f"{row.size} {row.method} {row.wall_s} s", file=sys.stderr, flush=True)


def speed_rows(methods: Sequence[str], threads: int, sizes: tuple[Size, ...]) -> Iterator[SpeedRow]:
    """Measurements of each size, the second of which is the clinical one."""
    limit_threads(threads)
    full, spect = speed_images(sizes[1])
    for size in sizes:
        ct = at_size(full, size)
        unit = measure(RESAMPLING, ct, spect, threads).wall_s
        if unit is None:
            raise RuntimeError("the resampling that times are compared with did not run")
        for name in methods:
            if METHODS[name].peer and size != sizes[1]:
                continue
            measured = measure(name, ct, spect, threads)
            yield SpeedRow(
                size="×".join(map(str, ct.GetSize())),
                voxels=ct.GetNumberOfPixels(),
                method=name,
                wall_s=measured.wall_s,
                cpu_s=measured.cpu_s,
                memory_mib=measured.memory_mib,
                threads=threads,
                version=METHODS[name].version,
                resampling_s=unit,
                machine=f"{os.cpu_count()} logical cores, {platform.machine()}",
                message=measured.error,
            )
