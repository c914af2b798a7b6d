"""The command that writes results as DICOM objects."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

from CTSpectSpineLib.command_line.printing import print_json, print_lines
from CTSpectSpineLib.results.folder import check_step_folder, step_folder
from CTSpectSpineLib.results.ownership import readable

EXPORT_FILES = (
    "seg-vertebrae.dcm",
    "seg-joints-*.dcm",
    "report.dcm",
    "registration.dcm",
    "spect-on-ct.dcm",
    "ct-*.dcm",
    "spect-*.dcm",
    "picture-*.dcm",
)
"""Files that ``export`` writes."""


def export(options: Namespace) -> int:
    """``ctspectspine export``."""
    from CTSpectSpineLib.dicom_export.packages import check_packages

    check_packages()
    from CTSpectSpineLib.dicom_export import export_results, write_objects

    check_step_folder(options.dicom)
    with readable(options.results):
        exported = export_results(
            options.results,
            ct=options.ct,
            spect=options.spect,
            deidentify=options.deidentify,
            with_sources=options.with_sources,
        )
    inputs: list[Path] = [options.results, *exported.sources]
    with step_folder(options.dicom, "export", exported.names, inputs) as folder:
        paths = write_objects(exported, folder)
    if options.json:
        files = [path.name for path in paths]
        print_json({"folder": str(options.dicom), "files": files, "notes": list(exported.notes)})
    else:
        print_lines(f"{name:<20} {kind_of(name)}" for name in exported.objects)
        print_lines(_copies(exported.names[len(exported.objects) :]))
        print_lines(exported.notes)
        print(f"DICOM objects, for research use only: {options.dicom}")
    return 0


def _copies(names: Sequence[str]) -> Iterator[str]:
    """One line for the copies of each source."""
    for source in ("ct", "spect"):
        count = sum(name.startswith(f"{source}-") for name in names)
        if count:
            yield f"{source + '-*.dcm':<20} de-identified copies of the {source.upper()}: {count}"


def kind_of(name: str) -> str:
    """What a file of the export is, in words."""
    words = {
        "seg-v": "segmentation of the vertebrae",
        "seg-j": "segmentation of the joints",
        "repor": "structured report: measurements and verdict",
        "regis": "spatial registration of the SPECT to the CT",
        "spect": "SPECT in the CT's frame of reference",
        "pictu": "picture (secondary capture)",
    }
    return words[name[:5]]
