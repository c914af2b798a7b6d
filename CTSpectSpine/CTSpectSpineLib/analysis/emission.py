"""What is known of the SPECT's reconstruction, and the SPECT that is solved for because of it."""

from __future__ import annotations

from dataclasses import asdict, replace

from CTSpectSpineLib.analysis.options import Options
from CTSpectSpineLib.analysis.stages import Images
from CTSpectSpineLib.model import Registration, SpineJoints
from CTSpectSpineLib.reconstruction import (
    ReconstructionFacts,
    given_reconstruction,
    read_reconstruction,
)
from CTSpectSpineLib.uptake import Emission, emission
from CTSpectSpineLib.volumes import Volume


def reconstruction_facts(spect: Volume, options: Options) -> ReconstructionFacts:
    """What is known of the reconstruction: as given, and for the rest as the header says."""
    found = spect.acquisition
    header = read_reconstruction(
        found.reconstruction,
        found.filter,
        found.corrections,
        comments=found.comments,
        manufacturer=found.manufacturer,
    )
    if options.reconstruction is None:
        return header
    given = given_reconstruction(str(options.reconstruction))
    said = {key: value for key, value in asdict(given).items() if value is not None}
    if given.family is None and header.family is not None:
        del said["source"], said["stated"]
    return replace(header, **said)


def emission_of(
    images: Images, joints: SpineJoints, registration: Registration, options: Options
) -> Emission:
    """The SPECT that is solved for: its attenuation corrected with the CT if need be."""
    facts = reconstruction_facts(images.spect, options)
    frames = joints.frames.values()
    return emission(images.spect.image, images.ct.image, registration.matrix, frames, facts)


def as_emitted(images: Images, emitted: Emission) -> Images:
    """The images with that SPECT."""
    return replace(images, spect=replace(images.spect, image=emitted.spect))
