"""SUV of another body than the patient's weight are never taken for body-weight SUV."""

from __future__ import annotations

from pathlib import Path

import pytest
from dicom_files import NM_CLASS, NM_VOXELS, ct_series, nm_tags, save
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from CTSpectSpineLib.analysis.stages import lean_suv
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.results.records import volume_record
from CTSpectSpineLib.volumes import Volume, in_unit, read_volume, suv_factor
from CTSpectSpineLib.volumes.suv import UNKNOWN_SUV

LEAN = {"body_weight_kg": 80.0, "body_height_cm": 180.0, "sex": "male"}


def mapped(unit: str, meaning: str = "x", quantity: str = "") -> Sequence:
    code, item = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = unit, "UCUM", meaning
    item.RealWorldValueSlope, item.RealWorldValueIntercept = 0.01, 0.0
    item.MeasurementUnitsCodeSequence = Sequence([code])
    if quantity:
        concept, content = Dataset(), Dataset()
        concept.CodeValue, concept.CodingSchemeDesignator = quantity, "DCM"
        content.ConceptCodeSequence = Sequence([concept])
        item.QuantityDefinitionSequence = Sequence([content])
    return Sequence([item])


def pet(folder: Path, units: str, kind: str | None) -> Volume:
    tags = {"SUVType": kind} if kind is not None else {}
    return read_volume(ct_series(folder, Modality="PT", Units=units, **tags), "spect")


def nm(folder: Path, **tags: object) -> Volume:
    return read_volume(save(folder / "nm.dcm", NM_CLASS, NM_VOXELS, **nm_tags(**tags)), "spect")


def check(volume: Volume, unit: str) -> None:
    assert volume.unit == volume.acquisition.units == volume_record(volume)["unit"] == unit
    factor, note = suv_factor(volume.acquisition, weight_kg=80.0, dose_MBq=600.0)
    lean = lean_suv(volume, LEAN, calibrated=factor is not None)
    if unit == "SUV":
        assert factor == 1.0
        assert lean["per_suv"] == pytest.approx(0.7716, abs=1e-4)
        return
    assert factor is None, "taken for a body-weight SUV"
    assert note.startswith("No SUV: the SPECT holds SUV")
    assert lean["per_suv"] is None
    assert ("(SUL) itself" in str(lean["note"])) == (unit == "SUL")
    with pytest.raises(InputError, match="its header says that it is in SU"):
        in_unit(volume, "SUV")


@pytest.mark.parametrize(
    ("units", "kind", "unit"),
    [
        ("GML", None, "SUV"),
        ("GML", "BW", "SUV"),
        ("GML", "LBM", "SUL"),
        ("GML", "lbm ", "SUL"),
        ("GML", "LBMJAMES128", "SUL"),
        ("GML", "LBMJANMA", "SUL"),
        ("GML", "IBW", "SUVibw"),
        ("GML", "BSA", "SUVbsa"),
        ("CM2ML", None, "SUVbsa"),
        ("CM2ML", "BSA", "SUVbsa"),
        ("GML", "NEWKIND", UNKNOWN_SUV),
    ],
)
def test_suv_type_of_a_pet_file(units: str, kind: str | None, unit: str, tmp_path: Path) -> None:
    check(pet(tmp_path, units, kind), unit)


@pytest.mark.parametrize(
    ("mapping", "unit"),
    [
        (mapped("g/ml{SUVbw}"), "SUV"),
        (mapped("{SUVbw}g/ml"), "SUV"),
        (mapped("g/ml"), "SUV"),
        (mapped("g/ml{SUVlbm}"), "SUL"),
        (mapped("g/ml{SUVlbm(Janma)}"), "SUL"),
        (mapped("{SUVlbm}g/ml"), "SUL"),
        (mapped("g/ml", quantity="126402"), "SUL"),
        (mapped("g/ml", quantity="126401"), "SUV"),
        (mapped("g/ml", meaning="SUVlbm"), "SUL"),
        (mapped("cm2/ml{SUVbsa}"), "SUVbsa"),
        (mapped("cm2/ml"), "SUVbsa"),
        (mapped("g/ml{SUVibw}"), "SUVibw"),
    ],
)
def test_unit_and_quantity_of_a_mapping(mapping: Sequence, unit: str, tmp_path: Path) -> None:
    check(nm(tmp_path, RealWorldValueMappingSequence=mapping), unit)


def test_suv_type_tells_what_a_plain_unit_is(tmp_path: Path) -> None:
    volume = nm(tmp_path, RealWorldValueMappingSequence=mapped("g/ml"), SUVType="LBM")
    check(volume, "SUL")


def test_an_activity_is_read_before_an_suv(tmp_path: Path) -> None:
    both = Sequence([mapped("g/ml{SUVlbm}")[0], mapped("Bq/ml")[0], mapped("g/ml{SUVbw}")[0]])
    assert nm(tmp_path, RealWorldValueMappingSequence=both).unit == "Bq/ml"
