"""Sections of the document: bias, discrimination, coverage, verdicts."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from CTSpectSpineLib.phantom.product import POSITIVE_RATIO
from CTSpectSpineLib.triage_protocol import load_protocol
from CTSpectSpineLib.validation import summary
from CTSpectSpineLib.validation.markdown import (
    Pictures,
    join,
    number,
    percent,
    picture,
    signed,
    table,
)
from CTSpectSpineLib.validation.patient import INCREASED_RATIO, NORMAL_RATIO, PROTOCOL
from CTSpectSpineLib.validation.rows import Study

_POOLED = ("standard", "resolution")
_BIAS_HEADS = "n|corrected|SD|mean uncorr.|SD|max uncorr.|SD|RMS corrected"


def main_set(study: Study) -> Study:
    """The standard set, or the first that there is."""
    return study.sets()[0][1]


def pooled_sets(study: Study) -> Study:
    """The phantoms of ordinary spines, or all there are."""
    pooled = study.of_set(*_POOLED)
    return study if pooled.patients.empty else pooled


def title_of(study: Study) -> str:
    """Titles of the sets that were run."""
    names = [info.title for info, _ in study.sets()]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _bias_line(name: str, joints: pd.DataFrame) -> list[str]:
    corrected = summary.bias(joints)
    cells = [name, str(corrected.joints)]
    for value in (
        corrected,
        summary.bias(joints, summary.UNCORRECTED),
        summary.bias(joints, summary.MAXIMUM),
    ):
        cells += [signed(value.mean), percent(value.spread)]
    return [*cells, percent(corrected.root_mean_square)]


def _bias_table(first: str, groups: Iterable[tuple[str, pd.DataFrame]]) -> str:
    lines = [_bias_line(name, joints) for name, joints in groups]
    shown = [line for line in lines if line[1] != "0"]
    return table(f"{first}|{_BIAS_HEADS}", "l" + "r" * 8, shown)


def bias(study: Study, pictures: Pictures) -> str:
    """Bias and spread of the ratio."""
    pooled = pooled_sets(study)
    hot = summary.hot(pooled.joints)
    by_set = []
    for info, chosen in study.sets():
        for kind, part in summary.grouped(chosen.joints, "kind"):
            by_set += [
                (f"{info.title}: {kind}s, all", part),
                (f"{info.title}: {kind}s, hot", summary.hot(part)),
            ]
    where = title_of(pooled)
    main = title_of(main_set(study))
    by_level = _bias_table("level", summary.grouped(pooled.joints, "kind", "level"))
    return join(
        "## Bias and spread of the ratio",
        "Relative error of a joint's ratio to the reference bone, (found − true) / true: mean "
        "over the joints (bias), standard deviation (SD) and root mean square (RMS), in per "
        "cent. Uncorrected ratios are the joint's mean and maximum in the SPECT as it is, over "
        "the same reference.",
        _bias_table("set and joints", by_set),
        picture(pictures, "ratios", f"Found against true ratio, {main}"),
        f"By true ratio ({where}):",
        _bias_table("joints", summary.grouped(pooled.joints, "kind", "ratio")),
        f"By resolution, hot joints ({where}):",
        _bias_table("joints", summary.grouped(hot, "kind", "resolution")),
        picture(pictures, "resolution", "Error of the ratio by resolution"),
        f"By region of the spine ({where}), all joints and hot ones:",
        _bias_table("all", summary.grouped(pooled.joints, "kind", "spine_region")),
        _bias_table("hot", summary.grouped(hot, "kind", "spine_region")),
        f"By level, all joints ({where}):",
        picture(pictures, "levels", "Error of the corrected ratio by level"),
        f"<details><summary>Table by level</summary>\n\n{by_level}\n\n</details>",
        _resolution_estimate(study),
    )


def _resolution_estimate(study: Study) -> str:
    """How well the resolution itself was estimated."""
    lines = []
    for info, chosen in study.sets():
        these = chosen.patients[chosen.patients.fwhm_used_mm.notna()]
        for source, rows in these.groupby("fwhm_source"):
            error = rows.fwhm_used_mm - rows.fwhm_mm
            lines.append(
                (
                    info.title,
                    str(source),
                    str(len(rows)),
                    number(float(error.mean())),
                    number(float(np.sqrt((error**2).mean()))),
                    number(float(error.abs().max())),
                )
            )
    if not lines:
        return ""
    heads = "set|source|patients|mean error, mm|RMS, mm|largest, mm"
    return join(
        "The resolution that the correction used, against the true one:",
        table(heads, "llrrrr", lines),
    )


def discrimination(study: Study, pictures: Pictures) -> str:
    """Telling increased from normal joints."""
    lines = []
    for info, chosen_set in study.sets():
        part = chosen_set.joints
        for kind in summary.KINDS:
            joints = summary.of_kind(part, kind)
            curves = [summary.roc(joints, c) for c in (*summary.WORDS, "probability_positive")]
            if not curves[0].increased:
                continue
            normal = joints[joints.true_ratio <= NORMAL_RATIO]
            increased = joints[joints.true_ratio >= INCREASED_RATIO]
            lines.append(
                (
                    info.title,
                    f"{kind}s",
                    str(curves[0].increased),
                    str(curves[0].normal),
                    f"**{number(curves[0].area, 3)}**",
                    *(number(curve.area, 3) for curve in curves[1:]),
                    percent(summary.called(increased, "positive").value),
                    percent(summary.called(increased, "indeterminate").value),
                    percent(summary.called(normal, "positive").value),
                    percent(summary.called(normal, "indeterminate").value),
                )
            )
    heads = (
        "set|joints|increased|normal|corrected|mean uncorr.|max uncorr.|probability|"
        "increased called positive|… indeterminate|normal called positive|… indeterminate"
    )
    bounds = "; ".join(
        f"{kind}s positive from {b.positive:g}, indeterminate from {b.indeterminate:g}"
        for kind, b in load_protocol(PROTOCOL).bounds.items()
    )
    return join(
        "## Telling increased from normal joints",
        f"Increased: true ratio of {INCREASED_RATIO:g} or more; normal: {NORMAL_RATIO:g} or "
        "less; joints between are left out. Area under the ROC curve of four numbers, and how "
        f"the joints were called by the bounds of `{PROTOCOL}` ({bounds}).",
        table(heads, "llrrrrrrrrrr", lines) if lines else "No joint is increased.",
        picture(pictures, "roc", f"ROC curves, {title_of(main_set(study))}") if lines else "",
    )


def coverage(study: Study, pictures: Pictures) -> str:
    """Coverage of the intervals."""
    lines = []
    for info, chosen_set in study.sets():
        part = chosen_set.joints
        for kind in summary.KINDS:
            joints = summary.of_kind(part, kind)
            groups = [("all", joints), *summary.grouped(joints, "ratio")]
            for words, chosen in groups:
                value = summary.coverage(chosen)
                if not value.covered.of:
                    continue
                low, high = value.covered.interval
                share = percent(value.covered.value)
                lines.append(
                    (
                        info.title,
                        f"{kind}s",
                        words,
                        str(value.covered.of),
                        f"**{share}**" if words == "all" else share,
                        f"{percent(low, 0)} to {percent(high, 0)}",
                        percent(value.truth_above),
                        percent(value.truth_below),
                        percent(value.width, 0),
                    )
                )
    heads = "set|joints|true ratio|n|coverage|95 % confidence|truth above|truth below|median width"
    return join(
        "## Coverage of the intervals",
        "Share of the joints whose 95 % interval (`ratio_low` to `ratio_high`) contains the "
        "true ratio; the rest by whether the truth lies above or below it; median width of the "
        "interval in per cent of the true ratio.",
        table(heads, "lllrrrrrr", lines),
        picture(pictures, "coverage", f"Coverage by true ratio, {title_of(main_set(study))}"),
    )


def verdicts(study: Study, pictures: Pictures) -> str:
    """Verdicts against the truth."""
    lines = []
    for info, chosen in study.sets():
        part = chosen.patients
        groups = (("all", part), ("no joint between", summary.without_grey(part)))
        for words, patients in groups:
            if patients.empty:
                continue
            value = summary.verdicts(patients)
            shares = (value.right, value.withheld, value.wrong, value.wrong_confident)
            cells = [f"{share.count} ({percent(share.value, 0)})" for share in shares]
            lines.append((info.title, words, str(value.patients), *cells))
    heads = "set|patients|n|right|withheld|wrong|wrong and confident"
    cells_of = [
        (
            f"`{true}`",
            f"`{found or 'failed'}`",
            str(len(part)),
            number(float(part.stability.median())),
            number(float(part.stability.max())),
        )
        for (true, found), part in main_set(study).patients.groupby(
            ["true_disposition", "disposition"]
        )
    ]
    return join(
        "## Verdicts",
        f"The true disposition is what `{PROTOCOL}` gives for the true joint table, in which a "
        f"joint is positive at a true ratio of {POSITIVE_RATIO:g} or more. Right: the same "
        "disposition. Withheld: `indeterminate`, `no_verdict`, or an analysis that failed. "
        "Wrong: any other; confident with a stability of "
        f"{summary.CONFIDENT:g} or more. “No joint between” are the patients without a joint "
        f"whose true ratio is between {NORMAL_RATIO:g} and {INCREASED_RATIO:g}, where the "
        "truth itself is a matter of the bound.",
        table(heads, "llrrrrr", lines),
        f"True and found dispositions with their stability, {title_of(main_set(study))}:",
        table("true|found|n|median stability|largest", "llrrr", cells_of),
        picture(pictures, "verdicts", "Confusion matrix of the verdicts"),
    )
