"""Joint regions from a vertebra label map."""

from CTSpectSpineLib.joints.build import build_joints, check_neighbours, joints_of
from CTSpectSpineLib.joints.label_volume import LabelVolume, from_array, label_volume

__all__ = [
    "LabelVolume",
    "build_joints",
    "check_neighbours",
    "from_array",
    "joints_of",
    "label_volume",
]
