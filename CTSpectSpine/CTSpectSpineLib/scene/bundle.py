"""``scene.mrb``: the results as a scene in one file, written without OpenGL."""

from __future__ import annotations

import shutil
from pathlib import Path
from zipfile import is_zipfile

import SimpleITK as sitk

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.files import put_in_place, temporary_name
from CTSpectSpineLib.host import library_call
from CTSpectSpineLib.scene.mrml import headless_scene, mrml
from CTSpectSpineLib.scene.populate import populate_scene
from CTSpectSpineLib.scene.presentation import present_steps
from CTSpectSpineLib.scene.views import add_views


def write_scene(
    folder: Path, ct: sitk.Image, spect: sitk.Image, manifest: str | None = None
) -> Path:
    """Write ``scene.mrb`` of a results folder, in a scene of its own. Needs no OpenGL.

    Parameters
    ----------
    folder
        Results folder, see `populate_scene`.
    ct, spect
        The images that were analysed.
    manifest
        Text that ``manifest.json`` will hold when the scene is there; None for what it holds.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    InputError
        If the folder lacks results, or the scene cannot be written there.
    MissingPackageError
        If slicer-core is not installed.
    """
    slicer, _ = mrml()
    target = folder / "scene.mrb"
    with headless_scene() as (scene, _application):
        add_views(scene)
        nodes = populate_scene(scene, ct=ct, spect=spect, folder=folder)
        if manifest is not None and nodes.manifest is not None:
            nodes.manifest.SetText(manifest)
        # Surfaces are not kept in a scene.
        for _ in present_steps(scene, nodes, surfaces=False):
            pass
        # The bundle's name is part of what is in it, so the temporary file keeps the name.
        temporary = temporary_name(folder / "scene")
        temporary.mkdir()
        try:
            bundle = temporary / target.name
            messages = slicer.vtkMRMLMessageCollection()
            with library_call():
                written = scene.WriteToMRB(str(bundle), None, messages)
            if not written or not is_zipfile(bundle):
                raise InputError(
                    f"{target} could not be written ({messages.GetAllMessagesAsString()}): "
                    "check the free space and the folder's permissions."
                )
            put_in_place(bundle, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return target
