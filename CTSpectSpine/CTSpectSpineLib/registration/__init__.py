"""Rigid registration of bone SPECT (moving) to CT (fixed).

Four steps on maps of about 4 mm: `prepare` (HU ramps of the CT, relative uptake), `search`
(all translations and many rotations, by Fourier transforms), `refine` (robust Gauss–Newton on
a local linear model of uptake, coarse then fine), `quality` (expected error and verdict).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.geometry import image_centre_mm, transform_matrix
from CTSpectSpineLib.model import FloatArray, Registration
from CTSpectSpineLib.progress import Progress, ProgressCallback, silent
from CTSpectSpineLib.registration.files import (
    as_rigid,
    centred,
    read_transform,
    registration_record,
    write_transform,
)
from CTSpectSpineLib.registration.prepare import (
    SPECT_FWHM_MM,
    CtMaps,
    SpectMap,
    ct_maps,
    inverse,
    mirrored,
    smoothed,
    spect_map,
)
from CTSpectSpineLib.registration.quality import Evidence, judge
from CTSpectSpineLib.registration.refine import Fit, Level, measure, refine_pose, restless_share
from CTSpectSpineLib.registration.sampling import SampledMaps, sampled_maps
from CTSpectSpineLib.registration.search import global_search, rotation_matrix

__all__ = ["read_transform", "register", "registration_record", "write_transform"]

METHOD = "masked correlation search, local linear uptake model (rigid)"
COARSE = Level(fwhm_mm=18.0, smooth=True, points=6000, iterations=12)
FINE = Level(fwhm_mm=SPECT_FWHM_MM, smooth=False, points=20000, iterations=12)
LOCAL = Level(fwhm_mm=SPECT_FWHM_MM, smooth=False, points=10000, iterations=0)
LOCAL_SHIFTS_MM = (7.0,)
"""About two thirds of the resolution: enough to leave a fit, not enough to reach another bone."""
STARTS = 6
MOST_THREADS = 8

# Disturbed starts about a given one: (translation mm, rotation degrees).
_DISTURBED = (
    ((0, 0, 0), (0, 0, 0)),
    ((8, 5, 6), (3, -3, 3)),
    ((-8, 5, -6), (-3, 3, 3)),
    ((8, -5, -6), (3, 3, -3)),
    ((-8, -5, 6), (-3, -3, -3)),
)


@dataclass(frozen=True)
class _Pair:
    """Prepared images: maps of the CT at both levels, SPECT as it is and smoothed."""

    ct: CtMaps
    spect: SpectMap
    smooth: SpectMap
    coarse: SampledMaps
    fine: SampledMaps


def register(
    ct: sitk.Image,
    spect: sitk.Image,
    initial: sitk.Transform | None = None,
    progress: ProgressCallback = silent,
    threads: int | None = None,
) -> Registration:
    """Register a bone SPECT to a CT, rigidly.

    Parameters
    ----------
    ct
        Fixed image, HU; any orientation, voxel size and field of view.
    spect
        Moving image, any unit.
    initial
        Rigid start from CT to SPECT points, LPS mm. It is refined locally (about 2 cm, 8°)
        without a global search. None searches globally.
    progress
        Called with the stage ``"register"``; it may raise `errors.Cancelled`.
    threads
        Most threads, None for those of the machine. The result does not depend on it.

    Returns
    -------
    Registration
        Its ``transform`` maps CT points to SPECT points and is centred at the CT's centre. A
        SPECT that does not match comes back with quality ``failed``, never as an exception.

    Raises
    ------
    InputError
        If an image is no volume, the CT shows no bone, or `initial` is not rigid.
    """
    began = time.perf_counter()
    start = None if initial is None else transform_matrix(as_rigid(initial, "initial transform"))
    workers = max(1, min(threads or os.cpu_count() or 1, MOST_THREADS))
    centre = image_centre_mm(ct)

    def report(fraction: float, message: str) -> None:
        progress(Progress("register", fraction, message))

    report(0.0, "Preparing CT and SPECT")
    maps, uptake = ct_maps(ct), spect_map(spect)
    if uptake is None:
        return _nothing(start, centre, "The SPECT holds no uptake: it is constant.", began)
    pair = _Pair(
        maps,
        uptake,
        smoothed(uptake, COARSE.fwhm_mm),
        sampled_maps(maps, COARSE.fwhm_mm),
        sampled_maps(maps, FINE.fwhm_mm),
    )
    report(0.2, "Searching for the position")
    if start is None:
        found = global_search(maps, uptake, STARTS, workers)
        starts = [candidate.spect_to_ct for candidate in found]
    else:
        starts = _around(inverse(start), centre)
    report(0.5, "Refining")
    coarse = _refine_all(pair, starts, workers, keep_first=start is not None)
    final = refine_pose(uptake, pair.fine, coarse[0].spect_to_ct, FINE) if coarse else None
    if final is None:
        reason = "No position was found in which SPECT and CT show the same bones."
        return _nothing(start, centre, reason, began)
    report(0.8, "Checking the result")
    ct_to_spect = inverse(final.spect_to_ct)
    swapped = _refine_mirrored(pair, final.spect_to_ct)
    restless = restless_share(uptake, pair.fine, final, LOCAL, LOCAL_SHIFTS_MM)
    judgement = judge(Evidence(coarse, final, swapped, restless, ct_to_spect, centre))
    before = measure(uptake, pair.fine, np.eye(4) if start is None else inverse(start), FINE)
    report(1.0, "Registered")
    return Registration(
        transform=centred(ct_to_spect, centre),
        method=METHOD,
        metric_start=before.explained if before else 0.0,
        metric_end=final.explained,
        expected_error_mm=judgement.expected_error_mm,
        quality=judgement.quality,
        reasons=judgement.reasons,
        seconds=time.perf_counter() - began,
    )


def _around(spect_to_ct: FloatArray, centre_mm: FloatArray) -> list[FloatArray]:
    """A given start and disturbed copies of it, to see whether they end in the same place."""
    starts = []
    for shift, angles in _DISTURBED:
        change = np.eye(4)
        change[:3, :3] = rotation_matrix(angles)
        change[:3, 3] = np.asarray(shift) + centre_mm - change[:3, :3] @ centre_mm
        starts.append(change @ spect_to_ct)
    return starts


def _refine_all(
    pair: _Pair, starts: Sequence[FloatArray], workers: int, keep_first: bool
) -> list[Fit]:
    """Coarse fits of all starts; the one to go on with comes first."""

    def one(pose: FloatArray) -> Fit | None:
        return refine_pose(pair.smooth, pair.coarse, pose, COARSE)

    with ThreadPoolExecutor(max_workers=workers) as pool:
        fits = list(pool.map(one, starts))
    if keep_first and fits[0] is None:
        return []
    found = [fit for fit in fits if fit is not None]
    if keep_first or not found:
        return found
    return sorted(found, key=lambda fit: -fit.explained)


def _refine_mirrored(pair: _Pair, pose: FloatArray) -> Fit | None:
    """Best fit near a pose against the CT with left and right swapped."""
    swapped = mirrored(pair.ct)
    coarse = refine_pose(pair.smooth, sampled_maps(swapped, COARSE.fwhm_mm), pose, COARSE)
    if coarse is None:
        return None
    return refine_pose(pair.spect, sampled_maps(swapped, FINE.fwhm_mm), coarse.spect_to_ct, FINE)


def _nothing(
    start: FloatArray | None, centre_mm: FloatArray, reason: str, began: float
) -> Registration:
    """The start, unchanged, as a failed registration."""
    return Registration(
        transform=centred(np.eye(4) if start is None else start, centre_mm),
        method=METHOD,
        metric_start=0.0,
        metric_end=0.0,
        expected_error_mm=math.inf,
        quality="failed",
        reasons=(reason,),
        seconds=time.perf_counter() - began,
    )
