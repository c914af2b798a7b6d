"""Find the CT and the SPECT that belong together in the folder of a study.

Headers decide, in an order that `_SPECT_KEYS` and `_CT_KEYS` write down; where they leave two
alike, the user is asked.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeAlias

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.host import check_encodable
from CTSpectSpineLib.volumes.dicom.facts import Facts, facts_of
from CTSpectSpineLib.volumes.dicom.series import Series, find_series, name_of_role
from CTSpectSpineLib.volumes.reading import read_series
from CTSpectSpineLib.volumes.volume import Role, Volume

_COVERED = 0.9
"""Share of the SPECT's height from which a CT counts as covering it. Judgement: a slice or two of
the SPECT beyond the CT are no reason to prefer another one."""
_FINE_MM = 1.5
"""Distance of slices below which thinner ones gain nothing. Judgement: joint regions are measured
to change little below it (docs/validation/joints.md)."""


@dataclass(frozen=True)
class Listed:
    """A series of the study, with the number by which a user names it."""

    number: int
    series: Series
    facts: Facts

    @property
    def role(self) -> Role | None:
        """What it can be used as."""
        return self.series.role

    def describe(self, *, written: bool = False) -> str:
        """The series in words, with its number.

        Parameters
        ----------
        written
            Without day and description, which are for the one who chooses: both may tell who the
            patient is, and results are passed on.
        """
        parts = [self.series.describe(written=written)]
        if self.facts.date and not written:
            parts.append(f"of {self.facts.date[:4]}-{self.facts.date[4:6]}-{self.facts.date[6:8]}")
        if self.facts.spacing_mm is not None:
            parts.append(f"every {self.facts.spacing_mm:g} mm")
        if self.facts.kernel:
            parts.append(f"kernel {self.facts.kernel}")
        return f"[{self.number}] {' '.join(parts)}"


@dataclass(frozen=True)
class Choice:
    """The CT and the SPECT of a study, why these, and what else is there.

    Attributes
    ----------
    folder
        The folder of the study.
    ct, spect
        The chosen series.
    reasons
        One sentence for the CT and one for the SPECT.
    others
        What was passed over, in words.
    """

    folder: Path
    ct: Listed
    spect: Listed
    reasons: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def left_out(self) -> tuple[str, ...]:
        """One sentence on what was passed over, if anything was."""
        return (f"Not used of the study: {'; '.join(self.others)}.",) if self.others else ()

    def read(self) -> tuple[Volume, Volume]:
        """Read both; their notes say how they were chosen.

        Raises
        ------
        InputError
            If one cannot be read.
        """
        ct_why, spect_why = self.reasons
        with warnings.catch_warnings():
            # As in `volumes.reading`: what pydicom doubts is checked there.
            warnings.filterwarnings("ignore", module="pydicom")
            ct = read_series(self.ct.series, _source(self.ct), "ct", (ct_why,))
            notes = (spect_why, *self.left_out)
            spect = read_series(self.spect.series, _source(self.spect), "spect", notes)
        return ct, spect


def _source(listed: Listed) -> Path:
    """A file from which the series is found again."""
    return min(file.path for file in listed.series.files)


_Key: TypeAlias = tuple[str, Callable[[Facts, Facts | None], float]]
"""A reason to prefer a series, in words, and its value; the larger is preferred."""

_SPECT_KEYS: tuple[_Key, ...] = (
    ("shows the spine", lambda s, _: -float(s.elsewhere)),
    ("attenuation is corrected", lambda s, _: float(s.attenuation_corrected)),
    ("scatter is corrected", lambda s, _: float(s.scatter_corrected)),
    ("as the scanner reconstructed it", lambda s, _: -float(s.derived)),
)
_CT_KEYS: tuple[_Key, ...] = (
    ("shows the spine", lambda c, _: -float(c.elsewhere)),
    ("covers more of the SPECT", lambda c, s: _covers(c, s)),
    ("shares the SPECT's frame of reference", lambda c, s: _same(c, s, "frame")),
    ("is of the SPECT's study", lambda c, s: _same(c, s, "study")),
    ("is of the SPECT's day", lambda c, s: _same(c, s, "date")),
    ("as the scanner reconstructed it", lambda c, _: -float(c.derived)),
    ("has a kernel that does not sharpen", lambda c, _: -float(c.sharp)),
    ("has thinner slices", lambda c, _: -max(c.spacing_mm or 99.0, _FINE_MM)),
    ("has more slices", lambda c, _: float(c.slices)),
)
"""Judgement: what registration and measurement need comes before what makes them finer; a CT
without spacing is taken for a coarse one."""


def _covers(ct: Facts, spect: Facts | None) -> float:
    """Share of the SPECT's height that the CT shows, whole where it is nearly so."""
    bounds = None if spect is None else (ct.low_mm, ct.high_mm, spect.low_mm, spect.high_mm)
    if bounds is None or None in bounds:
        return 0.0
    low, high, spect_low, spect_high = (float(value or 0.0) for value in bounds)
    shared = min(high, spect_high) - max(low, spect_low)
    share = shared / max(spect_high - spect_low, 1.0)
    return 1.0 if share >= _COVERED else round(max(share, 0.0), 1)


