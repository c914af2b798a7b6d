"""Options of the commands of the truth study."""

from __future__ import annotations

from pathlib import Path

from CTSpectSpineLib.command_line.shared_arguments import (
    Parser,
    add_settings,
)
from CTSpectSpineLib.joint_columns import METRICS, USUAL_METRIC
from CTSpectSpineLib.protocol_files import USUAL_PROTOCOL


def add_validate(parser: Parser) -> None:
    """Options of ``validate``."""
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("ctspectspine-validate"),
        metavar="DIR",
        help="folder of the document and its plots",
    )
    parser.add_argument(
        "--rows",
        type=Path,
        metavar="DIR",
        help="folder of the rows, which grow patient by patient (the folder of the document)",
    )
    parser.add_argument("--count", type=int, default=100, metavar="N", help="patients per set")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="seed of the study")
    parser.add_argument(
        "--split",
        choices=("test", "tuning"),
        default="test",
        help="test patients are never tuning patients, whatever the seed",
    )
    parser.add_argument(
        "--sets",
        metavar="NAMES",
        help="separated by commas: standard, known, resolution, hard, real (default: all that need "
        "no real CT, and real with --ct)",
    )
    parser.add_argument("--ct", type=Path, help="a real CT to make SPECT of")
    parser.add_argument(
        "--vertebrae", type=Path, metavar="LABELS", help="vertebra labels of the real CT"
    )
    parser.add_argument(
        "--organs",
        type=Path,
        metavar="LABELS",
        help="labels of TotalSegmentator's task total of the real CT",
    )
    add_settings(parser, "label_scheme")
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="patients at a time")
    parser.add_argument(
        "--resume", action="store_true", help="go on with the study whose rows are there"
    )
    parser.add_argument(
        "--document-only", action="store_true", help="write the document again from the rows"
    )


def add_bounds(parser: Parser) -> None:
    """Options of ``bounds``."""
    parser.add_argument("--study", type=Path, metavar="DIR", help="rows of 'validate'")
    parser.add_argument(
        "--split", choices=("test", "tuning"), default="tuning", help="patients of the study"
    )
    parser.add_argument(
        "--normals",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="results folders of normal patients, or folders that hold them",
    )
    parser.add_argument(
        "--metric",
        default=USUAL_METRIC,
        choices=METRICS,
        help="the deciding ratio",
    )
    for name, value, words in (
        ("--false-positives", 0.01, "share of normal joints that may be positive"),
        ("--missed", 0.05, "share of increased joints that may be negative (study)"),
        ("--borderline", 0.05, "share of normal joints that may be above negative (normals)"),
        ("--normal", 1.2, "true ratio up to which a joint is normal (study)"),
        ("--increased", 2.0, "true ratio from which a joint counts as increased (study)"),
    ):
        parser.add_argument(name, type=float, default=value, metavar="X", help=words)
    parser.add_argument(
        "--protocol",
        default=USUAL_PROTOCOL,
        metavar="ID|FILE",
        help="protocol to compare with, and to put the bounds into",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the protocol with them")
    parser.add_argument("--id", metavar="NAME", help="id of that protocol")
