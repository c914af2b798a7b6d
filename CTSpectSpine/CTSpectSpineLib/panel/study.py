"""A study folder as a table of its series, with the library's choice of CT and SPECT to correct."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.volumes.dicom.study import Choice, Listed, choose_pair, list_study
from CTSpectSpineLib.volumes.volume import Role


@dataclass(frozen=True)
class StudyTable:
    """The series of a study, and which are to be used.

    Attributes
    ----------
    folder
        The folder of the study.
    series
        All that could be a CT or a SPECT, CTs first.
    ct, spect
        Number of the series to use; None where none is chosen.
    words
        Why these were chosen, or why nothing could be.
    """

    folder: Path
    series: tuple[Listed, ...]
    ct: int | None
    spect: int | None
    words: str

    def use_of(self, listed: Listed) -> Role | None:
        """What a series is used as; None where it is not used."""
        if listed.number == self.ct:
            return "ct"
        return "spect" if listed.number == self.spect else None

    def with_series(self, number: int) -> StudyTable:
        """With another series in place of that of its kind.

        Raises
        ------
        InputError
            If it cannot be used; says why.
        """
        listed = next(item for item in self.series if item.number == number)
        if listed.series.refusal:
            raise InputError(f"{listed.describe()} {listed.series.refusal}.")
        words = f"{listed.describe(written=True)} was chosen by you."
        if listed.role == "ct":
            return replace(self, ct=number, words=words)
        return replace(self, spect=number, words=words)

    @property
    def missing(self) -> str:
        """What is still to be chosen; empty for nothing."""
        wanted = [name for name, n in (("a CT", self.ct), ("a SPECT", self.spect)) if n is None]
        return f"Choose {' and '.join(wanted)} in the table." if wanted else ""

    def choice(self) -> Choice:
        """The chosen pair, ready to be read.

        Raises
        ------
        InputError
            If one is missing, or both are of different patients.
        """
        if self.ct is None or self.spect is None:
            raise InputError(self.missing)
        return choose_pair(self.folder, (self.ct, self.spect))


def study_table(folder: Path) -> StudyTable:
    """The series of a study folder with the library's choice.

    Raises
    ------
    InputError
        If the folder holds no CT and no SPECT in DICOM.
    """
    series, _unreadable = list_study(folder)
    try:
        chosen = choose_pair(folder)
    except InputError as error:
        return StudyTable(folder, tuple(series), None, None, str(error))
    words = " ".join(chosen.reasons)
    return StudyTable(folder, tuple(series), chosen.ct.number, chosen.spect.number, words)
