"""The same projections and reconstructions by PyTomography (Polson et al., arXiv 2309.01977, 2023).

Needs the extra ``bench``. Both get the same voxels, attenuation, orbit and collimator.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.meter import metered
from benchmarks.scanner.case import COUNTS, Case
from benchmarks.scanner.system import system_of, tensor
from CTSpectSpineLib.model import BoolArray
from CTSpectSpineLib.phantom.scanner.projections.acquisition import Projected
from CTSpectSpineLib.phantom.scanner.projections.maps import activity_patch, cut_faces_mm, sampled
from CTSpectSpineLib.phantom.scanner.projections.osem import osem
from CTSpectSpineLib.phantom.scanner.projections.projector import Projector, Response, Volume

ITERATIONS, SUBSETS = 3, 10
"""Of the comparison. Judgement: as far as both take in minutes."""
PLANES = 36
"""Planes of the comparison, the middle ones. Judgement: three vertebrae, in minutes."""


@dataclass(frozen=True)
class Comparison:
    """How far two implementations agree.

    Attributes
    ----------
    version
        Of PyTomography.
    what
        With or without resolution recovery.
    projections
        Sum of the absolute differences over all counts, and quotient of all counts.
    image
        Root mean square difference over root mean square, of both reconstructions inside the body.
    regions
        Name to the means of this scanner's and of PyTomography's image.
    seconds
        CPU time of both reconstructions.
    """

    version: str
    what: str
    projections: tuple[float, float]
    image: float
    regions: dict[str, tuple[float, float]]
    seconds: tuple[float, float]


def compare(case: Case, projected: Projected) -> list[Comparison] | None:
    """Both implementations on one case; None where PyTomography is not installed."""
    try:
        import pytomography
    except ImportError:
        return None
    frame = projected.frame
    first = (frame.shape[2] - PLANES) // 2
    part = slice(first, first + PLANES)
    faces = cut_faces_mm(case.plain.ct)
    activity = np.maximum(
        sampled(activity_patch(case.plain.activity, faces, frame.voxel_mm), frame, case.matrix), 0
    )
    activity = np.ascontiguousarray(activity[:, :, part])
    n = frame.shape[0]
    projected = replace(
        projected,
        frame=replace(frame, shape=(n, n, PLANES)),
        per_mm=np.ascontiguousarray(projected.per_mm[:, :, part]),
    )
    version = str(pytomography.__version__)
    return [_compare(case, projected, activity, r, version) for r in (True, False)]


def _compare(
    case: Case, projected: Projected, activity: Volume, recovery: bool, version: str
) -> Comparison:
    pairs = projected.orbit.pairs
    truth = _own(projected, True)
    views = [truth.forward(activity, pair) for pair in range(pairs)]
    measured = np.array([v[0] for v in views] + [v[1] for v in views])
    scale = np.float32(COUNTS / measured.sum(dtype=np.float64))
    theirs = _flipped(_system(projected, True).forward(tensor(activity)).numpy(), pairs)
    difference = float(np.abs(theirs - measured).sum() / measured.sum())
    total = float(theirs.sum(dtype=np.float64) / measured.sum(dtype=np.float64))
    measured *= scale
    own = metered(lambda: osem(_own(projected, recovery), measured, None, ITERATIONS, SUBSETS))
    other = metered(lambda: _their_osem(projected, measured, recovery))
    body: BoolArray = np.asarray(projected.per_mm > 0.007)
    body[:, :, :5] = body[:, :, -5:] = False  # what lies beyond blurs into them
    apart = own.result[body] - other.result[body]
    image = float(np.sqrt(np.mean(apart**2) / np.mean(other.result[body] ** 2)))
    regions = {}
    for name, mask in _regions(case, activity, body).items():
        means = (float(v[mask].mean()) for v in (own.result, other.result))
        first, second = means
        regions[name] = first, second
    what = "with resolution recovery" if recovery else "without resolution recovery"
    return Comparison(version, what, (difference, total), image, regions, (own.cpu_s, other.cpu_s))


def _regions(case: Case, activity: Volume, body: BoolArray) -> dict[str, BoolArray]:
    """Voxels by their true activity."""
    reference = case.specimen.painted.truth.reference
    relative = activity / reference
    return {
        "bright (2 to 3.5)": body & (relative > 2) & (relative < 3.5),
        "bone (0.8 to 1.2)": body & (relative > 0.8) & (relative < 1.2),
        "soft tissue (0.05 to 0.2)": body & (relative > 0.05) & (relative < 0.2),
    }


def _own(projected: Projected, recovery: bool) -> Projector:
    response = Response(projected.camera.collimator) if recovery else None
    frame = projected.frame
    return Projector(
        frame.shape, frame.voxel_mm, projected.orbit, projected.per_mm, response, cubic=False
    )


def _system(projected: Projected, recovery: bool):  # type: ignore[no-untyped-def]
    """Their system matrix."""
    frame, orbit = projected.frame, projected.orbit
    width = projected.camera.collimator.fwhm_mm if recovery else None
    return system_of(frame.shape, frame.voxel_mm, orbit.radii_mm, projected.per_mm, width)


def _flipped(views: Volume, pairs: int) -> Volume:
    """Their detector is seen from behind; ours of the second half as of the first."""
    result: Volume = views.copy()
    result[:pairs] = views[:pairs, ::-1]
    return result


def _their_osem(projected: Projected, measured: Volume, recovery: bool) -> Volume:
    from pytomography.algorithms import OSEM
    from pytomography.likelihoods import PoissonLogLikelihood

    system = _system(projected, recovery)
    counts = tensor(_flipped(measured, projected.orbit.pairs))
    found = OSEM(PoissonLogLikelihood(system, counts))(n_iters=ITERATIONS, n_subsets=SUBSETS)
    return np.asarray(found.numpy(), dtype=np.float32)
