"""Codes of what the structured report measures and judges.

Where DICOM or SNOMED CT have a code that means the same, it is used; the rest belongs to the local
scheme of `terminology`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from CTSpectSpineLib.terminology import Code, local_scheme
from CTSpectSpineLib.wording import disposition, wording


class Quantity(NamedTuple):
    """A column of ``joints.csv`` as a measurement.

    Attributes
    ----------
    column
        Of the table.
    code, unit
        What is measured, and its UCUM unit; None for the unit of the SPECT.
    """

    column: str
    code: Code
    unit: Code | None


def local(value: str, meaning: str) -> Code:
    """A code of the local scheme."""
    return Code(local_scheme(), value, meaning)


RATIO, NO_UNIT = Code("UCUM", "{ratio}", "ratio"), Code("UCUM", "1", "no units")
SUV = Code("UCUM", "g/ml{SUVbw}", "Standardized Uptake Value body weight")
_SPECT_UNITS: Mapping[str, Code] = {
    "Bq/ml": Code("UCUM", "Bq/ml", "Becquerels/milliliter"),
    "counts": Code("UCUM", "{counts}", "Counts"),
    "SUV": SUV,
    "SUL": Code("UCUM", "g/ml{SUVlbm}", "Standardized Uptake Value lean body mass"),
    "SUVbsa": Code("UCUM", "cm2/ml{SUVbsa}", "Standardized Uptake Value body surface area"),
    "SUVibw": Code("UCUM", "g/ml{SUVibw}", "Standardized Uptake Value ideal body weight"),
}


def spect_unit(unit: str) -> Code:
    """UCUM code of a unit of `Volume`; no unit where it is not known."""
    return _SPECT_UNITS.get(unit, NO_UNIT)


def quantities() -> tuple[Quantity, ...]:
    """What is reported of every joint, in order."""
    return (
        Quantity("mean", local("UPTAKE_MEAN", "Mean uptake"), None),
        Quantity("corrected_mean", local("UPTAKE_PVC", "Partial volume corrected uptake"), None),
        Quantity("ratio_corrected", local("RATIO_PVC", "Corrected uptake ratio"), RATIO),
        Quantity("ratio_low", local("RATIO_LOW", "Lower end of the ratio's 95% interval"), RATIO),
        Quantity("ratio_high", local("RATIO_HIGH", "Upper end of the ratio's 95% interval"), RATIO),
        Quantity(
            "probability_positive", local("P_POSITIVE", "Probability of positive uptake"), NO_UNIT
        ),
        Quantity("suv_mean", local("SUV_MEAN", "Mean SUVbw"), SUV),
        Quantity("suv_max", local("SUV_MAX", "Maximum SUVbw"), SUV),
        Quantity("suv_peak", local("SUV_PEAK", "Peak SUVbw"), SUV),
    )


def deciding(metric: str) -> Quantity:
    """The ratio of another metric, where the bounds of a protocol decide by it."""
    words = str(metric).removeprefix("ratio_")
    return Quantity(metric, local(metric.upper()[:16], f"Deciding uptake ratio, {words}"), RATIO)


_CLASSES: Mapping[str, Code] = {
    "positive": Code("SCT", "10828004", "Positive"),
    "indeterminate": Code("SCT", "82334004", "Indeterminate"),
    "negative": Code("SCT", "260385009", "Negative"),
}


def class_code(uptake: str) -> Code:
    """Coded uptake class."""
    words = str(wording("uptake", uptake).get("text", uptake))
    return _CLASSES.get(uptake) or local("NOT_MEASURABLE", words.capitalize())


def status_code(status: str) -> Code:
    """Coded status of a joint."""
    return local(status.upper()[:16], status.replace("_", " ").capitalize())


def disposition_code(name: str) -> Code:
    """Coded disposition of a protocol."""
    return local(name.upper(), str(disposition(name)["title"])[:64])
