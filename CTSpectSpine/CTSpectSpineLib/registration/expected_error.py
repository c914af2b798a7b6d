"""How far a registered joint is expected to lie from the truth, without truth."""

from __future__ import annotations

import math

import numpy as np

from CTSpectSpineLib.registration.refine import Fit
from CTSpectSpineLib.registration.solve import Solution

COVARIANCE_SCALE = 1.3
"""Factor on the error that the scatter of the patches implies, which underestimates: neighbouring
patches are not quite independent. Measured on simulated pairs."""
FLOOR_MM = 0.1
"""Error that remains however well all fits, mm. Judgement: a small part of a voxel."""
WEAK_MM = 0.25
"""What missing attenuation correction adds, mm. Measured with `RESTLESS_MM`."""
RESTLESS_MM = 5.5
"""What parts of the skeleton that would fit better elsewhere add, mm, times their share: uptake
that is uneven within vertebrae, which shifts them together, and motion. Measured, by likelihood, on
35 pairs of the blurring simulator and 37 of projections; on a third simulator, held out, 96 % of
the errors were within twice the expected one."""
CUT_MM, SHORT_MM = 0.7, 300.0
"""What a short column in common adds, mm, and the length up to which it does. Measured with
`RESTLESS_MM`."""


def covariance_error(fit: Fit) -> float:
    """Root mean square error of points around bone that a fit's covariance implies, mm."""
    shift = float(np.trace(fit.covariance[:3, :3]))
    # |w × r|² averages to 2/3 |w|² |r|² over directions.
    turn = float(np.trace(fit.covariance[3:, 3:])) * 2.0 / 3.0 * fit.radius_mm**2
    return float(np.sqrt(shift + turn))


def expected_error(solution: Solution) -> float:
    """Expected error of a solution at the joints, mm (1 SD).

    A deformation that no rigid movement follows is an error at the joints like any other; uneven
    uptake and motion during the scan, missing attenuation correction and a short column in common
    add their parts.
    """
    parts = (
        COVARIANCE_SCALE * covariance_error(solution.whole),
        FLOOR_MM,
        WEAK_MM * solution.weakened,
        RESTLESS_MM * solution.restless,
        CUT_MM * max(0.0, 1.0 - solution.common_mm / SHORT_MM),
    )
    return math.hypot(float(np.linalg.norm(parts)), solution.bent_mm)
