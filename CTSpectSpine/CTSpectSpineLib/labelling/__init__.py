"""Vertebra labels: one interface for labellers and for labels that the user supplies."""

from CTSpectSpineLib.labelling.importing.imported import import_labels, labels_from
from CTSpectSpineLib.labelling.importing.schemes import SCHEMES
from CTSpectSpineLib.labelling.label import label_vertebrae
from CTSpectSpineLib.labelling.labellers import (
    Labeller,
    Settings,
    available_labellers,
    register_labeller,
)
from CTSpectSpineLib.labelling.levels.anchor import Anchor, parse_anchor, parse_anchors
from CTSpectSpineLib.labelling.levels.comparison import Comparison, compare_labels
from CTSpectSpineLib.labelling.levels.confidence import judge
from CTSpectSpineLib.labelling.levels.correction import anchored, renumbered, shifted

__all__ = [
    "SCHEMES",
    "Anchor",
    "Comparison",
    "Labeller",
    "Settings",
    "anchored",
    "available_labellers",
    "compare_labels",
    "import_labels",
    "judge",
    "label_vertebrae",
    "labels_from",
    "parse_anchor",
    "parse_anchors",
    "register_labeller",
    "renumbered",
    "shifted",
]
