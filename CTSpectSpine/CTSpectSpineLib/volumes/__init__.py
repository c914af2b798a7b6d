"""Reading, checking and writing of volumes."""

from CTSpectSpineLib.volumes.checks import (
    check_ct,
    check_inputs,
    check_pair,
    check_spect,
    share_frame,
)
from CTSpectSpineLib.volumes.reading import read_volume, volume_from_image
from CTSpectSpineLib.volumes.segmentation_nrrd import (
    Segment,
    read_segmentation,
    write_segmentation,
)
from CTSpectSpineLib.volumes.suv import (
    OTHER_SUV,
    in_unit,
    lean_body_mass_kg,
    lean_share,
    suv_factor,
)
from CTSpectSpineLib.volumes.volume import Acquisition, Role, Volume
from CTSpectSpineLib.volumes.writing import write_image

__all__ = [
    "OTHER_SUV",
    "Acquisition",
    "Role",
    "Segment",
    "Volume",
    "check_ct",
    "check_inputs",
    "check_pair",
    "check_spect",
    "in_unit",
    "lean_body_mass_kg",
    "lean_share",
    "read_segmentation",
    "read_volume",
    "share_frame",
    "suv_factor",
    "volume_from_image",
    "write_image",
    "write_segmentation",
]
