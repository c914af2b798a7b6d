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
PANEL_HEX = {
    "positive": "#d6272a",
    "indeterminate": "#e69b00",
    "negative": "#4c8cbf",
    "not_measurable": "#999999",
}
"""The same for words and swatches of the panel; orange is darker there to be read as a word."""
INK_HEX = {
    "positive": "#b3261e",
    "indeterminate": "#a86400",
    "negative": "#4a6076",
    "not_measurable": "#8a949e",
}
"""The same as ink on the white page of the report, also in ``page.css``. Standard: at least 3:1
contrast for graphics (WCAG 2.2, 1.4.11)."""
LEAST_TOP, MOST_TOP = 3, 8
"""Limits of the top of the colour scale, multiples of the reference. Judgement: below 3 noise would
look hot; above 8 joints at the positive bound of about 2 would vanish."""


def scale_top(hottest_ratio: float) -> float:
    """Top of the colour scale, in whole multiples of the reference: the hottest joint, limited."""
    return float(min(max(math.ceil(hottest_ratio), LEAST_TOP), MOST_TOP))
