"""A patient of a cohort in a scene: images and results. One of the files that know MRML."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import SimpleITK as sitk

from CTSpectSpineLib.scene.mrml import Node, add_volume
from CTSpectSpineLib.scene.nodes import SceneNodes, analyses, lies_in, results_folder, scene_nodes
from CTSpectSpineLib.scene.populate import populate_steps


def patient_steps(
    scene: Node,
    name: str,
    folder: Path,
    read: Callable[[], tuple[sitk.Image, sitk.Image]],
) -> Generator[None, None, SceneNodes]:
    """Put a patient into a scene, in short steps; one that is there already is not read again.

    Parameters
    ----------
    name
        What the images are called by.
    folder
        Results folder of the patient.
    read
        Reads CT and SPECT.

    Raises
    ------
    InputError
        If an image or the results cannot be read; the scene is then as before.
    """
    for manifest in analyses(scene):
        found = results_folder(manifest)
        if found is not None and found.resolve() == folder.resolve():
            return scene_nodes(manifest)
    ct, spect = read()
    yield
    added = [add_volume(scene, ct, f"{name} CT"), add_volume(scene, spect, f"{name} SPECT")]
    try:
        yield
        nodes = yield from populate_steps(scene, ct=added[0], spect=added[1], folder=folder)
    except BaseException:
        for node in added:
            if node.GetScene() is scene:
                scene.RemoveNode(node)
        raise
    if nodes.manifest is not None:
        lies_in(nodes.manifest, folder)
    return nodes
