"""Every kind of input: its whole files, how they are damaged, and the command that reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from benchmarks.fuzz import mutations, seeds, seeds_dicom
from benchmarks.fuzz.mutations import Mutation

_CT, _SPECT = "good_ct.nii.gz", "good_spect.nii.gz"


@dataclass(frozen=True)
class Kind:
    """One kind of input.

    Attributes
    ----------
    name
        What it is called in tables.
    make
        Makes the whole files, by name.
    damaged
        Mutation of the files that are damaged, by their names or their extensions (``.csv``).
    command
        Words of the command; ``{}`` is the folder.
    """

    name: str
    make: Callable[[], seeds.Files]
    damaged: Mapping[str, Mutation]
    command: tuple[str, ...]

    def files(self, number: int) -> tuple[dict[str, bytes], tuple[str, ...]]:
        """The files of one input, and the names of those that are damaged."""
        rng = Random(f"{self.name} {number}")
        files = dict(whole_files(self.name))
        known = [(name, self._mutation(name)) for name in sorted(files)]
        choices = [(name, mutation) for name, mutation in known if mutation is not None]
        picked = rng.sample(choices, min(len(choices), rng.choice((1, 1, 1, 2))))
        for name, mutation in picked:
            files[name] = mutation(files[name], rng)
        return files, tuple(name for name, _ in picked)

    def _mutation(self, name: str) -> Mutation | None:
        known = self.damaged.items()
        return next((m for key, m in known if key in (Path(name).name, _extension(name))), None)

    def arguments(self, folder: Path) -> list[str]:
        """The command for the files in a folder."""
        return [word.replace("{}", str(folder)) for word in self.command]


def _extension(name: str) -> str:
    return "." + Path(name).name.partition(".")[2]


@cache
def whole_files(name: str) -> seeds.Files:
    """The undamaged files of a kind."""
    kind = next(kind for kind in KINDS if kind.name == name)
    good = {
        # Large enough to pass, so that the SPECT is looked at too.
        **seeds.image_files(seeds.ct_voxels((12, 18, 15)), _CT),
        **seeds.image_files(seeds.spect_voxels(), _SPECT),
    }
    needed = {n: content for n, content in good.items() if any(n in w for w in kind.command)}
    return {**needed, **kind.make()}


def _image(name: str, role: str, mutation: Mutation, compressed: bool = True) -> Kind:
    """A volume that `register` reads."""
    voxels = seeds.ct_voxels if role == "ct" else seeds.spect_voxels
    file = f"{role}.{name}"
    ct, spect = (
        (f"{{}}/{file}", f"{{}}/{_SPECT}") if role == "ct" else (f"{{}}/{_CT}", f"{{}}/{file}")
    )
    label = f"{role} {name}" + ("" if compressed else " raw")
    return Kind(
        label,
        lambda: seeds.image_files(voxels(), file, compressed),
        {file: mutation, ".raw": mutations.damage_bytes, ".raw.gz": mutations.damage_bytes},
        ("register", "--ct", ct, "--spect", spect, "--out", "{}/out"),
    )


def _dicom(name: str, role: str, place: str, make: Callable[[], seeds.Files]) -> Kind:
    ct, spect = (
        (f"{{}}/{place}", f"{{}}/{_SPECT}") if role == "ct" else (f"{{}}/{_CT}", f"{{}}/{place}")
    )
    command = ("register", "--ct", ct, "--spect", spect, "--out", "{}/out")
    return Kind(name, make, {".dcm": mutations.damage_dicom}, command)


def _labels(name: str, file: str, mutation: Mutation, make: Callable[[], seeds.Files]) -> Kind:
    command = ("joints", "--vertebrae", f"{{}}/{file}", "--out", "{}/out")
    return Kind(name, make, {file: mutation}, command)


def _transform(file: str, mutation: Mutation, composite: bool = False) -> Kind:
    pair = ("--ct", f"{{}}/{_CT}", "--spect", f"{{}}/{_SPECT}")
    return Kind(
        f"transform {file}",
        lambda: seeds.transform_file(file, composite),
        {file: mutation},
        ("register", *pair, "--initial", f"{{}}/{file}", "--out", "{}/out"),
    )


def _triage() -> Kind:
    return Kind(
        "joint table, context, protocol",
        lambda: {
            "joints.csv": seeds.joint_table(),
            "context.json": seeds.context(),
            "protocol.json": seeds.protocol(),
        },
        {
            ".csv": mutations.damage_text,
            "context.json": mutations.damage_json,
            "protocol.json": mutations.damage_json,
        },
        (
            *("triage", "--joints", "{}/joints.csv", "--context", "{}/context.json"),
            *("--protocol", "{}/protocol.json", "--out", "{}/verdict.json"),
        ),
    )


_RESULTS: Mapping[str, Mutation] = {
    "manifest.json": mutations.damage_json,
    "registration.json": mutations.damage_json,
    "verdict.json": mutations.damage_json,
    "index.json": mutations.damage_json,
    "joints.csv": mutations.damage_text,
    ".png": mutations.damage_bytes,
}

KINDS: tuple[Kind, ...] = (
    _image("nii.gz", "ct", mutations.damage_nifti),
    _image("nii", "spect", mutations.damage_nifti),
    Kind(
        "ct pair",
        lambda: seeds.nifti_pair(seeds.ct_voxels()),
        {".hdr": mutations.damage_nifti, ".img": mutations.damage_bytes},
        ("register", "--ct", "{}/pair.hdr", "--spect", f"{{}}/{_SPECT}", "--out", "{}/out"),
    ),
    _image("nrrd", "ct", mutations.damage_header(b"\n\n")),
    _image("nrrd", "spect", mutations.damage_header(b"\n\n"), compressed=False),
    _image("nhdr", "ct", mutations.damage_text),
    _image("mha", "ct", mutations.damage_meta),
    _image("mha", "spect", mutations.damage_meta, compressed=False),
    _image("mhd", "ct", mutations.damage_text, compressed=False),
    _dicom("dicom ct folder", "ct", "ct", seeds_dicom.ct_folder),
    _dicom("dicom nm file", "spect", "nm.dcm", seeds_dicom.nm_file),
    _dicom(
        "dicom nm file compressed", "spect", "nm.dcm", lambda: seeds_dicom.nm_file(compressed=True)
    ),
    _labels(
        "labels nii.gz",
        "labels.nii.gz",
        mutations.damage_nifti,
        lambda: seeds.nifti_with_names(seeds.label_voxels()),
    ),
    _labels(
        "labels seg.nrrd",
        "labels.seg.nrrd",
        mutations.damage_header(b"\n\n"),
        seeds.segmentation,
    ),
    Kind(
        "labels on a ct",
        lambda: seeds.nifti_with_names(seeds.label_voxels()),
        {"labels.nii.gz": mutations.damage_nifti},
        (
            *("label", "--ct", f"{{}}/{_CT}", "--vertebrae", "{}/labels.nii.gz"),
            *("--out", "{}/out"),
        ),
    ),
    _transform("a.tfm", mutations.damage_text),
    _transform("b.txt", mutations.damage_text, composite=True),
    _transform("c.h5", mutations.damage_bytes),
    _transform("d.mat", mutations.damage_bytes),
    _triage(),
    Kind("results for a report", seeds.results, _RESULTS, ("report", "{}/results")),
    Kind(
        "results for bounds",
        seeds.normals,
        _RESULTS,
        (
            *("bounds", "--normals", "{}/normals", "--out", "{}/p.json", "--id", "mine"),
            *("--false-positives", "0.05", "--borderline", "0.1"),
        ),
    ),
    Kind(
        "results to go on with",
        seeds.results,
        {**_RESULTS, ".tfm": mutations.damage_text},
        (
            *("analyze", "--ct", f"{{}}/{_CT}", "--spect", f"{{}}/{_SPECT}"),
            *("--registration", "{}/results", "--out", "{}/out"),
        ),
    ),
    Kind(
        "results to shift",
        seeds.results,
        _RESULTS,
        (
            *("shift", "{}/results", "--by", "1", "--out", "{}/out"),
            *("--ct", f"{{}}/{_CT}", "--spect", f"{{}}/{_SPECT}"),
        ),
    ),
    Kind(
        "study rows",
        seeds.study,
        {".csv": mutations.damage_text},
        ("bounds", "--study", "{}/study", "--split", "test"),
    ),
    Kind(
        "study rows for a document",
        seeds.study,
        {".csv": mutations.damage_text},
        ("validate", "--document-only", "--rows", "{}/study", "--out", "{}/out"),
    ),
    _dicom("dicom enhanced ct", "ct", "enhanced", seeds_dicom.enhanced_ct),
    _dicom("dicom concatenation", "ct", "enhanced", lambda: seeds_dicom.enhanced_ct(parts=3)),
    _dicom("dicom pet slices", "spect", "pet", seeds_dicom.pet_folder),
    Kind(
        "dicom study",
        seeds_dicom.study_folder,
        {".dcm": mutations.damage_dicom},
        (
            *("analyze", "--study", "{}/study", "--labeller", "builtin", "--threads", "1"),
            *("--out", "{}/out"),
        ),
    ),
)
"""All kinds; inputs are numbered through them in turn."""


def kind_of(number: int) -> Kind:
    """The kind of an input by its number."""
    return KINDS[number % len(KINDS)]
