"""Commands of the command line and their options. Imports nothing heavy: help is there at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from CTSpectSpineLib.anatomy import SUPERNUMERARY
from CTSpectSpineLib.command_line.outcome_arguments import (
    add_agreement,
    add_diagnostic,
    add_flow,
    add_outcomes,
    add_reader_form,
)
from CTSpectSpineLib.command_line.phantom_arguments import CASES_HELP, add_phantom
from CTSpectSpineLib.command_line.shared_arguments import (
    Parser,
    add_common,
    add_images,
    add_labeller,
    add_settings,
)
from CTSpectSpineLib.command_line.study_arguments import add_bounds, add_validate
from CTSpectSpineLib.protocol_files import USUAL_PROTOCOL
from CTSpectSpineLib.version import __version__

_DESCRIPTION = (
    "Joint-by-joint bone SPECT/CT uptake of the spine. Research use only: not a medical device."
)


def _demo(parser: Parser) -> None:
    parser.add_argument(
        "--out", type=Path, default=Path("ctspectspine-demo"), metavar="DIR", help="folder to write"
    )
    parser.add_argument("--case", default="lumbar-disc", metavar="NAME", help=CASES_HELP)


def _analyze(parser: Parser) -> None:
    add_images(parser)
    parser.add_argument(
        "--vertebrae", type=Path, metavar="LABELS", help="vertebra labels: file or folder"
    )
    add_settings(parser, "label_scheme")
    add_labeller(parser)
    parser.add_argument(
        "--protocol", default=USUAL_PROTOCOL, metavar="ID|FILE", help="triage protocol"
    )
    parser.add_argument("--context", type=Path, metavar="JSON", help="clinical context")
    add_settings(
        parser,
        "transform",
        "initial_transform",
        "registration",
        "unit",
        "fwhm_mm",
        "reconstruction",
        "calibration",
        "reference",
        "bend_spine",
        "accept_registration",
        "confirm_levels",
        "named_levels",
        "keep_levels",
        "doubted_levels",
        "edited",
        "joints",
    )
    parser.add_argument(
        "--truth", type=Path, metavar="JSON", help="a phantom's truth.json to compare with"
    )
    add_settings(parser, "save_volumes", "save_scene", "threads", "seed")


def _batch(parser: Parser) -> None:
    parser.add_argument(
        "cohort", nargs="?", type=Path, metavar="COHORT", help="table: one row per patient"
    )
    parser.add_argument(
        "--bids", type=Path, metavar="ROOT", help="a BIDS tree in place of the table"
    )
    parser.add_argument(
        "--participant-label",
        nargs="+",
        default=(),
        metavar="LABEL",
        help="only these participants of the tree",
    )
    parser.add_argument(
        "--level",
        choices=("participant", "group"),
        help="only analyse, or only write tables and page; both where it is not given",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="results folder")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="patients at a time (1; what a cluster can do)"
    )
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="analyse on the workers of this Dask scheduler"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on: keep what is finished, analyse what is missing, failed or changed",
    )
    add_settings(parser, "label_scheme")
    # What a person says of one patient's levels or registration does not hold for all.
    add_labeller(parser, ("device", "fast"))
    parser.add_argument(
        "--protocol", default=USUAL_PROTOCOL, metavar="ID|FILE", help="triage protocol"
    )
    add_settings(
        parser,
        *("unit", "fwhm_mm", "reconstruction", "calibration", "reference", "bend_spine"),
        *("save_volumes", "save_scene", "threads", "seed"),
    )


def _calibrate(parser: Parser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "phantom_spect",
        nargs="?",
        type=Path,
        metavar="PHANTOM_SPECT",
        help="SPECT of a phantom with hot spheres: file or DICOM folder",
    )
    what.add_argument(
        "--normals", type=Path, metavar="COHORT", help="folder that batch wrote for your normals"
    )
    parser.add_argument("--layout", metavar="NAME", help="phantom: nema-iec (default) or jaszczak")
    parser.add_argument(
        "--contrast",
        type=float,
        metavar="RATIO",
        help="activity concentration of the spheres over the background's, if known",
    )
    add_settings(parser, "reconstruction")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write")


def _review(parser: Parser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of a batch")
    parser.add_argument("patient", nargs="?", metavar="PATIENT", help="id; all when left out")
    parser.add_argument(
        "decision",
        nargs="?",
        metavar="DECISION",
        help="seen, accept-registration, confirm-levels, anchor, exclude or withdraw",
    )
    parser.add_argument(
        "--value", default="", metavar="TEXT", help="LEVEL@x,y,z of an anchor, why of an exclude"
    )
    parser.add_argument("--by", metavar="NAME", help="who decides")
    parser.add_argument("--open", action="store_true", help="open the report in the browser")


def _register(parser: Parser) -> None:
    add_images(parser)
    add_settings(parser, "initial_transform", "threads")


def _label(parser: Parser) -> None:
    parser.add_argument("--ct", type=Path, help="CT: file or DICOM folder")
    parser.add_argument("--vertebrae", type=Path, metavar="LABELS", help="a label map to import")
    add_labeller(parser)
    parser.add_argument(
        "--engine-check",
        action="store_true",
        help="only say which labellers can run here, and what the others lack",
    )
    add_settings(parser, "label_scheme")
    parser.add_argument(
        "--compare",
        metavar="NAME|LABELS",
        help="compare level by level with another labeller or label map",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to write")


def _shift(parser: Parser) -> None:
    parser.add_argument(
        "source", type=Path, metavar="RESULTS|LABELS", help="results folder, or label map"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--by", type=int, metavar="N", help="move every name N places towards the feet (L4 to L5)"
    )
    add_settings(what, "anchor")
    parser.add_argument(
        "--extra",
        action="append",
        choices=SUPERNUMERARY,
        help="this spine has it (with --by); repeatable",
    )
    parser.add_argument("--ct", type=Path, help="CT, where it is not at its old place")
    parser.add_argument("--spect", type=Path, help="SPECT, where it is not at its old place")
    parser.add_argument("--protocol", metavar="FILE", help="protocol, if it was a file")
    add_settings(parser, "label_scheme")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")


def _joints(parser: Parser) -> None:
    parser.add_argument("--vertebrae", type=Path, required=True, metavar="LABELS")
    add_settings(parser, "label_scheme")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")


def _triage(parser: Parser) -> None:
    parser.add_argument("--joints", type=Path, required=True, metavar="CSV", help="joint table")
    parser.add_argument("--context", type=Path, metavar="JSON", help="clinical context")
    parser.add_argument(
        "--protocol",
        default=USUAL_PROTOCOL,
        metavar="ID|FILE[,…]",
        help="triage protocol; several, separated by commas, are shown side by side",
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


def _protocols(parser: Parser) -> None:
    parser.add_argument("protocol", nargs="?", metavar="ID|FILE", help="protocol to show")
    parser.add_argument("--schema", action="store_true", help="JSON schema of a protocol file")
    parser.add_argument("--template", action="store_true", help="a protocol file to start from")


def _report(parser: Parser) -> None:
    parser.add_argument("results", type=Path, metavar="RESULTS", help="results folder")
    parser.add_argument(
        "--pdf",
        action="store_true",
        help="also write report.pdf (A4), printed by Chromium, Google Chrome or Microsoft Edge",
    )


def _export(parser: Parser) -> None:
    parser.add_argument("results", type=Path, metavar="RESULTS", help="results folder")
    parser.add_argument("--dicom", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--ct",
        type=Path,
        metavar="SERIES",
        help="DICOM series of the CT, where it is not at its old place or was read as NIfTI",
    )
    parser.add_argument(
        "--spect", type=Path, metavar="FILE", help="DICOM file of the SPECT, likewise"
    )
    parser.add_argument(
        "--deidentify",
        action="store_true",
        help="take the patient's identity, all dates and the UIDs of the sources out",
    )
    parser.add_argument(
        "--with-sources",
        action="store_true",
        help="with --deidentify: also copies of CT and SPECT, which the objects then refer to",
    )


_COMMANDS: Mapping[str, tuple[str, Callable[[Parser], None], str]] = {
    "demo": (
        "phantom",
        _demo,
        "make a phantom with known truth, analyse it, compare with the truth",
    ),
    "phantom": (
        "phantom",
        add_phantom,
        "write a CT and SPECT with their truth, procedural or from a real CT",
    ),
    "analyze": ("analyze", _analyze, "CT and SPECT to joint table and verdict"),
    "batch": ("batch", _batch, "a cohort: every patient as analyze does, tables and a page"),
    "calibrate": (
        "calibrate",
        _calibrate,
        "a site's resolution from a sphere phantom, or its ordinary values from normals",
    ),
    "review": ("review", _review, "who of a cohort wants eyes, and what you decide on them"),
    "register": ("single_stages", _register, "register SPECT to CT"),
    "label": ("label", _label, "vertebra labels of a CT"),
    "shift": (
        "label",
        _shift,
        "renumber vertebra labels, or a whole analysis, and derive its results again",
    ),
    "joints": ("single_stages", _joints, "joint regions from vertebra labels alone"),
    "triage": ("triage", _triage, "verdict from a joint table"),
    "protocols": ("triage", _protocols, "list, show and check triage protocols"),
    "report": ("single_stages", _report, "render the report of a results folder again"),
    "export": ("export", _export, "results as DICOM objects (needs the package highdicom)"),
    "outcomes": (
        "outcomes",
        add_outcomes,
        "pain and disability before and after treatment (needs the package statsmodels)",
    ),
    "flow": ("outcomes", add_flow, "patient flow of a cohort, or from counts, as a picture"),
    "diagnostic": ("diagnostic", add_diagnostic, "uptake against a reference, joint by joint"),
    "agreement": (
        "agreement",
        add_agreement,
        "readers against the software, or two measurements of the same patients",
    ),
    "reader-form": ("agreement", add_reader_form, "a page for a reader who sees no result"),
    "validate": (
        "study",
        add_validate,
        "truth study: simulated patients through the whole analysis",
    ),
    "bounds": (
        "study",
        add_bounds,
        "bounds of a protocol from a truth study or from normal patients",
    ),
}
"""Command to the module of `command_line` that has its function, to its options, to its help."""


def build_parser() -> Parser:
    """The parser with all commands."""
    parser = Parser(prog="ctspectspine", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"ctspectspine {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    for name, (module, add_options, text) in _COMMANDS.items():
        command = subparsers.add_parser(name, help=text)
        command.set_defaults(module=module)
        add_options(command)
        add_common(command)
    return parser
