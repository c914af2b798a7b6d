"""Show the report as readers see it: screens, printed pages, and colour-blind eyes.

    python docs/report_pictures.py [--results DIR] [--work DIR]

Needs Chromium, Chrome or Edge; printed pages need pdftoppm (Poppler). Writes
docs/images/report_first_screen.png; everything else goes to the working folder, to be looked at.
Without --results the report is that of the gallery's phantom.
"""

from __future__ import annotations

import argparse
import html
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from CTSpectSpineLib import analyze
from CTSpectSpineLib.geometry import FloatArray
from CTSpectSpineLib.phantom import load_case, make_phantom
from CTSpectSpineLib.report.pdf import find_browser, write_pdf

ROOT = Path(__file__).resolve().parents[1]
SEEN: dict[str, FloatArray] = {
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
         [0.004733, 0.691367, 0.303900]]
    ),
}  # fmt: skip
"""Linear RGB as it is seen without one kind of cone (Machado 2009, severity 1.0)."""


def screen(page: Path, width: int, height: int, target: Path) -> None:
    """A window of this size with the page; narrow ones lie in a frame."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        shown = Path(folder) / "shown.html"
        framed = html.escape(page.read_text(encoding="utf-8"))
        shown.write_text(
            f"<!DOCTYPE html><body style='margin:0'><iframe style='border:0' width={width} "
            f'height={height} srcdoc="{framed}"></iframe></body>',
            encoding="utf-8",
        )
        subprocess.run(
            [str(find_browser()), "--headless", "--no-sandbox", "--disable-gpu",
             "--hide-scrollbars", f"--user-data-dir={folder}/profile",
             f"--window-size={max(width, 500)},{height}", f"--screenshot={target}",
             shown.as_uri()],
            check=True, capture_output=True,
        )  # fmt: skip
    with Image.open(target) as image:
        image.convert("RGB").crop((0, 0, width, height)).save(target)
    print(target)


def seen_by(image: Image.Image, kind: str) -> Image.Image:
    """A picture as colour-blind eyes see it."""
    value = np.asarray(image.convert("RGB"), dtype=np.float64) / 255.0
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ SEEN[kind].T, 0.0, 1.0)
    back = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    return Image.fromarray(np.rint(back * 255.0).astype(np.uint8))


def colour_blind(path: Path, target: Path) -> None:
    """A picture as it is, and as three kinds of eyes see it, one below the other."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    views = [image, *(seen_by(image, kind) for kind in SEEN)]
    sheet = Image.new("RGB", (image.width, image.height * len(views)), "white")
    for i, view in enumerate(views):
        sheet.paste(view, (0, i * image.height))
    sheet.save(target)
    print(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, help="results folder; else the gallery's phantom")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "report")
    options = parser.parse_args()
    work = options.work
    work.mkdir(parents=True, exist_ok=True)
    results = options.results or work / "results"
    if not (results / "report.html").is_file():
        case = replace(load_case("lumbar-disc"), hot={"L4-L5 disc": 4.0, "L2-L3 facet left": 4.0})
        phantom = make_phantom(case)
        analyze(phantom.ct, phantom.spect, phantom.anatomy.labels, out=results)
    page = work / "report.html"
    shutil.copyfile(results / "report.html", page)
    first = ROOT / "docs" / "images" / "report_first_screen.png"
    screen(page, 1400, 900, first)
    with Image.open(first) as image:
        few = image.convert("RGB").quantize(
            256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
    few.save(first, optimize=True)
    screen(page, 1400, 7000, work / "screen_1400.png")
    screen(page, 420, 7000, work / "screen_420.png")
    for path in sorted((results / "pictures").glob("*.png")):
        if path.stem in ("key", "overview") or path.stem.startswith("joint"):
            colour_blind(path, work / f"colour_blind_{path.name}")
    colour_blind(first, work / "colour_blind_first_screen.png")
    pdf = write_pdf(page)
    print(pdf)
    if shutil.which("pdftoppm"):
        subprocess.run(["pdftoppm", "-r", "100", "-png", pdf, work / "page"], check=True)


if __name__ == "__main__":
    main()
