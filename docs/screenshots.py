"""Draw the pictures of the Slicer module under docs/images.

    python docs/screenshots.py [--work DIR] [--data DIR] [--only NAME ...]

Names are those of the panel's states (panel_pictures.py), and `layout` and `real_ct` for the views.
It drives the module's panel on the test host (PySide, slicer-core), without Slicer. Results
of analyses are kept in the working folder, so that a second run is quick. With a folder of real CT
data (see docs/developer.md) the layout is also drawn with a real CT.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
ICONS = ROOT / "CTSpectSpine" / "Resources" / "Icons"
HOST = ROOT / "CTSpectSpine" / "Testing" / "Python" / "host"
sys.path[:0] = [str(HOST), str(HOST.parent / "volumes"), str(ROOT / "CTSpectSpine")]

import slicer  # noqa: E402
import slicer_host  # noqa: E402
from panel_pictures import STATES, Camera, take_states  # noqa: E402
from slicer_pictures import Layout, ReadingLayout, SurveyLayout, save  # noqa: E402

if TYPE_CHECKING:
    from CTSpectSpineLib.scene.nodes import SceneNodes


def layout_picture(layout: Layout, nodes: SceneNodes, name: str) -> None:
    """Write the module's layout with some results."""
    path = IMAGES / f"slicer_layout_{name}.png"
    save(layout.picture(nodes), path)
    print(path.relative_to(ROOT))


def reading_picture(nodes: SceneNodes, joint: str) -> None:
    """Write the reader's layout at a joint."""
    record = nodes.record()
    assert record is not None
    path = IMAGES / "slicer_reading_phantom.png"
    layout = ReadingLayout(slicer.mrmlScene, slicer.app.applicationLogic())
    save(layout.picture(nodes, record.row(joint)), path)
    print(path.relative_to(ROOT))


def survey_picture(nodes: SceneNodes) -> None:
    """Write the reader's projections and curved sections."""
    path = IMAGES / "slicer_survey_phantom.png"
    layout = SurveyLayout(slicer.mrmlScene, slicer.app.applicationLogic())
    save(layout.picture(nodes), path)
    print(path.relative_to(ROOT))


def real_picture(data: Path, work: Path) -> None:
    """The layout with a real CT and a SPECT simulated from it, in a scene of its own."""
    import SimpleITK as sitk

    from CTSpectSpineLib.command_line.main import main
    from CTSpectSpineLib.scene.mrml import headless_scene
    from CTSpectSpineLib.scene.populate import populate_scene

    source = data / "totalsegmentator_example"
    phantom, results = work / "phantom", work / "results"
    inputs = ["--ct", str(source / "ct.nii.gz")]
    inputs += ["--vertebrae", str(source / "vertebrae_total.nii.gz"), "--progress", "none"]
    if not (results / "report.html").is_file():
        hot = ["--hot", "L4-L5 disc=4", "--hot", "L5-S1 facet right=4"]
        move = ["--translation", "12", "-8", "15", "--rotation", "6", "6", "6"]
        assert main(["phantom", *inputs, *hot, *move, "--out", str(phantom)]) == 0
        spect = ["--spect", str(phantom / "spect.nii.gz")]
        assert main(["analyze", *inputs, *spect, "--out", str(results)]) == 0
    ct, spect = (sitk.ReadImage(str(p)) for p in (source / "ct.nii.gz", phantom / "spect.nii.gz"))
    with headless_scene() as (scene, application):
        layout = Layout(scene, application)
        nodes = populate_scene(scene, ct=ct, spect=spect, folder=results)
        layout_picture(layout, nodes, "real_ct")


def sample_icons() -> None:
    """Draw the pictures of the phantoms for Slicer's Sample Data module."""
    import numpy as np
    import SimpleITK as sitk

    from CTSpectSpineLib.hot_metal import hot_colours
    from CTSpectSpineLib.phantom import load_case, make_phantom
    from CTSpectSpineWidgets.sampledata import CASES

    for name in CASES:
        phantom = make_phantom(load_case(name))
        truth = sitk.GetArrayViewFromImage(phantom.activity)
        ct = sitk.GetArrayViewFromImage(phantom.anatomy.ct).max(axis=1)[::-1]
        hot = truth.max(axis=1)[::-1]
        grey = np.clip((ct + 100.0) / 1500.0, 0.0, 1.0)[..., np.newaxis]
        share = np.clip(hot / np.percentile(hot, 99.7), 0.0, 1.0)
        colours = hot_colours()[(share * 255).astype(int)]
        mixed = grey * 0.4 + colours * 0.8
        size = min(mixed.shape[:2])
        picture = mixed[:size, (mixed.shape[1] - size) // 2 :][:, :size]
        step = size / 128.0
        index = (np.arange(128) * step).astype(int)
        save(np.clip(picture[np.ix_(index, index)], 0.0, 1.0), ICONS / f"{name}.png")
        print((ICONS / f"{name}.png").relative_to(ROOT))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=ROOT / ".screenshots", help="working folder")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--icons", action="store_true", help="only the icons of the samples")
    views = ("layout", "real_ct")
    parser.add_argument("--only", nargs="+", choices=(*STATES, *views), help="only these pictures")
    options = parser.parse_args()
    if options.icons:
        slicer_host.start()
        sample_icons()
        return
    IMAGES.mkdir(parents=True, exist_ok=True)
    wanted = options.only or (*STATES, *views)
    camera = Camera(ROOT / "CTSpectSpine" / "CTSpectSpine.py", IMAGES, options.work)
    take_states(camera, [name for name in wanted if name in STATES])
    if "layout" in wanted:
        camera.clear()
        layout = Layout(slicer.mrmlScene, slicer.app.applicationLogic())
        nodes = camera.add_results()
        layout_picture(layout, nodes, "phantom")
        reading_picture(nodes, "L4-L5 disc")
        survey_picture(nodes)
    camera.widget.exit()
    camera.widget.cleanup()
    if "real_ct" in wanted and options.data.is_dir():
        real_picture(options.data, options.work)
    elif "real_ct" in wanted:
        print(f"{options.data} is not there: no picture with a real CT")


if __name__ == "__main__":
    main()
