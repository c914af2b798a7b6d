"""An analysis once more with other names of the vertebrae: only what depends on them is new."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from CTSpectSpineLib.analysis import pipeline
from CTSpectSpineLib.analysis.edited_joints import (
    EditedJoints,
    new_names,
    read_regions,
    renamed_regions,
)
from CTSpectSpineLib.analysis.inputs import as_volume
from CTSpectSpineLib.analysis.options import Options
from CTSpectSpineLib.analysis.results import Results
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.labelling import import_labels, judge
from CTSpectSpineLib.model import VertebraLabels
from CTSpectSpineLib.progress import ProgressCallback
from CTSpectSpineLib.reconstruction import FAMILIES
from CTSpectSpineLib.results.folder import check_folder
from CTSpectSpineLib.results.inputs import find_input
from CTSpectSpineLib.results.manifest import MANIFEST, SCHEMA
from CTSpectSpineLib.results.ownership import readable
from CTSpectSpineLib.results.text_files import read_json
from CTSpectSpineLib.triage_protocol import check_context
from CTSpectSpineLib.volumes.reading import read_volume
from CTSpectSpineLib.volumes.volume import Role, Volume

_NOT_KEPT = ("transform", "initial_transform", "registration", "anchor", "joints")


def relevel(
    earlier: Path,
    change: Callable[[VertebraLabels], VertebraLabels],
    out: Path,
    *,
    ct: Path | None = None,
    spect: Path | None = None,
    protocol: str | None = None,
    progress: ProgressCallback | None = None,
) -> Results:
    """Analyse again with changed labels; images, registration and settings stay.

    Parameters
    ----------
    earlier
        Results folder of the analysis.
    change
        Gives the labels other names.
    out
        Results folder of the new analysis.
    ct, spect
        Where the images are now, if they are not where they were.
    protocol
        Protocol, if it is not one of this software.

    Raises
    ------
    InputError
        If the folder holds no finished analysis, the images differ, or the change is impossible.
    """
    manifest = read_json(earlier / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise InputError(f"{earlier} is not a results folder of this version; analyse again.")
    if out.resolve() == earlier.resolve():
        raise InputError(f"--out is the folder of the earlier analysis ({out}); give another one.")
    check_folder(out)
    with readable(earlier):
        inputs = manifest.get("inputs", {})
        images = {
            "ct": _image(inputs, "ct", ct, earlier),
            "spect": _image(inputs, "spect", spect, earlier),
        }
        labels = kept_labels(earlier, manifest, images["ct"].image)
        options = _options(manifest, earlier)
        used = protocol or str(manifest["protocol"]["id"])
        context = check_context(manifest.get("context") or {}, str(earlier / MANIFEST))
        changed = change(labels)
        names = new_names(labels.image, changed.image)
        edited = _edited(earlier, manifest, names)
        if options.edited is not None:
            outlines = dict.fromkeys(names.get(n, n) for n in options.edited.split(","))
            options = replace(options, edited=",".join(outlines))
    return pipeline.analyze(
        images["ct"],
        images["spect"],
        judge(changed),
        protocol=used,
        context=context,
        progress=progress,
        out=out,
        options=options,
        edited=edited,
    )


def _edited(
    earlier: Path, manifest: Mapping[str, Any], names: Mapping[str, str]
) -> EditedJoints | None:
    """Regions that were edited by hand, under the names that their joints have now."""
    joints, path = manifest.get("edited_joints") or (), earlier / "joints.seg.nrrd"
    if not joints:
        return None
    regions = {joint: region for joint, region in read_regions(path).items() if joint in joints}
    return EditedJoints(renamed_regions(regions, names), path)


def kept_labels(folder: Path, manifest: Mapping[str, Any], ct: sitk.Image) -> VertebraLabels:
    """The labels of a results folder, with the hips and who made them."""
    labels = import_labels(folder / "vertebrae.nii.gz", ct, "totalsegmentator")
    image = labels.image
    if (folder / "hips.nii.gz").is_file():
        hips = read_volume(folder / "hips.nii.gz", "labels").image
        hips.CopyInformation(image)
        image = sitk.Maximum(image, sitk.Cast(hips, image.GetPixelID()))
    record = manifest.get("labels", {})
    return replace(
        labels,
        image=image,
        engine=str(record.get("engine", labels.engine)),
        engine_version=str(record.get("engine_version", "")),
        engine_reason=str(record.get("engine_reason", "")),
        levels_confirmed=bool(record.get("levels_confirmed", False)),
        # What the earlier labels were doubted for is judged again under the new names.
        confidence={},
        warnings=(),
    )


def _image(inputs: Mapping[str, Any], role: Role, given: Path | None, folder: Path) -> Volume:
    record = inputs.get(role, {})
    path = given or find_input(record.get("name"), folder)
    if path is None:
        name = record.get("name")
        what = f"({name}) is neither near it nor here" if name else "was not read from a file"
        raise InputError(f"The {role.upper()} of {folder} {what}; give it with --{role}.")
    volume = as_volume(path, role)
    if record.get("sha256") and volume.sha256 and volume.sha256 != record["sha256"]:
        raise InputError(f"{path} is not the {role.upper()} of {folder}: its content differs.")
    return volume


def _options(manifest: Mapping[str, Any], earlier: Path) -> Options:
    kept = {k: v for k, v in manifest.get("parameters", {}).items() if k not in _NOT_KEPT}
    for setting in ("reconstruction", "calibration"):
        stated = kept.get(setting)
        if isinstance(stated, str) and stated not in FAMILIES:
            found = find_input(stated, earlier)
            if found is None:
                raise InputError(
                    f"{earlier}: the {setting} file '{stated}' of the earlier analysis is not"
                    " found; put it beside the results folder."
                )
            kept[setting] = found
    try:
        return Options.from_record(kept, registration=earlier)
    except TypeError as error:
        raise InputError(f"{earlier}: its settings cannot be read ({error}).") from error


def is_results(path: Path) -> bool:
    """Whether a path is the results folder of an analysis."""
    return (path / MANIFEST).is_file()
