"""The page of the benchmark."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.uptake.judge import bins, counts, verdicts, widths

_TITLES = {
    "projections": "# Uptake on physically simulated scans, by family of reconstructions",
    "pytomography": "# Uptake on a scanner that was never used for the measurement's settings",
}
_SCANNERS = {
    "projections": "Scanned by the project's own physical scanner (`--scanner projections`). The"
    " patients' seeds were used for no setting of the measurement, but the scanner was.",
    "pytomography": "Scanned by a second physical scanner, made with PyTomography"
    " (`benchmarks/uptake/other_scanner.py`: other projector, collimator, scatter, orbit, views,"
    " iterations and filters). Neither it nor these patients' seeds were used for any setting of"
    " the measurement.",
}


def write_document(
    path: Path, joints: pd.DataFrame, scans: pd.DataFrame, command: str, scanner: str
) -> None:
    """Write the page from the rows."""
    lines = [
        _TITLES[scanner],
        "",
        f"Made by `{command}`. Patients as they are (`phantom --patient`), measured with their own"
        f" labels, a registration error of 0.6 mm and the usual protocol. {_SCANNERS[scanner]}",
        "",
        f"{scans.patient.nunique()} patients, {len(scans)} scans, {len(joints)} joints. So few"
        " patients bound no rate below a few per cent.",
        "",
        "## By true ratio",
        "",
        "Bias and spread (SD between joints) of the corrected ratio, share of the 95 % intervals"
        " that hold the truth, mean SD that the interval states (ratio units).",
        "",
        "| reconstruction | true ratio | joints | bias | spread | coverage | stated SD |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['reconstruction']} | {_bin(row['true ratio'])} | {row['joints']} |"
        f" {100 * row['bias']:+.0f} % | {_percent(row['spread'])} | {100 * row['coverage']:.0f} % |"
        f" {row['sd']:.2f} |"
        for row in bins(joints).to_dict("records")
    ]
    lines += [
        "",
        "## Classes and ranks",
        "",
        "Hot: true ratio 2.5 or more. Ordinary: at most 1.45. AUC: joints of 1.8 to 2.5 against"
        " ordinary ones. Spearman: ordinary joints within a patient that has no joint of 2 or more"
        " (number of patients).",
        "",
        "| reconstruction | patients | hot called negative | hot called positive | ordinary called"
        " positive | ordinary called negative | AUC (joints) | Spearman |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['reconstruction']} | {row['patients']} | {row['hot_negative']} of {row['hot']} |"
        f" {row['hot_positive']} | {row['ordinary_positive']} of {row['ordinary']} |"
        f" {row['ordinary_negative']} | {_number(row['auc'], 3)} ({row['auc_joints']}) |"
        f" {_number(row['spearman'], 2)} ({row['quiet']}) |"
        for row in counts(joints).to_dict("records")
    ]
    lines += [
        "",
        "## Verdicts",
        "",
        "The usual protocol's dispositions against those that follow from the true ratios (hot from"
        " 2 on; no level unstable). Withheld: indeterminate or no verdict.",
        "",
        "| reconstruction | scans | right | withheld | wrong | wrong and stable |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['reconstruction']} | {row['scans']} | {row['right']} | {row['withheld']} |"
        f" {row['wrong']} | {row['confident']} |"
        for row in verdicts(scans).to_dict("records")
    ]
    lines += [
        "",
        "## Width of the intervals",
        "",
        "Ordinary joints, medians, ratio units: SD that the interval states, and SD that noise and"
        " resolution make inevitable (Cramér-Rao bound of an unbiased estimate with outlines,"
        " response and noise known). What is known beforehand of joints lowers the first, what is"
        " not known of outlines and response raises it.",
        "",
        "| reconstruction | joints | number | stated SD | inevitable SD | quotient |",
        "|---|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['reconstruction']} | {row['joints']} | {row['number']} | {row['stated']:.2f} |"
        f" {row['least']:.2f} | {row['stated'] / row['least']:.1f} |"
        for row in widths(joints).to_dict("records")
    ]
    lines += [
        "",
        "## Misfit check and time",
        "",
        "How often the SPECT looks like the family that it is (a wrong statement would be doubted),"
        " and like the other (the right statement is doubted).",
        "",
        "| reconstruction | scans | looks like its family | looks like the other | CPU seconds |",
        "|---|---:|---:|---:|---:|",
    ]
    for preset, part in scans.groupby("preset"):
        right = int((part.looks_like == part.family).sum())
        other = int(((part.looks_like != part.family) & (part.looks_like != "")).sum())
        lines.append(
            f"| {preset} | {len(part)} | {right} | {other} | {part.seconds.median():.1f} |"
        )
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _number(value: float, digits: int) -> str:
    return "–" if pd.isna(value) else f"{value:.{digits}f}"


def _percent(value: float) -> str:
    return "–" if pd.isna(value) else f"{100 * value:.0f} %"


def _bin(interval: pd.Interval) -> str:
    if interval.left == 0.0:
        return f"below {interval.right:g}"
    if interval.right > 10.0:
        return f"{interval.left:g} or more"
    return f"{interval.left:g} to {interval.right:g}"
