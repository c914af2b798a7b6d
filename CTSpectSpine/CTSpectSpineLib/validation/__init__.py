"""A truth study: simulated patients through the whole pipeline, compared with their truth."""

from CTSpectSpineLib.validation.cohort import SETS, SPLITS, Split
from CTSpectSpineLib.validation.document import write_document
from CTSpectSpineLib.validation.patient import RealCt
from CTSpectSpineLib.validation.rows import Study, read_study
from CTSpectSpineLib.validation.study import Plan, run_study

__all__ = [
    "SETS",
    "SPLITS",
    "Plan",
    "RealCt",
    "Split",
    "Study",
    "read_study",
    "run_study",
    "write_document",
]
