"""A tree of the Brain Imaging Data Structure (BIDS) as a cohort.

One patient for each participant, or for each session of a participant. BIDS has no names for
SPECT; the suffixes that are taken stand in `SPECT`. What a file is, its name says: the folder
between participant and file has any name. Gorgolewski et al., Sci Data 2016;3:160044, and VerSe's
names of labels (Sekuboyina et al., Med Image Anal 2021;73:102166).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from CTSpectSpineLib.cohort.table import CohortPatient, read_contexts
from CTSpectSpineLib.errors import InputError

CT, SPECT = ("ct",), ("spect", "nm")
"""Suffixes of CT and SPECT: ``sub-01_ct.nii.gz``."""
_IMAGE = r"\.(nii|nii\.gz|nrrd)"
_IS = {
    "ct": re.compile(rf".*_({'|'.join(CT)}){_IMAGE}"),
    "spect": re.compile(rf".*_({'|'.join(SPECT)}){_IMAGE}"),
    "vertebrae": re.compile(
        rf".*(_(desc|label|seg)-(vertebrae|vert)(_.*)?_dseg|_seg-vert_msk){_IMAGE}"
    ),
    "transform": re.compile(r".*_from-ct_to-(spect|nm)(_.*)?_xfm\.(tfm|txt)"),
}
"""Which file is what, by its name."""
_DERIVED = ("vertebrae", "transform")
"""What may lie below ``derivatives``, where our own results hold a ``spect_on_ct.nrrd``."""
_WORDS = {
    "ct": "CT (…_ct.nii.gz)",
    "spect": "SPECT (…_spect.nii.gz)",
    "vertebrae": "vertebra label map",
    "transform": "transform",
}
_LABEL = re.compile(r"[A-Za-z0-9]+")
_ALIASES = {"age": "age_years", "weight": "body_weight_kg"}
"""Columns of ``participants.tsv`` to fields of the clinical context; years and kg in both."""
_SEX = {"m": "male", "f": "female", "o": "other"}
"""Short names of sexes, as BIDS has them."""


@dataclass(frozen=True)
class _Place:
    """Where the files of one patient lie: a participant, or a session of one.

    Attributes
    ----------
    parts
        ``("sub-01",)`` or ``("sub-01", "ses-a")``.
    """

    parts: tuple[str, ...]

    @property
    def name(self) -> str:
        return "_".join(self.parts)


def read_bids(root: Path, labels: Sequence[str] = ()) -> tuple[CohortPatient, ...]:
    """Read a tree: a patient for each participant or session with a CT and a SPECT.

    Participants and sessions with neither are left out: they have other images.

    Parameters
    ----------
    root
        Folder that holds ``sub-<label>``.
    labels
        Participants to read, with or without ``sub-``; all when empty.

    Raises
    ------
    InputError
        Naming the file or folder, if the tree is malformed or a patient is not clear.
    """
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; give the root of a BIDS tree.")
    subjects = _folders(root, "sub")
    if not subjects:
        raise InputError(f"{root} holds no folder sub-<label>; give the root of a BIDS tree.")
    wanted = _chosen(root, subjects, labels)
    contexts = _contexts(root / "participants.tsv", "participant_id", "sub-")
    found = []
    for subject in wanted:
        sessions = _contexts(root / subject / f"{subject}_sessions.tsv", "session_id", "ses-")
        for place in _places(root, subject):
            paths = _patient(root, place)
            if paths:
                context = {**contexts.get(subject, {}), **sessions.get(place.parts[-1], {})}
                found.append(replace(CohortPatient(place.name, context=context), **paths))
    if not found:
        raise InputError(
            f"{root} holds no participant with a {_WORDS['ct']} and a {_WORDS['spect']}; name the "
            "files so, or give a cohort file."
        )
    return tuple(found)


def _folders(folder: Path, entity: str) -> list[str]:
    """Names of the folders of an entity, such as ``sub-01``, in order."""
    names = sorted(p.name for p in folder.glob(f"{entity}-*") if p.is_dir())
    seen: dict[str, str] = {}
    for name in names:
        if _LABEL.fullmatch(name.partition("-")[2]) is None:
            raise InputError(
                f"{folder / name}: a label holds letters without accents and digits only; rename "
                "the folder and its files."
            )
        earlier = seen.setdefault(name.lower(), name)
        if earlier != name:
            raise InputError(
                f"{folder} holds {earlier} and {name}, which are the same folder on some systems; "
                "rename one."
            )
    return names


def _chosen(root: Path, subjects: Sequence[str], labels: Sequence[str]) -> Sequence[str]:
    wanted = [f"sub-{label.removeprefix('sub-')}" for label in labels]
    for name in wanted:
        if name not in subjects:
            raise InputError(
                f"{root} holds no {name}; there are {subjects[0]} to {subjects[-1]}, "
                f"{len(subjects)} in all."
            )
    return [name for name in subjects if name in wanted] if wanted else subjects


def _places(root: Path, subject: str) -> list[_Place]:
    sessions = _folders(root / subject, "ses")
    if not sessions:
        return [_Place((subject,))]
    for folder in [root / subject, *_inner(root / subject)]:
        for path in _files(folder):
            if any(_IS[what].fullmatch(path.name) for what in ("ct", "spect")):
                raise InputError(
                    f"{path} lies beside the sessions of {subject}; move it into one of them."
                )
    return [_Place((subject, session)) for session in sessions]


def _patient(root: Path, place: _Place) -> dict[str, Any]:
    """The paths of a patient; none where there is neither CT nor SPECT."""
    raw = root.joinpath(*place.parts)
    own = list(_named(raw, place, _IS))
    found = {what: _only(place, what, own) for what in ("ct", "spect")}
    there = [what for what, path in found.items() if path is not None]
    if not there:
        return {}
    for what, path in found.items():
        if path is None:
            raise InputError(
                f"{raw} holds no {_WORDS[what]} beside its {_WORDS[there[0]]}; add it, or name the "
                "participants that are to be analysed with --participant-label."
            )
    derived = [
        path
        for folder in _derivatives(root)
        if folder.joinpath(*place.parts).is_dir()
        for path in _named(folder.joinpath(*place.parts), place, _DERIVED)
    ]
    for what in _DERIVED:
        found[what] = _only(place, what, [*own, *derived])
    return {what: path for what, path in found.items() if path is not None}


def _derivatives(root: Path) -> Iterator[Path]:
    """Where labels and transforms lie: in a pipeline's folder, or without one as VerSe has it."""
    place = root / "derivatives"
    if place.is_dir():
        yield place
        yield from (p for p in sorted(place.iterdir()) if p.is_dir() and p.name[:4] != "sub-")


