"""Which files each command may create, replace or remove; see ``docs/files.md``.

No command touches anything else. Where a name is in use by a file that no earlier run wrote, the
command refuses (`results.ownership`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from CTSpectSpineLib.cohort.review import DECISIONS
from CTSpectSpineLib.cohort.summary import FILES as COHORT_FILES
from CTSpectSpineLib.command_line.agreement import AGREEMENT_FILES
from CTSpectSpineLib.command_line.batch import RECORDS
from CTSpectSpineLib.command_line.diagnostic import DIAGNOSTIC_FILES
from CTSpectSpineLib.command_line.export import EXPORT_FILES
from CTSpectSpineLib.command_line.label import OWN as LABEL_FILES
from CTSpectSpineLib.command_line.outcomes import FLOW_FILES, OUTCOME_FILES
from CTSpectSpineLib.command_line.phantom import PHANTOM_FILES
from CTSpectSpineLib.command_line.single_stages import JOINTS_FILES, REGISTER_FILES
from CTSpectSpineLib.locks import LOCK
from CTSpectSpineLib.results.folder import ANALYSIS_FILES, MANIFEST
from CTSpectSpineLib.results.ownership import FILES_RECORD
from CTSpectSpineLib.validation.command import DOCUMENT_FILES, ROW_FILES

PASSING = (LOCK, ".ctspectspine-*")
"""What is in the folder only while a command runs: who holds it, and files that are not whole."""
_ANALYSIS = (*ANALYSIS_FILES, "pictures/index.json", "pictures/*.png")


@dataclass(frozen=True)
class Written:
    """Files that a command may write in one place.

    Attributes
    ----------
    where
        The place, as the help of the command calls it.
    names
        Patterns of the files, relative to the place.
    clears
        Whether what an earlier run of the command wrote there is removed first; else its files are
        replaced one by one.
    """

    where: str
    names: tuple[str, ...]
    clears: bool = True


WRITTEN: Mapping[str, tuple[Written, ...]] = {
    "demo": (
        Written("DIR/phantom", (*PHANTOM_FILES, FILES_RECORD)),
        Written("DIR/results", _ANALYSIS),
    ),
    "phantom": (Written("DIR", (*PHANTOM_FILES, FILES_RECORD)),),
    "analyze": (Written("DIR", _ANALYSIS),),
    "batch": (
        Written("DIR", (*COHORT_FILES, RECORDS, FILES_RECORD), clears=False),
        Written("DIR/PATIENT", _ANALYSIS),
    ),
    "review": (Written("DIR/review", (DECISIONS, FILES_RECORD), clears=False),),
    "calibrate": (Written("beside FILE", ("FILE", FILES_RECORD), clears=False),),
    "register": (Written("DIR", (*REGISTER_FILES, FILES_RECORD)),),
    "label": (Written("DIR", (*LABEL_FILES, FILES_RECORD)),),
    "shift": (
        Written("DIR, of a results folder", _ANALYSIS),
        Written("DIR, of a label map", (*LABEL_FILES, FILES_RECORD)),
    ),
    "joints": (Written("DIR", (*JOINTS_FILES, FILES_RECORD)),),
    "triage": (Written("beside FILE", ("FILE", FILES_RECORD), clears=False),),
    "protocols": (),
    "report": (Written("RESULTS", ("report.html", "report.pdf", MANIFEST), clears=False),),
    "export": (Written("DIR", (*EXPORT_FILES, FILES_RECORD)),),
    "outcomes": (Written("DIR", (*OUTCOME_FILES, FILES_RECORD)),),
    "flow": (Written("DIR", (*FLOW_FILES, FILES_RECORD)),),
    "diagnostic": (Written("DIR", (*DIAGNOSTIC_FILES, FILES_RECORD)),),
    "agreement": (Written("DIR", (*AGREEMENT_FILES, FILES_RECORD)),),
    "reader-form": (Written("beside FILE", ("FILE", FILES_RECORD), clears=False),),
    "validate": (
        Written("DIR of --out", (*DOCUMENT_FILES, FILES_RECORD), clears=False),
        Written("DIR of --rows", (*ROW_FILES, FILES_RECORD), clears=False),
    ),
    "bounds": (Written("beside FILE", ("FILE", FILES_RECORD), clears=False),),
}
"""Command to what it writes."""


def table() -> str:
    """`WRITTEN` as Markdown."""
    lines = ["| command | place | files | what an earlier run wrote |", "|---|---|---|---|"]
    for command, places in WRITTEN.items():
        for place in places:
            names = ", ".join(f"`{name}`" for name in place.names)
            earlier = "is removed first" if place.clears else "is replaced file by file"
            lines.append(f"| `{command}` | {place.where} | {names} | {earlier} |")
        if not places:
            lines.append(f"| `{command}` | | nothing | |")
    return "\n".join(lines) + "\n"
