"""The packages that export needs besides those of an analysis."""

from __future__ import annotations

from importlib import import_module

from CTSpectSpineLib.errors import InputError


def check_packages() -> None:
    """Check that the packages for export can be imported.

    Raises
    ------
    InputError
        If one is missing or too old; says how to install it.
    """
    for name in ("highdicom.volume", "highdicom.seg", "highdicom.sr", "PIL"):
        try:
            import_module(name)
        except ImportError as error:
            raise InputError(
                f"Export to DICOM needs the package highdicom, which cannot be used here "
                f"({error}); "
                'install it with: pip install "highdicom>=0.28"'
            ) from error
