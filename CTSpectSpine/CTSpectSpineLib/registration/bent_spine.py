"""A rigid registration, refined vertebra by vertebra where the spine lies differently."""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.geometry import inverse
from CTSpectSpineLib.model import FloatArray, Registration, VertebraFrame
from CTSpectSpineLib.posture import Posture, VertebraMotion
from CTSpectSpineLib.progress import Progress, ProgressCallback, silent
from CTSpectSpineLib.registration.pair import FINE, prepared, suited
from CTSpectSpineLib.registration.prepare import SpectMap, ct_maps, spect_map
from CTSpectSpineLib.registration.refine import measure
from CTSpectSpineLib.registration.solve import BEND_COARSE, BEND_FINE
from CTSpectSpineLib.registration.vertebrae import (
    LEAST_GAIN,
    SUPPORTED_MARGIN,
    VertebraFit,
    fit_vertebrae,
)

_SAME_VERTEBRA_MM = 10.0
"""Centres nearer than this are those of one vertebra, whatever its name. Judgement: a third of the
height of a thoracic level."""
_BEGINNING = "Each vertebra was"
"""How every sentence of this refinement begins; a second one replaces the first."""


def refine_vertebrae(
    ct: sitk.Image,
    spect: sitk.Image,
    registration: Registration,
    frames: Mapping[str, VertebraFrame],
    progress: ProgressCallback = silent,
) -> Registration:
    """Let each vertebra move a little, tied to its neighbours, on top of a registration.

    The motions are taken only where the SPECT clearly supports them: they have to explain what
    they were not found on. Else the registration stays rigid, and says so.

    Parameters
    ----------
    ct
        Fixed image, HU.
    spect
        Moving image, any unit.
    registration
        Rigid, as `register` or `judge_given` returned it. One that holds motions keeps them, under
        the names that the vertebrae have now.
    frames
        The vertebrae in the CT, cranial to caudal; see `model.SpineJoints`.
    progress
        Called with the stage ``"bend"``.

    Returns
    -------
    Registration
        The same transform; with ``posture``, its own expected error and one more sentence where
        the SPECT supports the motions, else with one more sentence only. The quality stays: it
        is that of the rigid fit.
    """
    reasons = tuple(r for r in registration.reasons if not r.startswith(_BEGINNING))
    rigid = replace(registration, reasons=reasons, posture=None)
    if registration.posture is not None:
        return replace(registration, posture=_renamed(registration.posture, frames))
    if rigid.quality == "failed":
        return _with(rigid, f"{_BEGINNING} left where it is, because the registration failed.")
    # The centre of a truncated vertebra may lie anywhere in it.
    whole = {name: frame.centre_mm for name, frame in frames.items() if frame.reliable}
    if len(whole) < 2:
        return _with(
            rigid,
            f"{_BEGINNING} left where the rigid registration puts it: that needs labels of at "
            "least two whole vertebrae.",
        )
    progress(Progress("bend", 0.0, "Preparing CT and SPECT"))
    maps, uptake = ct_maps(ct), spect_map(spect)
    fit = None
    if uptake is not None:
        pose = inverse(rigid.matrix)
        seen = {name: mm for name, mm in whole.items() if _inside(uptake, rigid, mm)}
        with ThreadPoolExecutor(max_workers=1) as pool:
            pair = prepared(maps, uptake, pool)
        here = measure(pair.spect, pair.fine, pose, FINE)
        if here is not None:
            pair, _ = suited(pair, maps, here)
        progress(Progress("bend", 0.3, "Moving each vertebra"))
        levels = (
            (pair.smooth, pair.coarse, BEND_COARSE),
            (pair.spect, pair.fine, BEND_FINE),
        )
        fit = fit_vertebrae(levels, pose, seen)
    progress(Progress("bend", 1.0, "Vertebrae refined"))
    if fit is None:
        why = "too little of the spine is seen in both images."
        return _with(rigid, f"{_BEGINNING} left where the rigid registration puts it: {why}")
    return _taken(rigid, fit) if fit.supported else _with(rigid, _refusal(fit))


def _renamed(posture: Posture, frames: Mapping[str, VertebraFrame]) -> Posture:
    """The same motions under the names that the vertebrae have now."""

    def name_of(motion: VertebraMotion) -> str:
        away = {n: np.linalg.norm(f.centre_mm - motion.centre_mm) for n, f in frames.items()}
        nearest = min(away, key=lambda name: float(away[name]), default=motion.level)
        return nearest if away.get(nearest, np.inf) < _SAME_VERTEBRA_MM else motion.level

    return Posture(tuple(replace(m, level=name_of(m)) for m in posture.vertebrae))


def _taken(rigid: Registration, fit: VertebraFit) -> Registration:
    """The registration with the motions, and the error that remains."""
    without = math.sqrt(max(rigid.expected_error_mm**2 - rigid.deformation_mm**2, 0.0))
    error = math.hypot(without, fit.error_mm)
    posture = fit.posture
    sentence = (
        f"{_BEGINNING} moved on its own, because the spine lay differently in the two scans: by up "
        f"to {posture.largest_shift_mm:.1f} mm and {posture.largest_turn_deg:.1f} degrees beyond "
        "the rigid registration. Tried on uptake that they were not fitted to, the motions gain "
        f"{fit.margin.margin:.1f} standard errors. Joints are measured there, with an "
        f"expected error of {error:.1f} mm instead of {rigid.expected_error_mm:.1f} mm."
    )
    return _with(replace(rigid, posture=posture, expected_error_mm=error), sentence)


def _refusal(fit: VertebraFit) -> str:
    return (
        f"{_BEGINNING} left where the rigid registration puts it: the SPECT does not clearly "
        f"support motions of single vertebrae. Those found are {fit.moved_mm:.1f} mm on average "
        f"with an error of {fit.error_mm:.1f} mm ({LEAST_GAIN:g} times that is needed); on uptake "
        f"that they were not fitted to they gain {fit.margin.margin:.1f} standard errors "
        f"({SUPPORTED_MARGIN:g} needed)."
    )


def _with(registration: Registration, sentence: str) -> Registration:
    return replace(registration, reasons=(*registration.reasons, sentence))


def _inside(spect: SpectMap, registration: Registration, centre_mm: FloatArray) -> bool:
    """Whether a point of the CT lies in the field of the SPECT."""
    to_index = inverse(spect.ijk_to_lps) @ registration.matrix
    index = (to_index @ np.append(centre_mm, 1.0))[:3]
    return bool(np.all(index >= 0) and np.all(index <= np.array(spect.values.shape[::-1]) - 1))
