"""Progress of long work, reported through one callback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One progress message.

    Attributes
    ----------
    stage
        Name of the stage, for instance ``"register"``.
    fraction
        Share of the whole job that is done, 0 to 1.
    message
        What is being done, for a person.
    """

    stage: str
    fraction: float
    message: str


ProgressCallback = Callable[[Progress], None]
"""Called with each message; it cancels the work by raising `errors.Cancelled`."""


def silent(progress: Progress) -> None:
    """Ignore a progress message."""
