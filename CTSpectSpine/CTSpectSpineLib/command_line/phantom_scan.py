"""The patient and the scanner that the options of ``phantom`` ask for."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from CTSpectSpineLib.errors import InputError

if TYPE_CHECKING:
    from CTSpectSpineLib.phantom import (
        Phantom,
        PhantomConfig,
        Reconstruction,
        Specimen,
        SpectConfig,
        Surroundings,
    )
    from CTSpectSpineLib.phantom.config import SpineConfig
    from CTSpectSpineLib.phantom.model import Anatomy

DEFAULT_RECONSTRUCTION = "no-recovery"
"""Reconstruction of the physical scanner where none is named: what most scanners offer."""
_PHYSICAL = ("reconstruction", "noise", "bladder_growth", "injection_site", "moved")


def check_scanner(options: Namespace) -> None:
    """Check that the options of ``phantom`` fit together.

    Raises
    ------
    InputError
        If one does not go with the scanner or the patient; the message names it.
    """
    if options.scanner == "projections":
        if options.fwhm is not None:
            raise InputError(
                "--fwhm is for --scanner gaussian; the resolution of --scanner projections comes "
                "from collimator and --reconstruction."
            )
    else:
        given = [name for name in _PHYSICAL if getattr(options, name) is not None]
        given += ["arms"] if options.arms else []
        if given:
            option = given[0].replace("_", "-")
            raise InputError(f"--{option} needs --scanner projections; add it.")
    if options.field is not None and options.patient is None:
        raise InputError("--field is the field of a drawn patient; give --patient KIND as well.")
    if options.field is not None and options.ct is not None:
        raise InputError("--field is for a procedural patient; a real CT has its own field.")
    for name in ("case", "hot"):
        if options.patient is not None and getattr(options, name) is not None:
            raise InputError(f"--patient draws the patient; leave out --{name}.")


def special_phantom(options: Namespace, notes: list[str]) -> Phantom:
    """A phantom from the physical scanner, or of a patient that is drawn; see `real_anatomy`."""
    from CTSpectSpineLib.phantom import Surroundings, scan
    from CTSpectSpineLib.phantom.product import imaged

    physical = options.scanner == "projections"
    settings = _reconstruction(options) if physical else None
    _surroundings(Surroundings(), options)  # finds what is impossible before the patient is built
    draw = _drawn if options.patient is not None else _given
    specimen, spect = draw(options, notes)
    if settings is None:
        record = {**specimen.record, "spect": asdict(spect)}
        return imaged(specimen.anatomy, specimen.painted, spect, record)
    specimen = replace(specimen, surroundings=_surroundings(specimen.surroundings, options))
    found = scan(specimen, spect, [settings], noise=(options.noise or 0,))
    return found[0][settings.name]


def _drawn(options: Namespace, notes: list[str]) -> tuple[Specimen, SpectConfig]:
    """A patient of a kind."""
    from CTSpectSpineLib.phantom import make_patient, patient, patient_on

    seed = 1 if options.seed is None else options.seed
    if options.ct is not None:
        anatomy = real_anatomy(options, notes)
        drawn = patient_on(anatomy, options.patient, seed)
        return make_patient(drawn, anatomy), scanner(drawn.spect, options)
    drawn = patient(options.patient, seed, options.field or "lumbar")
    drawn = replace(drawn, spine=_spine(drawn.spine, options))
    return make_patient(drawn), scanner(drawn.spect, options)


def _given(options: Namespace, notes: list[str]) -> tuple[Specimen, SpectConfig]:
    """The patient of a case, or a real CT."""
    from CTSpectSpineLib.phantom import SpectConfig, specimen_of
    from CTSpectSpineLib.phantom.activity import check_hot
    from CTSpectSpineLib.phantom.anatomy.build import make_anatomy

    if options.ct is not None:
        spect = scanner(SpectConfig(), options)
        spect.check()
        hot = hot_joints(options.hot or [])
        return specimen_of(real_anatomy(options, notes), hot, spect.seed), spect
    config = procedural_config(options)
    config.spect.check()
    spine = replace(config.spine, seed=config.spect.seed)
    check_hot(spine.joint_ids, config.hot)
    record = asdict(replace(config, spine=spine))
    anatomy = make_anatomy(spine)
    return specimen_of(anatomy, config.hot, config.spect.seed, record=record), config.spect


def procedural_config(options: Namespace) -> PhantomConfig:
    """Settings of a case with those of the command line put in."""
    from CTSpectSpineLib.phantom import DEFAULT_CASE, load_case

    case = load_case(options.case or DEFAULT_CASE)
    spine = _spine(case.spine, options)
    hot = case.hot if options.hot is None else hot_joints(options.hot)
    return replace(case, spine=spine, hot=hot, spect=scanner(case.spect, options))


def _spine(spine: SpineConfig, options: Namespace) -> SpineConfig:
    """A spine with the CT voxels and facet joints that the options ask for."""
    if options.ct_spacing is not None:
        spine = replace(spine, spacing_mm=options.ct_spacing)
    return spine if options.facets is None else replace(spine, facets=options.facets)


def real_anatomy(options: Namespace, notes: list[str]) -> Anatomy:
    """The real CT with its labels and joints; what the user should know of them goes to notes."""
    from CTSpectSpineLib.joints import build_joints
    from CTSpectSpineLib.labelling import label_vertebrae
    from CTSpectSpineLib.phantom.real_ct import anatomy_from_ct
    from CTSpectSpineLib.volumes.checks import check_ct
    from CTSpectSpineLib.volumes.reading import read_volume

    ct = read_volume(options.ct, "ct")
    notes += [*check_ct(ct), *ct.notes]
    labels = label_vertebrae(ct.image, options.vertebrae, scheme=options.label_scheme)
    joints = build_joints(labels.image, ct.image)
    notes += [*labels.warnings, *joints.warnings]
    return anatomy_from_ct(ct.image, labels.image, joints)


def hot_joints(texts: Sequence[str]) -> dict[str, float]:
    """Parse ``JOINT=RATIO``.

    Raises
    ------
    InputError
        If a text is not of that form.
    """
    hot = {}
    for text in texts:
        name, separator, ratio = text.rpartition("=")
        try:
            hot[name.strip()] = float(ratio)
        except ValueError:
            separator = ""
        if not separator:
            raise InputError(f"--hot '{text}' is not JOINT=RATIO; write it like 'L4-L5 disc=4'.")
    return hot


def scanner(default: SpectConfig, options: Namespace) -> SpectConfig:
    """The scanner's settings with those of the command line put in."""
    given = {
        "translation_mm": None if options.translation is None else tuple(options.translation),
        "rotation_deg": None if options.rotation is None else tuple(options.rotation),
        "fwhm_mm": options.fwhm,
        "counts": options.counts,
        "spacing_mm": options.spacing,
        "seed": options.seed,
    }
    return replace(default, **{key: value for key, value in given.items() if value is not None})


