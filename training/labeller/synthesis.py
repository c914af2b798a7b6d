"""Synthetic cases to train the labeller on: random spines of the project's phantom.

Nothing but the phantom goes in; `real_case` reads CTs of patients.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from head import paint_head
from numpy.typing import NDArray

from CTSpectSpineLib import anatomy
from CTSpectSpineLib.geometry import Grid, apply_matrix, grid_of, inverse
from CTSpectSpineLib.labelling.builtin.network import BODIES, CLASSES
from CTSpectSpineLib.model import Region
from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.config import SpineConfig
from CTSpectSpineLib.phantom.model import Anatomy, Tissue

VERSION = 3
"""Version of the cached cases. Convention: a new number makes old caches unusable."""
_STREAM, _HEAD_STREAM, _FACET_STREAM = 1, 2, 3
"""Streams of the random numbers of a spine, of its head and of the kind of its facet joints.
Convention: any three numbers."""
_VARIED_SHARE = 0.8
"""Share of the spines whose facet joints vary as they do among adults. Judgement: most, since
regular ones are all alike."""
_HEAD_SHARE = 0.8
"""Share of the cases with a neck that get a head. Judgement: some CTs end below the skull."""
_REGIONS = (("C1", "T4"), ("C1", "sacrum"), ("T1", "L1"), ("T6", "sacrum"), ("L1", "sacrum"))
_REGION_SHARE = (0.2, 0.2, 0.15, 0.2, 0.25)
"""How often each region is drawn. Judgement: the lumbar spine is scanned most."""


@dataclass(frozen=True)
class Case:
    """One synthetic CT with what the network must find in it; arrays ``[k, j, i]``.

    Attributes
    ----------
    hu, tissue
        CT in HU and the phantom's `Tissue` codes.
    classes
        Index in `network.CLASSES`.
    instances
        Number of the vertebra, 0 elsewhere; row of `centres`.
    centres
        Centres of the vertebral bodies in voxels (k, j, i), NaN where the body is out of view.
    spacing
        Voxel size along k, j, i in mm.
    """

    hu: NDArray[np.int16]
    tissue: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    instances: NDArray[np.uint8]
    centres: NDArray[np.float32]
    spacing: NDArray[np.float32]


def random_spine(seed: int, spacing_mm: float) -> SpineConfig:
    """Draw a spine: shape, curvature, field of view, density, metal, transitional anatomy."""
    rng = np.random.default_rng([seed, _STREAM])
    first, last = _REGIONS[rng.choice(len(_REGIONS), p=_REGION_SHARE)]
    extra = rng.random(4)
    eleven = bool(extra[0] < 0.04)
    base: dict[str, Any] = {
        "thirteenth_thoracic": bool(extra[1] < 0.05) and not eleven,
        "eleven_ribs": eleven,
        "sixth_lumbar": bool(extra[2] < 0.08),
        "sacralised_l5": bool(extra[3] < 0.05),
    }
    levels = SpineConfig(**base).levels
    inside = levels[levels.index(first) : levels.index(last) + 1]
    free = [name for name in inside if name not in ("C1", "C2", anatomy.SACRUM)]
    screws: tuple[str, ...] = ()
    if rng.random() < 0.2:
        lumbar = [n for n in free if n[0] in "TL"]
        start = int(rng.integers(0, max(1, len(lumbar) - 3)))
        screws = tuple(lumbar[start : start + int(rng.integers(2, 5))])
    joints = [j for j in SpineConfig(**base).joint_ids if j.split("-")[0] in free and "C" not in j]
    chosen: list[str] = []
    if joints:
        chosen = rng.choice(joints, size=int(rng.integers(0, 8)), replace=True).tolist()
    varied = np.random.default_rng([seed, _FACET_STREAM]).random() < _VARIED_SHARE
    return SpineConfig(
        facets="varied" if varied else "regular",
        seed=int(rng.integers(1, 2**31)),
        spacing_mm=spacing_mm,
        first=first,
        last=last,
        margin_mm=float(rng.uniform(0, 50)),
        lateral_mm=float(rng.uniform(140, 420)),
        ap_mm=float(rng.uniform(140, 300)),
        scoliosis_cobb_deg=float(rng.normal(0, 18)) if rng.random() < 0.6 else 0.0,
        scoliosis_apex=str(rng.choice([n for n in levels if n[0] in "TL"])),
        cervical_lordosis_deg=float(rng.uniform(-5, 45)),
        thoracic_kyphosis_deg=float(rng.uniform(12, 65)),
        lumbar_lordosis_deg=float(rng.uniform(20, 75)),
        sacral_slope_deg=float(rng.uniform(20, 58)),
        screws=screws,
        bone_density=float(np.exp(rng.uniform(np.log(0.4), np.log(1.6)))),
        size=float(rng.uniform(0.85, 1.15)),
        shape_jitter=float(rng.uniform(0.5, 2.2)),
        degenerate={j: float(rng.uniform(0.1, 0.9)) for j in chosen},
        noise_hu=0.0,
        texture_hu=float(rng.uniform(5, 70)),
        blur_mm=float(rng.uniform(0.5, 2.0)),
        **base,
    )


def case_of(made: Anatomy, seed: int) -> Case:
    """Turn a phantom into a case, usually with a head where its atlas is in view."""
    labels = sitk.GetArrayFromImage(made.labels)
    tissue = sitk.GetArrayFromImage(made.tissue)
    classes = np.zeros(labels.shape, dtype=np.uint8)
    for name, code in (("rib", Tissue.RIB), ("sacrum", Tissue.SACRUM), ("hip", Tissue.PELVIS)):
        classes[tissue == code] = CLASSES.index(name)
    for joint in made.joints:
        space = joint.parts.get("disc_space") if joint.kind == "disc" else None
        if space is not None:
            inside = covered(space, grid_of(made.ct))
            classes[inside & np.isin(tissue, (Tissue.CARTILAGE, Tissue.MUSCLE))] = CLASSES.index(
                "disc"
            )
    instances = np.zeros(labels.shape, dtype=np.uint8)
    centres = [np.full(3, np.nan)]
    for name in anatomy.sort_levels(
        level for n in np.unique(labels) if n and (level := anatomy.name_of_id(int(n)))
    ):
        whole = labels == anatomy.vertebra(name).id
        if name == anatomy.SACRUM:
            classes[whole] = CLASSES.index("sacrum")
            continue
        body = whole & (tissue == Tissue.BODY)
        classes[whole] = CLASSES.index(name if name in CLASSES else "posterior")
        if name not in CLASSES:
            classes[body] = CLASSES.index(body_class(name))
        if np.count_nonzero(body) < 20:
            body = whole & (tissue != Tissue.METAL)
        instances[whole] = len(centres)
        visible = body.any() and not _cut(body)
        centres.append(np.argwhere(body).mean(axis=0) if visible else np.full(3, np.nan))
    hu = sitk.GetArrayFromImage(made.ct)
    spacing = np.array(made.ct.GetSpacing()[::-1], dtype=np.float32)
    rng = np.random.default_rng([seed, _HEAD_STREAM])
    if rng.random() < _HEAD_SHARE:
        paint_head(hu, tissue, classes, spacing.astype(float), rng)
    return Case(hu, tissue, classes, instances, np.array(centres, dtype=np.float32), spacing)


def body_class(level: str) -> str:
    """Class of the body of a vertebra, C3 and below, from its name."""
    return BODIES["CTL".index(level[0])]


def load_case(folder: Path, seed: int, spacing_mm: float) -> Case:
    """Give the case of a seed, from the cache on disk, or make it and put it there."""
    path = folder / f"v{VERSION}-{spacing_mm:g}mm-{seed:07d}.npz"
    if not path.exists():
        case = case_of(make_anatomy(random_spine(seed, spacing_mm)), seed)
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.stem}.{os.getpid()}.part.npz")
        np.savez_compressed(part, **vars(case))
        part.replace(path)
        return case
    with np.load(path) as stored:
        return Case(**{name: stored[name] for name in Case.__dataclass_fields__})


def read_config(path: Path) -> dict[str, Any]:
    """Read the training's configuration."""
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return config


def _cut(body: NDArray[np.bool_]) -> bool:
    """Whether a body touches the cranial or caudal end of the image."""
    return bool(body[0].any() or body[-1].any())


def covered(region: Region, grid: Grid) -> NDArray[np.bool_]:
    """Voxels of a grid whose middles lie in a region."""
    result = np.zeros(grid.shape, dtype=bool)
    index = apply_matrix(inverse(grid.ijk_to_lps), region.points_mm())
    kji = np.rint(index[:, ::-1]).astype(int)
    kji = kji[np.all((kji >= 0) & (kji < grid.shape), axis=1)]
    result[tuple(kji.T)] = True
    return result
