"""Measure scans and compare with the truth: a row for each joint and each scan."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.uptake.inevitable import inevitable_sd
from benchmarks.uptake.scans import Scanned, family_of
from benchmarks.uptake.spheres import sphere_calibration
from CTSpectSpineLib.anatomy import spine_region
from CTSpectSpineLib.geometry import euler_transform
from CTSpectSpineLib.model import Registration, Uptake
from CTSpectSpineLib.phantom.product import POSITIVE_RATIO
from CTSpectSpineLib.protocol_files import USUAL_PROTOCOL
from CTSpectSpineLib.reconstruction import GIVEN, ReconstructionFacts
from CTSpectSpineLib.triage_protocol import load_protocol, triage
from CTSpectSpineLib.uptake import emission, measure
from CTSpectSpineLib.uptake.rigid import rigid_error
from CTSpectSpineLib.validation.summary import CONFIDENT, is_right, is_wrong

ERROR_MM = 0.6
"""Registration error at the joints. Judgement: that of the project's registration."""
BINS = (0.0, 0.9, 1.1, 1.4, 2.0, 3.0, 20.0)
"""Bins of true ratios. Convention: ordinary, mild and hot joints."""

_ORDINARY, _HOT, _MISSED = 1.45, 2.0, 2.5
"""True ratios up to which a joint is ordinary, from which it is hot, and from which it must not be
missed. By definition: those of the study."""


