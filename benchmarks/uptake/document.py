"""The page of the benchmark."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.uptake.judge import bins, counts, verdicts, widths
from CTSpectSpineLib.validation.markdown import join, table

_TITLES = {
    "projections": "# Uptake on physically simulated scans, by family of reconstructions",
    "pytomography": "# Uptake on a scanner that was never used for the measurement's settings",
}
_SCANNERS = {
    "projections": "Scanned by the project's own physical scanner (`--scanner projections`). The"
    " patients' seeds were used for no setting of the measurement, but the scanner was; and that"
    " intervals without attenuation correction were too narrow was seen on 1126 to 1155, and that"
    " facet joints without resolution recovery read low on 1126 to 1173.",
    "pytomography": "Scanned by a second physical scanner, made with PyTomography"
    " (`benchmarks/uptake/other_scanner.py`: other projector, collimator, scatter, orbit, views,"
    " iterations and filters). Neither it nor these patients' seeds were used for any setting of"
    " the solution. Three things were seen on some of them, as on others: that hot organs disturbed"
    " joints beside them (3003, 3006 and, between two kidneys, 3019), before blocks were cut along"
    " organs and bound to stay above nothing; that stated probabilities were too cautious (3001 to"
    " 3010), before joints became positive from 0.5 on; and that attenuation taken out with the CT"
    " helps (3001 to 3006).",
}


def write_document(
    path: Path, joints: pd.DataFrame, scans: pd.DataFrame, command: str, scanner: str
) -> None:
    """Write the page from the rows."""
    page = join(
        _TITLES[scanner],
        f"Made by `{command}`. Patients as they are (`phantom --patient`), measured with their own"
        f" labels, a registration error of 0.6 mm and the usual protocol. {_SCANNERS[scanner]}",
        f"{scans.patient.nunique()} patients, {len(scans)} scans, {len(joints)} joints. So few"
        " patients bound no rate below a few per cent.",
        "## By true ratio",
        "Bias and spread (SD between joints) of the corrected ratio, share of the 95 % intervals"
        " that hold the truth, mean SD that the interval states (ratio units).",
        _bins(joints),
        "## Classes and ranks",
        "Hot: true ratio 2.5 or more. Ordinary: at most 1.45. AUC: joints of 1.8 to 2.5 against"
        " ordinary ones. Spearman: ordinary joints within a patient that has no joint of 2 or more"
        " (number of patients).",
        _counts(joints),
        "## Verdicts",
        "The usual protocol's dispositions against those that follow from the true ratios (hot from"
        " 2 on; no level unstable). Withheld: indeterminate or no verdict.",
        _verdicts(scans),
        "## Width of the intervals",
        "Ordinary joints, medians, ratio units: SD that the interval states, and SD that noise and"
        " resolution make inevitable (Cramér-Rao bound of an unbiased estimate with outlines,"
        " response and noise known). What is known beforehand of joints lowers the first, what is"
        " not known of outlines and response raises it.",
        _widths(joints),
        "## Misfit check and time",
        "How often the SPECT looks like the family that it is (a wrong statement would be doubted),"
        " and like the other (the right statement is doubted).",
        _misfits(scans),
    )
    path.write_text(page + "\n", encoding="utf-8")


def _bins(joints: pd.DataFrame) -> str:
    cells = (
        (
            row["reconstruction"],
            _bin(row["true ratio"]),
            str(row["joints"]),
            f"{100 * row['bias']:+.0f} %",
            _percent(row["spread"]),
            f"{100 * row['coverage']:.0f} %",
            f"{row['sd']:.2f}",
        )
        for row in bins(joints).to_dict("records")
    )
    heads = "reconstruction|true ratio|joints|bias|spread|coverage|stated SD"
    return table(heads, "llrrrrr", cells)


def _counts(joints: pd.DataFrame) -> str:
    cells = (
        (
            row["reconstruction"],
            str(row["patients"]),
            f"{row['hot_negative']} of {row['hot']}",
            str(row["hot_positive"]),
            f"{row['ordinary_positive']} of {row['ordinary']}",
            str(row["ordinary_negative"]),
            f"{_number(row['auc'], 3)} ({row['auc_joints']})",
            f"{_number(row['spearman'], 2)} ({row['quiet']})",
        )
        for row in counts(joints).to_dict("records")
    )
    heads = (
        "reconstruction|patients|hot called negative|hot called positive|ordinary called positive"
        "|ordinary called negative|AUC (joints)|Spearman"
    )
    return table(heads, "lrrrrrrr", cells)


def _verdicts(scans: pd.DataFrame) -> str:
    columns = ["reconstruction", "scans", "right", "withheld", "wrong", "confident"]
    rows = verdicts(scans)[columns].astype(str).to_numpy().tolist()
    return table("reconstruction|scans|right|withheld|wrong|wrong and stable", "lrrrrr", rows)


def _widths(joints: pd.DataFrame) -> str:
    cells = (
        (
            row["reconstruction"],
            row["joints"],
            str(row["number"]),
            f"{row['stated']:.2f}",
            f"{row['least']:.2f}",
            f"{row['stated'] / row['least']:.1f}",
        )
        for row in widths(joints).to_dict("records")
    )
    heads = "reconstruction|joints|number|stated SD|inevitable SD|quotient"
    return table(heads, "llrrrr", cells)


def _misfits(scans: pd.DataFrame) -> str:
    cells = []
    for preset, part in scans.groupby("preset"):
        right = int((part.looks_like == part.family).sum())
        other = int(((part.looks_like != part.family) & (part.looks_like != "")).sum())
        seconds = f"{part.seconds.median():.1f}"
        cells.append((str(preset), str(len(part)), str(right), str(other), seconds))
    heads = "reconstruction|scans|looks like its family|looks like the other|CPU seconds"
    return table(heads, "lrrrr", cells)


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
