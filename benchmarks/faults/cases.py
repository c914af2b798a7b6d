"""Commands with small inputs, and how they are started."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.faults.series import write_series

LIBRARY = Path(__file__).resolve().parents[2] / "CTSpectSpine"
LONGEST_SECONDS = 900.0
"""Longest time for a command. Judgement: many times what the slowest takes."""


@dataclass(frozen=True)
class Case:
    """A command in a workplace.

    Attributes
    ----------
    name
        What the table calls it.
    words
        The command line; ``IN`` and ``OUT`` stand for the folders of the workplace.
    codes
        Exit codes of a run that is not disturbed.
    places
        Which entry of ``WRITTEN`` belongs to which folder below ``OUT`` (or ``IN``).
    file
        Name of the single file that is written, if it is one.
    share
        How often it is disturbed among the others: quick commands more often than slow ones.
    """

    name: str
    words: str
    codes: tuple[int, ...] = (0,)
    places: tuple[tuple[int, str], ...] = ((0, "OUT"),)
    file: str = ""
    share: int = 12

    @property
    def command(self) -> str:
        """The command itself."""
        return self.words.split()[0]


IMAGES = "--ct IN/ct.nii.gz --spect IN/spect.nii.gz"
LABELS = "--vertebrae IN/vertebrae.nii.gz"
CASES = (
    Case("analyze", f"analyze {IMAGES} {LABELS} --save-volumes --out OUT", (0, 1), share=3),
    Case(
        "batch",
        "batch IN/cohort.csv --resume --out OUT",
        (0, 1),
        places=((0, "OUT"), (1, "OUT/a")),
        share=2,
    ),
    Case("review", "review OUT a exclude --value hip --by me", places=((0, "OUT/review"),)),
    Case("outcomes", "outcomes IN/outcomes.csv --out OUT", share=2),
    Case("flow", "flow --counts tender-2019 --out OUT", share=4),
    Case(
        "diagnostic",
        "diagnostic IN/measured IN/reference.csv --out OUT",
        share=2,
    ),
    Case(
        "agreement",
        "agreement --reader IN/reading.csv --results IN/measured --out OUT",
        share=3,
    ),
    Case("reader form", "reader-form IN/measured --out OUT/form.html", file="form.html"),
    Case(
        "calibrate",
        "calibrate --normals IN/normals --out OUT/site.json",
        file="site.json",
        share=6,
    ),
    Case("register", f"register {IMAGES} --out OUT", share=6),
    Case("label", f"label --ct IN/ct.nii.gz {LABELS} --out OUT", share=8),
    Case("joints", f"joints {LABELS} --out OUT"),
    Case("shift labels", "shift IN/vertebrae.nii.gz --by -1 --out OUT", places=((1, "OUT"),)),
    Case("shift results", f"shift IN/results --by -1 {IMAGES} --out OUT", (0, 1), share=1),
    Case("phantom", "phantom --case lumbar-disc --ct-spacing 4 --out OUT", share=3),
    Case("phantom of a CT", f"phantom --ct IN/ct.nii.gz {LABELS} --out OUT", share=3),
    Case("demo", "demo --out OUT", places=((0, "OUT/phantom"), (1, "OUT/results")), share=1),
    Case("triage", "triage --joints IN/joints.csv --out OUT/v.json", (0, 1), file="v.json"),
    Case("report", "report OUT/results", places=((0, "OUT/results"),)),
    Case("export", "export IN/results --ct IN/series --dicom OUT", share=4),
    Case(
        "validate",
        "validate --document-only --rows IN/rows --out OUT",
        places=((0, "OUT"),),
    ),
    Case(
        "bounds",
        "bounds --study IN/rows --split test --false-positives 0.2 --missed 0.2 --borderline 0.2 "
        "--id site --out OUT/p.json",
        file="p.json",
    ),
)


@dataclass
class Workplace:
    """Inputs that stay as they are, and a folder to write into."""

    folder: Path
    inputs: Path = field(init=False)
    out: Path = field(init=False)

    def __post_init__(self) -> None:
        """Name the folders."""
        self.inputs, self.out = self.folder / "in", self.folder / "out"

    def arguments(self, case: Case) -> list[str]:
        """The command line of a case."""
        places = {"IN": str(self.inputs), "OUT": str(self.out)}
        words = []
        for word in case.words.split():
            head, slash, rest = word.partition("/")
            words.append(f"{places[head]}{slash}{rest}" if head in places else word)
        return words

    def turn_to(self, case: Case) -> None:
        """Let a case write into a folder of its own."""
        self.out = self.folder / "out" / case.name.replace(" ", "-")
        if not self.out.is_dir():
            self.clear(case)

    def clear(self, case: Case) -> None:
        """Empty the output; ``report`` and ``review`` need results to work on."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir(parents=True)
        if case.command == "report":
            shutil.copytree(self.inputs / "results", self.out / "results")
        if case.command == "review":
            shutil.copytree(self.inputs / "results", self.out / "a")


def prepare(folder: Path) -> Workplace:
    """A small phantom, also in DICOM, an analysis of it, and rows of a study."""
    workplace = Workplace(folder)
    workplace.inputs.mkdir(parents=True)
    spacing = "--case lumbar-disc --ct-spacing 4 --out"
    for words in (
        ["phantom", *spacing.split(), str(workplace.inputs / "made")],
        *([workplace.arguments(Case("", f"analyze {IMAGES} {LABELS} --out IN/results"))]),
    ):
        code, said = finish(start(words))
        if code not in (0, 1):
            raise RuntimeError(said)
        if words[0] == "phantom":
            for name in ("ct", "spect", "vertebrae"):
                shutil.copy(workplace.inputs / "made" / f"{name}.nii.gz", workplace.inputs)
            keep_lowest(workplace.inputs / "vertebrae.nii.gz")
    shutil.copy(workplace.inputs / "results" / "joints.csv", workplace.inputs)
    write_cohort(workplace.inputs)
    write_rows(workplace.inputs / "rows")
    write_outcomes(workplace.inputs)
    write_normals(workplace.inputs / "normals")
    write_series(workplace.inputs / "ct.nii.gz", workplace.inputs / "series")
    return workplace


