"""Settings of an analysis: one table for Python, command line, child process, panel and manifest.

A field of `Options` is the only place where a setting is spelled. The command line makes its
options of the fields (`command_line.shared_arguments`), a child process gets `Options.arguments`,
the manifest keeps `Options.record`. Imports nothing heavy: help and panel are there at once.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from CTSpectSpineLib.anatomy import LABEL_SCHEMES, REFERENCE_BONES, vertebrae
from CTSpectSpineLib.calibration_file import read_calibration
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.reconstruction import given_reconstruction

if TYPE_CHECKING:
    import SimpleITK as sitk

FWHM_RANGE_MM = (2.0, 30.0)
"""Resolution that a SPECT can have, FWHM. Judgement: far beyond both ends of what is
in use (8 to 18 mm)."""

SPECT_UNITS = ("Bq/ml", "counts", "SUV")
"""Units that a SPECT may be declared to have."""


def _listed(words: Sequence[str], last: str) -> str:
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def _setting(
    default: Any, option: str, text: str, metavar: str | None = None, read: type = str
) -> Any:
    """Field with its spelling on the command line; without a metavar it is a flag."""
    spelled = {"option": option, "help": text, "metavar": metavar, "read": read}
    return field(default=default, metadata=spelled)


@dataclass(frozen=True)
class Options:
    """Settings of an analysis; the defaults are those of the command line.

    Attributes
    ----------
    transform
        A rigid transform from CT to SPECT points (or its file) that is used unchanged.
    initial_transform
        A rigid transform (or its file) from which the registration starts.
    registration
        Results folder of an earlier analysis of the same images: its registration is used with its
        quality, nothing is registered again.
    label_scheme
        Numbering of a label map, one of `anatomy.LABEL_SCHEMES`.
    unit
        Unit of the SPECT, one of `SPECT_UNITS`, where its file states none.
    fwhm_mm
        Resolution of the SPECT (FWHM in mm); None to estimate it.
    reconstruction
        How the SPECT was reconstructed: ``recovery``, ``no-recovery`` or a JSON file
        (`reconstruction.given_reconstruction`); None to take it from the SPECT's header.
    calibration
        File of the site's calibration (`calibration_file.read_calibration`); None for none.
    reference
        Reference bone, one of `anatomy.REFERENCE_BONES`.
    bend_spine
        Let each vertebra move a little on top of the rigid registration, where the SPECT supports
        it: for a spine that lay differently in the two scans.
    accept_registration
        Give a verdict although the registration failed; recorded with the verdict.
    confirm_levels
        The user has checked the vertebra levels; recorded with the verdict.
    named_levels
        A person gave the vertebrae these names: the levels count as confirmed unless a check
        finds a doubt; recorded.
    keep_levels
        An earlier analysis of the same label map found its levels plausible; recorded.
    doubted_levels
        Names that the analysis of ``keep_levels`` left in doubt, like ``T11,T12``; recorded.
    edited
        Vertebrae whose outlines a person edited, like ``L4,L5``; recorded.
    joints
        Segmentation (``.seg.nrrd``) with regions of joints that a person outlined: segments named
        as joints (``L4-L5 disc``) replace what is found where they differ from it; recorded.
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

    transform: sitk.Transform | Path | str | None = _setting(
        None, "--transform", "use this CT-to-SPECT transform as it is", "TFM", Path
    )
    initial_transform: sitk.Transform | Path | str | None = _setting(
        None, "--initial", "start the registration from this transform", "TFM", Path
    )
    registration: Path | str | None = _setting(
        None,
        "--registration",
        "keep the registration of this earlier analysis of the same images",
        "RESULTS",
        Path,
    )
    label_scheme: str = _setting(
        "auto",
        "--label-scheme",
        f"numbering of the labels: {_listed(LABEL_SCHEMES, 'or')}",
        "NAME",
    )
    unit: str | None = _setting(
        None,
        "--unit",
        f"unit of the SPECT where its file states none: {_listed(SPECT_UNITS, 'or')}",
        "UNIT",
    )
    fwhm_mm: float | None = _setting(None, "--fwhm", "SPECT resolution, if known", "MM", float)
    reconstruction: Path | str | None = _setting(
        None,
        "--reconstruction",
        "how the SPECT was reconstructed: recovery, no-recovery or a JSON file",
        "NAME|FILE",
        Path,
    )
    calibration: Path | str | None = _setting(
        None,
        "--calibration",
        "the site's calibration, a file that calibrate wrote",
        "FILE",
        Path,
    )
    reference: str = _setting(
        REFERENCE_BONES[0],
        "--reference",
        f"reference bone: {_listed(REFERENCE_BONES, 'or')}",
        "BONE",
    )
    bend_spine: bool = _setting(
        False,
        "--bend-spine",
        "move each vertebra a little where the spine lay differently in the two scans (recorded)",
    )
    accept_registration: bool = _setting(
        False,
        "--accept-registration",
        "give a verdict although the registration failed (recorded)",
    )
    confirm_levels: bool = _setting(
        False, "--confirm-levels", "the vertebra levels were checked by a person (recorded)"
    )
    named_levels: bool = _setting(
        False,
        "--named-levels",
        "a person named these labels: confirmed unless a check finds a doubt (recorded)",
    )
    keep_levels: bool = _setting(
        False, "--keep-levels", "an earlier analysis found these very levels plausible (recorded)"
    )
    doubted_levels: str | None = _setting(
        None,
        "--doubted-levels",
        "names that it left in doubt, like T11,T12 (recorded)",
        "LEVELS",
    )
    edited: str | None = _setting(
        None,
        "--edited",
        "vertebrae whose outlines were edited by hand, like L4,L5 (recorded)",
        "LEVELS",
    )
    joints: Path | str | None = _setting(
        None,
        "--joints",
        "regions of joints edited by hand: segments named like 'L4-L5 disc' (recorded)",
        "SEGMENTATION",
        Path,
    )
    anchor: str | None = _setting(
        None,
        "--anchor",
        "a point (LPS mm) in a vertebra that you know, like L5@3.5,-40,812: all others follow",
        "LEVEL@x,y,z",
    )
    device: str = _setting(
        "auto",
        "--device",
        "where TotalSegmentator runs: auto (default), cpu, gpu, gpu:1 ... or mps",
        "NAME",
    )
    fast: bool = _setting(False, "--fast", "TotalSegmentator's 3 mm model: quicker, less fine")
    save_volumes: bool = _setting(False, "--save-volumes", "write spect_on_ct.nrrd")
    save_scene: bool = _setting(False, "--save-scene", "write scene.mrb (slicer-core)")
    threads: int | None = _setting(None, "--threads", "most threads to use", "N", int)
    seed: int = _setting(0, "--seed", "seed of the intervals", "N", int)

    def __post_init__(self) -> None:
        """Check the values.

        Raises
        ------
        InputError
            If a setting is impossible.
        """
        low, high = FWHM_RANGE_MM
        if self.fwhm_mm is not None and not low <= self.fwhm_mm <= high:
            raise InputError(
                f"fwhm_mm is {self.fwhm_mm:g}; give the SPECT resolution, {low:g} to {high:g} mm."
            )
        for name in (self.edited or "").split(",") if self.edited is not None else ():
            if name not in {row.name for row in vertebrae()}:
                raise InputError(
                    f"edited is '{self.edited}'; give vertebrae like L4,L5, without spaces."
                )
        if self.unit is not None and self.unit not in SPECT_UNITS:
            raise InputError(
                f"The unit '{self.unit}' is not known; use {_listed(SPECT_UNITS, 'or')}."
            )
        if self.reconstruction is not None:
            given_reconstruction(str(self.reconstruction))
        if self.calibration is not None:
            read_calibration(self.calibration)
        if self.reference not in REFERENCE_BONES:
            raise InputError(
                f"The reference bone '{self.reference}' is not known; use one of "
                f"{', '.join(REFERENCE_BONES)}."
            )
        if self.threads is not None and self.threads < 1:
            raise InputError(f"threads is {self.threads}; give 1 or more.")
        if self.anchor is not None:
            from CTSpectSpineLib.labelling.levels.anchor import parse_anchors

            parse_anchors(self.anchor)
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; give 0 or more.")

    @classmethod
    def from_arguments(cls, arguments: Namespace) -> Options:
        """Settings from the parsed arguments of a command; those it does not take stay usual."""
        return cls(**{name: getattr(arguments, name) for name in NAMES if hasattr(arguments, name)})

    @classmethod
    def from_record(cls, record: Mapping[str, Any], **changed: Any) -> Options:
        """Settings that `record` wrote, but for some; unknown names are left out."""
        return cls(**{**{name: record[name] for name in NAMES if name in record}, **changed})

    def arguments(self) -> list[str]:
        """The words of the command line that give these settings.

        Raises
        ------
        TypeError
            If a transform is an object, which no command line can hold.
        """
        words: list[str] = []
        for setting in fields(self):
            value, option = getattr(self, setting.name), setting.metadata["option"]
            if value == setting.default:
                continue
            if value is True:
                words.append(option)
            elif isinstance(value, str | Path | int | float):
                # With "=", a value that begins with a minus is no option.
                words.append(f"{option}={value}")
            else:
                raise TypeError(f"{setting.name} is not a file; write it to one first")
        return words

    def record(self) -> dict[str, Any]:
        """The settings as the manifest keeps them; files by name, without their folder."""
        return {
            setting.name: _plain(setting.metadata["read"], value)
            for setting in fields(self)
            for value in [getattr(self, setting.name)]
        }


def _plain(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str | Path):
        return Path(value).resolve().name
    return value if isinstance(value, bool | int | float | None) else str(value)


NAMES = tuple(setting.name for setting in fields(Options))
"""Names of all settings."""


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
        from CTSpectSpineLib.scene.mrml import mrml

        mrml()
