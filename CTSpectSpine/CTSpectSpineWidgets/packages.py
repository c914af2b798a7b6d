"""Python packages that Slicer does not ship: asked for on first use, never at import."""

from __future__ import annotations

import logging
import subprocess
import tempfile
from pathlib import Path

import slicer
from slicer.i18n import tr as _

REQUIREMENTS = Path(__file__).resolve().parents[1] / "Resources" / "requirements.txt"
REQUESTER = "CTSpectSpine"
BUNDLED = ("numpy", "scipy", "SimpleITK", "pydicom", "vtk", "torch", "requests")
"""Packages that Slicer or its extensions ship: they keep their versions, whatever is installed."""


def ensure(requirementsFile: Path) -> None:
    """Install what is missing of a requirements file, after asking the user.

    Slicer 5.12 and later have a function for it; before, `ensureWithPip` does the same. The file
    names nothing that Slicer ships, so none of that is ever changed.

    Raises
    ------
    RuntimeError
        If the user declines, or if pip fails.
    """
    if not missingRequirements(requirementsFile.read_text(encoding="utf-8")):
        return
    try:
        _install(requirementsFile)
    except subprocess.CalledProcessError as error:
        text = _(
            "The Python packages that the analysis needs could not be installed (pip ended with "
            "code {code}). Check the connection to the package index and the free space, and try "
            "again; Slicer's log says more."
        )
        raise RuntimeError(text.format(code=error.returncode)) from error


def _install(requirementsFile: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="CTSpectSpine-") as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text(bundledVersions(), encoding="utf-8")
        try:
            import slicer.packaging
        except ImportError:  # Slicer before 5.12
            ensureWithPip(requirementsFile, constraints)
        else:
            slicer.packaging.pip_ensure(
                slicer.packaging.load_requirements(requirementsFile),
                constraints=constraints,
                requester=REQUESTER,
            )


def bundledVersions() -> str:
    """Constraints for pip that keep what Slicer ships at its versions."""
    from importlib.metadata import PackageNotFoundError, version

    lines = []
    for name in BUNDLED:
        try:
            lines.append(f"{name}=={version(name)}\n")
        except PackageNotFoundError:
            continue
    return "".join(lines)


def ensureWithPip(requirementsFile: Path, constraints: Path) -> None:
    """Ask, then install what is missing of a requirements file of lines ``name>=version``."""
    missing = missingRequirements(requirementsFile.read_text(encoding="utf-8"))
    if not missing:
        return
    if slicer.app.testingEnabled():
        logging.info(f"Testing mode is enabled: not installing {', '.join(missing)}")
        return
    question = _("These Python packages are needed and will be installed into Slicer:")
    if not slicer.util.confirmOkCancelDisplay("\n".join([question, *missing])):
        raise RuntimeError(_("The packages that the analysis needs were not installed."))
    for requirement in missing:
        slicer.util.pip_install([requirement, "-c", str(constraints)])


def missingRequirements(text: str) -> list[str]:
    """Lines ``name>=version`` of a requirements file that are not met."""
    from importlib.metadata import PackageNotFoundError, version

    def numbers(release: str) -> list[int]:
        return [int(part) for part in release.split(".") if part.isdigit()]

    missing = []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        if line.startswith("#"):
            continue
        name, least = line.split(">=")
        try:
            if numbers(version(name)) < numbers(least):
                missing.append(line)
        except PackageNotFoundError:
            missing.append(line)
    return missing


def totalSegmentatorHint() -> str:
    """What to tell a user without vertebra labels and TotalSegmentator; empty if it is there.

    It is found as an installed Slicer extension or as a Python package, and never installed from
    here: it needs PyTorch, which its own extension installs with care.
    """
    from importlib.util import find_spec

    if hasattr(slicer.modules, "totalsegmentator") or find_spec("totalsegmentator") is not None:
        return ""
    return _(
        "To label vertebrae automatically, install the extension TotalSegmentator with the "
        "Extensions Manager, or select vertebra labels above."
    )
