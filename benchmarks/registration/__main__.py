"""Compares the registration with general tools on simulated pairs, and writes the document.

    pip install -e ".[bench]"
    python -m benchmarks.registration --speed          # everything: hours on two cores
    python -m benchmarks.registration --count 2 --sets standard --out /tmp/try/registration.md
    python -m benchmarks.registration --document-only  # the document again, from the rows

Run in the root of the repository. Rows are kept in a CSV as they come; a run with the same file
continues where the last one stopped. Delete the file (or the rows of a method) to measure again.

ANTs asks for older NumPy and SciPy than the tests do, so it is measured from an environment of its
own, into the same rows:

    pip install -e ".[ants]"
    python -m benchmarks.registration --methods ants
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.registration.document import COMMAND, write_document
from benchmarks.registration.methods import METHODS
from benchmarks.registration.pairs import SETS, WRONG_SETS
from benchmarks.registration.rows import read_rows, read_speed_rows
from benchmarks.registration.runner import Plan, run
from benchmarks.registration.speed import run_speed

REPOSITORY = Path(__file__).resolve().parents[2]
ALL_SETS = (*SETS, *WRONG_SETS)
BUILD = Path("build") / "registration"
USUAL = tuple(name for name in METHODS if name != "ants")
NEED_DATA = ("standard-real", "hard-real", "mirrored", "turned")
"""Sets with pairs of the real CT. Without it the last two would hold other pairs under the same
names, so they are refused too."""


def _names(allowed: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
        unknown = [name for name in names if name not in allowed]
        if unknown or not names:
            raise argparse.ArgumentTypeError(
                f"{', '.join(unknown) or 'nothing'} is none of {', '.join(allowed)}"
            )
        return names

    return parse


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.registration",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--split", choices=("test", "tuning"), default="test")
    parser.add_argument("--count", type=_positive, default=40, help="pairs per set (40)")
    parser.add_argument(
        "--sets", type=_names(ALL_SETS), default=ALL_SETS, help=f"of {', '.join(ALL_SETS)} (all)"
    )
    parser.add_argument(
        "--methods",
        type=_names(tuple(METHODS)),
        default=USUAL,
        help=f"of {', '.join(METHODS)} (all but ants)",
    )
    parser.add_argument(
        "--jobs", type=_positive, default=os.cpu_count() or 1, help="sets side by side (all cores)"
    )
    parser.add_argument("--threads", type=_positive, default=1, help="of each call (1)")
    parser.add_argument(
        "--data",
        type=Path,
        default=REPOSITORY.parent / "shared" / "data",
        help="folder of the real CT (../shared/data beside the repository)",
    )
    parser.add_argument(
        "--rows", type=Path, default=BUILD / "rows.csv", help=f"({BUILD / 'rows.csv'})"
    )
    parser.add_argument("--speed", action="store_true", help="also the speed section")
    parser.add_argument("--speed-only", action="store_true", help="the speed section, no pairs")
    parser.add_argument(
        "--speed-rows", type=Path, default=BUILD / "speed.csv", help=f"({BUILD / 'speed.csv'})"
    )
    parser.add_argument(
        "--speed-threads", type=_positive, default=2, help="threads in the speed section (2)"
    )
    parser.add_argument("--small", action="store_true", help="tiny CTs in the speed section")
    parser.add_argument("--document-only", action="store_true", help="measure nothing")
    parser.add_argument("--out", type=Path, default=Path("docs/validation/registration.md"))
    return parser


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Path | None:
    """Refuse early what cannot run; return the folder of the real CT."""
    missing = [n for n in options.methods if METHODS[n].peer and not METHODS[n].version]
    if missing:
        packages = ", ".join(METHODS[n].package for n in missing)
        extra = "ants" if "ants" in missing else "bench"
        parser.error(f'{packages} is not installed: pip install -e ".[{extra}]"')
    if (options.data / "totalsegmentator_example").is_dir():
        return Path(options.data)
    if set(options.sets) & set(NEED_DATA) and not options.speed_only:
        parser.error(
            f"{options.data / 'totalsegmentator_example'} is missing: name the folder that holds "
            f"it with --data, or leave out the sets {', '.join(NEED_DATA)} with --sets"
        )
    return None


def _command(options: argparse.Namespace) -> str:
    """The command that makes the document again."""
    if options.sets == ALL_SETS:
        return COMMAND if options.split == "test" else f"{COMMAND} --split {options.split}"
    parts = ["python -m benchmarks.registration"]
    if options.split != "test":
        parts.append(f"--split {options.split}")
    if options.methods != USUAL:
        parts.append(f"--methods {','.join(options.methods)}")
    parts += [f"--count {options.count}", f"--sets {','.join(options.sets)}"]
    return " ".join([*parts, f"--out {options.out}"])


def main() -> None:
    """Run what the command line asks for."""
    parser = _parser()
    options = parser.parse_args()
    if not options.document_only:
        data = _check(parser, options)
        if not options.speed_only:
            run(
                Plan(
                    sets=options.sets,
                    methods=options.methods,
                    split=options.split,
                    count=options.count,
                    threads=options.threads,
                    jobs=options.jobs,
                    data=data,
                    rows=options.rows,
                )
            )
        if options.speed or options.speed_only:
            run_speed(options.speed_rows, options.methods, options.speed_threads, options.small)
    if not options.rows.exists():
        print(f"{options.rows} does not exist: there is nothing to write about", file=sys.stderr)
        sys.exit(0 if options.speed_only else 2)
    command = _command(options)
    speed = read_speed_rows(options.speed_rows) if options.speed_rows.exists() else None
    write_document(options.out, read_rows(options.rows), speed, options.split, command)
    print(f"wrote {options.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
