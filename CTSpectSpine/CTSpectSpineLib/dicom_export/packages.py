"""The packages that export needs besides those of an analysis."""

from __future__ import annotations

from importlib import import_module, metadata

from CTSpectSpineLib.errors import InputError

_OLDEST = (0, 27)
"""Oldest version of highdicom that works. Measured on 0.25, 0.26 (which lack colours of segments),
0.27 and 0.28 by the tests."""


def check_packages() -> None:
    """Check that the packages for export can be imported.

    Raises
    ------
    InputError
        If one is missing or too old; says how to install it.
    """
    wanted = ".".join(map(str, _OLDEST))
    try:
        for name in ("highdicom", "PIL"):
            import_module(name)
        version = metadata.version("highdicom")
        problem = f"version {version} is too old"
        if tuple(int(part) for part in version.split(".")[:2]) >= _OLDEST:
            return
    except (ImportError, ValueError) as error:
        problem = str(error)
    raise InputError(
        f"Export to DICOM needs the package highdicom, which cannot be used here ({problem}); "
        f'install it with: pip install "highdicom>={wanted}"'
    )
