"""Scans of patients on the physical scanner, kept in a folder so that they are made once."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import SimpleITK as sitk

from benchmarks.uptake.other_scanner import scan_elsewhere
from CTSpectSpineLib.joints import build_joints
from CTSpectSpineLib.model import FloatArray, SpineJoints
from CTSpectSpineLib.phantom import load_reconstruction, make_patient, patient, scan

KINDS = ("mixed", "beside", "hot", "ordinary", "mixed", "mild", "beside")
FIELDS = ("lumbar", "cervical", "lumbar")
"""Kinds and fields in turn. Judgement: mostly patients with something to find."""
PRESETS = ("recovery", "no-recovery", "no-attenuation-correction")
SOMETIMES = "displaced-attenuation"
"""Reconstructions of each patient, and one more of every third."""


@dataclass(frozen=True)
class Scanned:
    """A patient with its scans.

    Attributes
    ----------
    name, seed
        What it was drawn from.
    joints, labels
        Joints as they are found in the labels, and these.
    ratios
        Joint id to true ratio.
    ct_to_spect
        True 4×4 matrix from CT to SPECT points, LPS mm.
    spects
        Name of the reconstruction to SPECT.
    ct
        The CT in blocks of about `CT_MM`, as much as attenuation needs.
    """

    name: str
    seed: int
    joints: SpineJoints
    labels: sitk.Image
    ratios: Mapping[str, float]
    ct_to_spect: FloatArray
    spects: Mapping[str, sitk.Image]
    ct: sitk.Image | None = None


CT_MM = 4.0
"""Voxels of the CT that is kept. Numerical: attenuation is computed on blocks twice as large."""
SCANNERS = ("projections", "pytomography")
"""The project's own physical scanner, and the one of `other_scanner`."""


def scans(
    folder: Path, first: int, count: int, scanner: str = SCANNERS[0], skip: int = 0
) -> Iterator[Scanned]:
    """Patients with the seeds from ``first`` on; those in the folder are read, the others made.

    Parameters
    ----------
    folder
        Where they are kept; one for each scanner.
    first, count
        First seed, and how many.
    scanner
        One of `SCANNERS`.
    skip
        How many of them, from the first, are left out. What a patient has depends on its place in
        the row, so another first seed would be other patients.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(skip, count):
        kind, field = KINDS[number % len(KINDS)], FIELDS[number % len(FIELDS)]
        name = f"{field}-{kind}-{first + number}"
        path = folder / f"{name}.scans"
        if not path.exists():
            presets = (*PRESETS, SOMETIMES) if number % 3 == 0 else PRESETS
            made = _scanned(name, kind, field, first + number, presets, scanner)
            part = path.with_suffix(".part")
            part.write_bytes(pickle.dumps(made))
            part.rename(path)
        found: Scanned = pickle.loads(path.read_bytes())
        yield replace(found, ct=_kept_ct(folder / f"{name}.ct.nii.gz", kind, field, found.seed))


def family_of(preset: str) -> str:
    """Family of a reconstruction of the physical scanner."""
    return load_reconstruction(preset).family


def _kept_ct(path: Path, kind: str, field: str, seed: int) -> sitk.Image:
    """The patient's CT, coarse; made where it is not there."""
    if not path.exists():
        ct = make_patient(patient(kind, seed, field)).anatomy.ct
        blocks = [max(1, int(CT_MM / step)) for step in ct.GetSpacing()]
        part = path.with_name(f"part-{path.name}")
        sitk.WriteImage(sitk.BinShrink(ct, blocks), str(part))
        part.rename(path)
    return sitk.ReadImage(str(path))


def _scanned(
    name: str, kind: str, field: str, seed: int, presets: Sequence[str], scanner: str
) -> Scanned:
    drawn = patient(kind, seed, field)
    specimen = make_patient(drawn)
    labels, ratios = specimen.anatomy.labels, dict(specimen.painted.truth.ratios)
    joints = build_joints(labels, specimen.anatomy.ct)
    if scanner == SCANNERS[1]:
        spects, matrix = scan_elsewhere(specimen, drawn.spect, presets)
    else:
        found = scan(specimen, drawn.spect, presets)[0]
        matrix = next(iter(found.values())).ct_to_spect
        spects = {preset: phantom.spect for preset, phantom in found.items()}
    return Scanned(name, seed, joints, labels, ratios, matrix, spects)
