"""Writes the document of the study from its rows; every number in it comes from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

import pandas as pd

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.phantom.product import POSITIVE_RATIO
from CTSpectSpineLib.results.text_files import write_text
from CTSpectSpineLib.validation.cohort import SETS
from CTSpectSpineLib.validation.cost import STAGES
from CTSpectSpineLib.validation.failures import failures
from CTSpectSpineLib.validation.goals import LEAST_JUDGED, LEAST_PATIENTS, Goal, Outcome, goals
from CTSpectSpineLib.validation.markdown import Pictures, join, number, table
from CTSpectSpineLib.validation.rows import JOINTS_FILE, PATIENTS_FILE, Study
from CTSpectSpineLib.validation.sections import (
    bias,
    coverage,
    discrimination,
    main_set,
    pooled_sets,
    verdicts,
)
from CTSpectSpineLib.version import __version__

SUBJECTS = ("ratios", "resolution", "levels", "roc", "coverage", "verdicts")
"""What the plots show; their files are named by it."""


def write_document(path: Path, study: Study, split: str, command: str) -> None:
    """Write the document and its plots beside it.

    Parameters
    ----------
    path
        The Markdown file; the plots are named after it.
    study
        Rows; those of other splits are left out.
    split
        The split to report.
    command
        The command that makes it.

    Raises
    ------
    InputError
        If no row is of this split.
    """
    study = study.of(split)
    if study.patients.empty:
        raise InputError(f"The study holds no patients of the {split} split; run it first.")
    pictures = _draw(path, study)
    write_text(path, render(study, split, command, pictures))


def _draw(path: Path, study: Study) -> dict[str, str]:
    """All plots, each of the sets that it shows; file names by subject."""
    # The rows and their numbers are useful without matplotlib.
    from CTSpectSpineLib.validation import figures

    main, pooled = main_set(study), pooled_sets(study)
    plots: dict[str, tuple[Callable[[pd.DataFrame, Path], None], pd.DataFrame]] = {
        "ratios": (figures.draw_ratios, main.joints),
        "resolution": (figures.draw_resolution, pooled.joints),
        "levels": (figures.draw_levels, pooled.joints),
        "roc": (figures.draw_roc, main.joints),
        "coverage": (figures.draw_coverage, main.joints),
        "verdicts": (figures.draw_verdicts, main.patients),
    }
    names = {}
    for subject in SUBJECTS:
        draw, rows = plots[subject]
        picture = path.with_name(f"{path.stem}-{subject}.png")
        draw(rows, picture)
        names[subject] = picture.name
    return names


def render(study: Study, split: str, command: str, pictures: Pictures) -> str:
    """The document as Markdown; `pictures` are file names by subject."""
    targets = goals(study)
    sections = [
        _heading(study, split, command),
        _goal_table(targets),
        bias(study, pictures),
        discrimination(study, pictures),
        coverage(study, pictures),
        verdicts(study, pictures),
        failures(study),
        _cost(study),
        _how(study),
    ]
    return "\n\n".join(section.strip() for section in sections if section) + "\n"


def _heading(study: Study, split: str, command: str) -> str:
    lines = [
        "# Truth study: from CT and SPECT to verdict, against a known truth",
        f"Written by `{command}` with version {__version__}; sets that this command does not name "
        "come from earlier runs into the same folder. With `--resume` it continues where "
        f"it stopped; `{JOINTS_FILE}` and `{PATIENTS_FILE}` beside the study's results hold one "
        "row per joint and per patient. Every number and sentence on this page comes from these "
        "rows.",
    ]
    if split == "tuning":
        lines.append(
            "**These are tuning patients: the methods were adjusted on such patients, so the "
            "numbers flatter them.**"
        )
    few = [
        f"{info.title} ({len(part.patients)})"
        for info, part in study.sets()
        if len(part.patients) < LEAST_PATIENTS
    ]
    if few:
        lines.append(
            f"**Fewer than {LEAST_PATIENTS} patients in: {', '.join(few)}. So few prove nothing: "
            "read their numbers as a first look.**"
        )
    absent = [info.title for name, info in SETS.items() if name not in set(study.patients.set_name)]
    if absent:
        lines.append(f"**Not run: {', '.join(absent)}.**")
    return join(*lines)


def _goal_table(targets: Sequence[Goal]) -> str:
    if not targets:
        return ""
    lines = [
        (g.subject, g.quantity, g.wanted, f"**{g.found}**", g.beside, g.size, g.outcome)
        for g in targets
    ]
    heads = "set|number|goal|found|uncorrected|from|outcome"
    return join(
        "## Goals",
        ", ".join(
            f"{sum(goal.outcome == outcome for goal in targets)} {outcome}"
            for outcome in get_args(Outcome)
        )
        + f", of {len(targets)}.",
        table(heads, "llrrrll", lines),
        f"Hot: true ratio of {POSITIVE_RATIO:g} or more. A goal counts as met only on "
        f"{LEAST_PATIENTS} patients or more, and is not judged at all on fewer than "
        f"{LEAST_JUDGED} joints (increased ones for a ROC curve) or patients.",
    )


def _cost(study: Study) -> str:
    lines = []
    for info, chosen in study.sets():
        part = chosen.patients
        if len(part):
            times = [number(float(part[f"{stage}_s"].mean()), 1) for stage in (*STAGES, "cpu")]
            memory = [number(float(v), 0) for v in (part.peak_mb.mean(), part.peak_mb.max())]
            lines.append((info.title, str(len(part)), *times, *memory))
    heads = "|".join(("set", "patients", *STAGES, "all", "memory, MB", "most"))
    return join(
        "## Cost",
        "CPU seconds per patient by stage, mean, and the most memory that the process held "
        "during the analysis, its images included (mean and largest):",
        table(heads, "l" + "r" * 10, lines),
    )


def _how(study: Study) -> str:
    lines = []
    for info, chosen in study.sets():
        part = chosen.patients
        fields = ", ".join(f"{f} {n}" for f, n in part.field.value_counts().items())
        patterns = ", ".join(f"{p} {n}" for p, n in part.pattern.value_counts().items())
        ranges = [
            _range(part.fwhm_mm, 1),
            _range(part.voxel_mm, 1),
            _range(part.counts / 1e6, 1),
            _range(part.cobb_deg.abs(), 0),
            _range(part.bone_density, 2),
        ]
        lines.append((info.title, str(len(part)), fields, patterns, *ranges))
    heads = (
        "set|patients|field|hot joints|FWHM, mm|voxel, mm|million counts|Cobb angle, °|bone density"
    )
    return join(
        "## How it was measured",
        "\n".join(
            [
                "- Each patient is drawn from a seed and analysed as `ctspectspine analyze` "
                "does; see `docs/truth-study.md`. Test and tuning patients "
                "never share a seed.",
                "- Vertebra labels are the phantom's own or, on a real CT, the given ones: "
                "errors of a labeller are not part of this study.",
                "- True joints of a phantom come from its construction. On a real CT activity "
                "is painted into the joints that are derived from the labels, so errors of "
                "the joints' geometry do not show there.",
                "- The SPECT is simulated: Gaussian resolution, noise of an iterative "
                "reconstruction, perfect attenuation and scatter correction.",
            ]
        ),
        table(heads, "lrllrrrrr", lines),
    )


def _range(values: pd.Series[float], digits: int) -> str:
    values = values.dropna()
    if values.empty:
        return "–"
    low, high = number(float(values.min()), digits), number(float(values.max()), digits)
    return low if low == high else f"{low} to {high}"
