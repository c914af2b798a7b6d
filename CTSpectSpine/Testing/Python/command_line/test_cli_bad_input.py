"""Bad inputs: exit code 2, one clear sentence, no folder that looks complete."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from CTSpectSpineLib.command_line.main import main

Arguments = list[str]


@dataclass
class Workbench:
    """A good analysis, and a folder in which to spoil one of its inputs."""

    phantom: Path
    folder: Path

    @property
    def out(self) -> Path:
        return self.folder / "results"

    def analyze(self, **changes: object) -> Arguments:
        """Arguments of a good analysis with some of them replaced, or dropped by None."""
        values: dict[str, object] = {
            "ct": self.phantom / "ct.nii.gz",
            "spect": self.phantom / "spect.nii.gz",
            "vertebrae": self.phantom / "vertebrae.nii.gz",
            "out": self.out,
            **changes,
        }
        arguments = ["analyze"]
        for name, value in values.items():
            if value is not None:
                arguments += [f"--{name.replace('_', '-')}", str(value)]
        return arguments

    def image(self, name: str) -> sitk.Image:
        return sitk.ReadImage(str(self.phantom / name))

    def save(self, image: sitk.Image, name: str) -> Path:
        path = self.folder / name
        sitk.WriteImage(image, str(path))
        return path

    def spoil(self, name: str, change: Callable[[np.ndarray], np.ndarray]) -> Path:
        """Copy an image of the phantom with its voxels changed."""
        image = self.image(name)
        spoilt = sitk.GetImageFromArray(change(sitk.GetArrayFromImage(image)))
        if spoilt.GetSize() == image.GetSize():
            spoilt.CopyInformation(image)
        return self.save(spoilt, f"spoilt-{name}")

    def text(self, name: str, content: str) -> Path:
        path = self.folder / name
        path.write_text(content, encoding="utf-8")
        return path


@pytest.fixture
def bench(lumbar_phantom: Path, tmp_path: Path) -> Workbench:
    return Workbench(lumbar_phantom, tmp_path)


def _nan(array: np.ndarray) -> np.ndarray:
    array = array.astype(np.float32)
    array[array.shape[0] // 2, 5:9, 5:9] = np.nan
    return array


def _shifted(bench: Workbench, name: str, millimetres: float) -> Path:
    image = bench.image(name)
    image.SetOrigin([value + millimetres for value in image.GetOrigin()])
    return bench.save(image, f"shifted-{name}")


def _spaced(bench: Workbench, name: str, spacing: float) -> Path:
    image = bench.image(name)
    image.SetSpacing([spacing] * 3)
    return bench.save(image, f"spaced-{name}")


def _four_dimensional(bench: Workbench) -> Path:
    return bench.save(sitk.JoinSeries([bench.image("spect.nii.gz")] * 3), "four.nii.gz")


def _coloured(bench: Workbench) -> Path:
    spect = sitk.Cast(bench.image("spect.nii.gz"), sitk.sitkUInt8)
    return bench.save(sitk.Compose([spect] * 3), "colour.nrrd")


def _empty_folder(bench: Workbench) -> Path:
    folder = bench.folder / "no-images"
    folder.mkdir()
    return folder


def _occupied(bench: Workbench) -> Path:
    folder = bench.folder / "occupied"
    folder.mkdir()
    (folder / "thesis.txt").write_text("do not delete", encoding="utf-8")
    return folder


def _physical(bench: Workbench, *options: str) -> list[str]:
    return ["phantom", "--out", str(bench.out), "--scanner", "projections", *options]


def _affine(bench: Workbench) -> Path:
    transform = sitk.AffineTransform(3)
    transform.SetMatrix([1.2, 0, 0, 0, 1, 0, 0, 0, 1])
    path = bench.folder / "affine.tfm"
    sitk.WriteTransform(transform, str(path))
    return path


def _truncated(bench: Workbench) -> Path:
    path = bench.folder / "half.nii.gz"
    content = (bench.phantom / "ct.nii.gz").read_bytes()
    path.write_bytes(content[: len(content) // 3])
    return path


CASES: dict[str, tuple[Callable[[Workbench], Arguments], list[str]]] = {
    "ct missing": (lambda b: b.analyze(ct=b.folder / "none.nii.gz"), ["none.nii.gz"]),
    "ct empty file": (lambda b: b.analyze(ct=b.text("empty.nii.gz", "")), ["empty.nii.gz"]),
    "ct is text": (lambda b: b.analyze(ct=b.text("notes.nii.gz", "hello")), ["notes.nii.gz"]),
    "ct unknown format": (lambda b: b.analyze(ct=b.text("ct.docx", "hello")), ["ct.docx"]),
    "ct truncated file": (lambda b: b.analyze(ct=_truncated(b)), ["half.nii.gz"]),
    "ct folder without images": (lambda b: b.analyze(ct=_empty_folder(b)), ["no-images"]),
    "ct is the label map": (
        lambda b: b.analyze(ct=b.phantom / "vertebrae.nii.gz"),
        ["vertebrae.nii.gz", "CT"],
    ),
    "ct scaled to 0..1": (
        lambda b: b.analyze(ct=b.spoil("ct.nii.gz", lambda a: (a + 1000) / 3000.0)),
        ["spoilt-ct.nii.gz"],
    ),
    "ct with nan": (lambda b: b.analyze(ct=b.spoil("ct.nii.gz", _nan)), ["spoilt-ct.nii.gz"]),
    "ct of one slice": (
        lambda b: b.analyze(ct=b.spoil("ct.nii.gz", lambda a: a[:1])),
        ["spoilt-ct.nii.gz"],
    ),
    "ct with absurd spacing": (
        lambda b: b.analyze(ct=_spaced(b, "ct.nii.gz", 60.0)),
        ["spaced-ct.nii.gz", "60"],
    ),
    "inputs swapped": (
        lambda b: b.analyze(ct=b.phantom / "spect.nii.gz", spect=b.phantom / "ct.nii.gz"),
        ["spect.nii.gz", "swap"],
    ),
    "ct given twice": (
        lambda b: b.analyze(spect=b.phantom / "ct.nii.gz"),
        ["ct.nii.gz", "SPECT"],
    ),
    "spect constant": (
        lambda b: b.analyze(spect=b.spoil("spect.nii.gz", lambda a: np.full_like(a, 3.0))),
        ["spoilt-spect.nii.gz"],
    ),
    "spect zero": (
        lambda b: b.analyze(spect=b.spoil("spect.nii.gz", np.zeros_like)),
        ["spoilt-spect.nii.gz"],
    ),
    "spect planar": (
        lambda b: b.analyze(spect=b.spoil("spect.nii.gz", lambda a: a[10:11])),
        ["spoilt-spect.nii.gz"],
    ),
    "spect with nan": (
        lambda b: b.analyze(spect=b.spoil("spect.nii.gz", _nan)),
        ["spoilt-spect.nii.gz"],
    ),
    "spect negative": (
        lambda b: b.analyze(spect=b.spoil("spect.nii.gz", lambda a: -a)),
        ["spoilt-spect.nii.gz"],
    ),
    "spect with frames": (lambda b: b.analyze(spect=_four_dimensional(b)), ["four.nii.gz"]),
    "spect in colour": (lambda b: b.analyze(spect=_coloured(b)), ["colour.nrrd"]),
    "spect elsewhere": (
        lambda b: b.analyze(spect=_shifted(b, "spect.nii.gz", 5000.0)),
        ["shifted-spect.nii.gz", "overlap"],
    ),
    "spect with absurd spacing": (
        lambda b: b.analyze(spect=_spaced(b, "spect.nii.gz", 0.01)),
        ["spaced-spect.nii.gz"],
    ),
    "unknown labeller": (
        lambda b: b.analyze(vertebrae=None, labeller="crystal-ball"),
        ["crystal-ball"],
    ),
    "labels missing": (lambda b: b.analyze(vertebrae=b.folder / "l.nii.gz"), ["l.nii.gz"]),
    "labels without vertebra": (
        lambda b: b.analyze(vertebrae=b.spoil("vertebrae.nii.gz", lambda a: (a > 0) * 200)),
        ["spoilt-vertebrae.nii.gz"],
    ),
    "labels empty": (
        lambda b: b.analyze(vertebrae=b.spoil("vertebrae.nii.gz", np.zeros_like)),
        ["spoilt-vertebrae.nii.gz"],
    ),
    "labels not whole numbers": (
        lambda b: b.analyze(vertebrae=b.spoil("vertebrae.nii.gz", lambda a: a * 0.37)),
        ["spoilt-vertebrae.nii.gz"],
    ),
    "labels off the ct": (
        lambda b: b.analyze(vertebrae=_shifted(b, "vertebrae.nii.gz", 900.0)),
        ["shifted-vertebrae.nii.gz"],
    ),
    "labels beside the bone": (
        lambda b: b.analyze(vertebrae=_shifted(b, "vertebrae.nii.gz", 60.0)),
        ["shifted-vertebrae.nii.gz"],
    ),
    "label folder without classes": (
        lambda b: b.analyze(vertebrae=_empty_folder(b)),
        ["no-images"],
    ),
    "unknown label scheme": (lambda b: b.analyze(label_scheme="roman"), ["roman"]),
    "context missing": (lambda b: b.analyze(context=b.folder / "p.json"), ["p.json"]),
    "context broken": (lambda b: b.analyze(context=b.text("p.json", "{")), ["p.json"]),
    "context unknown key": (
        lambda b: b.analyze(context=b.text("p.json", '{"agee": 40}')),
        ["agee", "age_years"],
    ),
    "context impossible value": (
        lambda b: b.analyze(context=b.text("p.json", '{"vas_axial": 12}')),
        ["vas_axial", "12"],
    ),
    "protocol unknown": (lambda b: b.analyze(protocol="tender-2091"), ["tender-2091"]),
    "protocol broken": (
        lambda b: b.analyze(protocol=b.text("own.json", json.dumps({"id": "x"}))),
        ["own.json"],
    ),
    "truth of something else": (
        lambda b: b.analyze(truth=b.text("truth.json", "{}")),
        ["truth.json"],
    ),
    "transform missing": (lambda b: b.analyze(transform=b.folder / "t.tfm"), ["t.tfm"]),
    "transform not rigid": (lambda b: b.analyze(transform=_affine(b)), ["affine.tfm"]),
    "transform is text": (lambda b: b.analyze(initial=b.text("t.tfm", "hello")), ["t.tfm"]),
    "out is a file": (lambda b: b.analyze(out=b.text("out.txt", "")), ["out.txt"]),
    "out is occupied": (lambda b: b.analyze(out=_occupied(b)), ["occupied"]),
    "resolution negative": (lambda b: b.analyze(fwhm=-3), ["fwhm"]),
    "reference unknown": (lambda b: b.analyze(reference="skull"), ["skull"]),
    "threads zero": (lambda b: b.analyze(threads=0), ["threads"]),
    "argument missing": (lambda b: b.analyze(spect=None), ["--spect"]),
    "command unknown": (lambda b: ["analyse"], ["analyse"]),
    "phantom case unknown": (
        lambda b: ["phantom", "--out", str(b.out), "--case", "unicorn"],
        ["unicorn", "lumbar-disc"],
    ),
    "phantom hot malformed": (
        lambda b: ["phantom", "--out", str(b.out), "--hot", "L4-L5 disc"],
        ["L4-L5 disc"],
    ),
    "phantom hot negative": (
        lambda b: ["phantom", "--out", str(b.out), "--hot", "L4-L5 disc=-1"],
        ["L4-L5 disc"],
    ),
    "phantom ct without labels": (
        lambda b: ["phantom", "--out", str(b.out), "--ct", str(b.phantom / "ct.nii.gz")],
        ["--vertebrae"],
    ),
    "phantom reconstruction of the other scanner": (
        lambda b: ["phantom", "--out", str(b.out), "--reconstruction", "recovery"],
        ["--reconstruction", "--scanner projections"],
    ),
    "phantom arms of the other scanner": (
        lambda b: ["phantom", "--out", str(b.out), "--arms"],
        ["--arms", "--scanner projections"],
    ),
    "phantom resolution of the physical scanner": (
        lambda b: _physical(b, "--fwhm", "9"),
        ["--fwhm", "--reconstruction"],
    ),
    "phantom reconstruction unknown": (
        lambda b: _physical(b, "--reconstruction", "unicorn"),
        ["unicorn", "no-recovery"],
    ),
    "phantom reconstruction file": (
        lambda b: _physical(b, "--reconstruction", str(b.text("r.json", '{"iteration": 3}'))),
        ["r.json", "'iteration'", "iterations"],
    ),
    "phantom reconstruction file of a wrong kind": (
        lambda b: _physical(b, "--reconstruction", str(b.text("r.json", '{"iterations": "x"}'))),
        ["r.json", "wrong kind"],
    ),
    "phantom reconstruction file missing": (
        lambda b: _physical(b, "--reconstruction", str(b.folder / "r.json")),
        ["r.json"],
    ),
    "phantom moved after the scan": (
        lambda b: _physical(b, "--moved", "1", "2", "3", "1.5"),
        ["1.5", "from 0 to 1"],
    ),
    "phantom patient unknown": (
        lambda b: ["phantom", "--out", str(b.out), "--patient", "unicorn"],
        ["unicorn", "ordinary"],
    ),
    "phantom patient with hot joints": (
        lambda b: ["phantom", "--out", str(b.out), "--patient", "hot", "--hot", "L4-L5 disc=3"],
        ["--patient", "--hot"],
    ),
    "phantom field of nobody": (
        lambda b: ["phantom", "--out", str(b.out), "--field", "whole"],
        ["--field", "--patient"],
    ),
    "triage table missing": (
        lambda b: ["triage", "--joints", str(b.folder / "j.csv")],
        ["j.csv"],
    ),
    "triage column missing": (
        lambda b: ["triage", "--joints", str(b.text("j.csv", "level,kind\nL4-L5,disc\n"))],
        ["side"],
    ),
    "triage class unknown": (
        lambda b: [
            "triage",
            "--joints",
            str(b.text("j.csv", "level,kind,side,uptake\nL4-L5,disc,,hot\n")),
        ],
        ["hot"],
    ),
    "report of no results": (lambda b: ["report", str(_empty_folder(b))], ["no-images"]),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_clear_sentence(
    name: str, bench: Workbench, capsys: pytest.CaptureFixture[str]
) -> None:
    make, words = CASES[name]
    arguments = make(bench)
    if arguments[0] in ("analyze", "register"):
        arguments += ["--progress", "none"]
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    error = capsys.readouterr().err
    assert code == 2, error
    lines = [line for line in error.splitlines() if line.strip()]
    assert len(lines) == 1, error
    for word in words:
        assert word in lines[0]
    assert "Traceback" not in error
    _assert_incomplete(bench.out)


def _assert_incomplete(folder: Path) -> None:
    """No folder, or one whose manifest says that it failed and that holds no verdict."""
    if not folder.exists():
        return
    for name in ("verdict.json", "report.html", "joints.csv", "truth.json"):
        assert not (folder / name).exists()
    manifest = folder / "manifest.json"
    if manifest.exists():
        assert json.loads(manifest.read_text(encoding="utf-8"))["status"] == "failed"
