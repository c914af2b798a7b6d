"""Settings of the physical scanner: cameras and reconstructions, read from ``presets.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import json_table
from CTSpectSpineLib.phantom.scanner.projections.collimator import Collimator
from CTSpectSpineLib.phantom.scanner.projections.scatter import ScatterWindow

_TABLE = Path(__file__).parent / "presets.json"


@dataclass(frozen=True)
class Camera:
    """How projections are taken.

    Attributes
    ----------
    name
        Name in ``presets.json``.
    collimator
        Collimator and detector.
    views
        Number of views over 360 degrees, even; the two heads face each other.
    clearance_mm
        Gap between the body's outline and the collimator's face (a contour orbit).
    scatter_share
        See `scatter.scatter_source`; 0 for none.
    windows
        Name to the scatter estimate that it can make.
    """

    name: str
    collimator: Collimator
    views: int
    clearance_mm: float
    scatter_share: float
    windows: Mapping[str, ScatterWindow]


@dataclass(frozen=True)
class Reconstruction:
    """How an image is made of projections: OSEM, then a Gaussian filter.

    Attributes
    ----------
    name
        Name in ``presets.json``.
    iterations, subsets
        Of OSEM; subsets divide the pairs of opposite views as evenly as can be.
    resolution_recovery
        Whether the collimator's response is modelled.
    response_scale
        Factor on the modelled FWHM: 1 is exact.
    attenuation_correction
        Whether attenuation is modelled, from the CT.
    attenuation_shift_mm
        Displacement of the CT in it along x, y, z.
    scatter_window
        Name of the camera's scatter estimate that is put in; None for no scatter correction.
    filter_fwhm_mm
        Post filter; 0 for none.
    camera
        Name of the camera.
    views
        Number of views; None for the camera's.
    voxel_mm
        Edge of voxels and pixels; None for that of the scan.
    """

    name: str
    iterations: int
    subsets: int
    resolution_recovery: bool
    filter_fwhm_mm: float
    response_scale: float = 1.0
    attenuation_correction: bool = True
    attenuation_shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scatter_window: str | None = "triple-energy"
    camera: str = "lehr"
    views: int | None = None
    voxel_mm: float | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises
        ------
        InputError
            If one is impossible; the message names it and what is allowed.
        """
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise InputError(
                    f"The reconstruction '{self.name}' has {name} {value:g}; give {low:g} to "
                    f"{high:g}."
                )
        if self.views is not None and self.views % 2:
            raise InputError(
                f"The reconstruction '{self.name}' has {self.views} views; give an even number."
            )
        if len(self.attenuation_shift_mm) != 3 or not all(
            abs(v) <= _MOST_SHIFT_MM for v in self.attenuation_shift_mm
        ):
            raise InputError(
                f"The reconstruction '{self.name}' shifts the attenuation map by "
                f"{self.attenuation_shift_mm}; give three numbers of at most {_MOST_SHIFT_MM:g} mm."
            )

    def record(self) -> dict[str, Any]:
        """As plain values, with the words in which the settings of an analysis name a scan."""
        corrected = self.scatter_window is not None
        return {**asdict(self), "family": self.family, "scatter_correction": corrected}

    @property
    def family(self) -> str:
        """``recovery`` or ``no-recovery``: what the user of an analysis would say."""
        return "recovery" if self.resolution_recovery else "no-recovery"


_RANGES = (
    ("iterations", 1, 200),
    ("subsets", 1, 60),
    ("filter_fwhm_mm", 0, 30),
    ("response_scale", 0.5, 2.0),
    ("views", 8, 360),
    ("voxel_mm", 1.5, 12),
)
"""Name, least and most. Judgement: wider than in any clinic, narrow enough to catch
typing errors."""
_MOST_SHIFT_MM = 100.0
"""Largest displacement of an attenuation map. Judgement: catches typing errors."""


def reconstruction_names() -> tuple[str, ...]:
    """Names of all reconstructions in ``presets.json``."""
    return tuple(json_table(_TABLE)["reconstructions"])


def load_reconstruction(name: str) -> Reconstruction:
    """A reconstruction of ``presets.json``.

    Raises
    ------
    InputError
        If there is no such reconstruction.
    """
    row = _row("reconstruction", name)
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
    return Reconstruction(name=name, **values)


def _row(kind: str, name: str) -> dict[str, Any]:
    """A named entry of ``presets.json`` without what it says to its reader."""
    table = json_table(_TABLE)[f"{kind}s"]
    if name not in table:
        raise InputError(f"There is no {kind} '{name}'; there are {', '.join(table)}.")
    return {key: value for key, value in table[name].items() if key != "about"}


def load_camera(name: str) -> Camera:
    """A camera of ``presets.json``.

    Raises
    ------
    InputError
        If there is no such camera.
    """
    row = _row("camera", name)
    windows = {key: ScatterWindow(**values) for key, values in row.pop("windows").items()}
    return Camera(name, Collimator(**row.pop("collimator")), windows=windows, **row)