def keep_lowest(path: Path) -> None:
    """Leave L4 and L5 in a label map: with few joints all is done sooner."""
    import SimpleITK as sitk

    labels = sitk.ReadImage(str(path))
    lowest = sitk.Cast((labels == 27) | (labels == 28), labels.GetPixelID())
    sitk.WriteImage(labels * lowest, str(path))


def write_cohort(folder: Path) -> None:
    """A cohort of the one patient in a folder."""
    text = "id,ct,spect,vertebrae\na,ct.nii.gz,spect.nii.gz,vertebrae.nii.gz\n"
    (folder / "cohort.csv").write_text(text, encoding="utf-8")


def write_outcomes(folder: Path) -> None:
    """Outcomes, joints, references and a reading of a few patients that never were."""
    write_measured(folder)
    draw = random.Random(2)
    lines = ["id,region,vas_axial_pre,vas_axial_12m"]
    for number in range(12):
        region = draw.choice(("cervical", "lumbar"))
        lines.append(f"p{number},{region},{draw.randint(6, 10)},{draw.randint(0, 6)}")
    (folder / "outcomes.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_normals(folder: Path) -> None:
    """Joints of a cohort of normals that never were."""
    draw = random.Random(4)
    lines = ["id,joint,kind,status,uptake,ratio_corrected,ratio_low,ratio_high"]
    for patient in range(6):
        for number in range(4):
            ratio = draw.uniform(0.8, 1.2)
            interval = f"{ratio:.3f},{ratio - 0.2:.3f},{ratio + 0.2:.3f}"
            lines.append(f"p{patient},disc {number},disc,measured,negative,{interval}")
    folder.mkdir(parents=True)
    (folder / "joints_all.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_measured(folder: Path) -> None:
    """Joint tables, references and a reading."""
    draw = random.Random(3)
    references, reading = ["id,joint,reference"], ["reader,id,joint,grade"]
    for patient in range(6):
        lines = ["joint,level,kind,side,status,ratio_corrected,uptake"]
        for level in ("L3-L4", "L4-L5", "L5-S1"):
            ratio = draw.uniform(0.8, 3.0)
            uptake, answer = ("positive", "yes") if ratio > 2 else ("negative", "no")
            lines.append(f"{level} disc,{level},disc,,measured,{ratio:.3f},{uptake}")
            references.append(f"p{patient},{level} disc,{answer}")
            reading.append(f"A,p{patient},{level} disc,{draw.choice((uptake, 'negative'))}")
        results = folder / "measured" / f"p{patient}"
        results.mkdir(parents=True)
        (results / "joints.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (results / "manifest.json").write_text("{}", encoding="utf-8")
    for name, rows in (("reference.csv", references), ("reading.csv", reading)):
        (folder / name).write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_rows(folder: Path) -> None:
    """Rows of a study that never was, enough for bounds and a document."""
    from CTSpectSpineLib.validation.rows import JointRow, PatientRow, append, begin

    draw = random.Random(1)
    begin(folder, resume=False)
    for number in range(12):
        whose: Any = ("standard", "test", f"standard-{number:03d}", 1)
        patient: Any = (*whose, "", "", "", "", 0.0, 1.0, 1.0, 10.0, 4.42, 8e6, "negative", 0)
        rows = []
        for kind, side in (("disc", ""), ("facet", "left"), ("facet", "right")):
            for level in ("C5-C6", "T10-T11", "L3-L4", "L4-L5"):
                true = 1.0 if draw.random() < 0.6 else 4.0
                found = true * draw.uniform(0.9, 1.1)
                uptake = "positive" if true > 2 else "negative"
                name = f"{level} {kind} {side}".strip()
                joint: Any = (*whose, name, level, kind, side, "lumbar", true, uptake, 1.0, 0.0)
                ratios: Any = (found, found, found, found * 0.9, found * 1.1, float(true > 2))
                rest: Any = (10.0, "measured", "", *ratios, uptake, 1.0, 0.8, 1.0)
                rows.append(JointRow(*joint, *rest))
        row = replace(PatientRow(*patient), disposition="negative", quality="good", stability=1.0)
        row = replace(row, expected_mm=1.0, registration_mm=1.0, registration_worst_mm=1.5)
        append(folder, replace(row, cpu_s=10.0), rows)


def start(arguments: Sequence[str], limit: int | None = None) -> subprocess.Popen[str]:
    """Start a command, with a limit on the size of files if given."""
    program = "import sys; "
    if limit is not None:
        program += (
            f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
        )
    program += "from CTSpectSpineLib.command_line.main import main; sys.exit(main(sys.argv[1:]))"
    environment = {**os.environ, "PYTHONPATH": str(LIBRARY), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments, "--progress", "none"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


def finish(child: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a command; its exit code and what it said on standard error."""
    _, said = child.communicate(timeout=LONGEST_SECONDS)
    return child.returncode, said


def kill(child: subprocess.Popen[str]) -> None:
    """Kill a command with all that it started."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
    child.communicate()
