"""Phantoms that the labeller is measured on: parts of spines that were never used in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.config import SpineConfig

UNSEEN_FROM = 70_000_000
"""First seed of the benchmark. Convention: neither training nor tuning used it or later ones."""
REGIONS = {
    "neck": ("C1", "T3"),
    "lower neck": ("C3", "T5"),
    "chest": ("T1", "L2"),
    "lower back": ("T9", "sacrum"),
    "lumbar": ("L1", "sacrum"),
    "whole spine": ("C1", "sacrum"),
}
VARIANTS = ("", "sixth_lumbar", "thirteenth_thoracic", "eleven_ribs")


@dataclass(frozen=True)
class Case:
    """One phantom to label.

    Attributes
    ----------
    number, region
        Its place in the cohort.
    variant
        Transitional anatomy as an option of the phantom; empty for the usual number of vertebrae.
    turn_deg, slices_mm, cobb_deg, density
        Rotation of the patient about a random axis, slice thickness, scoliosis, bone density.
    ct, labels
        The CT and its true labels, ids of `anatomy`.
    """

    number: int
    region: str
    variant: str
    turn_deg: float
    slices_mm: float
    cobb_deg: float
    density: float
    ct: sitk.Image
    labels: sitk.Image


def make_case(first_seed: int, number: int) -> Case:
    """Build a phantom of the cohort; every eighth has transitional anatomy."""
    rng = np.random.default_rng([first_seed, number])
    region = tuple(REGIONS)[number % len(REGIONS)]
    variant = str(rng.choice(VARIANTS[1:])) if number % 8 == 7 else ""
    first, last = REGIONS[region]
    turn = float(rng.uniform(0, 45)) if rng.random() < 0.5 else 0.0
    slices = float(rng.choice([1.5, 2.5, 3.0, 5.0]))
    cobb = float(rng.uniform(-40, 40))
    density = float(rng.uniform(0.5, 1.3))
    options: dict[str, Any] = {variant: True} if variant else {}
    levels = SpineConfig(**options).levels
    inside = levels[levels.index(first) : levels.index(last) + 1]
    config = SpineConfig(
        seed=int(rng.integers(1, 2**31)),
        spacing_mm=2.0 if turn else (1.5, 1.5, slices),
        first=first,
        last=last,
        margin_mm=float(rng.uniform(5, 40)),
        lateral_mm=float(rng.uniform(180, 340)),
        ap_mm=float(rng.uniform(170, 240)),
        scoliosis_cobb_deg=cobb,
        scoliosis_apex=str(rng.choice([n for n in inside if n[0] in "TL"])),
        bone_density=density,
        size=float(rng.uniform(0.88, 1.12)),
        shape_jitter=float(rng.uniform(0.5, 2.0)),
        noise_hu=float(rng.uniform(8, 40)),
        texture_hu=float(rng.uniform(20, 50)),
        blur_mm=float(rng.uniform(0.8, 1.6)),
        screws=("L3", "L4") if rng.random() < 0.1 and "L3" in inside and "L4" in inside else (),
        **options,
    )
    made = make_anatomy(config)
    ct, labels = made.ct, _vertebrae_only(made.labels)
    if turn:
        axis = rng.standard_normal(3)
        ct, labels = _turned(ct, labels, axis, turn, slices)
    return Case(number, region, variant, turn, slices, cobb, density, ct, labels)


def _vertebrae_only(labels: sitk.Image) -> sitk.Image:
    array = sitk.GetArrayFromImage(labels)
    array[~np.isin(array, [row.id for row in anatomy.vertebrae()])] = 0
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(labels)
    return image


def _turned(
    ct: sitk.Image, labels: sitk.Image, axis: np.ndarray, degrees: float, slices_mm: float
) -> tuple[sitk.Image, sitk.Image]:
    """The patient turned in the scanner, whose field of view holds all of the old one."""
    transform = sitk.VersorTransform()
    transform.SetRotation((axis / np.linalg.norm(axis)).tolist(), float(np.radians(degrees)))
    half = 0.5 * np.array(ct.GetSize()) * ct.GetSpacing()
    centre = ct.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in ct.GetSize()])
    transform.SetCenter(centre)
    matrix = np.abs(np.array(transform.GetMatrix()).reshape(3, 3))
    spacing = np.array([1.5, 1.5, slices_mm])
    # Corners of the old field of view are mostly air: four fifths of the full box are enough.
    size = np.maximum(np.ceil(0.85 * 2 * (matrix @ half) / spacing), 8).astype(int)
    origin = np.array(centre) - 0.5 * (size - 1) * spacing
    results = []
    for image, how, outside in (
        (ct, sitk.sitkLinear, -1000.0),
        (labels, sitk.sitkNearestNeighbor, 0.0),
    ):
        results.append(
            sitk.Resample(
                image,
                size.tolist(),
                transform,
                how,
                origin.tolist(),
                spacing.tolist(),
                np.eye(3).ravel().tolist(),
                outside,
            )
        )
    return results[0], results[1]
