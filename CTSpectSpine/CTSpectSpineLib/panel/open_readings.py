"""What readers said in a window, of several analyses, saved or not yet."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from CTSpectSpineLib.results.reading import Reading, read_readings


@dataclass(frozen=True)
class OpenReading:
    """A reading in a window.

    Attributes
    ----------
    levels
        Names of the vertebrae by which the joints were named.
    saved
        Whether the results folder holds all of it.
    lost
        Number of grades that were dropped, because the levels were named otherwise since.
    """

    reading: Reading
    levels: tuple[str, ...]
    saved: bool = True
    lost: int = 0

    def changed(self, reading: Reading) -> OpenReading:
        """With something said that is not saved yet."""
        return replace(self, reading=reading, saved=False, lost=0)


class OpenReadings:
    """Readings by analysis and reader: who changes to another one finds the first as it was."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], OpenReading] = {}

    def find(
        self,
        analysis: str,
        reader: str,
        levels: Sequence[str],
        joints: Collection[str],
        folder: Path | None,
    ) -> OpenReading:
        """The reading of an analysis by a reader, begun in the window or found in its folder.

        Parameters
        ----------
        analysis, reader
            Names of both.
        levels, joints
            Vertebrae and joints of the results as they are now.
        folder
            Results folder, where there is one.

        Raises
        ------
        InputError
            If the readings in the folder cannot be read.
        """
        known = self._known.get((analysis, reader))
        if known is None:
            found = {} if folder is None else read_readings(folder)
            known = OpenReading(found.get(reader, Reading(reader=reader)), tuple(levels))
            grades = tuple(g for g in known.reading.grades if g.joint in joints)
            known = replace(known, reading=replace(known.reading, grades=grades))
        elif known.levels != tuple(levels):
            lost = len(known.reading.grades)
            reading = replace(known.reading, grades=())
            known = OpenReading(reading, tuple(levels), saved=False, lost=lost)
        self._known[analysis, reader] = replace(known, lost=0)
        return known

    def keep(self, analysis: str, reader: str, entry: OpenReading) -> None:
        """Keep what was said since."""
        self._known[analysis, reader] = entry

    def clear(self) -> None:
        """Forget all, for instance because the scene was closed."""
        self._known.clear()
