"""What fails in the study, and why: a section of the document."""

from __future__ import annotations

from CTSpectSpineLib.validation import summary
from CTSpectSpineLib.validation.markdown import join, number, percent, short, signed, table
from CTSpectSpineLib.validation.patient import NEAR_MM, NORMAL_RATIO
from CTSpectSpineLib.validation.rows import Study

_WORST_JOINTS, _VERDICTS, _FAILURES = 20, 30, 10
"""Most rows of each table. Judgement: what one still reads."""


def failures(study: Study) -> str:
    """The section."""
    parts = ["## What fails, and why", _lost(study), _causes(study), _worst_joints(study)]
    return join(*parts, _not_right(study), _registration(study))


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
        text,
        table("failed patient|error", "ll", lines) if lines else "",
        table(
            "joints without a ratio, first reason|n",
            "lr",
            [(short(str(reason)), str(count)) for reason, count in counted.items()],
        )
        if len(lost)
        else "",
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
    heads = "joints with|kind|n|bias|RMS error|coverage|normal called positive"
    return join(
        "By possible cause (all sets; a joint may be in several groups):",
        table(heads, "llrrrrr", lines),
    )


_WORST_COLUMNS: tuple[tuple[str, str, int | None], ...] = (
    ("patient", "patient", None),
    ("joint", "joint", None),
    ("true", "true_ratio", 2),
    ("found", "ratio_corrected", 2),
    ("low", "ratio_low", 2),
    ("high", "ratio_high", 2),
    ("uptake", "uptake", None),
    ("hottest near", "hottest_near", 2),
    ("FWHM", "fwhm_mm", 1),
    ("registration, mm", "registration_mm", 1),
    ("centre, mm", "centre_error_mm", 1),
    ("Dice", "dice", 2),
    ("status reason", "status_reason", None),
)
"""Heading, column, and digits (None for a text). Convention: mm to 0.1, ratios to 0.01."""


def _worst_joints(study: Study) -> str:
    lines = [
        [
            short(str(row[column])) if digits is None else number(row[column], digits)
            for _, column, digits in _WORST_COLUMNS
        ]
        for row in summary.worst(study.joints, _WORST_JOINTS).to_dict("records")
    ]
    align = "".join("l" if digits is None else "r" for *_, digits in _WORST_COLUMNS)
    return join(
        f"The {len(lines)} joints with the largest error of the corrected ratio, with the "
        f"largest true ratio of the joints within {NEAR_MM:g} mm, the registration error, the "
        "distance of the centre and the overlap with the true region:",
        table("|".join(head for head, *_ in _WORST_COLUMNS), align, lines),
    )


def _not_right(study: Study) -> str:
    """Verdicts other than the truth, the wrong and most confident first, and their joints."""
    patients = study.patients.assign(wrong=summary.is_wrong(study.patients))
    patients = patients[~summary.is_right(patients)]
    order = patients.sort_values(["wrong", "stability", "patient"], ascending=[False, False, True])
    if order.empty:
        return "Every verdict is equal to the truth."
    lines = []
    for row in order.head(_VERDICTS).to_dict("records"):
        joints = study.joints[study.joints.patient == row["patient"]]
        differ = joints[joints.true_ratio.notna() & (joints.uptake != joints.true_uptake)]
        words = [
            f"{j['joint']}: true {number(j['true_ratio'])}, "
            f"found {number(j['ratio_corrected'])} ({j['uptake'] or j['status']})"
            for j in differ.to_dict("records")
        ]
        lines.append(
            (
                str(row["patient"]),
                f"`{row['true_disposition']}`",
                f"`{row['disposition'] or 'failed'}`" + (" **wrong**" if row["wrong"] else ""),
                number(row["stability"]),
                "; ".join(words[:6]) + ("; …" if len(words) > 6 else ""),
            )
        )
    heads = "patient|true|found|stability|joints that differ"
    return join(
        f"Verdicts other than the truth, {len(lines)} of {len(order)}, wrong ones first, then "
        "those withheld, the most confident first:",
        table(heads, "lllrl", lines),
    )


def _registration(study: Study) -> str:
    lines = []
    for info, chosen in study.sets():
        part = chosen.patients[chosen.patients.registration_mm.notna()]
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
    heads = "set|patients|mean, mm|worst patient, mm|worst joint, mm|quality"
    return join(
        "Registration error at the true joint centres, as the real registration left it:",
        table(heads, "lrrrrl", lines),
    )


def _first_reason(text: str) -> str:
    return text.split(";")[0]
