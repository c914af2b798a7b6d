"""Give damaged input of every kind to the command that reads it.

    python -m benchmarks.fuzz --count 10000 --resume [--out fuzz] [--only N] [--kind NAME]

Each input is made from its number alone. It runs in a process of its own, limited to 30 s and 3 GB,
and must end with 0, 1 or 2, with a sentence that names the file. What does not is kept with its
files in the folder ``faults``. POSIX only.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.fuzz.kinds import KINDS, kind_of
from benchmarks.fuzz.run import Outcome, server, try_input

_REPORTED = 200
"""Inputs between two lines of progress. Judgement: about once a minute."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run inputs; 1 if one was taken wrongly."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="inputs in all")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of inputs to run")
    parser.add_argument("--kind", help="only kinds whose name holds this")
    parser.add_argument("--out", type=Path, default=Path("fuzz"), help="folder of the outcomes")
    parser.add_argument("--resume", action="store_true", help="go on where the last run ended")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    rows = options.out / "outcomes.jsonl"
    if options.only or not options.resume:
        rows.unlink(missing_ok=True)
    done = [Outcome.from_line(line) for line in _lines(rows)]
    known = {outcome.number for outcome in done}
    numbers = options.only or range(options.first, options.first + options.count)
    with server() as warm, rows.open("a", encoding="utf-8") as stream:
        for number in numbers:
            if number in known or (options.kind or "") not in kind_of(number).name:
                continue
            outcome = try_input(number, warm, options.out / "faults")
            done.append(outcome)
            stream.write(outcome.line() + "\n")
            if outcome.fault:
                print(f"{number} {outcome.kind}: {outcome.fault}; {outcome.sentence}", flush=True)
            if len(done) % _REPORTED == 0:
                stream.flush()
                print(f"{len(done)} inputs", file=sys.stderr, flush=True)
    print("\n".join(_table(done)))
    return int(any(outcome.fault for outcome in done))


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _table(done: Sequence[Outcome]) -> list[str]:
    lines = ["| kind | inputs | exit 0 | 1 | 2 | faults | longest (s) | most memory (MiB) |"]
    lines.append("|---|--:|--:|--:|--:|--:|--:|--:|")
    for name in (*(kind.name for kind in KINDS), ""):
        rows = [outcome for outcome in done if not name or outcome.kind == name]
        if not rows:
            continue
        codes = Counter(outcome.code for outcome in rows)
        cells = [name or "all", len(rows), *(codes[code] for code in (0, 1, 2))]
        cells += [sum(bool(outcome.fault) for outcome in rows)]
        cells += [f"{max(outcome.seconds for outcome in rows):.1f}"]
        cells += [max(outcome.memory_mib for outcome in rows)]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    chatty = sum(outcome.chatter > 0 for outcome in done)
    return [*lines, "", f"{chatty} refusals had more than one line on standard error."]


if __name__ == "__main__":
    sys.exit(main())
