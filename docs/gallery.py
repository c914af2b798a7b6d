"""Make the pictures of docs/gallery.md, which shows the sections of this file beside them.

python docs/gallery.py    # in an environment with the library; docs/images/gallery_*.png
"""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

# isort: split
# --8<-- [start:patient]
import textwrap
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import SimpleITK as sitk

from CTSpectSpineLib import analyze, label_vertebrae
from CTSpectSpineLib.anatomy import name_of_id
from CTSpectSpineLib.phantom import load_case, make_phantom

case = replace(load_case("lumbar-disc"), hot={"L4-L5 disc": 4.0, "L2-L3 facet left": 4.0})
phantom = make_phantom(case)
results = analyze(phantom.ct, phantom.spect, phantom.anatomy.labels, out="build/gallery")
# --8<-- [end:patient]

IMAGES = Path(__file__).parent / "images"


def save(name: str, figure: Figure | Path) -> None:
    """Write docs/images/gallery_NAME.png with few colours."""
    if isinstance(figure, Path):
        image = Image.open(figure)
    else:
        stream = io.BytesIO()
        figure.savefig(stream, dpi=110)
        image = Image.open(stream)
    small = image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    path = IMAGES / f"gallery_{name}.png"
    small.save(path, optimize=True)
    print(path.name, f"{path.stat().st_size / 1024:.0f} kB")


def uptake() -> Figure:
    # --8<-- [start:uptake]
    table = results.table[results.table["status"] == "measured"].reset_index(drop=True)
    ratio, low, high = (table[f"ratio_{name}"] for name in ("corrected", "low", "high"))
    colours = ["#b3261e" if found == "positive" else "#4a6076" for found in table["uptake"]]
    figure, ax = plt.subplots(figsize=(8, 5.5), layout="constrained")
    rows = table.index
    ax.hlines(rows, low, high, colors=colours, linewidth=3, alpha=0.4, label="95 % interval")
    ax.scatter(ratio, rows, c=colours, s=36, zorder=3, label="measured")
    truth = table["joint"].map(phantom.true_ratios)
    ax.scatter(truth, rows, marker="|", s=160, c="black", zorder=4, label="truth")
    ax.set_yticks(rows, table["joint"])
    ax.invert_yaxis()
    ax.set_xlabel("uptake, multiples of the patient's vertebral bodies")
    ax.legend(loc="lower right")
    # --8<-- [end:uptake]
    return figure


def registration() -> Figure:
    # --8<-- [start:registration]
    middle = phantom.ct.TransformPhysicalPointToIndex(results.joints["L4-L5 disc"].centre_mm)[0]
    cut = np.s_[55:, 45:, middle]  # sagittal, without the bladder
    ct = sitk.GetArrayFromImage(phantom.ct)[cut]
    figure, axes = plt.subplots(1, 2, figsize=(8, 6.9), layout="constrained")
    transforms = {"As scanned": sitk.Transform(), "Registered": results.registration.transform}
    for ax, (title, transform) in zip(axes, transforms.items(), strict=True):
        moved = sitk.Resample(phantom.spect, phantom.ct, transform, sitk.sitkLinear)
        ratio = sitk.GetArrayFromImage(moved)[cut] / results.uptake.reference.value
        ax.imshow(ct, cmap="gray", vmin=-200, vmax=900, origin="lower")
        ax.imshow(ratio, cmap="hot", vmax=3, alpha=np.clip(ratio, 0, 1) * 0.6, origin="lower")
        ax.set_title(title)
        ax.axis("off")
    # --8<-- [end:registration]
    return figure


def labels() -> Figure:
    # --8<-- [start:labels]
    found = label_vertebrae(phantom.ct, "builtin")
    middle = phantom.ct.TransformPhysicalPointToIndex(results.joints["L4-L5 disc"].centre_mm)[0]
    cut = np.s_[55:, 45:, middle]
    figure, axes = plt.subplots(1, 2, figsize=(8, 6.9), layout="constrained")
    shown = {"Truth": phantom.anatomy.labels, "Built-in labeller": found.image}
    for ax, (title, image) in zip(axes, shown.items(), strict=True):
        ids = sitk.GetArrayFromImage(image)[cut].astype(int)
        ax.imshow(sitk.GetArrayFromImage(phantom.ct)[cut], cmap="gray", vmin=-200, vmax=900)
        ax.imshow(np.ma.masked_equal(ids, 0) * 3 % 10, cmap="tab10", vmax=9, alpha=0.6)
        for label in np.unique(ids[ids > 0]):
            k, j = np.argwhere(ids == label).mean(axis=0)
            ax.text(j, k, name_of_id(label), color="white", weight="bold", ha="center")
        ax.set_title(title)
        ax.invert_yaxis()
        ax.axis("off")
    # --8<-- [end:labels]
    return figure


def verdict() -> Figure:
    # --8<-- [start:verdict]
    colours = {"joint": "#b3261e", "areas": "#8a5a00", "rule": "#2e6b3c", "open": "#5b6b7a"}
    figure = plt.figure(figsize=(8, 5.2))
    y = 0.96
    for step in results.verdict.chain:
        lines = textwrap.wrap(step["sentence"], 94)
        box = {"facecolor": colours.get(step["step"], "#1d4e89"), "linewidth": 0, "pad": 3}
        figure.text(0.02, y, step["step"], va="top", color="white", size=9, bbox=box)
        figure.text(0.15, y, "\n".join(lines), va="top", size=9.5, parse_math=False)
        y -= 0.037 * len(lines) + 0.035
    # --8<-- [end:verdict]
    return figure


if __name__ == "__main__":
    save("fused", results.folder / "pictures" / "overview.png")
    save("uptake", uptake())
    save("registration", registration())
    save("labels", labels())
    save("verdict", verdict())
