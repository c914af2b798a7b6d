"""The keys by which a reader works, for the panel, its tests and the documentation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Key:
    """A key.

    Attributes
    ----------
    key
        As Qt names it.
    action
        What the panel does.
    words
        The same for a reader.
    """

    key: str
    action: str
    words: str


KEYS = (
    Key("N", "next", "next joint"),
    Key("B", "previous", "joint before"),
    Key("O", "overview", "overview, and back to the joint"),
    Key("P", "survey", "projections and curved sections, and back to the joint"),
    Key("W", "window", "next window of the SPECT"),
    Key("0", "negative", "the joint is negative"),
    Key("1", "indeterminate", "indeterminate"),
    Key("2", "positive", "positive"),
    Key("9", "not_measurable", "not measurable"),
    Key("Backspace", "clear", "take the grade back"),
    Key("M", "note", "type a note; Enter ends it"),
    Key("A", "accept", "accept the registration"),
    Key("X", "reject", "reject the registration"),
    Key("L", "levels", "confirm the levels"),
    Key("S", "save", "save the reading"),
)
"""The keys while the reading lasts. Convention: none of them is a key of Slicer's main window;
letters that are typed into a field stay there."""
WINDOWS = (None, 2.0, 3.0, 4.0, 6.0, 8.0)
"""Upper ends of the SPECT's window, multiples of the reference bone; None for the usual scale.
Judgement: from what shows a faint joint to what tells two hot ones apart."""
