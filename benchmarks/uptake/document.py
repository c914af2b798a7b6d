"""The page of the benchmark."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.uptake.judge import bins, counts


def write_document(path: Path, joints: pd.DataFrame, scans: pd.DataFrame, command: str) -> None:
    """Write the page from the rows."""
    lines = [
        "# Uptake on physically simulated scans, by family of reconstructions",
        "",
        f"Made by `{command}`. Patients as they are (`phantom --patient`), scanned by the physical"
        " scanner (`--scanner projections`) and measured with their own labels, a registration"
        " error of 0.6 mm and the usual protocol. Their seeds were used for no setting of"
        " the measurement, but the scanner was; a simulator that was never used is not among them.",
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
        " ordinary ones. Spearman: ordinary joints within a patient.",
        "",
        "| reconstruction | patients | hot called negative | hot called positive | ordinary called"
        " positive | ordinary called negative | AUC (joints) | Spearman |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['reconstruction']} | {row['patients']} | {row['hot_negative']} of {row['hot']} |"
        f" {row['hot_positive']} | {row['ordinary_positive']} of {row['ordinary']} |"
        f" {row['ordinary_negative']} | {row['auc']:.3f} ({row['auc_joints']}) |"
        f" {row['spearman']:.2f} |"
        for row in counts(joints).to_dict("records")
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


def _percent(value: float) -> str:
    return "–" if pd.isna(value) else f"{100 * value:.0f} %"


def _bin(interval: pd.Interval) -> str:
    if interval.left == 0.0:
        return f"below {interval.right:g}"
    if interval.right > 10.0:
        return f"{interval.left:g} or more"
    return f"{interval.left:g} to {interval.right:g}"
