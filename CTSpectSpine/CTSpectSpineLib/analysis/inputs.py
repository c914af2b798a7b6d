"""What the user may give as images, labels and transforms, brought to one form each."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import SimpleITK as sitk

from CTSpectSpineLib.analysis.options import Options
from CTSpectSpineLib.model import VertebraLabels
from CTSpectSpineLib.registration.files import read_transform
from CTSpectSpineLib.results.ownership import readable
from CTSpectSpineLib.results.stage_files import KeptRegistration, read_registration
from CTSpectSpineLib.triage_protocol.context import moment
from CTSpectSpineLib.volumes.reading import read_volume, volume_from_image
from CTSpectSpineLib.volumes.volume import Role, Volume

VolumeSource: TypeAlias = sitk.Image | Path | str | Volume
LabelSource: TypeAlias = VolumeSource | VertebraLabels


@dataclass(frozen=True)
class Alignment:
    """What is known of the position of the SPECT before it is registered.

    Attributes
    ----------
    fixed
        Transform from CT to SPECT points that is used unchanged.
    start
        Transform from which the registration starts.
    kept
        Registration of an earlier analysis of the same images that is used again, with what the
        user decided on it.
    """

    fixed: sitk.Transform | None = None
    start: sitk.Transform | None = None
    kept: KeptRegistration | None = None

    @property
    def known(self) -> bool:
        """Whether anything is known."""
        return any(given is not None for given in (self.fixed, self.start, self.kept))


def alignment_of(options: Options) -> Alignment:
    """Read what the settings name of transforms and registrations.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    kept = options.registration
    with nullcontext() if kept is None else readable(Path(kept)):
        registration = None if kept is None else read_registration(Path(kept))
    return Alignment(
        start=_transform(options.initial_transform),
        fixed=_transform(options.transform),
        kept=registration,
    )


def as_volume(source: VolumeSource, role: Role) -> Volume:
    """Volume from what the user gave: an image, a path, or a volume."""
    if isinstance(source, Volume):
        return source
    if isinstance(source, sitk.Image):
        return volume_from_image(source, role)
    return read_volume(Path(source), role)


def as_labels(source: VolumeSource) -> Path | sitk.Image:
    """Label map from what the user gave, as `label_vertebrae` takes it."""
    if isinstance(source, Volume):
        return source.image
    return Path(source) if isinstance(source, str) else source


def paths_of(*sources: object) -> list[Path]:
    """Paths of those sources that were read from files."""
    given = [source.path if isinstance(source, Volume) else source for source in sources]
    return [Path(source) for source in given if isinstance(source, str | Path)]


def name_of(source: LabelSource | None) -> str:
    """What sentences call the labels."""
    return str(source) if isinstance(source, str | Path) else "The label map"


def suv_inputs(context: Mapping[str, Any]) -> dict[str, Any]:
    """What the context says for the SUV, under the names of `volumes.suv_factor`."""
    times = {
        key: moment(context[key]) if key in context else None
        for key in ("injection_time", "scan_time")
    }
    return {
        "weight_kg": context.get("body_weight_kg"),
        "dose_MBq": context.get("injected_dose_MBq"),
        **times,
    }


def lean_inputs(context: Mapping[str, Any]) -> dict[str, Any]:
    """What the context says for the lean-body SUV, under the names of `volumes.lean_share`."""
    return {
        "weight_kg": context.get("body_weight_kg"),
        "height_cm": context.get("body_height_cm"),
        "sex": context.get("sex"),
    }


def _transform(source: sitk.Transform | Path | str | None) -> sitk.Transform | None:
    return read_transform(Path(source)) if isinstance(source, str | Path) else source
