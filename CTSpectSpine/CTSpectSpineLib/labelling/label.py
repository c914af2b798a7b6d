"""Label the vertebrae of a CT, or read the labels that the user supplies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import SimpleITK as sitk

from CTSpectSpineLib.files import SUFFIXES, image_suffix
from CTSpectSpineLib.labelling.importing.imported import labels_from
from CTSpectSpineLib.labelling.importing.sources import load_labels
from CTSpectSpineLib.labelling.labellers import USUAL, Settings, labeller_by_name, why_chosen
from CTSpectSpineLib.labelling.levels.anchor import Anchor, parse_anchors
from CTSpectSpineLib.labelling.levels.confidence import judge
from CTSpectSpineLib.labelling.levels.correction import anchored
from CTSpectSpineLib.model import VertebraLabels
from CTSpectSpineLib.progress import Progress, ProgressCallback, silent


def label_vertebrae(
    ct: sitk.Image,
    labeller: str | Path | sitk.Image = "auto",
    anchor: str | Anchor | None = None,
    scheme: str = "auto",
    progress: ProgressCallback = silent,
    settings: Settings = USUAL,
) -> VertebraLabels:
    """Label the vertebrae of a CT.

    Parameters
    ----------
    ct
        The CT in HU.
    labeller
        Name of a labeller, ``"auto"`` for the best one available, or labels to import: a path or
        an image (see `import_labels`).
    anchor
        ``LEVEL@x,y,z`` (LPS mm): a point in a vertebra whose level the user knows; several
        separated by semicolons must agree.
    scheme
        How to read the numbers of imported labels.
    progress
        Called with messages; cancels by raising.
    settings
        Device and fast option of the labeller.

    Returns
    -------
    VertebraLabels
        On the grid of the CT, with the labeller (`engine`) and its version, a confidence per
        vertebra and sentences on what was doubtful. With an anchor the whole column is counted
        from it.

    Raises
    ------
    InputError
        If the labeller is not available, the labels cannot be used, or the anchor is not in a
        vertebra.

    Examples
    --------
    Labels that you have, checked and brought to the grid of the CT:

    >>> from CTSpectSpineLib import label_vertebrae
    >>> from CTSpectSpineLib.phantom import example
    >>> phantom = example()
    >>> labels = label_vertebrae(phantom.ct, phantom.anatomy.labels)
    >>> labels.levels[-3:]
    ('L4', 'L5', 'sacrum')
    >>> labels.levels_confirmed
    True

    Without labels, ``label_vertebrae(phantom.ct)`` makes them (some 20 s for this CT).
    """
    anchors = (
        parse_anchors(anchor) if isinstance(anchor, str) else () if anchor is None else (anchor,)
    )
    known = anchors[0] if anchors else None
    if isinstance(labeller, str) and not _is_path(labeller):
        engine = labeller_by_name(labeller, settings)
        reason = why_chosen(engine.name, settings) if labeller == "auto" else ""
        if reason:
            progress(Progress("label", 0.0, reason))
        labels = replace(engine.label(ct, known, progress), engine_reason=reason)
        return judge(labels if known is None else anchored(labels, *anchors))
    loaded = load_labels(labeller, scheme)
    if known is None:
        return judge(labels_from(loaded, ct))
    # The anchor settles the levels, but not whether the labels lie on the bones.
    labels = labels_from(replace(loaded, certain=True), ct)
    named = anchored(labels, *anchors)
    return judge(
        replace(named, levels_confirmed=named.levels_confirmed and labels.levels_confirmed)
    )


def _is_path(labeller: str) -> bool:
    """Whether the text is a path and not the name of a labeller."""
    if labeller == "auto":
        return False
    separators = "/" in labeller or "\\" in labeller
    return separators or image_suffix(Path(labeller)) in SUFFIXES or Path(labeller).exists()
