"""The package that the models over time need besides those of an analysis."""

from __future__ import annotations

from importlib import import_module

from CTSpectSpineLib.errors import MissingPackageError


def check_packages() -> None:
    """Check that statsmodels can be imported.

    Raises
    ------
    MissingPackageError
        If not; says how to install it.
    """
    try:
        import_module("statsmodels.api")
    except ImportError as error:
        raise MissingPackageError(
            f"Outcomes need the package statsmodels, which cannot be used here ({error}); install "
            'it with: pip install "statsmodels>=0.15"'
        ) from error