def _surroundings(default: Surroundings, options: Namespace) -> Surroundings:
    from CTSpectSpineLib.phantom.surroundings import MovedPart

    given: dict[str, Any] = {
        "bladder_growth": options.bladder_growth,
        "injection_site": options.injection_site,
        "arms": options.arms or None,
    }
    if options.moved is not None:
        x, y, z, begin = options.moved
        given["moved"] = MovedPart((x, y, z), begin=begin)
    return replace(default, **{key: value for key, value in given.items() if value is not None})


def _reconstruction(options: Namespace) -> Reconstruction:
    """The reconstruction that is named, with the voxels that are asked for."""
    from CTSpectSpineLib.phantom import load_reconstruction

    name = options.reconstruction or DEFAULT_RECONSTRUCTION
    path = Path(name)
    settings = read_reconstruction(path) if path.suffix == ".json" else load_reconstruction(name)
    return settings if options.spacing is None else replace(settings, voxel_mm=None)


def read_reconstruction(path: Path) -> Reconstruction:
    """A reconstruction from a JSON file; what it leaves out is as in the default.

    Raises
    ------
    InputError
        If the file cannot be used; the message says why.
    """
    from CTSpectSpineLib.phantom import Reconstruction, load_reconstruction

    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"The reconstruction {path} cannot be read as JSON: {error}.") from error
    known = [*(f.name for f in fields(Reconstruction)), "family", "scatter_correction"]
    unknown = [key for key in row if key not in known] if isinstance(row, dict) else ["(no object)"]
    if unknown:
        raise InputError(
            f"The reconstruction {path} has '{unknown[0]}'; it may have {', '.join(known)}."
        )
    start = load_reconstruction(DEFAULT_RECONSTRUCTION)
    corrected = row.pop("scatter_correction", True)
    row.pop("family", None)  # follows from the recovery
    values: dict[str, Any] = {"name": path.stem}
    if not corrected:
        values["scatter_window"] = None
    values |= {key: tuple(v) if isinstance(v, list) else v for key, v in row.items()}
    try:
        return replace(start, **values)
    except TypeError as error:
        raise InputError(
            f"The reconstruction {path} holds a value of a wrong kind: {error}."
        ) from error
