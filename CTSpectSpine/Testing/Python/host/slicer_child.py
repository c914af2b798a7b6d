"""A quick stand-in for the child process that analyses: for tests that click many times.

It reads its arguments with the real command line, keeps registrations and decisions with the real
code, and writes the small results of `slicer_results` as an analysis of its images would.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import SimpleITK as sitk
from slicer_results import make_results_folder, record_files

from CTSpectSpineLib.analysis.edited_joints import read_regions
from CTSpectSpineLib.command_line.parser import build_parser
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import euler_transform, ijk_to_lps, inverse, transform_matrix
from CTSpectSpineLib.labelling.levels.numbering import levels_in
from CTSpectSpineLib.progress import Progress
from CTSpectSpineLib.registration.files import read_transform
from CTSpectSpineLib.results.decision import Decision, decided
from CTSpectSpineLib.results.shown import read_record
from CTSpectSpineLib.results.stage_files import RegisteredPair, read_registration
from CTSpectSpineLib.volumes.segmentation_nrrd import read_segmentation, write_segmentation

MEASURED: dict[str, np.ndarray] = {}
"""Id of each analysis to the 4×4 matrix from CT to SPECT points that it was measured with."""


class QuickChild:
    """Has the interface of `command_line.child.ChildProcess`; done at the second look."""

    pid = 0

    def __init__(self, arguments: Sequence[str], log: Path, python: str | None = None) -> None:
        self.options = build_parser().parse_args(list(arguments))
        self.code: int | None = None
        self.lines: list[str] = []
        self._looks = 0

    def poll(self) -> list[Progress]:
        self._looks += 1
        if self.code is None and self._looks > 1:
            try:
                self._analyze()
                self.code = 0
            except InputError as error:
                self.lines.append(str(error))
                self.code = 2
        return [Progress("uptake", 0.7, "Measuring the uptake")]

    def kill(self) -> None:
        self.code = -9

    def failure(self) -> str:
        return self.lines[-1]

    def _analyze(self) -> None:
        options, out = self.options, Path(self.options.out)
        images = [sitk.ReadImage(str(path)) for path in (options.ct, options.spect)]
        pair = RegisteredPair.of(*images)
        out.mkdir(parents=True, exist_ok=True)
        made = make_results_folder(out)
        decision: Decision | None = None
        if options.registration:
            kept = read_registration(Path(options.registration))
            kept.check(pair)
            matrix, decision = kept.registration.matrix, kept.decision
        elif options.transform:
            matrix = transform_matrix(read_transform(options.transform))
        else:
            # Where the SPECT lies now: a registration would find it.
            moved = ijk_to_lps(images[1]) @ inverse(ijk_to_lps(made.spect))
            matrix = moved @ made.ct_to_spect
        labels = sitk.ReadImage(str(options.vertebrae))
        sitk.WriteImage(labels, str(out / "vertebrae.nii.gz"))
        (out / "vertebrae.seg.nrrd").unlink()
        transform = euler_transform(matrix, centre_mm=(0.0, 20.0, -400.0))
        sitk.WriteTransform(transform, str(out / "spect_to_ct.tfm"))
        name = uuid4().hex
        MEASURED[name] = matrix
        _change(
            out / "registration.json",
            ct_to_spect_lps=matrix.tolist(),
            images={"ct": pair.ct.record(), "spect": pair.spect.record()},
        )
        found = {
            "levels": list(levels_in(labels)),
            "levels_confirmed": options.confirm_levels
            or options.named_levels
            or options.keep_levels,
        }
        parameters = {
            "accept_registration": options.accept_registration,
            "confirm_levels": options.confirm_levels,
            "named_levels": options.named_levels,
            "edited": options.edited,
        }
        kept = _edited(out, options.joints)
        _change(out / "manifest.json", id=name, labels=found, parameters=parameters, **kept)
        if decision is not None and not (decision.obstacle and options.accept_registration):
            for file, text in decided(read_record(out).texts, decision).items():
                (out / file).write_bytes(text.encode("utf-8"))
        record_files(out)


def _edited(out: Path, given: Path | None) -> dict[str, list[str]]:
    """Put regions that a person gave in place of those of the folder."""
    if given is None:
        return {}
    regions, path = read_regions(given), out / "joints.seg.nrrd"
    segments, grid = read_segmentation(path)
    changed = [replace(s, region=regions.get(s.name, s.region), label_value=None) for s in segments]
    write_segmentation(path, changed, grid)
    return {"edited_joints": list(regions)}


def _change(path: Path, **values: object) -> None:
    known = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**known, **values}), encoding="utf-8")
