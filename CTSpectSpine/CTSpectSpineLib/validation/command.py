"""The command ``validate``: from its options to rows and document."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.progress import ProgressCallback
from CTSpectSpineLib.results.folder import step_folder
from CTSpectSpineLib.results.text_files import write_text
from CTSpectSpineLib.validation.cohort import SETS
from CTSpectSpineLib.validation.document import SUBJECTS, write_document
from CTSpectSpineLib.validation.goals import goals
from CTSpectSpineLib.validation.patient import RealCt
from CTSpectSpineLib.validation.rows import JOINTS_FILE, PATIENTS_FILE, read_study
from CTSpectSpineLib.validation.study import Plan, run_study

DOCUMENT, COMMAND_FILE = "truth.md", "truth-command.txt"
DOCUMENT_FILES = (DOCUMENT, *(f"truth-{subject}.png" for subject in SUBJECTS))
"""The document and its plots."""
ROW_FILES = (JOINTS_FILE, PATIENTS_FILE, COMMAND_FILE)
"""The rows, and the command that made them."""


def run(options: Namespace, progress: ProgressCallback) -> dict[str, Any]:
    """Run the study that the command line asks for and write its document.

    Returns
    -------
    dict
        ``rows`` (folder), ``document``, ``patients`` (number of rows), ``goals``.

    Raises
    ------
    InputError
        If the options do not fit together, or the folder holds another study.
    """
    rows: Path = options.rows or options.out
    for folder in (options.out, rows):
        for part in (folder, *folder.parents):
            if part.exists() and not part.is_dir():
                raise InputError(f"{part} is a file; give a folder with --out and --rows.")
    record, document = rows / COMMAND_FILE, options.out / DOCUMENT
    with ExitStack() as stack:
        for folder, names, adopted in _claims(options, rows):
            stack.enter_context(
                step_folder(folder, "validate", names, among=True, adopt=adopted, clears=False)
            )
        if not options.document_only:
            run_study(_plan(options, rows), progress)
            write_text(record, _command(options) + "\n")
        command = record.read_text(encoding="utf-8").strip() if record.is_file() else "unknown"
        study = read_study(rows)
        write_document(document, study, options.split, command)
    chosen = study.of(options.split)
    return {
        "rows": str(rows),
        "document": str(document),
        "patients": len(chosen.patients),
        "goals": [asdict(goal) for goal in goals(chosen)],
    }


def _claims(options: Namespace, rows: Path) -> Iterator[tuple[Path, list[str], Sequence[str]]]:
    """Folders that are written, with the files in each, and with those to go on with."""
    written = [] if options.document_only else [COMMAND_FILE]
    adopted = ROW_FILES if options.resume and not options.document_only else ()
    if options.out.resolve() == rows.resolve():
        yield options.out, [*DOCUMENT_FILES, *written], adopted
        return
    yield options.out, list(DOCUMENT_FILES), ()
    if written:
        yield rows, written, adopted


def _plan(options: Namespace, rows: Path) -> Plan:
    real = _real(options)
    if options.sets is None:
        sets = tuple(name for name, info in SETS.items() if real is not None or not info.real)
    else:
        names = (part.strip() for part in options.sets.split(","))
        sets = tuple(dict.fromkeys(name for name in names if name))
    return Plan(
        sets=sets,
        count=options.count,
        split=options.split,
        folder=rows,
        seed=options.seed,
        jobs=options.jobs,
        real=real,
        resume=options.resume,
    )


def _real(options: Namespace) -> RealCt | None:
    if (options.ct is None) != (options.vertebrae is None):
        raise InputError("--ct and --vertebrae belong together; give both or neither.")
    if options.ct is None:
        if options.organs is not None:
            raise InputError("--organs belongs to a real CT; give --ct and --vertebrae as well.")
        return None
    for name in ("ct", "vertebrae", "organs"):
        path = getattr(options, name)
        if path is not None and not path.exists():
            raise InputError(f"--{name} {path} does not exist; give an existing file.")
    return RealCt(options.ct, options.vertebrae, options.organs, options.label_scheme)


def _command(options: Namespace) -> str:
    """The command as one would type it, less what does not change the numbers."""
    words = ["ctspectspine", "validate", "--count", str(options.count), "--seed", str(options.seed)]
    words += ["--split", options.split]
    if options.sets is not None:
        words += ["--sets", options.sets]
    for name in ("ct", "vertebrae", "organs"):
        path = getattr(options, name)
        if path is not None:
            words += [f"--{name}", path.name]
    return shlex.join(words)
