"""What a phantom is made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import SimpleITK as sitk

from CTSpectSpineLib.model import Joint


class Tissue(IntEnum):
    """Codes of the tissue map; activity and HU are assigned per tissue."""

    AIR = 0
    LUNG = 1
    MUSCLE = 2
    FAT = 3
    LIVER = 4
    KIDNEY = 5
    BLADDER = 6
    BLOOD = 7
    BODY = 8
    POSTERIOR = 9
    RIB = 10
    PELVIS = 11
    SACRUM = 12
    OTHER_BONE = 13
    CARTILAGE = 14
    METAL = 15


@dataclass(frozen=True)
class Anatomy:
    """A patient to image: what CT shows, what each voxel is, and where the joints truly are.

    Attributes
    ----------
    ct
        CT in HU (int16).
    labels
        Vertebra labels (uint8), ids of `anatomy`, with sacrum and hips; on the CT's grid.
    tissue
        `Tissue` codes (uint8) on the CT's grid.
    joints
        The true joints, with regions made from the construction, never from the labels.
    """

    ct: sitk.Image
    labels: sitk.Image
    tissue: sitk.Image
    joints: tuple[Joint, ...]
