"""Test and retest: the same patient scanned again, lying as before or otherwise.

    python -m benchmarks.uptake.retest --scans FOLDER [--first 1201] [--count 6] [--out PAGE]

Scans are kept in FOLDER; a patient costs about four CPU minutes when it is made.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.uptake.judge import judged
from benchmarks.uptake.scans import FIELDS, KINDS, Scanned
from CTSpectSpineLib.joints import build_joints
from CTSpectSpineLib.phantom import make_patient, patient, scan, second_pose
from CTSpectSpineLib.statistics.agreement import intraclass

PRESETS = ("recovery", "no-recovery")
"""Reconstructions that are compared."""
FIRST, AGAIN, MOVED = "first", "again", "moved"
"""The first scan; again with the patient as it lay; and with the patient lying otherwise."""
_TITLES = {AGAIN: "as it lay", MOVED: "lying otherwise"}
REPOSITORY = Path(__file__).resolve().parents[2]


def main(arguments: list[str] | None = None) -> None:
    """Scan, measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.uptake.retest", description=__doc__)
    parser.add_argument("--scans", type=Path, required=True, help="folder for the scans")
    parser.add_argument("--first", type=int, default=1201, help="first seed")
    parser.add_argument("--count", type=int, default=6, help="patients")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs/validation/uptake-retest.md")
    options = parser.parse_args(arguments)
    measured = [
        judged([one], stated="right")[0].assign(scan=name)
        for scans in _patients(options.scans, options.first, options.count)
        for name, one in scans.items()
    ]
    command = f"python -m benchmarks.uptake.retest --first {options.first} --count {options.count}"
    options.out.write_text(document(pd.concat(measured), command), encoding="utf-8")


def _patients(folder: Path, first: int, count: int) -> Iterator[Mapping[str, Scanned]]:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        kind, field = KINDS[number % len(KINDS)], FIELDS[number % len(FIELDS)]
        path = folder / f"{field}-{kind}-{first + number}.retest"
        if not path.exists():
            part = path.with_suffix(".part")
            part.write_bytes(pickle.dumps(_scans(path.stem, kind, field, first + number)))
            part.rename(path)
        found: Mapping[str, Scanned] = pickle.loads(path.read_bytes())
        yield found


def _scans(name: str, kind: str, field: str, seed: int) -> Mapping[str, Scanned]:
    drawn = patient(kind, seed, field)
    specimen = make_patient(drawn)
    labels, ratios = specimen.anatomy.labels, dict(specimen.painted.truth.ratios)
    joints = build_joints(labels, specimen.anatomy.ct)
    lying = scan(specimen, drawn.spect, PRESETS, noise=(0, 1))
    other = scan(specimen, second_pose(drawn), PRESETS, noise=(2,))
    made = {}
    for place, (what, found) in enumerate(
        zip((FIRST, AGAIN, MOVED), (*lying, *other), strict=True)
    ):
        matrix = found[PRESETS[0]].ct_to_spect
        spects = {preset: found[preset].spect for preset in PRESETS}
        # Another seed, and so another error of the registration, for each scan.
        made[what] = Scanned(name, 10 * seed + place, joints, labels, ratios, matrix, spects)
    return made


def document(joints: pd.DataFrame, command: str) -> str:
    """The page.

    Parameters
    ----------
    joints
        Rows of `judge.judged` with the column ``scan``.
    command
        What made them.
    """
    wide = joints.pivot_table(
        index=["preset", "patient", "joint", "true"],
        columns="scan",
        values="ratio_corrected",
        observed=True,
    ).reset_index()
    classes = joints.pivot(index=["preset", "patient", "joint"], columns="scan", values="uptake")
    lines = [
        "# Test and retest of uptake",
        "",
        f"Made by `{command}`. {joints.patient.nunique()} patients as they are, each scanned three"
        " times on the physical scanner: twice as it lay, once lying otherwise (up to 10 mm and"
        " 5°). Each scan has its own noise and its own error of registration (0.6 mm). ICC(2,1)"
        " over joints with an interval that draws patients. Difference of ordinary joints: SD"
        " between the scans over √2. Other class: joints called positive in one and negative in"
        " the other.",
        "",
        "| reconstruction | second scan | joints | ICC | ICC, joints up to 1.45 | SD of ordinary"
        " joints | other class |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for preset, part in wide.groupby("preset"):
        for other, title in _TITLES.items():
            both = part.dropna(subset=[FIRST, other])
            ordinary = both[both.true <= 1.45]
            pairs = classes.loc[preset][[FIRST, other]].dropna()
            opposite = int(
                (pairs.apply(lambda row: set(row) == {"positive", "negative"}, axis=1)).sum()
            )
            lines.append(
                f"| {preset} | {title} | {len(both)} | {_icc(both, other)} |"
                f" {_icc(ordinary, other)} |"
                f" {float((ordinary[FIRST] - ordinary[other]).std()) / np.sqrt(2.0):.2f} |"
                f" {opposite} |"
            )
    return "\n".join([*lines, ""])


def _icc(rows: pd.DataFrame, other: str) -> str:
    return intraclass(rows[[FIRST, other]].to_numpy(), rows.patient.tolist()).absolute.text()


if __name__ == "__main__":
    main()
