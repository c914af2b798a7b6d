"""A digital patient with a known truth: CT, bone SPECT, labels and joints."""

from CTSpectSpineLib.phantom.anatomy.deformation import Bent, bend
from CTSpectSpineLib.phantom.cases import (
    DEFAULT_CASE,
    PhantomConfig,
    SpectConfig,
    case_names,
    load_case,
)
from CTSpectSpineLib.phantom.product import Phantom, example, make_phantom, phantom_of
from CTSpectSpineLib.phantom.real_ct import phantom_from_ct
from CTSpectSpineLib.phantom.scanner.attenuation import attenuated
from CTSpectSpineLib.phantom.write import write_phantom

__all__ = [
    "DEFAULT_CASE",
    "Bent",
    "Phantom",
    "PhantomConfig",
    "SpectConfig",
    "attenuated",
    "bend",
    "case_names",
    "example",
    "load_case",
    "make_phantom",
    "phantom_from_ct",
    "phantom_of",
    "write_phantom",
]
