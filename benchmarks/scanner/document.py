"""The page ``docs/validation/scanner.md``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scanner.case import LEVELS, Preset
from benchmarks.scanner.closed_forms import Compared
from benchmarks.scanner.library import ITERATIONS, SUBSETS, Comparison
from CTSpectSpineLib import __version__
from CTSpectSpineLib.phantom.scanner.projections.acquisition import Projected
from CTSpectSpineLib.validation.markdown import join, table


@dataclass(frozen=True)
class Findings:
    """All that the page tells."""

    adjoint: float
    resolutions: Sequence[Compared]
    attenuations: Sequence[Compared]
    convergence: Sequence[tuple[int, float, float]]
    presets: Sequence[Preset]
    projection_s: float
    projected: Projected
    library: Sequence[Comparison] | None


def write_document(found: Findings, path: Path) -> None:
    """Write the page."""
    text = join(
        "# The physical scanner",
        "Made by `python -m benchmarks.scanner`, version " + __version__ + ". What "
        "`phantom --scanner projections` is built from, against closed forms and against "
        "PyTomography, and what its reconstructions do. Times are CPU seconds of one thread.",
        "## Against closed forms",
        f"Adjoint: <Ax, y> and <x, A'y> differ by at most {found.adjoint:.1e} (relative, single "
        "precision, with attenuation and collimator).",
        "A point in air: FWHM against Anger's formula.",
        _compared("where|formula, mm|seen, mm|difference", found.resolutions),
        "Attenuation by water (0.0154 per mm); the active cylinder in units of a pixel.",
        _compared("what|exponential|seen|difference", found.attenuations, 4),
        "OSEM (10 subsets) of exact projections of a cylinder with a hot cube: root mean square of "
        "what the projections lack, and of the volume's error (edges that no projection shows).",
        table(
            "iterations|projections|volume",
            "rrr",
            [[str(n), f"{a:.2f} %", f"{b:.1f} %"] for n, a, b in found.convergence],
        ),
        "## Against PyTomography",
        _library(found.library),
        "## What the presets do",
        _presets(found),
    )
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def _compared(heads: str, rows: Sequence[Compared], digits: int = 2) -> str:
    return table(
        heads,
        "lrrr",
        [
            [r.what, f"{r.theory:.{digits}f}", f"{r.found:.{digits}f}", f"{r.percent:+.2f} %"]
            for r in rows
        ],
    )


def _library(rows: Sequence[Comparison] | None) -> str:
    if not rows:
        return "PyTomography was not installed when this page was made."
    about = (
        f"PyTomography {rows[0].version} with the same voxels, attenuation, orbit and collimator, "
        f"on the middle planes of the lumbar phantom; OSEM with {ITERATIONS} iterations of "
        f"{SUBSETS} subsets from the same projections without noise or scatter. Both turn planes "
        "linearly. PyTomography takes the collimator's Gaussian at the pixels' middles, this "
        "scanner its mean over pixels."
    )
    first = rows[0].projections
    lines = []
    for row in rows:
        for name, (own, other) in row.regions.items():
            lines.append(
                [row.what, name, f"{own:.3f}", f"{other:.3f}", f"{100 * own / other - 100:+.2f} %"]
            )
    images = "; ".join(
        f"{row.what} {100 * row.image:.1f} % ({row.seconds[0]:.0f} s here, {row.seconds[1]:.0f} s "
        "there)"
        for row in rows
    )
    return join(
        about,
        f"Projections differ by {100 * first[0]:.2f} % of all counts (sum of absolute differences) "
        f"and hold {100 * (first[1] - 1):+.2f} % of them. Images inside the body differ (root mean "
        f"square over root mean square) {images}.",
        table(
            "reconstruction|region by true activity|here|PyTomography|difference", "llrrr", lines
        ),
    )


def _presets(found: Findings) -> str:
    projected = found.projected
    n, _, planes = projected.frame.shape
    scattered = float(projected.scatter.sum(dtype=float))
    radii = projected.orbit.radii_mm
    about = (
        f"The lumbar phantom, {projected.orbit.views} views of {n} x {planes} pixels of "
        f"{projected.frame.voxel_mm:g} mm, camera {min(radii):.0f} to {max(radii):.0f} mm from the "
        f"axis; {100 * scattered:.0f} % of the counts are scattered. Projections take "
        f"{found.projection_s:.0f} s. FWHM along x, y, z: that of the difference which a point of "
        "0.05 % of all activity, in the middle of a vertebral body, makes without noise."
    )
    lines = []
    for row in found.presets:
        widths = [" / ".join(f"{v:.1f}" for v in row.fwhm_mm[level]) for level in LEVELS]
        lines.append([f"`{row.name}`", *widths, f"{row.seconds:.1f}"])
    heads = "reconstruction|" + "|".join(f"FWHM in {level}, mm" for level in LEVELS) + "|seconds"
    return join(about, table(heads, "l" + "r" * len(LEVELS) + "r", lines))
