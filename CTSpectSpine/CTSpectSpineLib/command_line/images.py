"""The CT and the SPECT that the command line names, or the study that holds both."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from CTSpectSpineLib.errors import InputError

if TYPE_CHECKING:
    from CTSpectSpineLib.volumes import Volume


def named_images(options: Namespace) -> tuple[Path, Path] | tuple[Volume, Volume]:
    """The paths of CT and SPECT, or both as read from a study.

    Raises
    ------
    InputError
        If not exactly one of the two ways is used, or an image cannot be read.
    """
    from CTSpectSpineLib.volumes.dicom.study import choose_pair

    given = [name for name in ("ct", "spect") if getattr(options, name) is not None]
    if options.study is not None:
        if given:
            raise InputError(f"--study finds CT and SPECT itself; leave out --{given[0]}.")
        return choose_pair(options.study, options.choose).read()
    if options.choose is not None:
        raise InputError("--choose numbers the series of a study; give --study FOLDER as well.")
    if len(given) < 2:
        missing = next(name for name in ("ct", "spect") if name not in given)
        raise InputError(f"--{missing} is missing; give --ct and --spect, or --study FOLDER.")
    return options.ct, options.spect
