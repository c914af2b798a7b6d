"""The command that calibrates for a site."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from CTSpectSpineLib.calibration_file import Calibration, read_calibration
from CTSpectSpineLib.command_line.printing import print_json, print_lines
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.results.folder import output_file
from CTSpectSpineLib.results.text_files import write_json


def calibrate(options: Namespace) -> int:
    """``ctspectspine calibrate``."""
    if options.out.suffix.lower() != ".json":
        raise InputError(
            f"A calibration is a JSON file; give --out a name like '{options.out}.json'."
        )
    if options.normals is not None:
        calibration, inputs = _of_normals(options), [options.normals]
    else:
        calibration, inputs = _of_phantom(options), [options.phantom_spect]
    files = [path for path in inputs if path.is_file()]
    with output_file(options.out, "calibrate", files) as path:
        write_json(path, calibration.content())
        # What cannot be read back must not be left as a calibration.
        read_calibration(path)
    if options.json:
        print_json({"file": str(options.out), **calibration.content()})
    else:
        print_lines(_lines(calibration))
        print(f"Calibration, for research use only: {options.out}")
    return 0


def _of_normals(options: Namespace) -> Calibration:
    from CTSpectSpineLib.calibration import calibrate_normals

    for name in ("contrast", "layout", "reconstruction"):
        if getattr(options, name) is not None:
            raise InputError(f"--{name} is for a phantom; leave it out with --normals.")
    return calibrate_normals(options.normals)


def _of_phantom(options: Namespace) -> Calibration:
    from CTSpectSpineLib.analysis.emission import reconstruction_facts
    from CTSpectSpineLib.analysis.inputs import as_volume
    from CTSpectSpineLib.analysis.options import Options
    from CTSpectSpineLib.calibration import USUAL_LAYOUT, calibrate_spheres, layout

    phantom = layout(options.layout or USUAL_LAYOUT)
    volume = as_volume(Path(options.phantom_spect), "spect")
    facts = reconstruction_facts(volume, Options.from_arguments(options))
    return calibrate_spheres(volume, phantom, contrast=options.contrast, reconstruction=facts)[0]


def _lines(calibration: Calibration) -> list[str]:
    lines = []
    response, record = calibration.response, calibration.record
    if response is not None:
        lines.append(
            f"Response: {record['width_at_half_maximum_mm']:.1f} mm at half maximum, as "
            f"{response.family} (Gaussian of {response.fwhm_mm:.1f} ± {response.fwhm_sd_mm:.1f} "
            f"mm, lift {response.lift:.2f} ± {response.lift_sd:.2f})"
        )
        contrast = record["contrast"]
        how = "given" if record["contrast_given"] else "fitted"
        if contrast is not None:
            lines.append(f"Spheres over background: {contrast:.1f} ({how})")
        lines.append(f"Misfit: {record['misfit']:.1%} of the spheres above background")
        lines.append("Sphere, mm   recovery   fitted")
        lines += [
            f"{sphere['diameter_mm']:10.1f} {sphere['recovery']:10.2f} {sphere['fitted']:8.2f}"
            for sphere in record["spheres"]
        ]
    for kind, found in calibration.ordinary.items():
        lines.append(
            f"Ordinary {kind} joints: {found.mean:.2f} of the reference, ± {found.sd:.2f} within "
            f"a patient, ± {found.mean_sd:.2f} between {found.patients} patients "
            f"({found.joints} joints)"
        )
    return lines
