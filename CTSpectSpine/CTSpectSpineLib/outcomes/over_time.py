"""Models of a measure over all visits: a mixed model, and multiple imputation of what is missing.

The mixed model needs statsmodels.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import nan, sqrt
from typing import Any

import numpy as np
import pandas as pd

from CTSpectSpineLib.outcomes.table import BASELINE, Outcomes
from CTSpectSpineLib.statistics.estimate import CONFIDENCE, Estimate
from CTSpectSpineLib.statistics.imputation import completed_tables, pool

_METHODS = ("powell", "bfgs", "nm")
"""Ways to the maximum, as statsmodels calls them: the first needs no derivatives, which may be
singular where patients hardly differ."""
_LEAST_SEEN = 8
"""Values that a visit needs to be imputed. Judgement: with fewer a regression on the other visits
says nothing."""


@dataclass(frozen=True)
class MixedRow:
    """Mean change at a visit by a mixed model, of which missing values are a part.

    Attributes
    ----------
    patients, values
        On which the model rests.
    change
        Mean change from before treatment, with its interval.
    p
        That there is no change (Wald).
    p_any
        That there is no change at any visit (Wald).
    between_sd, within_sd
        Standard deviation between patients and within them.
    converged
        Whether the fit came to an end; else the numbers are not to be trusted.
    """

    measure: str
    visit: str
    patients: int
    values: int
    change: Estimate
    p: float
    p_any: float
    between_sd: float
    within_sd: float
    converged: bool


def mixed_model(outcomes: Outcomes, measure: str) -> Iterator[MixedRow]:
    """A linear mixed model: each visit a fixed effect, each patient a random intercept, by REML.

    Notes
    -----
    Laird NM, Ware JH. Biometrics 1982;38:963-74. Valid where values are missing at random. Of too
    few values for its parameters there are no rows.
    """
    import statsmodels.formula.api as smf

    after = outcomes.after(measure)
    table = pd.concat(
        pd.DataFrame(
            {"patient": range(len(outcomes.patients)), "visit": v, "y": outcomes.of(measure, v)}
        )
        for v in (BASELINE, *after)
    ).dropna()
    patients = int(table["patient"].nunique())
    if len(table) <= patients + len(after):
        return
    model = smf.mixedlm(f"y ~ C(visit, Treatment('{BASELINE}'))", table, groups=table["patient"])
    fit = _fitted(model)
    if fit is None:
        return
    named = {v: f"C(visit, Treatment('{BASELINE}'))[T.{v}]" for v in after}
    names = list(fit.model.exog_names)
    effects = [names.index(name) for name in named.values()]
    p_any = _wald(fit, effects)
    ends = fit.conf_int(1 - CONFIDENCE)
    for visit, name in named.items():
        low, high = (float(v) for v in ends.loc[name])
        yield MixedRow(
            measure, visit, patients, len(table),
            Estimate(float(fit.fe_params[name]), low, high), float(fit.pvalues[name]), p_any,
            sqrt(max(float(np.asarray(fit.cov_re)[0, 0]), 0.0)), sqrt(float(fit.scale)),
            bool(fit.converged),
        )  # fmt: skip


def _fitted(model: Any) -> Any:
    """A model fitted by the first method that comes to an end; None where none gives numbers."""
    last = None
    for method in _METHODS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                fit = model.fit(reml=True, method=[method])
            except np.linalg.LinAlgError:
                continue
        last = fit
        if fit.converged:
            break
    return last


def _wald(fit: Any, effects: Sequence[int]) -> float:
    """Chance of effects this large where there are none."""
    from scipy.stats import chi2

    values = np.asarray(fit.fe_params)[list(effects)]
    covariance = np.asarray(fit.cov_params())[np.ix_(effects, effects)]
    if not np.isfinite(covariance).all():
        return nan
    return float(chi2.sf(values @ np.linalg.pinv(covariance) @ values, len(effects)))


@dataclass(frozen=True)
class ImputedRow:
    """Mean change at a visit with what is missing imputed.

    Attributes
    ----------
    patients, imputed
        Patients with a value before treatment; of them without one at the visit.
    observed
        Mean change of those seen.
    change
        Mean change of all, with its interval.
    missing_information
        Share of the information that the missing values took; NaN where nothing is missing.
    """

    measure: str
    visit: str
    patients: int
    imputed: int
    observed: float
    change: Estimate
    missing_information: float


def multiple_imputation(outcomes: Outcomes, measure: str, seed: int) -> Iterator[ImputedRow]:
    """Mean changes with missing values imputed; visits with enough values predict each other.

    Patients without a value before treatment are left out.
    """
    before = outcomes.of(measure, BASELINE)
    treated = np.isfinite(before)
    seen = {v: outcomes.of(measure, v)[treated] for v in outcomes.after(measure)}
    seen = {v: values for v, values in seen.items() if np.isfinite(values).sum() >= _LEAST_SEEN}
    if not seen:
        return
    table = np.column_stack([before[treated], *seen.values()])
    completed = completed_tables(table, seed)
    for place, (visit, values) in enumerate(seen.items(), start=1):
        pooled, lost = pool([t[:, place] - t[:, 0] for t in completed])
        missing = int((~np.isfinite(values)).sum())
        yield ImputedRow(
            measure, visit, int(treated.sum()), missing,
            float(np.nanmean(values - before[treated])), pooled, lost if missing else nan,
        )  # fmt: skip
