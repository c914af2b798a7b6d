"""The uptake under the families of reconstructions that may hold.

Where the family is known and the SPECT does not speak against it, it is solved for that one. Where
it is not known, or the SPECT is doubtful about it, it is solved for both, and draws of both are
mixed: the intervals then hold what either says.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from CTSpectSpineLib.calibration_file import CalibratedResponse, Calibration
from CTSpectSpineLib.model import FloatArray, SpineJoints
from CTSpectSpineLib.reconstruction import ReconstructionFacts
from CTSpectSpineLib.uptake.calibrated import calibrated
from CTSpectSpineLib.uptake.endplates import EndplateUptake, mean_endplates
from CTSpectSpineLib.uptake.misfit import judge
from CTSpectSpineLib.uptake.noise import Noise
from CTSpectSpineLib.uptake.observed_spine import ObservedSpine
from CTSpectSpineLib.uptake.prior import groups_of
from CTSpectSpineLib.uptake.resolution import Width, estimate_width
from CTSpectSpineLib.uptake.response import Family, families, family
from CTSpectSpineLib.uptake.solution import Solution, solve_spine

GIVEN, ESTIMATED, DEFAULT = "given", "estimated from the SPECT", "default"
CALIBRATED = "site calibration"
"""Where the resolution comes from."""
DEFAULT_FWHM_MM = 12.0
"""Resolution where it cannot be estimated. Judgement: the middle of the 9 to 16 mm of bone
SPECT."""
_DEFAULT_SD = 0.2
"""Its relative standard deviation. Judgement: 9 to 16 mm lie within one and a half of it."""


@dataclass(frozen=True)
class Answer:
    """Uptake of the regions, whatever family holds.

    Attributes
    ----------
    corrected
        Expected true uptake, SPECT units, shape (regions,).
    draws
        Draws of it, shape (draws, regions).
    unit, noise, condition_number
        As in `solution.Solution`, of the first family.
    fwhm_mm, fwhm_source
        Resolution (FWHM of the response), and where it comes from.
    endplates
        Uptake of discs' endplates relative to the disc's, by joint id.
    reconstruction
        What is known of the reconstruction and what was made of it, for the manifest.
    calibration
        The calibration that was used, for the manifest; empty where there was none.
    warnings
        Sentences.
    """

    corrected: FloatArray
    draws: FloatArray
    unit: float
    noise: Noise
    condition_number: float
    fwhm_mm: float
    fwhm_source: str
    endplates: Mapping[str, EndplateUptake]
    reconstruction: Mapping[str, Any]
    calibration: Mapping[str, Any]
    warnings: tuple[str, ...]


def solve_families(
    spine: ObservedSpine,
    facts: ReconstructionFacts,
    fwhm_mm: float | None,
    joints: SpineJoints,
    error_mm: float,
    repetitions: int,
    seed: int,
    calibration: Calibration | None = None,
    threads: int | None = None,
    more_sd: float = 0.0,
) -> Answer:
    """Solve for the uptake of all regions.

    Parameters
    ----------
    spine
        The regions.
    facts
        What is known of the reconstruction.
    fwhm_mm
        Resolution as given; None to estimate it.
    joints, error_mm
        As for `solution.solve_spine`.
    repetitions
        Draws that are wanted at least.
    seed
        Of the draws.
    calibration
        What the site measured of its scanner and its normals.
    threads
        Most threads, None for those of the machine; families are solved side by side. The result
        does not depend on it.
    more_sd
        Relative error of every joint against the reference besides that of the family.
    """
    calibration = calibration or Calibration()
    facts, measured, said = _with_calibration(facts, calibration)
    first = facts.family or families()[0]
    groups = groups_of(calibration.ordinary)

    def width_of(name: str) -> Width:
        if fwhm_mm is not None:
            return Width(fwhm_mm / family(name).response(1.0).width_mm)
        return estimate_width(spine.view, family(name))

    def solution(name: str) -> Solution:
        wanted, width_mm = _usable(*seen[name])
        wanted = replace(wanted, scale_sd=float(np.hypot(wanted.scale_sd, more_sd)))
        rng = np.random.default_rng([seed, families().index(name)])
        return solve_spine(spine, wanted, width_mm, joints, error_mm, repetitions, rng, groups)

    workers = max(1, min(threads or os.cpu_count() or 1, len(families())))
    with ThreadPoolExecutor(workers) as pool:
        widths = dict(zip(families(), pool.map(width_of, families()), strict=True))
        seen = {name: (family(name), widths[name]) for name in families()}
        if measured is not None:
            usual = seen[measured.family][0]
            seen[measured.family] = calibrated(spine.view, usual, measured, fwhm_mm)
        certain = families() if facts.family is None else (first,)
        solved = list(pool.map(solution, certain))
    judged = judge(widths, solved[0].noise, facts)
    solved += [solution(name) for name in judged.families if name not in certain]
    shape, width = seen[first]
    source = GIVEN if fwhm_mm is not None else ESTIMATED if width.known else DEFAULT
    if measured is not None and measured.family == first and fwhm_mm is None:
        source = CALIBRATED
    fwhm = width.fwhm_mm * shape.response(1.0).width_mm if width.known else DEFAULT_FWHM_MM
    warnings = [*said, *judged.sentences]
    if not width.known:
        warnings.insert(
            0,
            f"The resolution of the SPECT is not known ({width.reason}); {DEFAULT_FWHM_MM:g} mm is"
            f" taken with an error of {_DEFAULT_SD:.0%}, so intervals are wide. Give it if you know"
            " it.",
        )
    return Answer(
        corrected=np.mean([s.corrected for s in solved], axis=0),
        draws=_mixed(solved),
        unit=solved[0].unit,
        noise=solved[0].noise,
        condition_number=solved[0].condition_number,
        fwhm_mm=round(fwhm, 3),
        fwhm_source=source,
        endplates=mean_endplates([s.endplates for s in solved]),
        reconstruction={**facts.record(), **judged.record()},
        calibration=calibration.summary() if calibration.name else {},
        warnings=tuple(warnings),
    )


def _with_calibration(
    facts: ReconstructionFacts, calibration: Calibration
) -> tuple[ReconstructionFacts, CalibratedResponse | None, tuple[str, ...]]:
    """What is known of the reconstruction, the measured response if it fits it, and sentences."""
    measured = calibration.response
    if measured is None:
        return facts, None, ()
    if facts.family is None:
        known = replace(facts, family=measured.family, source=CALIBRATED, stated=calibration.name)
        return known, measured, ()
    if facts.family == measured.family:
        return facts, measured, ()
    return (
        facts,
        None,
        (
            f"The calibration '{calibration.name}' was made with another kind of reconstruction"
            f" ({measured.family}) than the SPECT's ({facts.family}); its response is not used."
            " Calibrate with the reconstruction that patients have.",
        ),
    )


def _usable(wanted: Family, width: Width) -> tuple[Family, float]:
    """The family with a width, and how uncertain that is."""
    if width.known:
        return wanted, width.fwhm_mm
    usual = DEFAULT_FWHM_MM / wanted.response(1.0).width_mm
    return replace(wanted, width_sd=_DEFAULT_SD), usual


def _mixed(solved: list[Solution]) -> FloatArray:
    """Draws of all solutions in turn."""
    if len(solved) == 1:
        return solved[0].draws
    count = min(len(s.draws) for s in solved)
    return np.stack([s.draws[:count] for s in solved], axis=1).reshape(-1, solved[0].draws.shape[1])
