"""Commands and options of the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from CTSpectSpineLib.version import __version__

BAD_INPUT = 2
"""Exit code of bad usage and bad input."""
_DESCRIPTION = (
    "Joint-by-joint bone SPECT/CT uptake of the spine. Research use only: no medical device."
)

_CASES_HELP = (
    "phantom case: lumbar-disc (default), lumbar-facet, cervical-disc, cervical-facet, "
    "multiple-areas, negative, scoliosis, l6, ribs11, limited-fov, metal, whole-spine"
)

_ANCHOR_HELP = (
    "a point (LPS mm) in a vertebra that you know, like L5@3.5,-40,812: all others follow"
)

if TYPE_CHECKING:
    Subparsers: TypeAlias = argparse._SubParsersAction["_Parser"]


class _Parser(argparse.ArgumentParser):
    """A parser that reports bad usage in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message} (see '{self.prog} --help')\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser with all commands."""
    parser = _Parser(prog="ctspectspine", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"ctspectspine {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    for add in (
        _demo,
        _phantom,
        _analyze,
        _register,
        _label,
        _shift,
        _joints,
        _triage,
        _protocols,
        _report,
        _validate,
        _bounds,
    ):
        add(subparsers)
    return parser


def _demo(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "demo", help="make a phantom with known truth, analyse it, compare with the truth"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("ctspectspine-demo"), metavar="DIR", help="folder to write"
    )
    parser.add_argument("--case", default="lumbar-disc", metavar="NAME", help=_CASES_HELP)
    _common(parser)


def _phantom(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "phantom", help="write a CT and SPECT with their truth, procedural or from a real CT"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--case", metavar="NAME", help=_CASES_HELP)
    parser.add_argument("--ct", type=Path, help="a real CT to make the SPECT from")
    parser.add_argument(
        "--vertebrae", type=Path, metavar="LABELS", help="vertebra labels of the real CT"
    )
    _scheme(parser)
    parser.add_argument(
        "--hot",
        action="append",
        default=None,
        metavar="JOINT=RATIO",
        help="true ratio of a joint to the reference bone, like 'L4-L5 disc=4'; repeatable",
    )
    parser.add_argument(
        "--translation", type=float, nargs=3, metavar=("X", "Y", "Z"), help="misalignment in mm"
    )
    parser.add_argument(
        "--rotation",
        type=float,
        nargs=3,
        metavar=("RX", "RY", "RZ"),
        help="misalignment in degrees",
    )
    parser.add_argument("--fwhm", type=float, metavar="MM", help="SPECT resolution")
    parser.add_argument("--counts", type=float, metavar="N", help="total counts of the SPECT")
    parser.add_argument("--spacing", type=float, metavar="MM", help="SPECT voxel size")
    parser.add_argument("--ct-spacing", type=float, metavar="MM", help="CT voxel size")
    parser.add_argument("--seed", type=int, metavar="N", help="seed of everything random")
    _common(parser)


def _analyze(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("analyze", help="CT and SPECT to joint table and verdict")
    _images(parser)
    parser.add_argument(
        "--vertebrae", type=Path, metavar="LABELS", help="vertebra labels: file or folder"
    )
    _scheme(parser)
    _labeller(parser)
    parser.add_argument(
        "--protocol", default="tender-2019", metavar="ID|FILE", help="triage protocol"
    )
    parser.add_argument("--context", type=Path, metavar="JSON", help="clinical context")
    parser.add_argument(
        "--transform", type=Path, metavar="TFM", help="use this CT-to-SPECT transform as it is"
    )
    parser.add_argument(
        "--initial", type=Path, metavar="TFM", help="start the registration from this transform"
    )
    parser.add_argument(
        "--registration",
        type=Path,
        metavar="RESULTS",
        help="keep the registration of this earlier analysis of the same images",
    )
    parser.add_argument("--fwhm", type=float, metavar="MM", help="SPECT resolution, if known")
    parser.add_argument(
        "--reference",
        default="vertebral_bodies",
        metavar="BONE",
        help="reference bone: vertebral_bodies, sacrum, iliac or contralateral",
    )
    parser.add_argument(
        "--accept-registration",
        action="store_true",
        help="give a verdict although the registration failed (recorded)",
    )
    parser.add_argument(
        "--confirm-levels",
        action="store_true",
        help="the vertebra levels were checked by a person (recorded)",
    )
    parser.add_argument(
        "--truth", type=Path, metavar="JSON", help="a phantom's truth.json to compare with"
    )
    parser.add_argument("--save-volumes", action="store_true", help="write spect_on_ct.nrrd")
    parser.add_argument("--save-scene", action="store_true", help="write scene.mrb (slicer-core)")
    parser.add_argument("--threads", type=int, metavar="N", help="most threads to use")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the intervals")
    _common(parser)


def _register(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("register", help="register SPECT to CT")
    _images(parser)
    parser.add_argument("--initial", type=Path, metavar="TFM", help="start from this transform")
    parser.add_argument("--threads", type=int, metavar="N", help="most threads to use")
    _common(parser)


def _label(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("label", help="vertebra labels of a CT")
    parser.add_argument("--ct", type=Path, required=True, help="CT: file or DICOM folder")
    parser.add_argument("--vertebrae", type=Path, metavar="LABELS", help="a label map to import")
    _labeller(parser)
    _scheme(parser)
    parser.add_argument(
        "--compare",
        metavar="NAME|LABELS",
        help="compare level by level with another labeller or label map",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    _common(parser)


def _shift(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "shift", help="renumber vertebra labels, or a whole analysis, and derive its results anew"
    )
    parser.add_argument(
        "source", type=Path, metavar="RESULTS|LABELS", help="results folder, or label map"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--by", type=int, metavar="N", help="move every name N places towards the feet (L4 to L5)"
    )
    what.add_argument("--anchor", metavar="LEVEL@x,y,z", help=_ANCHOR_HELP)
    parser.add_argument(
        "--extra",
        action="append",
        choices=("L6", "T13"),
        help="this spine has it (with --by); repeatable",
    )
    parser.add_argument("--ct", type=Path, help="CT, where it is not at its old place")
    parser.add_argument("--spect", type=Path, help="SPECT, where it is not at its old place")
    parser.add_argument("--protocol", metavar="FILE", help="protocol, if it was a file")
    _scheme(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    _common(parser)


def _joints(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("joints", help="joint regions from vertebra labels alone")
    parser.add_argument("--vertebrae", type=Path, required=True, metavar="LABELS")
    _scheme(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    _common(parser)


def _triage(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("triage", help="verdict from a joint table")
    parser.add_argument("--joints", type=Path, required=True, metavar="CSV", help="joint table")
    parser.add_argument("--context", type=Path, metavar="JSON", help="clinical context")
    parser.add_argument(
        "--protocol",
        default="tender-2019",
        metavar="ID|FILE[,…]",
        help="triage protocol; several apart by commas are shown side by side",
    )
    parser.add_argument(
        "--areas-per",
        choices=("motion_segment", "joint"),
        help="count areas this way instead of the protocol's",
    )
    parser.add_argument(
        "--classes",
        choices=("auto", "derived", "stated"),
        default="auto",
        help="uptake classes by the protocol's bounds where the table has the ratio, or as the "
        "table states them; auto (default) derives them unless somebody has set one",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the verdict as JSON")
    _common(parser)


def _protocols(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("protocols", help="list, show and check triage protocols")
    parser.add_argument("protocol", nargs="?", metavar="ID|FILE", help="protocol to show")
    parser.add_argument("--schema", action="store_true", help="JSON schema of a protocol file")
    parser.add_argument("--template", action="store_true", help="a protocol file to start from")
    _common(parser)


def _report(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("report", help="render the report of a results folder again")
    parser.add_argument("results", type=Path, metavar="RESULTS", help="results folder")
    _common(parser)


def _validate(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "validate", help="truth study: simulated patients through the whole chain"
    )
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
        help="apart by commas: standard, known, resolution, hard, real (default: all that need "
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
    _scheme(parser)
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="patients at a time")
    parser.add_argument(
        "--resume", action="store_true", help="go on with the study whose rows are there"
    )
    parser.add_argument(
        "--document-only", action="store_true", help="write the document again from the rows"
    )
    _common(parser)


def _bounds(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "bounds", help="bounds of a protocol from a truth study or from normal patients"
    )
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
        default="ratio_corrected",
        choices=("ratio_corrected", "ratio_mean", "ratio_max", "ratio_peak"),
        help="the deciding ratio",
    )
    for name, value, words in (
        ("--false-positives", 0.01, "share of normal joints that may be positive"),
        ("--missed", 0.05, "share of increased joints that may be negative (study)"),
        ("--borderline", 0.05, "share of normal joints that may be above negative (normals)"),
        ("--normal", 1.2, "true ratio up to which a joint is normal (study)"),
        ("--increased", 2.0, "true ratio from which on a joint is increased (study)"),
    ):
        parser.add_argument(name, type=float, default=value, metavar="X", help=words)
    parser.add_argument(
        "--protocol",
        default="tender-2019",
        metavar="ID|FILE",
        help="protocol to compare with, and to put the bounds into",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the protocol with them")
    parser.add_argument("--id", metavar="NAME", help="id of that protocol")
    _common(parser)


def _images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ct", type=Path, required=True, help="CT: file or DICOM folder")
    parser.add_argument(
        "--spect", type=Path, required=True, help="bone SPECT: file or DICOM folder"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="results folder")


def _labeller(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--labeller",
        default="auto",
        metavar="NAME",
        help="labeller to use: auto (default), totalsegmentator or builtin",
    )
    parser.add_argument("--anchor", metavar="LEVEL@x,y,z", help=_ANCHOR_HELP)
    parser.add_argument(
        "--device",
        default="auto",
        metavar="NAME",
        help="where TotalSegmentator runs: auto (default), cpu, gpu, gpu:1 ... or mps",
    )
    parser.add_argument(
        "--fast", action="store_true", help="TotalSegmentator's 3 mm model: quicker, less fine"
    )


def _scheme(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--label-scheme",
        default="auto",
        metavar="NAME",
        help="numbering of the labels: auto, totalsegmentator, totalsegmentator_v1, "
        "totalsegmentator_v3 or verse",
    )


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="machine-readable standard output")
    parser.add_argument(
        "--progress",
        choices=("auto", "text", "json", "none"),
        default="auto",
        help="progress on standard error",
    )
