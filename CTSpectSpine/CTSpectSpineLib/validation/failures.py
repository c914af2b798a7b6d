"""What fails in the study, and why: a section of the document."""

from __future__ import annotations

from CTSpectSpineLib.validation import summary
from CTSpectSpineLib.validation.cohort import SETS
from CTSpectSpineLib.validation.markdown import join, number, percent, short, signed, table
from CTSpectSpineLib.validation.patient import NEAR_MM, NORMAL_RATIO
from CTSpectSpineLib.validation.rows import Study

_WORST_JOINTS, _WRONG_VERDICTS, _FAILURES = 20, 20, 10


def failures(study: Study) -> str:
    """The section."""
    parts = ["## What fails, and why", _lost(study), _causes(study), _worst_joints(study)]
    return join([*parts, _wrong(study), _registration(study)])


def _lost(study: Study) -> str:
    """Analyses and joints without a number, and joints that are not there."""
    failed = study.patients[study.patients.failed]
    lost = summary.not_measured(study.joints)
    truth = study.joints[study.joints.true_ratio.notna()]
    beyond = study.joints[study.joints.true_ratio.isna()]
    positive = int((beyond.uptake == "positive").sum())
    text = (
        f"{len(failed)} of {len(study.patients)} analyses ended with an error. {len(lost)} of "
        f"{len(truth)} true joints got no ratio. {len(beyond)} joints were reported that the "
        f"truth does not have (at cut vertebrae), {positive} of them positive."
    )
    lines = [
        (f"{row['patient']}", short(row["message"]))
        for row in failed.head(_FAILURES).to_dict("records")
    ]
    reasons = lost.status_reason.where(lost.status_reason != "", lost.status).map(_first_reason)
    counted = reasons.value_counts().head(_FAILURES)
    return join(
        [
            text,
            table(("failed patient", "error"), "ll", lines) if lines else "",
            table(
                ("joints without a ratio, first reason", "n"),
                "lr",
                [(short(str(reason)), str(count)) for reason, count in counted.items()],
            )
            if len(lost)
            else "",
        ]
    )


def _causes(study: Study) -> str:
    lines = []
    for name, joints in summary.causes(summary.measured(study.joints)):
        for kind in summary.KINDS:
            part = summary.of_kind(joints, kind)
            value, cover = summary.bias(part), summary.coverage(part)
            if not value.joints:
                continue
            normal = part[part.true_ratio <= NORMAL_RATIO]
            lines.append(
                (
                    name,
                    f"{kind}s",
                    str(value.joints),
                    signed(value.mean),
                    percent(value.root_mean_square),
                    percent(cover.covered.value),
                    percent(summary.called(normal, "positive").value),
                )
            )
    heads = ("joints with", "kind", "n", "bias", "RMS error", "coverage", "normal called positive")
    return join(
        [
            "By what may be the cause (all sets; a joint may be in several groups):",
            table(heads, "llrrrrr", lines),
        ]
    )


def _worst_joints(study: Study) -> str:
    lines = [
        (
            str(row["patient"]),
            str(row["joint"]),
            number(row["true_ratio"]),
            number(row["ratio_corrected"]),
            f"{number(row['ratio_low'])} to {number(row['ratio_high'])}",
            str(row["uptake"]),
            number(row["hottest_near"]),
            number(row["fwhm_mm"], 1),
            number(row["registration_mm"], 1),
            number(row["centre_error_mm"], 1),
            number(row["dice"]),
            short(str(row["status_reason"])),
        )
        for row in summary.worst(study.joints, _WORST_JOINTS).to_dict("records")
    ]
    heads = (
        "patient",
        "joint",
        "true",
        "found",
        "interval",
        "uptake",
        "hottest near",
        "FWHM",
        "registration, mm",
        "centre, mm",
        "Dice",
        "status reason",
    )
    return join(
        [
            f"The {len(lines)} joints with the largest error of the corrected ratio, with the "
            f"largest true ratio of the joints within {NEAR_MM:g} mm, the registration error, the "
            "distance of the centre and the overlap with the true region:",
            table(heads, "llrrrlrrrrrl", lines),
        ]
    )


def _wrong(study: Study) -> str:
    """Verdicts other than the truth, the most confident first, with the joints behind them."""
    wrong = study.patients[summary.is_wrong(study.patients)]
    wrong = wrong.sort_values(["stability", "patient"], ascending=[False, True])
    if wrong.empty:
        return "No verdict is wrong."
    lines = []
    for row in wrong.head(_WRONG_VERDICTS).to_dict("records"):
        joints = study.joints[study.joints.patient == row["patient"]]
        differ = joints[(joints.uptake == "positive") != (joints.true_uptake == "positive")]
        words = [
            f"{j['joint']}: true {number(j['true_ratio'])}, "
            f"found {number(j['ratio_corrected'])} ({j['uptake']})"
            for j in differ.to_dict("records")
        ]
        lines.append(
            (
                str(row["patient"]),
                f"`{row['true_disposition']}`",
                f"`{row['disposition']}`",
                number(row["stability"]),
                "; ".join(words[:6]) + ("; …" if len(words) > 6 else ""),
            )
        )
    heads = ("patient", "true", "found", "stability", "joints that differ")
    return join(
        [
            f"Wrong verdicts, {len(lines)} of {len(wrong)}, the most confident first:",
            table(heads, "lllrl", lines),
        ]
    )


def _registration(study: Study) -> str:
    lines = []
    for name, info in SETS.items():
        part = study.of_set(name).patients
        part = part[part.registration_mm.notna()]
        if part.empty:
            continue
        qualities = part.quality.value_counts()
        lines.append(
            (
                info.title,
                str(len(part)),
                number(float(part.registration_mm.mean())),
                number(float(part.registration_mm.max())),
                number(float(part.registration_worst_mm.max())),
                ", ".join(f"{count} {quality}" for quality, count in qualities.items()),
            )
        )
    heads = ("set", "patients", "mean, mm", "worst patient, mm", "worst joint, mm", "quality")
    return join(
        [
            "Registration error at the true joint centres, as the real registration left it:",
            table(heads, "lrrrrl", lines),
        ]
    )


def _first_reason(text: str) -> str:
    return text.split(";")[0]