def _named(folder: Path, place: _Place, kinds: Iterable[str]) -> Iterator[Path]:
    """Files of a patient that the analysis may want; each must bear the patient's name."""
    for inside in [folder, *_inner(folder)]:
        for path in _files(inside):
            if not any(_IS[kind].fullmatch(path.name) for kind in kinds):
                continue
            if not path.name.startswith(f"{place.name}_"):
                raise InputError(
                    f"{path} lies in the folder of {place.name} and bears another name; rename or "
                    "move it."
                )
            yield path


def _inner(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and p.name[:4] != "ses-")


def _files(folder: Path) -> list[Path]:
    # A link into a store whose content was not fetched is a file that does not exist yet.
    return sorted(p for p in folder.iterdir() if p.is_file() or p.is_symlink())


def _only(place: _Place, what: str, paths: Sequence[Path]) -> Path | None:
    found = [path for path in paths if _IS[what].fullmatch(path.name)]
    if len(found) > 1:
        raise InputError(
            f"{place.name} has {len(found)} files that may be its {_WORDS[what]}, {found[0]} and "
            f"{found[1]}; keep one, put them into sessions of their own, or give a cohort file."
        )
    return found[0] if found else None


def _contexts(path: Path, key: str, prefix: str) -> Mapping[str, Mapping[str, Any]]:
    """Context of each participant or session; empty where there is no table."""
    if not path.is_file():
        return {}
    return {
        name if name.startswith(prefix) else f"{prefix}{name}": context
        for name, context in read_contexts(path, key, _ALIASES, {"sex": _SEX}).items()
    }
