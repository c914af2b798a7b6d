"""The commands that need a joint table or a protocol and no image."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from CTSpectSpineLib.command_line.printing import (
    comparison_lines,
    print_json,
    print_lines,
    verdict_lines,
)
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.results.folder import output_file
from CTSpectSpineLib.results.records import verdict_record
from CTSpectSpineLib.results.text_files import write_json

if TYPE_CHECKING:
    from CTSpectSpineLib.triage_protocol.compare import Comparison


def triage(options: Namespace) -> int:
    """``ctspectspine triage``."""
    from CTSpectSpineLib import joint_table
    from CTSpectSpineLib.triage_protocol import compare, read_context
    from CTSpectSpineLib.triage_protocol import triage as run
    from CTSpectSpineLib.triage_protocol.protocol import load_protocol

    joints = joint_table.read(options.joints)
    context = read_context(options.context) if options.context else None
    names = protocol_names(options.protocol)
    settings = {"area_counting": options.areas_per, "classes": options.classes}
    for name in names:
        load_protocol(name)
    try:
        if len(names) > 1:
            comparison = compare(joints, context, names, **settings)
            verdicts = comparison.verdicts
            record, lines = comparison_record(comparison), comparison_lines(comparison)
        else:
            verdict = run(joints, context, names[0], **settings)
            verdicts = (verdict,)
            record, lines = verdict_record(verdict), verdict_lines(verdict)
    except InputError as error:
        # Context and protocols were read and are whole; what is wrong is in the table.
        raise InputError(f"{options.joints}: {error}") from error
    if options.out is not None:
        files = [options.joints, options.context, *map(Path, names)]
        inputs = [path for path in files if path is not None and path.is_file()]
        with output_file(options.out, "triage", inputs) as path:
            write_json(path, record)
    print_json(record) if options.json else print_lines(lines)
    return 1 if all(verdict.disposition == "no_verdict" for verdict in verdicts) else 0


def protocol_names(text: str) -> list[str]:
    """Protocols named on the command line, separated by commas; a file's name may hold one."""
    if Path(text).is_file():
        return [text]
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise InputError(f"--protocol '{text}' names an empty protocol; write it like 'A,B'.")
    return names


def comparison_record(comparison: Comparison) -> dict[str, Any]:
    """A comparison as a dictionary."""
    return {
        "agree": comparison.agree,
        "differences": list(comparison.differences),
        "verdicts": [
            {**verdict_record(verdict), "because": list(because)}
            for verdict, because in zip(comparison.verdicts, comparison.because, strict=True)
        ],
    }


def protocols(options: Namespace) -> int:
    """``ctspectspine protocols``."""
    from CTSpectSpineLib.protocol_files import protocol_files
    from CTSpectSpineLib.triage_protocol.protocol import load_protocol, protocol_values
    from CTSpectSpineLib.triage_protocol.protocol_text import protocol_lines
    from CTSpectSpineLib.triage_protocol.schema import TEMPLATE_FILE, protocol_schema

    if options.schema:
        print_json(protocol_schema())
    elif options.template:
        print(TEMPLATE_FILE.read_text(encoding="utf-8"), end="")
    elif options.protocol is not None:
        protocol = load_protocol(options.protocol)
        if options.json:
            print_json(protocol_values(options.protocol))
        else:
            print_lines(protocol_lines(protocol))
    else:
        known = [load_protocol(name) for name in protocol_files()]
        if options.json:
            print_json([protocol.reference() for protocol in known])
        else:
            width = max(len(protocol.id) for protocol in known)
            print_lines(f"{p.id:<{width}}  {p.title}\n{'':<{width}}  {p.source}" for p in known)
    return 0
