"""Options that several commands share, and the kind of parser that they use."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import NoReturn

from CTSpectSpineLib.analysis.options import Options

BAD_INPUT = 2
"""Exit code of bad usage and bad input. Convention: argparse and most shells use 2."""
LABELLER_OPTIONS = ("anchor", "device", "fast")
"""Settings of `Options` that go with ``--labeller``."""


class Parser(argparse.ArgumentParser):
    """A parser that reports bad usage in one line."""

    def error(self, message: str) -> NoReturn:
        """End with one line on standard error."""
        self.exit(BAD_INPUT, f"{self.prog}: {message} (see '{self.prog} --help')\n")


def add_settings(parser: argparse._ActionsContainer, *names: str) -> None:
    """Add options for settings of an analysis, as `Options` spells them."""
    spelled = {setting.name: setting for setting in fields(Options)}
    for name in names:
        setting = spelled[name]
        how = setting.metadata
        if how["metavar"] is None:
            parser.add_argument(how["option"], dest=name, action="store_true", help=how["help"])
        else:
            parser.add_argument(
                how["option"],
                dest=name,
                type=how["read"],
                default=setting.default,
                metavar=how["metavar"],
                help=how["help"],
            )


def add_images(parser: argparse.ArgumentParser) -> None:
    """Add CT and SPECT, or the study that holds both, and the results folder."""
    parser.add_argument("--ct", type=Path, help="CT: file or DICOM folder")
    parser.add_argument("--spect", type=Path, help="bone SPECT: file or DICOM folder")
    parser.add_argument(
        "--study",
        type=Path,
        metavar="FOLDER",
        help="instead of --ct and --spect: a DICOM folder in which both are found",
    )
    parser.add_argument(
        "--choose",
        type=_two_numbers,
        metavar="CT,SPECT",
        help="numbers of the series of the study, where its headers do not tell which are meant",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="results folder")


def _two_numbers(text: str) -> tuple[int, int]:
    first, comma, second = text.partition(",")
    if not (comma and first.strip().isdecimal() and second.strip().isdecimal()):
        raise argparse.ArgumentTypeError(f"'{text}' is not two numbers like 1,2")
    return int(first), int(second)


def add_labeller(
    parser: argparse.ArgumentParser, settings: Sequence[str] = LABELLER_OPTIONS
) -> None:
    """Add the labeller and its settings."""
    parser.add_argument(
        "--labeller",
        default="auto",
        metavar="NAME",
        help="labeller to use: auto (default), totalsegmentator or builtin",
    )
    add_settings(parser, *settings)


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add what every command has."""
    parser.add_argument("--json", action="store_true", help="machine-readable standard output")
    parser.add_argument(
        "--progress",
        choices=("auto", "text", "json", "none"),
        default="auto",
        help="progress on standard error",
    )
