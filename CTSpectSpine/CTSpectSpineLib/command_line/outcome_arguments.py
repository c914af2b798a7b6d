"""Options of the commands about outcomes."""

from __future__ import annotations

import argparse
from pathlib import Path

from CTSpectSpineLib.command_line.shared_arguments import Parser

_STUDY = "or the name of a published study (tender-2019)"


def add_outcomes(parser: Parser) -> None:
    """Options of ``outcomes``."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "table", type=Path, nargs="?", metavar="TABLE", help="outcome table: one row per patient"
    )
    what.add_argument(
        "--summary",
        metavar="FILE|STUDY",
        help=f"instead: a table of means and standard deviations alone, {_STUDY}",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--cohort",
        type=Path,
        metavar="DIR",
        help="folder of 'batch', joined by patient id: whose verdict was followed, patient flow",
    )
    parser.add_argument(
        "--visit",
        default="",
        metavar="VISIT",
        help="visit that tables and figures compare with (12m, else the last one)",
    )
    parser.add_argument(
        "--least-important",
        type=_named_number,
        action="append",
        default=[],
        metavar="MEASURE=POINTS",
        help="least important difference of your own (vas_axial=2); repeatable",
    )
    add_seed(parser)


def add_flow(parser: Parser) -> None:
    """Options of ``flow``."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("cohort", type=Path, nargs="?", metavar="COHORT", help="folder of 'batch'")
    what.add_argument(
        "--counts",
        metavar="FILE|STUDY",
        help=f"instead: a table with the columns box and patients, {_STUDY}",
    )
    parser.add_argument(
        "--outcomes", type=Path, metavar="TABLE", help="outcome table: who was operated, seen when"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Add the seed of random draws."""
    parser.add_argument("--seed", type=_seed, default=0, metavar="N", help="of random draws (0)")


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of 0 or more")
    return int(text)


def _named_number(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        return name.strip(), float(number)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not like vas_axial=2") from None


def add_diagnostic(parser: Parser) -> None:
    """Options of ``diagnostic``."""
    parser.add_argument(
        "cohort", type=Path, metavar="COHORT", help="folder of results folders, as of 'batch'"
    )
    parser.add_argument(
        "reference",
        type=Path,
        metavar="REFERENCE",
        help="table: id, reference (yes or no), and joint, if it is one of a joint",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--least-specificity",
        type=float,
        metavar="X",
        help="of the bounds of your own (else sensitivity plus specificity is the largest)",
    )
    add_seed(parser)


def add_agreement(parser: Parser) -> None:
    """Options of ``agreement``."""
    parser.add_argument(
        "--reader",
        type=Path,
        action="append",
        default=[],
        metavar="CSV",
        help="reading that 'reader-form' saved; repeatable",
    )
    parser.add_argument(
        "--results", type=Path, metavar="DIR", help="results folders that were read"
    )
    parser.add_argument(
        "--retest",
        type=Path,
        nargs=2,
        metavar=("FIRST", "SECOND"),
        help="two folders of results of the same patients",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    add_seed(parser)


def add_reader_form(parser: Parser) -> None:
    """Options of ``reader-form``."""
    parser.add_argument(
        "results", type=Path, metavar="RESULTS", help="results folder, or a folder that holds some"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="page to write")
    parser.add_argument("--reader", default="", metavar="NAME", help="name to begin with")
    parser.add_argument(
        "--shuffle", type=_seed, metavar="N", help="order the patients by chance, with this seed"
    )
