"""The command ``bounds``: from a truth study, or from normal patients, to a protocol's bounds."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping
from math import ceil
from pathlib import Path
from typing import Any

from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.locks import scratch_folder
from CTSpectSpineLib.model import JointKind, UptakeBounds
from CTSpectSpineLib.results.folder import output_file
from CTSpectSpineLib.results.text_files import write_json
from CTSpectSpineLib.triage_protocol import load_protocol
from CTSpectSpineLib.triage_protocol.protocol import protocol_values
from CTSpectSpineLib.validation.bounds import (
    ENOUGH_NORMALS,
    Calls,
    GroupBounds,
    Shares,
    calls,
    site_bounds,
    snippet,
    study_bounds,
)
from CTSpectSpineLib.validation.markdown import percent
from CTSpectSpineLib.validation.normals import read_normals
from CTSpectSpineLib.validation.rows import Study, read_study
from CTSpectSpineLib.validation.summary import CORRECTED, KINDS, MAXIMUM, UNCORRECTED
from CTSpectSpineLib.version import __version__

STUDY_METRICS = (CORRECTED, UNCORRECTED, MAXIMUM)


def run(options: Namespace) -> dict[str, Any]:
    """Derive the bounds that the command line asks for.

    Returns
    -------
    dict
        ``bounds`` (for a protocol file), ``groups``, ``calls`` (truth study only), ``notes``, and
        ``lines``, the same as text.

    Raises
    ------
    InputError
        If there are too few joints, or a folder or protocol cannot be used.
    """
    if (options.study is None) == (not options.normals):
        raise InputError("Give either --study or --normals.")
    if (options.out is None) != (options.id is None):
        raise InputError("--out and --id belong together: the file is a protocol of its own.")
    shares = Shares(
        options.false_positives,
        options.missed,
        options.borderline,
        options.normal,
        options.increased,
    )
    protocol = load_protocol(options.protocol)
    record: dict[str, Any]
    if options.study is not None:
        study = _study(options)
        groups = study_bounds(study, shares, options.metric)
        found = snippet(groups, options.metric, _study_source(groups, study, options, shares))
        table = {
            kind: {
                **(
                    {"computed": calls(study, kind, _bounds(found[kind]), shares)}
                    if kind in found
                    else {}
                ),
                options.protocol: calls(study, kind, protocol.bounds[kind], shares),
            }
            for kind in KINDS
        }
        record = {"bounds": found, "calls": table}
        lines = [*_study_lines(groups), "", *_call_lines(table)]
        notes = [
            f"Too few {group.kind} joints for bounds: these shares need at least "
            f"{ceil(1 / shares.false_positive)} normal and {ceil(1 / shares.missed)} increased "
            "ones; run more patients or allow larger shares."
            for group in _whole(groups)
            if group.kind not in found
        ]
    else:
        normals = read_normals(options.normals, options.metric)
        groups = site_bounds(normals, shares, options.metric)
        found = snippet(groups, options.metric, _site_source(groups, shares))
        record = {"bounds": found}
        lines = [*_site_lines(groups, shares)]
        few = int(normals.patient.nunique())
        notes = (
            [f"{few} normal patients are few; {ENOUGH_NORMALS} or more are advisable."]
            if few < ENOUGH_NORMALS
            else []
        )
    record |= {"groups": [_plain(group) for group in groups], "notes": notes}
    lines += notes
    if options.out is not None:
        if len(found) < len(KINDS):
            raise InputError(notes[0])
        _write_protocol(options, _protocol_with(options.protocol, options.id, found))
    return {**record, "lines": lines}


def _write_protocol(options: Namespace, values: Mapping[str, Any]) -> None:
    """Write a protocol's file once it is known to be one."""
    with scratch_folder() as folder:
        trial = folder / options.out.name
        write_json(trial, values)
        try:
            load_protocol(trial)
        except InputError as error:
            sentence = str(error).replace(str(trial), str(options.out))
            raise InputError(f"{sentence} Nothing was written.") from error
    inputs = [options.study, *(options.normals or ()), Path(options.protocol)]
    with output_file(options.out, "bounds", [path for path in inputs if path is not None]) as path:
        write_json(path, values)


def _study(options: Namespace) -> Study:
    if options.metric not in STUDY_METRICS:
        raise InputError(
            f"A truth study holds no {options.metric}; use one of {', '.join(STUDY_METRICS)}."
        )
    study = read_study(options.study).of(options.split)
    if study.patients.empty:
        raise InputError(
            f"The study in {options.study} holds no patients of the {options.split} split; run it "
            "or give the other --split."
        )
    return study


