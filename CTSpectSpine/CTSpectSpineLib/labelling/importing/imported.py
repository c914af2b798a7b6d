"""Vertebra labels that the user supplies."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from CTSpectSpineLib.labelling.importing.placement import check_on_bone, place_on_ct
from CTSpectSpineLib.labelling.importing.sources import ImportedLabels, load_labels
from CTSpectSpineLib.labelling.levels.confidence import judge
from CTSpectSpineLib.labelling.levels.numbering import levels_in
from CTSpectSpineLib.model import VertebraLabels


def import_labels(
    source: Path | str | sitk.Image, ct: sitk.Image | None, scheme: str = "auto"
) -> VertebraLabels:
    """Import vertebra labels and check them.

    Parameters
    ----------
    source
        A label map with the numbers of TotalSegmentator (version 1, 2 or 3) or VerSe, with or
        without names in its header; a folder with one mask per class; a ``.seg.nrrd`` whose
        segments are named after vertebrae; or a label map in memory.
    ct
        The CT that the labels belong to; None where only the labels matter, which then stay on
        their own grid.
    scheme
        ``"auto"``, or one of `schemes.SCHEMES` to read the numbers by, whatever names there are.

    Returns
    -------
    VertebraLabels
        On the grid of the CT, with ``"imported"`` as `engine` and the way the levels were read as
        its version. ``levels_confirmed`` is False when the scheme is ambiguous, the labels fit
        the bones poorly or the column is implausible; the warnings say why.

    Raises
    ------
    InputError
        If the source cannot be read, has no vertebra, or does not lie on the bones of the CT.
    """
    return judge(labels_from(load_labels(source, scheme), ct))


def labels_from(
    loaded: ImportedLabels,
    ct: sitk.Image | None,
    engine: str = "imported",
    engine_version: str | None = None,
) -> VertebraLabels:
    """Labels that were read, put on the grid of the CT; their levels are not checked yet."""
    image, notes = loaded.image, loaded.notes
    poor_fit: tuple[str, ...] = ()
    if ct is not None:
        image, placed = place_on_ct(image, ct, loaded.name)
        poor_fit = check_on_bone(image, ct, loaded.name)
        notes = (*notes, *placed)
    return VertebraLabels(
        image=image,
        levels=levels_in(image),
        engine=engine,
        engine_version=loaded.scheme if engine_version is None else engine_version,
        levels_confirmed=loaded.certain and not poor_fit,
        warnings=(*notes, *poor_fit),
        ribs=loaded.ribs,
    )
