"""Rigid registration of bone SPECT (moving) to CT (fixed).

Steps on maps of about 4 mm: `prepare` (HU ramps of the CT, relative uptake), `search` (all
translations and many rotations, by Fourier transforms), `refine` (robust Gauss–Newton on a
local linear model of uptake), `solve` (coarse then fine, neighbouring levels tried, solutions
compared), `quality` (expected error and verdict).
"""

from __future__ import annotations

import math
import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.geometry import affine, image_centre_mm, inverse, transform_matrix
from CTSpectSpineLib.model import FloatArray, Registration
from CTSpectSpineLib.progress import Progress, ProgressCallback, silent
from CTSpectSpineLib.registration.files import as_rigid, centred
from CTSpectSpineLib.registration.pair import prepared
from CTSpectSpineLib.registration.prepare import CtMaps, SpectMap, ct_maps, spect_map
from CTSpectSpineLib.registration.quality import judge
from CTSpectSpineLib.registration.search import global_search, rotation_matrix
from CTSpectSpineLib.registration.solve import explained_at, solve

METHOD = "masked correlation search, local linear uptake model (rigid)"
STARTS = 8
"""Poses of the search that are refined. Judgement: several, as the right one need not score best at
the search's resolution, each at the cost of a coarse fit."""
MOST_THREADS = 8
"""Most threads. By definition: no more starts than `STARTS` are refined side by side."""

_DISTURBED = (
    ((0, 0, 0), (0, 0, 0)),
    ((8, 5, 6), (3, -3, 3)),
    ((-8, 5, -6), (-3, 3, 3)),
    ((8, -5, -6), (3, 3, -3)),
    ((-8, -5, 6), (-3, -3, -3)),
)
"""Disturbed starts about a given one: (translation mm, rotation degrees). Judgement: about half of
the 2 cm and 8° from which the refinement is to find back, in four directions."""


def register(
    ct: sitk.Image,
    spect: sitk.Image,
    initial: sitk.Transform | None = None,
    progress: ProgressCallback = silent,
    threads: int | None = None,
    *,
    same_frame: bool = False,
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
    same_frame
        Whether the headers of both images state the same frame of reference, as those of a hybrid
        scanner do. A result far from it is to be checked.

    Returns
    -------
    Registration
        Its ``transform`` maps CT points to SPECT points and is centred at the CT's centre. A
        SPECT that does not match comes back with quality ``failed``, never as an exception, and
        with an infinite expected error, which is written as none.

    Raises
    ------
    InputError
        If an image is not a volume, the CT shows no bone, or `initial` is not rigid.

    Examples
    --------
    The patient of the phantom moved between CT and SPECT; the registration finds out how.

    >>> import numpy as np
    >>> from CTSpectSpineLib import register
    >>> from CTSpectSpineLib.phantom import example
    >>> phantom = example()
    >>> registration = register(phantom.ct, phantom.spect)
    >>> registration.quality
    'good'
    >>> bool(np.allclose(registration.matrix @ [0, 0, 0, 1],
    ...                  phantom.ct_to_spect @ [0, 0, 0, 1], atol=2.0))
    True
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
    with ThreadPoolExecutor(max_workers=workers) as pool:
        pair = prepared(maps, uptake, pool)
        report(0.15, "Searching for the position")
        if start is None:
            found = global_search(pair.ct, uptake, STARTS, pool, lambda m: report(0.25, m))
            starts = [*_simple_starts(maps, uptake), *(one.spect_to_ct for one in found)]
        else:
            starts = _around(inverse(start), centre)
        report(0.4, "Refining")
        solution = solve(
            pair,
            maps,
            starts,
            start is not None,
            pool,
            lambda share, m: report(0.4 + 0.6 * share, m),
        )
    if solution is None:
        reason = "No position was found in which SPECT and CT show the same bones."
        return _nothing(start, centre, reason, began)
    ct_to_spect = inverse(solution.fit.spect_to_ct)
    judgement = judge(solution, ct_to_spect, centre, same_frame)
    before = explained_at(pair, np.eye(4) if start is None else inverse(start))
    report(1.0, "Registered")
    return Registration(
        transform=centred(ct_to_spect, centre),
        method=METHOD,
        metric_start=before,
        metric_end=solution.fit.explained,
        expected_error_mm=judgement.expected_error_mm,
        quality=judgement.quality,
        reasons=judgement.reasons,
        seconds=time.perf_counter() - began,
        deformation_mm=solution.bent_mm,
    )


def _simple_starts(ct: CtMaps, spect: SpectMap) -> list[FloatArray]:
    """The images as their headers place them, and their centres on each other."""
    between = affine(np.eye(3), ct.centre_mm - spect.centre_mm)
    return [np.eye(4), between]


def _around(spect_to_ct: FloatArray, centre_mm: FloatArray) -> list[FloatArray]:
    """A given start and disturbed copies of it, to see whether they converge to the same place."""
    starts = []
    for shift, angles in _DISTURBED:
        turn = rotation_matrix(angles)
        change = affine(turn, np.asarray(shift) + centre_mm - turn @ centre_mm)
        starts.append(change @ spect_to_ct)
    return starts


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
