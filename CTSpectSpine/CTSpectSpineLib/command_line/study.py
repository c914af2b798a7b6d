"""The commands of the truth study."""

from __future__ import annotations

from argparse import Namespace

from CTSpectSpineLib.command_line.printing import (
    goal_lines,
    print_json,
    print_lines,
    progress_printer,
)


def validate(options: Namespace) -> int:
    """``ctspectspine validate``."""
    from CTSpectSpineLib.validation.command import run

    # Each message is a patient and minutes apart: worth a line also where no terminal follows.
    style = "text" if options.progress == "auto" else options.progress
    record = run(options, progress_printer(style))
    if options.json:
        print_json(record)
    else:
        print_lines(goal_lines(record["goals"]))
        print(f"Rows: {record['rows']}\nDocument: {record['document']}")
    return 0


def bounds(options: Namespace) -> int:
    """``ctspectspine bounds``."""
    from CTSpectSpineLib.validation.bounds_command import run

    record = run(options)
    lines = record.pop("lines")
    if options.json:
        print_json(record)
    else:
        print_lines([*lines, "", "For the 'bounds' of a protocol file:"])
        print_json(record["bounds"])
        if options.out is not None:
            print(f"Protocol: {options.out}")
    return 0
