"""Options of the commands that make a phantom. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

from CTSpectSpineLib.command_line.shared_arguments import Parser, add_settings

SCANNERS = ("gaussian", "projections")
"""Scanners of a phantom, the usual one first."""
CASES_HELP = (
    "phantom case: lumbar-disc (default), lumbar-facet, cervical-disc, cervical-facet, "
    "multiple-areas, negative, scoliosis, l6, ribs11, limited-fov, metal, whole-spine"
)


def add_phantom(parser: Parser) -> None:
    """Add the options of ``phantom``."""
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--case", metavar="NAME", help=CASES_HELP)
    parser.add_argument("--ct", type=Path, help="a real CT to make the SPECT from")
    parser.add_argument(
        "--vertebrae", type=Path, metavar="LABELS", help="vertebra labels of the real CT"
    )
    add_settings(parser, "label_scheme")
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
    parser.add_argument(
        "--facets",
        choices=("regular", "varied"),
        help="facet joints all alike (default), or as they differ between people and sides",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="seed of everything random")
    _add_patient(parser)
    _add_scanner(parser)


def _add_patient(parser: Parser) -> None:
    group = parser.add_argument_group("a patient as patients are (drawn with --seed)")
    group.add_argument(
        "--patient",
        metavar="KIND",
        help="draw a patient whose ordinary joints differ: ordinary, mild, hot, beside, mixed; "
        "also with --ct",
    )
    group.add_argument(
        "--field",
        metavar="NAME",
        help="what its CT covers: lumbar (default), thoracolumbar, cervical, whole",
    )


def _add_scanner(parser: Parser) -> None:
    group = parser.add_argument_group("the scanner")
    group.add_argument(
        "--scanner",
        choices=SCANNERS,
        default=SCANNERS[0],
        help="gaussian (default): activity blurred, with noise; projections: attenuation, "
        "collimator, scatter, Poisson noise and OSEM",
    )
    group = parser.add_argument_group("with --scanner projections")
    group.add_argument(
        "--reconstruction",
        metavar="NAME|JSON",
        help="no-recovery (default), recovery, no-attenuation-correction, displaced-attenuation, "
        "and variants; or a JSON file with such settings",
    )
    group.add_argument(
        "--noise", type=int, metavar="N", help="number of the noise draw: each is one more scan"
    )
    group.add_argument(
        "--bladder-growth",
        type=float,
        metavar="FACTOR",
        help="the bladder's activity at the end of the scan over that at its begin",
    )
    group.add_argument("--arms", action="store_true", help="the arms lie beside the trunk")
    group.add_argument(
        "--injection-site",
        type=float,
        metavar="SHARE",
        help="activity left at the injection in the left arm, over all activity in the CT",
    )
    group.add_argument(
        "--moved",
        type=float,
        nargs=4,
        metavar=("X", "Y", "Z", "BEGIN"),
        help="the patient moves by X Y Z mm at a share BEGIN (0 to 1) of the scan",
    )
