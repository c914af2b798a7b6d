"""The commands that make, compare and correct vertebra labels."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from CTSpectSpineLib.command_line.printing import (
    print_json,
    print_lines,
    progress_printer,
    verdict_lines,
)
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.results.folder import check_step_folder, step_folder
from CTSpectSpineLib.results.records import labels_record, verdict_record

if TYPE_CHECKING:
    from CTSpectSpineLib.labelling import Comparison
    from CTSpectSpineLib.model import VertebraLabels

OWN = ("vertebrae.nii.gz", "vertebrae.seg.nrrd", "vertebrae.json", "hips.nii.gz")
"""Files that these commands write."""


def label(options: Namespace) -> int:
    """``ctspectspine label``."""
    from CTSpectSpineLib.analysis.level_trust import checked_by_joints
    from CTSpectSpineLib.labelling import Settings, label_vertebrae
    from CTSpectSpineLib.volumes.checks import check_ct
    from CTSpectSpineLib.volumes.reading import read_volume

    if options.engine_check:
        return _engine_check(options)
    for name in ("ct", "out"):
        if getattr(options, name) is None:
            raise InputError(f"--{name} is missing; give it, or --engine-check alone.")
    if options.vertebrae is not None and options.labeller != "auto":
        raise InputError("--vertebrae and --labeller are both given; give either.")
    check_step_folder(options.out)
    ct = read_volume(options.ct, "ct")
    notes = (*check_ct(ct), *ct.notes)
    run = partial(
        label_vertebrae,
        ct.image,
        scheme=options.label_scheme,
        settings=Settings(options.device, options.fast),
        progress=progress_printer(options.progress),
    )
    inputs = [path for path in (options.ct, options.vertebrae) if path is not None]
    if options.compare is not None and Path(options.compare).exists():
        inputs.append(Path(options.compare))
    with step_folder(options.out, "label", OWN, inputs) as folder:
        labels = run(options.vertebrae or options.labeller, options.anchor)
        labels = checked_by_joints(labels, ct.image)
        comparison = None
        if options.compare is not None:
            from CTSpectSpineLib.labelling import compare_labels

            comparison = compare_labels(labels, run(options.compare))
            labels = replace(
                labels,
                levels_confirmed=labels.levels_confirmed and comparison.agree,
                warnings=(*labels.warnings, comparison.sentence),
            )
        _write(labels, folder, options, comparison, notes)
    return 0


def _engine_check(options: Namespace) -> int:
    from CTSpectSpineLib.labelling import Settings
    from CTSpectSpineLib.labelling.labellers import engine_check

    said = engine_check(Settings(options.device, options.fast))
    if options.json:
        print_json({"engines": said})
    else:
        print_lines([f"{name}: {sentence}" for name, sentence in said.items()])
    return 0


def shift(options: Namespace) -> int:
    """``ctspectspine shift``."""
    from CTSpectSpineLib.analysis.renumbered import is_results, relevel

    change = _change(options)
    if not is_results(options.source):
        return _shift_labels(options, change)
    results = relevel(
        options.source,
        change,
        options.out,
        ct=options.ct,
        spect=options.spect,
        protocol=options.protocol,
        progress=progress_printer(options.progress),
    )
    if options.json:
        print_json(
            {
                "folder": str(results.folder),
                "labels": results.manifest["labels"],
                "verdict": verdict_record(results.verdict),
            }
        )
    else:
        print(_levels(results.labels))
        print_lines(verdict_lines(results.verdict))
        print(f"\nReport to open: {results.report}")
    return 1 if results.refused else 0


def _shift_labels(options: Namespace, change: Callable[[VertebraLabels], VertebraLabels]) -> int:
    from CTSpectSpineLib.labelling import judge, labels_from
    from CTSpectSpineLib.labelling.importing.sources import load_labels
    from CTSpectSpineLib.volumes.reading import read_volume

    if options.spect is not None or options.protocol is not None:
        raise InputError(
            f"--spect and --protocol belong to a results folder, which {options.source} is not; "
            "leave them out."
        )
    check_step_folder(options.out)
    ct = None if options.ct is None else read_volume(options.ct, "ct")
    loaded = load_labels(options.source, options.label_scheme)
    labels = judge(change(labels_from(loaded, None if ct is None else ct.image)))
    inputs = [path for path in (options.source, options.ct) if path is not None]
    with step_folder(options.out, "label", OWN, inputs) as folder:
        _write(labels, folder, options, None, () if ct is None else ct.notes)
    return 0


def _change(options: Namespace) -> Callable[[VertebraLabels], VertebraLabels]:
    """What is to be done with the labels."""
    from CTSpectSpineLib.labelling import anchored, parse_anchors, shifted

    if options.anchor is not None:
        if options.extra:
            raise InputError("--extra belongs to --by; an anchor says itself what is there.")
        anchors = parse_anchors(options.anchor)
        return lambda labels: anchored(labels, *anchors)
    return lambda labels: shifted(labels, options.by, options.extra or ())


def _write(
    labels: VertebraLabels,
    folder: Path,
    options: Namespace,
    comparison: Comparison | None,
    notes: Sequence[str],
) -> None:
    """Write and print labels; ``notes`` are sentences on what is unusual about the CT."""
    from CTSpectSpineLib.results.stage_files import write_labels

    more: dict[str, Any] = {} if comparison is None else {"comparison": comparison.record()}
    if notes:
        more["notes"] = list(notes)
    write_labels(labels, folder, more)
    if options.json:
        print_json({"folder": str(folder), **labels_record(labels), **more})
        return
    print(f"{_levels(labels)}; {folder / 'vertebrae.seg.nrrd'}")
    if comparison is not None:
        print_lines(_comparison_lines(comparison))
    print_lines([*filter(None, [labels.engine_reason]), *labels.warnings, *notes])


def _levels(labels: VertebraLabels) -> str:
    confirmed = "" if labels.levels_confirmed else " (levels not confirmed)"
    if labels.levels_confirmed and labels.doubted_levels:
        confirmed = f" (not confirmed: {', '.join(labels.doubted_levels)})"
    version = f" {labels.engine_version}" if labels.engine_version else ""
    least = min(labels.confidence, key=lambda level: labels.confidence[level], default=None)
    doubt = (
        f", least confident in {least} ({labels.confidence[least]:.2f})"
        if least is not None and labels.confidence[least] < 1
        else ""
    )
    return f"Levels by {labels.engine}{version}: {', '.join(labels.levels)}{confirmed}{doubt}"


def _comparison_lines(comparison: Comparison) -> Iterator[str]:
    first, second = comparison.names
    yield f"{first:<16}{second:<16}{'Dice':>6}{'centres apart (mm)':>20}"
    for row in comparison.table.to_dict("records"):
        mark = "" if row["agree"] else "  differs"
        distance = f"{row['centre_distance_mm']:>20.1f}" if row["other"] else f"{'-':>20}"
        other = row["other"] or "-"
        yield f"{row['level']!s:<16}{other!s:<16}{row['dice']:>6.2f}{distance}{mark}"
