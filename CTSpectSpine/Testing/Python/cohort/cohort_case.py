"""A cohort whose analyses are stand-ins: real folders and records, no measurement."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from CTSpectSpineLib.cohort.table import CohortPatient
from CTSpectSpineLib.progress import Progress
from CTSpectSpineLib.results.folder import results_folder
from CTSpectSpineLib.results.manifest import Manifest
from CTSpectSpineLib.results.text_files import write_json, write_text

JOINTS = ("L4-L5 disc", "L4-L5 facet left", "L4-L5 facet right")


def make_patients(folder: Path, count: int) -> tuple[CohortPatient, ...]:
    found = []
    for number in range(count):
        paths = {}
        for name in ("ct", "spect"):
            paths[name] = folder / f"{name}{number}.nii"
            paths[name].write_text(f"{name} {number}", encoding="utf-8")
        found.append(CohortPatient(f"p{number:02d}", **paths, context={"age_years": 40 + number}))
    return tuple(found)


@dataclass
class Analyses:
    """Starts stand-ins of ``analyze``; the n-th poll of all may be disturbed.

    Attributes
    ----------
    fails
        Patients whose analysis ends with an error.
    refused
        Patients who get no verdict.
    at
        Number of a poll at which ``disturb`` is called.
    """

    fails: Sequence[str] = ()
    refused: Sequence[str] = ()
    at: int = -1
    disturb: Callable[[], None] = lambda: None
    started: list[str] = field(default_factory=list)
    running: int = 0
    most: int = 0
    polls: int = 0

    def __call__(self, arguments: Sequence[str], log: Path) -> StandIn:
        out = Path(next(word for word in arguments if word.startswith("--out="))[6:])
        self.started.append(out.name)
        self.running += 1
        self.most = max(self.most, self.running)
        return StandIn(self, out, list(arguments))


@dataclass
class StandIn:
    """One analysis, finished at its third poll."""

    owner: Analyses
    out: Path
    arguments: list[str]
    code: int | None = None
    seen: int = 0

    def poll(self) -> list[Progress]:
        self.owner.polls += 1
        if self.owner.polls == self.owner.at:
            self.owner.disturb()
        self.seen += 1
        if self.seen == 2:
            self._write(whole=False)
        if self.seen == 3:
            name = self.out.name
            self.code = 2 if name in self.owner.fails else 1 if name in self.owner.refused else 0
            self.owner.running -= 1
            if self.code < 2:
                self._write(whole=True)
        return [Progress("joints", min(self.seen / 3, 1.0), "")]

    def kill(self) -> None:
        self.owner.running -= 1
        self.code = -9

    def failure(self) -> str:
        return f"{self.out.parent}/{self.out.name}: damaged."

    def _write(self, *, whole: bool) -> None:
        refused = self.out.name in self.owner.refused
        number = int(self.out.name[1:])
        context = Path(next(w for w in self.arguments if w.startswith("--context="))[10:])
        age = json.loads(context.read_text(encoding="utf-8"))["age_years"]
        with results_folder(self.out):
            manifest = Manifest(self.out)
            manifest.update(labels={"levels_confirmed": number % 3 > 0})
            write_text(self.out / "joints.csv", _joints(number))
            if whole:
                disposition = "no_verdict" if refused else "lumbar_disc"
                write_json(
                    self.out / "verdict.json",
                    {"disposition": disposition, "stability": 0.5 + age / 100, "findings": []},
                )
                write_json(
                    self.out / "registration.json",
                    {"quality": "check", "expected_error_mm": None if refused else 1.5},
                )
                manifest.update(
                    status="failed" if refused else "complete",
                    status_reason="No verdict." if refused else "",
                )


def _joints(number: int) -> str:
    lines = ["joint,level,kind,side,status,ratio_corrected,uptake,level_status"]
    named = "confirmed" if number == 2 else "plausible"
    for place, joint in enumerate(JOINTS):
        kind, side = joint.split()[1], [*joint.split(), ""][2]
        ratio = 1.0 + 0.1 * place + 0.01 * number
        uptake = "positive" if place == 0 and number % 2 else "negative"
        status = "measured" if place < 2 else "not_measurable"
        lines.append(f"{joint},L4-L5,{kind},{side},{status},{ratio},{uptake},{named}")
    return "\n".join(lines) + "\n"
