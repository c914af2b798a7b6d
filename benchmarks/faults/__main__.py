"""Kills commands at random moments, fills the disk, and looks whether their folders lie.

    python -m benchmarks.faults [--kills 100] [--full 40] [--out docs/validation/faults.md]

After each fault the folder of the command must say that it is not complete, or be complete with
every file as its record says; the command must run again into the same folder, which must then be
complete and hold no temporary file; the inputs must be as they were. POSIX only; `export` needs
".[dicom]".
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.faults.cases import prepare
from benchmarks.faults.runs import Tally, full_disk, kills


def document(killed: dict[str, Tally], filled: dict[str, Tally]) -> str:
    """What was found, as Markdown."""
    heads = ("faults", "folders that lie", "runs refused afterwards", "temporary files left")
    lines = [
        "# Killed commands and full disks",
        "",
        "Made by `python -m benchmarks.faults`: commands are killed (SIGKILL) at random moments,",
        "or may write only small files; then the folder is checked against its record, the command",
        "is run again into it, and the folder is checked once more.",
    ]
    for title, tallies in (("Killed", killed), ("No room for files", filled)):
        lines += ["", f"## {title}", "", f"| command | {' | '.join(heads)} | inputs changed |"]
        lines.append("|---|---:|---:|---:|---:|---:|")
        rows = {name: tally for name, tally in tallies.items() if tally.faults}
        for name, tally in rows.items():
            numbers = [len(x) for x in (tally.lies, tally.refused, tally.left, tally.inputs)]
            lines.append(f"| {name} | {tally.faults} | {' | '.join(map(str, numbers))} |")
        total = sum(tally.faults for tally in rows.values())
        found = [problem for tally in rows.values() for problem in tally.problems]
        lines += ["", f"{total} faults, {len(found)} problems."]
        lines += [f"- {problem}" for problem in found]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, metavar="N")
    parser.add_argument("--full", type=int, default=40, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the table to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workplace = prepare(Path(folder) / "work")
        killed = kills(workplace, options.kills, options.seed)
        text = document(killed, full_disk(workplace, options.full, options.seed))
    print(text)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
