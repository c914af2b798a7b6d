"""A patient on the physical scanner: projections once, as many reconstructions as are wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from CTSpectSpineLib.geometry import image_centre_mm
from CTSpectSpineLib.phantom.activity import Painted, assign_activity
from CTSpectSpineLib.phantom.cases import SpectConfig
from CTSpectSpineLib.phantom.model import Anatomy
from CTSpectSpineLib.phantom.pattern import UptakePattern
from CTSpectSpineLib.phantom.product import ACTIVITY_STREAM, NOISE_STREAM, Phantom
from CTSpectSpineLib.phantom.scanner.projections.acquisition import Projected, project
from CTSpectSpineLib.phantom.scanner.projections.osem import reconstruct
from CTSpectSpineLib.phantom.scanner.projections.settings import (
    Reconstruction,
    load_camera,
    load_reconstruction,
)
from CTSpectSpineLib.phantom.scanner.spect import rigid_matrix
from CTSpectSpineLib.phantom.surroundings import Surroundings, subject_of

SCANNER = "projections"
"""Name of the physical scanner on the command line and in ``truth.json``."""


@dataclass(frozen=True)
class Specimen:
    """A patient before any scan.

    Attributes
    ----------
    anatomy
        CT, labels, tissues and true joints.
    painted
        Activity and truth.
    surroundings
        What disturbs the scan.
    record
        Settings it was made with, for ``truth.json``.
    """

    anatomy: Anatomy
    painted: Painted
    surroundings: Surroundings = field(default_factory=Surroundings)
    record: Mapping[str, Any] = field(default_factory=dict)


def specimen_of(
    anatomy: Anatomy,
    hot: Mapping[str, float],
    seed: int,
    *,
    pattern: UptakePattern | None = None,
    surroundings: Surroundings | None = None,
    record: Mapping[str, Any] | None = None,
) -> Specimen:
    """Give an anatomy its activity.

    Parameters
    ----------
    anatomy
        The patient.
    hot
        Joint id to true ratio.
    seed
        Seed of the natural variation; the activity is that of `phantom_of` with this seed.
    pattern, surroundings
        How uptake varies, and what disturbs the scan; None as in `phantom_of`.
    record
        Settings to be kept; by default ``hot``.
    """
    painted = assign_activity(anatomy, hot, [seed, ACTIVITY_STREAM], pattern)
    kept = {"hot": dict(hot)} if record is None else record
    return Specimen(anatomy, painted, surroundings or Surroundings(), kept)


def scan(
    specimen: Specimen,
    spect: SpectConfig,
    reconstructions: Sequence[str | Reconstruction],
    *,
    noise: Sequence[int] = (0,),
) -> list[dict[str, Phantom]]:
    """Scan a patient and reconstruct it in several ways.

    Projections are made once for each camera, number of views and voxel size that the
    reconstructions ask for; all reconstructions of the same ones see the same counts.

    Parameters
    ----------
    specimen
        The patient.
    spect
        Pose, counts (of all views together), voxels and seed; its ``fwhm_mm`` has no meaning here.
    reconstructions
        Names of presets, or settings.
    noise
        Numbers of the noise draws: each is one more scan of the patient as it lies.

    Returns
    -------
    list
        For each noise draw, name of the reconstruction to phantom.

    Raises
    ------
    InputError
        If a setting is out of range, or there is no such reconstruction.
    """
    spect.check()
    wanted = [load_reconstruction(r) if isinstance(r, str) else r for r in reconstructions]
    matrix = rigid_matrix(
        spect.translation_mm, spect.rotation_deg, image_centre_mm(specimen.anatomy.ct).tolist()
    )
    subject = subject_of(specimen.anatomy, specimen.painted.image, matrix, specimen.surroundings)
    made: list[dict[str, Phantom]] = [{} for _ in noise]
    for key in dict.fromkeys(_key(r, spect) for r in wanted):
        camera, views, voxel_mm = key
        projected = project(subject, load_camera(camera), voxel_mm, views)
        for draw, found in zip(noise, made, strict=True):
            counted = projected.counted(spect.counts, [spect.seed, NOISE_STREAM, draw])
            for settings in wanted:
                if _key(settings, spect) == key:
                    found[settings.name] = Phantom(
                        specimen.anatomy,
                        specimen.painted.image,
                        reconstruct(counted, settings),
                        matrix,
                        specimen.painted.truth,
                        {**specimen.record, "spect": asdict(spect)},
                        spect.seed,
                        _facts(projected, settings, spect, draw, specimen.surroundings),
                    )
    return [{r.name: found[r.name] for r in wanted} for found in made]


def _key(settings: Reconstruction, spect: SpectConfig) -> tuple[str, int, float]:
    views = settings.views or load_camera(settings.camera).views
    return settings.camera, views, settings.voxel_mm or spect.spacing_mm


def _facts(
    projected: Projected,
    settings: Reconstruction,
    spect: SpectConfig,
    draw: int,
    surroundings: Surroundings,
) -> dict[str, Any]:
    """What ``truth.json`` says about the scan."""
    radii = projected.orbit.radii_mm
    return {
        "name": SCANNER,
        "reconstruction": settings.record(),
        "camera": asdict(projected.camera),
        "views": projected.orbit.views,
        "voxel_mm": projected.frame.voxel_mm,
        "radius_mm": [round(min(radii), 3), round(max(radii), 3)],
        "counts": spect.counts,
        "scattered_share": round(float(projected.scatter.sum(dtype=float)), 5),
        "seed": spect.seed,
        "noise": draw,
        "surroundings": asdict(surroundings),
    }
