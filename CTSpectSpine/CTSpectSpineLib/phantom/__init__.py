"""A digital patient with a known truth: CT, bone SPECT, labels and joints."""

from CTSpectSpineLib.phantom.anatomy.deformation import Bent, bend
from CTSpectSpineLib.phantom.cases import (
    DEFAULT_CASE,
    PhantomConfig,
    SpectConfig,
    case_names,
    load_case,
)
from CTSpectSpineLib.phantom.draws import draw_uptake
from CTSpectSpineLib.phantom.patients import (
    Patient,
    kind_names,
    make_patient,
    patient,
    patient_on,
    second_pose,
)
from CTSpectSpineLib.phantom.pattern import UptakePattern
from CTSpectSpineLib.phantom.product import Phantom, example, make_phantom, phantom_of
from CTSpectSpineLib.phantom.real_ct import phantom_from_ct
from CTSpectSpineLib.phantom.scanner.attenuation import attenuated
from CTSpectSpineLib.phantom.scanner.projections.settings import (
    Reconstruction,
    load_reconstruction,
    reconstruction_names,
)
from CTSpectSpineLib.phantom.scanning import Specimen, scan, specimen_of
from CTSpectSpineLib.phantom.surroundings import Surroundings
from CTSpectSpineLib.phantom.write import write_phantom

__all__ = [
    "DEFAULT_CASE",
    "Bent",
    "Patient",
    "Phantom",
    "PhantomConfig",
    "Reconstruction",
    "Specimen",
    "SpectConfig",
    "Surroundings",
    "UptakePattern",
    "attenuated",
    "bend",
    "case_names",
    "draw_uptake",
    "example",
    "kind_names",
    "load_case",
    "load_reconstruction",
    "make_patient",
    "make_phantom",
    "patient",
    "patient_on",
    "phantom_from_ct",
    "phantom_of",
    "reconstruction_names",
    "scan",
    "second_pose",
    "specimen_of",
    "write_phantom",
]
