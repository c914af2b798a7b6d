"""The unit of a SPECT as the user declares it, and what comes of it."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
import SimpleITK as sitk

from CTSpectSpineLib import InputError, Options
from CTSpectSpineLib.volumes import Volume, in_unit, suv_factor, volume_from_image

INJECTED, SCANNED = datetime(2024, 5, 2, 9), datetime(2024, 5, 2, 12, 0, 12, 600_000)
"""Half of a half-life of Tc-99m apart (6.007 h)."""


def volume(unit: str | None) -> Volume:
    image = sitk.GetImageFromArray(np.ones((6, 6, 6), dtype=np.float32))
    return volume_from_image(image, "spect", unit)


@pytest.mark.parametrize("stated", [None, "counts", "Bq/ml"])
def test_a_declared_unit_gives_the_suv(stated: str | None) -> None:
    declared = in_unit(volume(stated), "Bq/ml")
    assert declared.unit == "Bq/ml"
    factor, reason = suv_factor(declared.acquisition, 80.0, 800.0, INJECTED, SCANNED)
    assert factor == pytest.approx(80e3 / (800e6 * np.sqrt(0.5)), rel=1e-4), reason
    assert "user's word" in declared.notes[-1]


def test_a_unit_against_that_of_the_file_is_refused() -> None:
    with pytest.raises(InputError, match="in SUV, not in Bq/ml"):
        in_unit(volume("SUV"), "Bq/ml")
    assert suv_factor(in_unit(volume(None), "SUV").acquisition)[0] == 1.0
    assert suv_factor(in_unit(volume(None), "counts").acquisition)[0] is None


def test_an_unknown_unit_is_refused() -> None:
    with pytest.raises(InputError, match="'kBq' is not known; use Bq/ml, counts or SUV"):
        Options(unit="kBq")
    assert Options(unit="Bq/ml").arguments() == ["--unit=Bq/ml"]