def _protocol_with(base: str, new_id: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """A protocol's file with other bounds and an id of its own."""
    values = protocol_values(base)
    bounds = {
        kind: {**values["bounds"][kind], **found[kind]} if kind in found else values["bounds"][kind]
        for kind in values["bounds"]
    }
    title = f"{values['title']}, with computed bounds"
    return {**values, "id": new_id, "title": title, "bounds": bounds}


def _bounds(values: Mapping[str, Any]) -> UptakeBounds:
    return UptakeBounds(values["metric"], values["positive"], values["indeterminate"])


def _plain(group: GroupBounds) -> dict[str, Any]:
    limits = {name: getattr(group, name) for name in ("upper", "lower", "middle")}
    return {
        "name": group.name,
        "patients": group.patients,
        "normal": group.normal,
        "increased": group.increased,
        **{name: limit and [limit.value, limit.low, limit.high] for name, limit in limits.items()},
        "positive": group.positive,
        "indeterminate": group.indeterminate,
    }


def _whole(groups: list[GroupBounds]) -> list[GroupBounds]:
    return [group for group in groups if group.name == group.kind]


def _study_source(
    groups: list[GroupBounds], study: Study, options: Namespace, shares: Shares
) -> dict[str, str]:
    sets = ", ".join(sorted(set(study.patients.set_name)))
    return {
        group.kind: (
            f"Truth study of {len(study.patients)} simulated patients ({options.split} split; "
            f"sets: {sets}) with version {__version__}: at most {shares.false_positive:.3g} of "
            f"{group.normal} normal {group.kind} joints (true ratio at most "
            f"{shares.normal_ratio:g}) reach {group.upper}; of {group.increased} increased ones "
            f"(at least {shares.increased_ratio:g}), scaled to a true ratio of "
            f"{shares.increased_ratio:g}, at most {shares.missed:.3g} lie below {group.lower} and "
            f"half below {group.middle}, with 95 % bootstrap intervals. Positive from the last "
            "value on, or where normal joints end if that is higher; indeterminate from the one "
            "before."
        )
        for group in _whole(groups)
        if group.positive is not None
    }


def _site_source(groups: list[GroupBounds], shares: Shares) -> dict[str, str]:
    return {
        group.kind: (
            f"{group.normal} {group.kind} joints of {group.patients} normal patients of this site "
            f"with version {__version__}: at most {shares.false_positive:.3g} of them reach "
            f"{group.upper} and at most {shares.borderline:.3g} reach {group.lower}, with 95 % "
            "bootstrap intervals."
        )
        for group in _whole(groups)
    }


def _study_lines(groups: list[GroupBounds]) -> Iterator[str]:
    yield (
        f"{'joints':<32} {'normal':>7} {'end at':>21} {'increased':>10} {'begin at':>21} "
        f"{'half below':>21} {'positive':>9} {'indet.':>7}"
    )
    for group in groups:
        yield (
            f"{group.name:<32} {group.normal:>7} {_words(group.upper):>21} "
            f"{group.increased:>10} {_words(group.lower):>21} {_words(group.middle):>21} "
            f"{_words(group.positive):>9} {_words(group.indeterminate):>7}"
        )


def _site_lines(groups: list[GroupBounds], shares: Shares) -> Iterator[str]:
    heads = [f"{share:.3g} reach" for share in (shares.false_positive, shares.borderline)]
    yield f"{'joints':<20} {'patients':>9} {'n':>6} {heads[0]:>21} {heads[1]:>21}"
    for group in groups:
        if group.normal:
            yield (
                f"{group.name:<20} {group.patients:>9} {group.normal:>6} "
                f"{_words(group.upper):>21} {_words(group.lower):>21}"
            )


def _call_lines(table: Mapping[JointKind, Mapping[str, Calls]]) -> Iterator[str]:
    for kind, rows in table.items():
        for name, row in rows.items():
            yield (
                f"{kind}, {name} bounds: of normal {percent(row.false_positive.value)} positive, "
                f"{percent(row.borderline.value)} indeterminate (false positives in "
                f"{percent(row.patients.value)} of patients); of increased "
                f"{percent(row.found.value)} positive, {percent(row.missed.value)} negative"
            )


def _words(value: object) -> str:
    if value is None:
        return "too few"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
