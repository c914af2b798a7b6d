"""A site's calibration: the file that ``calibrate`` writes and ``--calibration`` takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.reconstruction import FamilyName

SCHEMA = "ctspectspine-calibration-1"
_RANGES = {
    "fwhm_mm": (3.0, 30.0),
    "fwhm_sd_mm": (0.0, 10.0),
    "lift": (-0.6, 4.0),
    "lift_sd": (0.0, 4.0),
}
"""Least and most of the response's numbers. Judgement: as wide as a fit may end; only slips and
files of another kind are refused."""
_KINDS = ("disc", "facet")
_ORDINARY_RANGES = {"mean": (0.2, 3.0), "mean_sd": (0.0, 1.0), "sd": (0.01, 1.0)}
"""Least and most of ordinary joints' numbers. Judgement: as above."""


@dataclass(frozen=True)
class CalibratedResponse:
    """Response of a scanner with its reconstruction, measured with a phantom.

    Attributes
    ----------
    family
        Family of reconstructions that it belongs to.
    fwhm_mm, fwhm_sd_mm
        Width of its Gaussian before voxels average over their size (`uptake.response`), and error.
    lift, lift_sd
        Its shape, and error.
    """

    family: FamilyName
    fwhm_mm: float
    fwhm_sd_mm: float
    lift: float
    lift_sd: float


@dataclass(frozen=True)
class OrdinaryJoints:
    """Ordinary joints of a kind in a site's normals, as multiples of the reference.

    Attributes
    ----------
    mean, mean_sd
        Mean over patients, and its spread between patients.
    sd
        Spread within a patient.
    patients, joints
        How many.
    """

    mean: float
    mean_sd: float
    sd: float
    patients: int
    joints: int


@dataclass(frozen=True)
class Calibration:
    """A calibration.

    Attributes
    ----------
    name, sha256
        Of the file it was read from; empty where it was not.
    response
        The response; None where normals were measured.
    ordinary
        Kind of joint to ordinary values; empty where a phantom was measured.
    record
        Everything else that the file says: what was measured, with what, and how well it fits.
    """

    response: CalibratedResponse | None = None
    ordinary: Mapping[str, OrdinaryJoints] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    sha256: str = ""

    def content(self) -> dict[str, Any]:
        """What the file holds."""
        return {
            "schema": SCHEMA,
            "response": None if self.response is None else asdict(self.response),
            "ordinary": {kind: asdict(values) for kind, values in self.ordinary.items()},
            **self.record,
        }

    def summary(self) -> dict[str, Any]:
        """What the manifest says of it."""
        named = {"name": self.name, "sha256": self.sha256}
        kept = {key: self.content()[key] for key in ("response", "ordinary")}
        return {**named, **kept}


def read_calibration(path: Path | str) -> Calibration:
    """Read a calibration file.

    Raises
    ------
    InputError
        If it cannot be read, is no calibration, or holds an impossible number.
    """
    from CTSpectSpineLib.files import sha256_of_file

    path = Path(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"The calibration file '{path.name}' cannot be read; check its name."
        ) from error
    except ValueError as error:
        raise InputError(
            f"The calibration file '{path.name}' is not valid JSON; make it again with "
            "'ctspectspine calibrate'."
        ) from error
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        raise InputError(
            f"'{path.name}' is no calibration file; make one with 'ctspectspine calibrate'."
        )
    response, ordinary = values.pop("response", None), values.pop("ordinary", None) or {}
    values.pop("schema")
    if response is None and not ordinary:
        raise InputError(
            f"The calibration file '{path.name}' holds neither a response nor ordinary joints; "
            "make it again with 'ctspectspine calibrate'."
        )
    return Calibration(
        None if response is None else _response(response, path.name),
        {kind: _ordinary(kind, row, path.name) for kind, row in _rows(ordinary, path.name)},
        values,
        path.name,
        sha256_of_file(path),
    )


def _response(values: object, name: str) -> CalibratedResponse:
    if not isinstance(values, dict) or set(values) != {"family", *_RANGES}:
        raise InputError(
            f"The calibration file '{name}' must hold family, {', '.join(_RANGES)} as response; "
            "make it again with 'ctspectspine calibrate'."
        )
    if values["family"] not in get_args(FamilyName):
        raise InputError(
            f"The calibration file '{name}' has the family {values['family']!r}; use "
            f"{' or '.join(get_args(FamilyName))}."
        )
    numbers = {key: _number(values, key, bounds, name) for key, bounds in _RANGES.items()}
    return CalibratedResponse(values["family"], **numbers)


def _rows(values: object, name: str) -> list[tuple[str, Any]]:
    if not isinstance(values, dict) or set(values) - set(_KINDS):
        raise InputError(
            f"The calibration file '{name}' must hold {' and '.join(_KINDS)} as ordinary joints."
        )
    return list(values.items())


def _ordinary(kind: str, values: object, name: str) -> OrdinaryJoints:
    counts = ("patients", "joints")
    if not isinstance(values, dict) or set(values) != {*_ORDINARY_RANGES, *counts}:
        raise InputError(
            f"The calibration file '{name}' must hold {', '.join((*_ORDINARY_RANGES, *counts))} "
            f"for {kind} joints."
        )
    found = {key: _number(values, key, bounds, name) for key, bounds in _ORDINARY_RANGES.items()}
    for key in counts:
        if not isinstance(values[key], int) or isinstance(values[key], bool) or values[key] < 1:
            raise InputError(
                f"The calibration file '{name}' has {key} {values[key]!r} for {kind} joints; give "
                "a whole number above 0."
            )
    return OrdinaryJoints(**found, patients=values["patients"], joints=values["joints"])


def _number(values: Mapping[str, Any], key: str, bounds: tuple[float, float], name: str) -> float:
    value, (low, high) = values[key], bounds
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InputError(
            f"The calibration file '{name}' has {key} {value!r}; it must lie between {low:g} and "
            f"{high:g}."
        )
    return float(value)