def judged(patients: Iterable[Scanned], *, stated: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure all scans.

    Parameters
    ----------
    patients
        The patients.
    stated
        What is said of the reconstruction: ``right``, ``wrong``, ``unknown``, or ``calibrated``
        (right, with the calibration that a sphere phantom on the same scanner gives).

    Returns
    -------
    joints, scans
    """
    bounds = load_protocol(USUAL_PROTOCOL).bounds
    joints: list[dict[str, Any]] = []
    scans: list[dict[str, Any]] = []
    for one in patients:
        located = [j.centre_mm for j in one.joints.joints if j.centre_mm is not None]
        error = rigid_error(np.array(located), ERROR_MM, np.random.default_rng(one.seed))
        transform = euler_transform(one.ct_to_spect @ error)
        registration = Registration(transform, "truth", 0.0, 0.0, ERROR_MM, "good", (), 0.0)
        for preset, spect in one.spects.items():
            if stated == "calibrated":
                # Made once for all patients; not part of the time.
                sphere_calibration(preset)
            begin = time.process_time()
            emitted = emission(
                spect,
                one.ct,
                registration.matrix,
                one.joints.frames.values(),
                _facts(preset, stated),
            )
            found = measure(
                spect,
                one.joints,
                one.labels,
                registration,
                bounds,
                calibration=sphere_calibration(preset) if stated == "calibrated" else None,
                emitted=emitted,
            )
            seconds = time.process_time() - begin
            scan = {"patient": one.name, "preset": preset, "family": family_of(preset)}
            record = found.reconstruction
            scans.append(
                {**scan, "fwhm_mm": found.fwhm_mm, "seconds": seconds}
                | {key: record[key] for key in ("looks_like", "doubted")}
                | _verdicts(one, found)
            )
            least = inevitable_sd(one, spect, family_of(preset), found.fwhm_mm)
            for row in found.table.to_dict("records"):
                if row["joint"] in one.ratios and np.isfinite(row["ratio_corrected"]):
                    values = {str(key): value for key, value in row.items()}
                    known = {"true": one.ratios[row["joint"]], "least_sd": least[row["joint"]]}
                    joints.append({**scan, **known, **values})
    return pd.DataFrame(joints), pd.DataFrame(scans)


def kept_rows(
    patients: Iterable[Scanned], *, stated: str, folder: Path
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """As `judged`, with what was measured of each patient kept in a folder and read from there."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for one in patients:
        path = folder / f"{one.name}-{stated}.pkl"
        if not path.exists():
            part = path.with_suffix(".part")
            part.write_bytes(pickle.dumps(judged([one], stated=stated)))
            part.rename(path)
        rows: tuple[pd.DataFrame, pd.DataFrame] = pickle.loads(path.read_bytes())
        found.append(rows)
    joints, scans = zip(*found, strict=True)
    return pd.concat(joints, ignore_index=True), pd.concat(scans, ignore_index=True)


def _verdicts(one: Scanned, found: Uptake) -> dict[str, Any]:
    """The protocol's disposition, how stable it is, and the one that follows from the truth."""
    true = found.table[["joint", "level", "kind", "side", "spine_region"]].copy()
    true = true[true.joint.isin(list(one.ratios))]
    hot = true.joint.map(one.ratios) >= POSITIVE_RATIO
    true["uptake"] = np.where(hot, "positive", "negative")
    lumbar = sorted({j.level for j in one.joints.joints if j.spine_region == "lumbar"})
    context = {"instability_mm": dict.fromkeys(lumbar, 0.0), "surgery_declined": False}
    said = triage(found.table, context, draws=found.draws)
    return {
        "disposition": said.disposition,
        "stability": said.stability,
        "true_disposition": triage(true, context).disposition,
    }


def _facts(preset: str, stated: str) -> ReconstructionFacts:
    if stated == "unknown":
        return ReconstructionFacts()
    family = family_of(preset)
    if stated == "wrong":
        family = "recovery" if family == "no-recovery" else "no-recovery"
    corrected = False if preset == "no-attenuation-correction" else None
    return ReconstructionFacts(
        "recovery" if family == "recovery" else "no-recovery",
        GIVEN,
        family,
        attenuation_correction=corrected,
    )


def bins(joints: pd.DataFrame) -> pd.DataFrame:
    """Bias, its spread, coverage and width by reconstruction and true ratio."""
    error = joints.ratio_corrected / joints.true - 1.0
    held = (joints.ratio_low <= joints.true) & (joints.true <= joints.ratio_high)
    width = (joints.ratio_high - joints.ratio_low) / (2.0 * 1.96)
    table = pd.DataFrame(
        {
            "reconstruction": joints.preset,
            "true ratio": pd.cut(joints.true, list(BINS), right=False),
            "error": error,
            "held": held,
            "sd": width,
        }
    )
    groups = table.groupby(["reconstruction", "true ratio"], observed=True)
    result: pd.DataFrame = groups.agg(
        joints=("error", "size"),
        bias=("error", "mean"),
        spread=("error", "std"),
        coverage=("held", "mean"),
        sd=("sd", "mean"),
    )
    made: pd.DataFrame = result.reset_index()
    return made


def counts(joints: pd.DataFrame) -> pd.DataFrame:
    """Missed and falsely positive joints, and how well ranks agree, by reconstruction."""
    rows = []
    for preset, part in joints.groupby("preset"):
        hot, ordinary = part[part.true >= _MISSED], part[part.true <= _ORDINARY]
        some = part[(part.true >= 1.8) & (part.true < 2.5)]
        order = some.ratio_corrected.to_numpy()[:, None] > ordinary.ratio_corrected.to_numpy()[None]
        quiet = part.groupby("patient")["true"].transform("max") < _HOT
        ranks = [
            group[["true", "ratio_corrected"]].corr("spearman").iloc[0, 1]
            for _, group in part[quiet & (part.true <= _ORDINARY)].groupby("patient")
        ]
        rows.append(
            {
                "reconstruction": preset,
                "patients": part.patient.nunique(),
                "hot": len(hot),
                "hot_negative": int((hot.uptake == "negative").sum()),
                "hot_positive": int((hot.uptake == "positive").sum()),
                "ordinary": len(ordinary),
                "ordinary_positive": int((ordinary.uptake == "positive").sum()),
                "ordinary_negative": int((ordinary.uptake == "negative").sum()),
                "auc": float(order.mean()) if order.size else np.nan,
                "auc_joints": len(some),
                "quiet": len(ranks),
                "spearman": float(np.nanmean(ranks)) if ranks else np.nan,
            }
        )
    made: pd.DataFrame = pd.DataFrame(rows)
    return made


def widths(joints: pd.DataFrame) -> pd.DataFrame:
    """Stated beside inevitable standard deviations of ordinary joints, by part of the spine."""
    ordinary = joints[joints.true <= _ORDINARY]
    part = ordinary.joint.map(lambda name: spine_region(str(name).split("-")[0]))
    table = pd.DataFrame(
        {
            "reconstruction": ordinary.preset,
            "joints": np.where(part == "cervical", "neck ", "trunk ") + ordinary.kind,
            "stated": (ordinary.ratio_high - ordinary.ratio_low) / (2.0 * 1.96),
            "least": ordinary.least_sd,
        }
    )
    groups = table.groupby(["reconstruction", "joints"])
    made: pd.DataFrame = groups.agg(
        number=("stated", "size"), stated=("stated", "median"), least=("least", "median")
    ).reset_index()
    return made


def verdicts(scans: pd.DataFrame) -> pd.DataFrame:
    """Verdicts that are right, withheld, wrong, and wrong although stable, by reconstruction."""
    right, wrong = is_right(scans), is_wrong(scans)
    table = pd.DataFrame(
        {
            "reconstruction": scans.preset,
            "right": right,
            "withheld": ~right & ~wrong,
            "wrong": wrong,
            "confident": wrong & (scans.stability.astype(float) >= CONFIDENT),
        }
    )
    groups = table.groupby("reconstruction")
    made: pd.DataFrame = groups.sum().assign(scans=groups.size()).reset_index()
    return made
