"""Vertebra labels: one interface for engines and for labels that the user brings."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.labelling.anchor import Anchor, parse_anchor
from CTSpectSpineLib.labelling.engines import (
    Engine,
    available_engines,
    engine_by_name,
    register_engine,
)
from CTSpectSpineLib.labelling.imported import import_labels
from CTSpectSpineLib.labelling.schemes import SCHEMES
from CTSpectSpineLib.model import VertebraLabels
from CTSpectSpineLib.progress import ProgressCallback, silent
from CTSpectSpineLib.volumes.files import SUFFIXES, image_suffix

__all__ = [
    "SCHEMES",
    "Anchor",
    "Engine",
    "available_engines",
    "import_labels",
    "label_vertebrae",
    "parse_anchor",
    "register_engine",
]


def label_vertebrae(
    ct: sitk.Image,
    labeller: str | Path | sitk.Image = "auto",
    anchor: str | Anchor | None = None,
    scheme: str = "auto",
    progress: ProgressCallback = silent,
) -> VertebraLabels:
    """Label the vertebrae of a CT.

    Parameters
    ----------
    ct
        The CT in HU.
    labeller
        Name of an engine, ``"auto"`` for the best one that is there, or labels to import: a
        path or an image (see `import_labels`).
    anchor
        ``LEVEL@x,y,z`` (LPS mm): a point in a vertebra whose level the user knows.
    scheme
        How to read the numbers of imported labels.
    progress
        Called with messages.

    Raises
    ------
    InputError
        If the engine is not there, or the labels cannot be used.
    """
    known = parse_anchor(anchor) if isinstance(anchor, str) else anchor
    if isinstance(labeller, str) and not _is_path(labeller):
        return engine_by_name(labeller).label(ct, known, progress)
    if anchor is not None:
        raise InputError(
            f"Anchor '{anchor}' cannot be used with labels that are given; correct the levels in "
            "the label map instead."
        )
    return import_labels(labeller, ct, scheme)


def _is_path(labeller: str) -> bool:
    """Whether the text is a path and not the name of an engine."""
    if labeller == "auto":
        return False
    separators = "/" in labeller or "\\" in labeller
    return separators or image_suffix(Path(labeller)) in SUFFIXES or Path(labeller).exists()
