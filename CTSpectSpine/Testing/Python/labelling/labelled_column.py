"""A column of vertebrae as boxes, for the tests of labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.geometry import image_from_array
from CTSpectSpineLib.labelling.importing.schemes import scheme_table, typical_steps_mm
from CTSpectSpineLib.model import VertebraLabels
from CTSpectSpineLib.volumes import (
    write_image,
)

LUMBAR = ("T11", "T12", "L1", "L2", "L3", "L4", "L5", "sacrum")


@dataclass
class Column:
    """A column of blocks of bone in soft tissue, one block per vertebra, LPS axes."""

    ct: sitk.Image
    masks: Mapping[str, np.ndarray]

    def labels(self, numbers: Mapping[str, int], dtype: type = np.uint8) -> sitk.Image:
        array = np.zeros(next(iter(self.masks.values())).shape, dtype=dtype)
        for level, number in numbers.items():
            array[self.masks[level]] = number
        image = sitk.GetImageFromArray(array)
        image.CopyInformation(self.ct)
        return image


def column(levels: tuple[str, ...] = LUMBAR, spacing: float = 3.0) -> Column:
    """Blocks at the typical distances of their levels, the first one on top."""
    steps = [typical_steps_mm().get(level, 45.0) for level in levels]
    height = int((sum(steps) + 30) / spacing)
    shape = (height, 40, 40)
    values = np.full(shape, 40.0)
    values[:, :6], values[:, -6:] = -100.0, -100.0
    masks = {}
    top = height - 5
    for level, step in zip(levels, steps, strict=True):
        size = round(step / spacing)
        mask = np.zeros(shape, dtype=bool)
        mask[max(0, top - size + 2) : top, 15:27, 14:28] = True
        masks[level] = mask
        values[mask] = 320.0
        top -= size
    values += np.random.default_rng(0).normal(0, 15, shape)
    matrix = np.diag([spacing, spacing, spacing, 1.0])
    matrix[:3, 3] = [-60, -200, -700]
    return Column(image_from_array(values.astype(np.int16), matrix), masks)


def numbers(scheme: str, levels: tuple[str, ...]) -> dict[str, int]:
    table = {name: number for number, name in scheme_table(scheme).items()}
    return {level: table[level] for level in levels}


COLUMN = column()


V2 = numbers("totalsegmentator", LUMBAR)


def canonical(labels: VertebraLabels) -> np.ndarray:
    return sitk.GetArrayFromImage(labels.image)


def expected(levels: tuple[str, ...] = LUMBAR, source: Column = COLUMN) -> np.ndarray:
    return sitk.GetArrayFromImage(source.labels({n: anatomy.vertebra(n).id for n in levels}))


def save_masks(folder: Path, levels: tuple[str, ...] = LUMBAR) -> Path:
    folder.mkdir(exist_ok=True)
    for level in levels:
        name = level if level == "sacrum" else f"vertebrae_{level}"
        write_image(COLUMN.labels({level: 1}), folder / f"{name}.nii.gz")
    return folder
