"""How uptake is shown everywhere: words, colours, and the scale of the pictures.

Needs nothing but Python, so that the panel can use it before the first analysis.
"""

from __future__ import annotations

import math

SURFACE_RGB: dict[str, tuple[float, float, float]] = {
    "positive": (0.84, 0.15, 0.16),
    "indeterminate": (1.0, 0.65, 0.0),
    "negative": (0.30, 0.55, 0.75),
    "not_measurable": (0.6, 0.6, 0.6),
}
"""Uptake class to the colour (RGB, 0 to 1) of segments on dark pictures. Judgement: red, orange,
blue and grey differ in lightness, so that they stay apart for colour-blind readers."""
STATUS_HEX: dict[str, tuple[str, str]] = {
    "good": ("#1b6e36", "#6fcf8e"),
    "check": ("#8a5200", "#f0b45a"),
    "failed": ("#b00020", "#ff9aa2"),
    "positive": ("#b3261e", "#ff9088"),
    "indeterminate": ("#8a5200", "#f0b45a"),
    "negative": ("#3d5a78", "#9cc4e8"),
    "not_measurable": ("#666666", "#b4b4b4"),
}
"""Quality or uptake class to the colours of its word in the panel: on a light, on a dark ground.
Standard: at least 4.5:1 contrast for text (WCAG 2.2, 1.4.3) on the grounds of Slicer's styles."""
INK_HEX = {
    "positive": "#b3261e",
    "indeterminate": "#a86400",
    "negative": "#4a6076",
    "not_measurable": "#8a949e",
}
"""Uptake classes as ink on the white page of the report, also in ``page.css``. Standard: at least
3:1 contrast for graphics (WCAG 2.2, 1.4.11)."""
LEAST_TOP, MOST_TOP = 2.5, 6.0
"""Limits of the top of the colour scale, multiples of the reference. Judgement: below 2.5 noise
would look hot; above 6 the skeleton and joints at the positive bound of about 2 would be nearly
black."""
TOP_STEP = 0.5
"""Step of the top of the scale, multiples of the reference. Judgement: ends in whole and half
multiples are easily read, and the hottest joint comes close to the end."""

_WEIGHTS = (0.2126, 0.7152, 0.0722)
"""Share of red, green and blue in luminance. Standard: WCAG 2.2, relative luminance."""


def status_hex(name: str, ground: str) -> str:
    """Colour of a word of `STATUS_HEX` that can be read on a ground (``#rrggbb``)."""
    return max(STATUS_HEX[name], key=lambda ink: contrast(ink, ground))


def contrast(one: str, other: str) -> float:
    """Contrast of two colours (``#rrggbb``), 1 to 21 (WCAG 2.2)."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = (int(colour[i : i + 2], 16) / 255.0 for i in (1, 3, 5))
    linear = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return sum(weight * part for weight, part in zip(_WEIGHTS, linear, strict=True))


def scale_top(hottest_ratio: float) -> float:
    """Top of the colour scale, in multiples of the reference: the hottest joint, limited.

    Parameters
    ----------
    hottest_ratio
        Highest uptake as scanned (uncorrected, as pictures show it), multiples of the reference.
    """
    steps = math.ceil(hottest_ratio / TOP_STEP)
    return float(min(max(steps * TOP_STEP, LEAST_TOP), MOST_TOP))
