"""Settings of an analysis."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.labelling.anchor import parse_anchor
from CTSpectSpineLib.uptake.reference import REFERENCES


@dataclass(frozen=True)
class Options:
    """Settings of an analysis; the defaults are those of the command line.

    Attributes
    ----------
    transform
        A rigid transform from CT to SPECT points (or its file) that is used as it stands.
    initial_transform
        A rigid transform (or its file) from which the registration starts.
    registration
        Results folder of an earlier analysis of the same images: its registration is used with its
        quality, nothing is registered again.
    label_scheme
        Numbering of a label map: ``auto``, ``totalsegmentator``, ``totalsegmentator_v1``,
        ``verse``.
    fwhm_mm
        Resolution of the SPECT (FWHM in mm); None to estimate it.
    reference
        Reference bone: ``vertebral_bodies``, ``sacrum``, ``iliac``, ``contralateral``.
    accept_registration
        Give a verdict although the registration failed; recorded with the verdict.
    confirm_levels
        The user has checked the vertebra levels; recorded with the verdict.
    anchor
        ``LEVEL@x,y,z`` (LPS mm), a point in a vertebra that the user knows: the whole column is
        counted from it.
    device, fast
        Where the labeller runs (``auto``, ``cpu``, ``gpu``, ``gpu:1`` … or ``mps``), and whether
        it should rather be quick than fine; for TotalSegmentator.
    save_volumes, save_scene
        Write ``spect_on_ct.nrrd``; write ``scene.mrb`` (needs slicer-core).
    threads
        Most threads to use; None for all.
    seed
        Seed of the perturbed repetitions.
    """

    transform: sitk.Transform | Path | str | None = None
    initial_transform: sitk.Transform | Path | str | None = None
    registration: Path | str | None = None
    label_scheme: str = "auto"
    fwhm_mm: float | None = None
    reference: str = "vertebral_bodies"
    accept_registration: bool = False
    confirm_levels: bool = False
    anchor: str | None = None
    device: str = "auto"
    fast: bool = False
    save_volumes: bool = False
    save_scene: bool = False
    threads: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values.

        Raises
        ------
        InputError
            If a setting is impossible.
        """
        if self.fwhm_mm is not None and not 2 <= self.fwhm_mm <= 30:
            raise InputError(f"fwhm_mm is {self.fwhm_mm:g}; give the SPECT resolution, 2 to 30 mm.")
        if self.reference not in REFERENCES:
            raise InputError(
                f"The reference bone '{self.reference}' is not known; use one of "
                f"{', '.join(REFERENCES)}."
            )
        if self.threads is not None and self.threads < 1:
            raise InputError(f"threads is {self.threads}; give 1 or more.")
        if self.anchor is not None:
            parse_anchor(self.anchor)
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; give 0 or more.")


def check_together(
    options: Options, vertebrae: object | None, labeller: str, out: Path | str | None
) -> None:
    """Check what only shows when the arguments of an analysis are seen together.

    Raises
    ------
    InputError
        If two arguments exclude each other, or one needs another.
    MissingPackageError
        If the scene is wanted and slicer-core is not installed.
    """
    if vertebrae is not None and labeller != "auto":
        raise InputError(
            f"Labels are given and the labeller '{labeller}' is asked for as well; give either."
        )
    if options.transform is not None and options.initial_transform is not None:
        raise InputError(
            "A transform to be used as it is and one to start from are both given; give either."
        )
    if options.registration is not None and (options.transform or options.initial_transform):
        raise InputError("A registration to be kept and a transform are both given; give either.")
    if out is None and (options.save_volumes or options.save_scene):
        raise InputError("save_volumes and save_scene need a results folder; give out.")
    if options.save_scene:
        from CTSpectSpineLib.mrml import mrml

        mrml()
