"""The tables of the study: one row per joint and one per patient, in CSVs that grow."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from CTSpectSpineLib.anatomy import vertebrae
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.model import JointKind, Side
from CTSpectSpineLib.results.text_files import write_text
from CTSpectSpineLib.validation.cohort import SETS, SetInfo, Split

JOINTS_FILE, PATIENTS_FILE = "truth-joints.csv", "truth-patients.csv"


@dataclass(frozen=True)
class JointRow:
    """One joint: its truth and what was found; None where there is no such number.

    Attributes
    ----------
    set_name, split, patient, seed
        Whose joint.
    joint, level, kind, side, spine_region
        As in ``joints.csv``.
    true_ratio, true_uptake
        The truth; None and empty for a joint that was found where the truth has none.
    hottest_near
        Largest true ratio of the other joints within 45 mm.
    degenerate
        Severity of its degeneration, 0 to 1.
    fwhm_mm
        True resolution of the SPECT.
    status, status_reason
        As in ``joints.csv``; ``missing`` where the joint was not found at all, ``failed`` where
        the analysis ended with an error.
    ratio_mean, ratio_max, ratio_corrected, ratio_low, ratio_high, probability_positive, uptake
        As in ``joints.csv``.
    centre_error_mm, dice
        Found against true joint: distance of the centres, overlap of the regions.
    registration_mm
        Registration error at the true centre.
    """

    set_name: str
    split: str
    patient: str
    seed: int
    joint: str
    level: str
    kind: str
    side: str
    spine_region: str
    true_ratio: float | None
    true_uptake: str
    hottest_near: float | None
    degenerate: float
    fwhm_mm: float
    status: str
    status_reason: str
    ratio_mean: float | None = None
    ratio_max: float | None = None
    ratio_corrected: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    probability_positive: float | None = None
    uptake: str = ""
    centre_error_mm: float | None = None
    dice: float | None = None
    registration_mm: float | None = None


@dataclass(frozen=True)
class PatientRow:
    """One patient: how it was drawn, the verdict and its truth, the cost.

    Attributes
    ----------
    set_name, split, patient, seed
        Who.
    field, pattern, hot
        What the CT shows, the pattern of the hot joints, and the hot joints with true ratios.
    ct_voxel_mm, cobb_deg, bone_density, size
        Of the CT and the spine; the last three are None on a real CT.
    fwhm_mm, voxel_mm, counts
        Of the SPECT.
    fwhm_used_mm, fwhm_source, condition_number
        Of the correction.
    true_disposition, disposition, candidates, stability
        True and found verdict.
    grey_joints
        Number of joints that are in truth neither normal nor clearly increased.
    quality, expected_mm, registration_mm, registration_worst_mm
        Of the registration: its own judgement and the true error at the joints.
    failed, message
        Whether the analysis ended with an error, and which; else the registration's reasons.
    phantom_s, label_s, register_s, joints_s, uptake_s, triage_s, cpu_s
        CPU seconds by stage, and of all.
    wall_s, peak_mb
        Seconds of the analysis by the clock, and the most memory that the process held during
        it (its inputs included), in MB; None where the system does not tell.
    """

    set_name: str
    split: str
    patient: str
    seed: int
    field: str
    pattern: str
    hot: str
    ct_voxel_mm: str
    cobb_deg: float | None
    bone_density: float | None
    size: float | None
    fwhm_mm: float
    voxel_mm: float
    counts: float
    true_disposition: str
    grey_joints: int
    fwhm_used_mm: float | None = None
    fwhm_source: str = ""
    condition_number: float | None = None
    disposition: str = ""
    candidates: str = ""
    stability: float | None = None
    quality: str = ""
    expected_mm: float | None = None
    registration_mm: float | None = None
    registration_worst_mm: float | None = None
    failed: bool = False
    message: str = ""
    phantom_s: float | None = None
    label_s: float | None = None
    register_s: float | None = None
    joints_s: float | None = None
    uptake_s: float | None = None
    triage_s: float | None = None
    cpu_s: float | None = None
    wall_s: float | None = None
    peak_mb: float | None = None


@dataclass(frozen=True)
class Study:
    """The rows of a study as tables."""

    joints: pd.DataFrame
    patients: pd.DataFrame

    def of(self, split: str) -> Study:
        """The rows of one split."""
        return Study(
            self.joints[self.joints.split == split], self.patients[self.patients.split == split]
        )

    def sets(self) -> list[tuple[SetInfo, Study]]:
        """The sets that have patients, each with its rows."""
        there = set(self.patients.set_name)
        return [(info, self.of_set(name)) for name, info in SETS.items() if name in there]

    def of_set(self, *names: str) -> Study:
        """The rows of some sets."""
        return Study(
            self.joints[self.joints.set_name.isin(names)],
            self.patients[self.patients.set_name.isin(names)],
        )


def begin(folder: Path, *, resume: bool) -> set[str]:
    """Make the files with their headings, or repair those of a study that was interrupted.

    Returns
    -------
    set
        Names of the patients that are done.

    Raises
    ------
    InputError
        If the folder holds a study and it is not to be resumed, or holds one of another version.
    """
    folder.mkdir(parents=True, exist_ok=True)
    joints, patients = folder / JOINTS_FILE, folder / PATIENTS_FILE
    if (joints.exists() or patients.exists()) and not resume:
        raise InputError(
            f"{folder} holds a study already; give --resume to go on with it, or another folder."
        )
    for path, row in ((joints, JointRow), (patients, PatientRow)):
        heading = ",".join(field.name for field in fields(row)) + "\n"
        text = _text(path).replace("\r\n", "\n") if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole and not whole.startswith(heading):
            raise InputError(
                f"{path} was written by another version of this study; give another folder."
            )
        if text != whole or not whole:
            write_text(path, whole or heading)
    study = read_study(folder)
    done = set(study.patients.patient)
    # A patient's row comes after those of the joints; without it they are half a patient.
    if not set(study.joints.patient) <= done:
        kept = study.joints[study.joints.patient.isin(done)]
        write_text(joints, kept.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
    return done


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path.") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is no text in UTF-8 ({error}); run the study in a new folder."
        ) from error


def append(folder: Path, patient: PatientRow, joints: Sequence[JointRow]) -> None:
    """Add one patient, the joints first."""
    _write(folder / JOINTS_FILE, joints)
    _write(folder / PATIENTS_FILE, [patient])


def _write(path: Path, rows: Sequence[JointRow] | Sequence[PatientRow]) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for row in rows:
        writer.writerow(
            f"{value:.6g}" if isinstance(value, float) else value for value in asdict(row).values()
        )
    write_text(path, path.read_text(encoding="utf-8") + buffer.getvalue())


def read_study(folder: Path) -> Study:
    """The rows in a folder.

    Raises
    ------
    InputError
        If they are not there.
    """
    return Study(_read(folder / JOINTS_FILE, JointRow), _read(folder / PATIENTS_FILE, PatientRow))


def _read(path: Path, row: type[JointRow] | type[PatientRow]) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"{path} does not exist; run the study first.")
    try:
        lines = [line for line in csv.reader(io.StringIO(_text(path)), strict=True) if line]
    except csv.Error as error:
        raise InputError(
            f"{path} cannot be read as a table ({error}); run the study in a new folder."
        ) from error
    heading, *body = lines or [[]]
    for number, line in enumerate(body, start=2):
        if len(line) != len(heading):
            raise InputError(
                f"{path}, row {number}: {len(line)} cells where the heading has {len(heading)}; a "
                "spreadsheet may have changed it. Run the study in a new folder."
            )
    cells = pd.DataFrame(body, columns=heading, dtype=str)
    missing = {field.name for field in fields(row)} - set(cells.columns)
    if missing:
        raise InputError(
            f"{path} lacks the columns {', '.join(sorted(missing))}; run the study in a new folder."
        )
    table: pd.DataFrame = cells.assign(
        **{f.name: _typed(cells[f.name], str(f.type), path) for f in fields(row)}
    )
    return table


def _worded(cells: pd.Series[str], path: Path) -> pd.Series[str]:
    """A column of words; one that stands for nothing is refused with its place."""
    known = _WORDS.get(str(cells.name))
    if known is not None:
        for number, cell in enumerate(cells, start=2):
            if not known(cell):
                raise InputError(
                    f"{path}, row {number}, column {cells.name}: {cell!r} is none of its words; a "
                    "spreadsheet may have changed it. Run the study in a new folder."
                )
    return cells


def _is_level(text: str) -> bool:
    names = {row.name for row in vertebrae()}
    return len(parts := text.split("-")) == 2 and names.issuperset(parts)


_WORDS: Mapping[str, Callable[[str], bool]] = {
    "split": get_args(Split).__contains__,
    "level": _is_level,
    "kind": get_args(JointKind).__contains__,
    "side": get_args(Side).__contains__,
}
"""Columns by whose words rows are sorted and counted, and whether a cell is such a word."""


def _typed(cells: pd.Series[str], kind: str, path: Path) -> pd.Series[Any]:
    """A column as its field wants it; a number that is none is refused with its place."""
    if kind == "str":
        return _worded(cells, path)
    if kind == "bool":
        values = cells.map({"True": True, "False": False})
        good = values.notna()
    else:
        values = pd.to_numeric(cells.where(cells != "", None), errors="coerce").astype(float)
        good = np.isfinite(values) | ((cells == "") & ("None" in kind))
        if kind == "int":
            good &= values == values.round()
    if not good.all():
        place = int(np.flatnonzero(~good.to_numpy())[0])
        raise InputError(
            f"{path}, row {place + 2}, column {cells.name}: {cells.iloc[place]!r} is not a "
            f"{'number' if kind != 'bool' else 'True or False'}; a spreadsheet may have changed "
            "it. Run the study in a new folder."
        )
    return values.astype({"bool": bool, "int": int}.get(kind, float))
