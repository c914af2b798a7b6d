"""Patients drawn from seeds: an anatomy and its activity."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib.joints import build_joints
from CTSpectSpineLib.labelling import label_vertebrae
from CTSpectSpineLib.phantom.activity import assign_activity
from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.config import SpineConfig
from CTSpectSpineLib.phantom.model import Anatomy, Tissue
from CTSpectSpineLib.phantom.real_ct import classify


@dataclass(frozen=True)
class Patient:
    """One anatomy with its activity."""

    anatomy: Anatomy
    activity: sitk.Image
    seed: int


def config_of(patient_seed: int) -> SpineConfig:
    rng = np.random.default_rng([patient_seed, 1])
    whole = rng.random() < 0.25
    return SpineConfig(
        seed=patient_seed,
        spacing_mm=float(rng.choice([1.5, 1.8])),
        first="C1" if whole else str(rng.choice(["T8", "T10", "T12"])),
        lateral_mm=float(rng.uniform(280, 360)),
        ap_mm=float(rng.uniform(200, 260)),
        thoracic_kyphosis_deg=float(rng.uniform(20, 50)),
        lumbar_lordosis_deg=float(rng.uniform(30, 65)),
        scoliosis_cobb_deg=float(rng.normal(0, 10)),
        scoliosis_apex=str(rng.choice(["T9", "L2"])),
        sixth_lumbar=bool(rng.random() < 0.08),
        bone_density=float(rng.uniform(0.6, 1.3)),
        size=float(rng.uniform(0.88, 1.12)),
        noise_hu=float(rng.uniform(10, 50)),
    )


def hot_joints(
    config: SpineConfig,
    rng: np.random.Generator,
    count: tuple[int, int],
    ratio: tuple[float, float],
) -> dict[str, float]:
    shown = config.levels[config.levels.index(config.first) : config.levels.index(config.last) + 1]
    seen = [j for j in config.joint_ids if j.split("-")[0] in shown[:-1]]
    chosen = rng.choice(seen, int(rng.integers(count[0], count[1] + 1)), replace=False)
    return {str(j): float(rng.uniform(*ratio)) for j in chosen}


@lru_cache(maxsize=3)
def phantom_patient(patient_seed: int, variant: str = "") -> Patient:
    """A procedural patient; `variant` is a kind of activity, field or metal."""
    rng = np.random.default_rng([patient_seed, 2])
    config = config_of(patient_seed)
    number, ratio = (0, 3), (2.0, 5.0)
    if variant == "whole":
        config = replace(config, first="C1")
    elif variant == "focal":
        number, ratio = (2, 5), (5.0, 10.0)
    elif variant == "metal":
        lowest = int(rng.integers(1, 4))
        levels = ("L2", "L3", "L4", "L5", "sacrum")
        config = replace(config, screws=levels[-lowest - 1 :] if rng.random() < 0.7 else levels[:3])
    anatomy = make_anatomy(config)
    if variant == "contrast":
        anatomy = replace(anatomy, ct=_with_contrast(anatomy, rng))
    hot = hot_joints(config, rng, number, ratio)
    return Patient(anatomy, assign_activity(anatomy, hot, [patient_seed, 3]).image, patient_seed)


def _with_contrast(anatomy: Anatomy, rng: np.random.Generator) -> sitk.Image:
    """CT in the venous phase: vessels as bright as trabecular bone, kidneys brighter."""
    hu = sitk.GetArrayFromImage(anatomy.ct)
    tissue = sitk.GetArrayViewFromImage(anatomy.tissue)
    for part, share in ((Tissue.BLOOD, 1.0), (Tissue.KIDNEY, 1.2), (Tissue.LIVER, 0.35)):
        hu[tissue == part] += np.int16(share * rng.uniform(100, 250))
    image = sitk.GetImageFromArray(hu)
    image.CopyInformation(anatomy.ct)
    return image


@lru_cache(maxsize=2)
def real_patient(shared_data: Path, patient_seed: int) -> Patient:
    """The real CT, with an activity that depends on the seed."""
    folder = shared_data / "totalsegmentator_example"
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is missing; the sets on a real CT need it.")
    ct = sitk.ReadImage(str(folder / "ct.nii.gz"))
    labels = label_vertebrae(ct, folder / "vertebrae_total.nii.gz").image
    joints = build_joints(labels)
    organs = sitk.ReadImage(str(folder / "total_fast.nii.gz"))
    anatomy = Anatomy(ct, labels, classify(ct, labels, joints, organs), joints.joints)
    rng = np.random.default_rng([patient_seed, 4])
    seen = sorted(assign_activity(anatomy, {}, [patient_seed, 3]).truth.ratios)
    chosen = rng.choice(seen, int(rng.integers(0, 4)), replace=False)
    hot = {str(j): float(rng.uniform(2.0, 5.0)) for j in chosen}
    return Patient(anatomy, assign_activity(anatomy, hot, [patient_seed, 3]).image, patient_seed)