def _same(ct: Facts, spect: Facts | None, name: str) -> float:
    mine, theirs = getattr(ct, name), getattr(spect, name, "")
    return float(bool(mine) and mine == theirs)


def list_study(folder: Path) -> tuple[list[Listed], int]:
    """All series of a folder that could be a CT or a SPECT, numbered from 1, CTs first.

    Returns
    -------
    series, unreadable
        The series, usable or not, and how many damaged DICOM files there are.

    Raises
    ------
    InputError
        If the folder holds no DICOM images.
    """
    check_encodable(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; give the folder of a DICOM study.")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pydicom")
        found, unreadable = find_series(folder)
        known = [(series, facts_of(series)) for series in found if series.role is not None]
    if not known:
        raise InputError(f"{folder}: holds no CT or SPECT series in DICOM; give another folder.")
    known.sort(key=lambda item: (item[0].role or "", item[1].date, item[0].describe()))
    return [Listed(n, series, facts) for n, (series, facts) in enumerate(known, 1)], unreadable


def choose_pair(folder: Path, numbers: Sequence[int] | None = None) -> Choice:
    """The CT and the SPECT of a study folder that belong together.

    Parameters
    ----------
    folder
        A folder with DICOM files, also in folders inside.
    numbers
        The numbers of the CT and of the SPECT, in any order, where the user has chosen.

    Raises
    ------
    InputError
        If there is no usable pair, if the folder holds several patients, or if the headers leave
        two series alike: the sentence then lists them with their numbers.
    """
    listed, unreadable = list_study(folder)
    if numbers is not None:
        ct, spect = _named(folder, listed, numbers)
        reasons: tuple[str, ...] = tuple(
            f"{x.describe(written=True)} was named." for x in (ct, spect)
        )
    else:
        usable = [item for item in listed if not item.series.refusal]
        _check_patient(folder, usable)
        cts, spects = _of(folder, listed, "ct"), _of(folder, listed, "spect")
        spect, spect_why = _best(spects, _SPECT_KEYS, None) or _ask(folder, usable, "spect")
        ct, ct_why = _best(cts, _CT_KEYS, spect.facts) or _ask(folder, usable, "ct")
        reasons = (ct_why, spect_why)
    others = [
        " ".join(filter(None, (item.describe(written=True), item.series.refusal)))
        for item in listed
        if item not in (ct, spect)
    ]
    if unreadable:
        others.append(f"{unreadable} damaged DICOM files")
    return Choice(folder, ct, spect, reasons, tuple(others))


def _of(folder: Path, listed: Sequence[Listed], role: Role) -> list[Listed]:
    found = [item for item in listed if item.role == role]
    usable = [item for item in found if not item.series.refusal]
    if not usable:
        refused = "; ".join(f"{item.describe()} {item.series.refusal}" for item in found)
        raise InputError(
            f"{folder}: holds no usable {name_of_role(role)} series"
            + (f": {refused}." if refused else "; give --ct and --spect instead.")
        )
    return usable


def _check_patient(folder: Path, listed: Sequence[Listed]) -> None:
    patients = {item.facts.patient for item in listed} - {""}
    if len(patients) > 1:
        raise InputError(
            f"{folder}: holds series of {len(patients)} patients (their PatientID differs); give "
            "the folder of one."
        )


def _best(
    items: Sequence[Listed], keys: Sequence[_Key], other: Facts | None
) -> tuple[Listed, str] | None:
    """The preferred series, and the sentence that says why; None where two are alike."""
    if len(items) == 1:
        role = name_of_role(items[0].role or "ct")
        return items[0], f"{items[0].describe(written=True)} is the only {role}."
    ranked = sorted(
        items, key=lambda item: tuple(key(item.facts, other) for _, key in keys), reverse=True
    )
    best, second = ranked[:2]
    for words, key in keys:
        if key(best.facts, other) > key(second.facts, other):
            name = best.describe(written=True)
            return best, f"{name} was chosen of {len(items)}: it {_verb(words)}."
    return None


def _ask(folder: Path, usable: Sequence[Listed], role: Role) -> NoReturn:
    raise InputError(
        f"{folder}: the headers do not tell which series is the {name_of_role(role)}; name the CT "
        "and the SPECT by their numbers, as in --choose 1,2: "
        f"{'; '.join(item.describe() for item in usable)}."
    )


def _verb(words: str) -> str:
    first = words.split()[0]
    if first in ("attenuation", "scatter"):
        return f"says that {words}"
    return f"is {words}" if first == "as" else words


def _named(folder: Path, listed: Sequence[Listed], numbers: Sequence[int]) -> tuple[Listed, Listed]:
    by_number = {item.number: item for item in listed}
    every = "; ".join(item.describe() for item in listed)
    for number in numbers:
        if number not in by_number:
            raise InputError(f"{folder}: there is no series [{number}]; there are {every}.")
    chosen = [by_number[number] for number in numbers]
    roles = sorted(str(item.role) for item in chosen)
    if roles != ["ct", "spect"]:
        raise InputError(f"{folder}: --choose takes one CT and one SPECT; there are {every}.")
    for item in chosen:
        if item.series.refusal:
            raise InputError(f"{folder}: {item.describe()} {item.series.refusal}.")
    _check_patient(folder, chosen)
    ct, spect = sorted(chosen, key=lambda item: str(item.role))
    return ct, spect
