"""A site's own normal patients, from their results folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from CTSpectSpineLib import joint_table
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.results.ownership import readable
from CTSpectSpineLib.results.text_files import read_json

JOINTS, MANIFEST = "joints.csv", "manifest.json"
_NEEDED = ("joint", "kind", "spine_region", "status")


def read_normals(folders: Sequence[Path], metric: str) -> pd.DataFrame:
    """The measured joints of all patients.

    Parameters
    ----------
    folders
        Results folders, or folders that hold them.
    metric
        Column of ``joints.csv``.

    Returns
    -------
    pandas.DataFrame
        ``patient`` (the folder), ``joint``, ``kind``, ``spine_region``, and the metric.

    Raises
    ------
    InputError
        If a folder holds no results, an analysis is incomplete or its registration was not good,
        a patient appears twice, or the analyses differ in version, reference or labels' source.
    """
    tables: list[pd.DataFrame] = []
    inputs: dict[str, Path] = {}
    settings: dict[str, Path] = {}
    for folder in _results(folders):
        with readable(folder):
            manifest = read_json(folder / MANIFEST)
            if not isinstance(manifest, dict) or manifest.get("status") != "complete":
                raise InputError(
                    f"The analysis in {folder} is not complete; run it again or omit it."
                )
            registration = read_json(folder / "registration.json")
            quality = registration.get("quality") if isinstance(registration, dict) else "unknown"
            if quality != "good":
                raise InputError(
                    f"The registration in {folder} is '{quality}', not good; check it or omit it."
                )
            table = _measured(folder, metric)
            # The joints' numbers identify a patient even where no file was read.
            key = str(pd.util.hash_pandas_object(table, index=False).sum())
            if key in inputs:
                raise InputError(f"{inputs[key]} and {folder} hold the same patient; omit one.")
            inputs[key] = folder
            made = _made_by(manifest)
            settings.setdefault(made, folder)
            if len(settings) > 1:
                (first, one), (second, other) = settings.items()
                raise InputError(
                    f"{one} was made with {first} and {other} with {second}; bounds need patients "
                    "that were analysed alike: analyse them again."
                )
        tables.append(table.assign(patient=str(folder)))
    return pd.concat(tables, ignore_index=True)


def _results(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        if (folder / JOINTS).is_file():
            yield folder
            continue
        inside = sorted(path.parent for path in folder.glob(f"*/{JOINTS}"))
        if not inside:
            raise InputError(
                f"{folder} holds no {JOINTS}, nor does a folder in it; give results folders of "
                "'ctspectspine analyze'."
            )
        yield from inside


def _measured(folder: Path, metric: str) -> pd.DataFrame:
    table = joint_table.read(folder / JOINTS)
    missing = [column for column in (*_NEEDED, metric) if column not in table]
    if missing:
        raise InputError(
            f"{folder / JOINTS} lacks the column {missing[0]}; analyse the patient again."
        )
    try:
        values = table[metric].astype(float)
    except ValueError as error:
        raise InputError(
            f"{folder / JOINTS} has a {metric} that is not a number ({error}); analyse the "
            "patient again."
        ) from error
    table = table.assign(**{metric: values})
    measured = table[(table.status == "measured") & table[metric].notna()]
    found: pd.DataFrame = measured[["joint", "kind", "spine_region", metric]]
    if found.empty:
        raise InputError(f"{folder / JOINTS} has no measured joint; omit the folder.")
    return found


def _made_by(manifest: dict[str, object]) -> str:
    """What the ratios depend on besides the patient."""
    software, parameters = manifest.get("software"), manifest.get("parameters")
    version = software.get("ctspectspine") if isinstance(software, dict) else None
    reference = parameters.get("reference") if isinstance(parameters, dict) else None
    return f"version {version or 'unknown'}, reference {reference or 'unknown'}"
