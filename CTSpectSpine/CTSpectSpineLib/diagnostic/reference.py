"""The reference table, and what the analyses say of the same joints or patients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path

from CTSpectSpineLib.cell_table import CellTable, read_cells
from CTSpectSpineLib.cohort.rows import ratio_of
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.joint_table import Row

COLUMNS = ("id", "joint", "region", "reference")
REGIONS = ("cervical", "thoracic", "lumbar")
NOT_MEASURABLE = "not_measurable"


@dataclass(frozen=True)
class Observation:
    """A joint, or a patient, with its reference.

    Attributes
    ----------
    patient, joint, kind
        Joint and kind are empty where the reference is one of the patient.
    condition
        Whether the reference is positive.
    uptake
        Uptake class; of a patient the highest one.
    ratio
        Deciding ratio, of a patient the highest one; NaN where none was measured.
    metric
        Column that the ratio is of.
    """

    patient: str
    joint: str
    kind: str
    condition: bool
    uptake: str
    ratio: float
    metric: str


def read_reference(path: Path, joints: Mapping[str, Sequence[Row]]) -> tuple[Observation, ...]:
    """Read a reference table and join it with the joints of a cohort.

    Columns are ``id`` and ``reference`` (yes or no); with ``joint`` (``L4-L5 facet left``) the
    reference is one of the joint, else of the patient, with ``region`` of a part of the spine.
    Rows without a reference are left out.

    Parameters
    ----------
    joints
        Patient to joints.

    Raises
    ------
    InputError
        Naming row and column, if a cell is not allowed or names nobody.
    """
    cells = read_cells(path, COLUMNS, ("id", "reference"), "a table of references")
    answers = cells.answers("reference")
    regions = cells.choices("region", REGIONS)
    _check_places(cells, joints, regions)
    found = [
        _observation(name, joints[name], joint, region, answer)
        for name, joint, region, answer in zip(
            cells.cells("id"), cells.cells("joint"), regions, answers, strict=True
        )
        if answer is not None
    ]
    if {o.condition for o in found} != {True, False}:
        raise InputError(
            f"{path}, column reference: there must be both yes and no; {len(found)} rows have an "
            "answer."
        )
    return tuple(found)


def _check_places(
    cells: CellTable, joints: Mapping[str, Sequence[Row]], regions: Sequence[str]
) -> None:
    seen: dict[tuple[str, str], int] = {}
    by_joint = "joint" in cells.columns
    places = zip(cells.cells("id"), cells.cells("joint"), regions, strict=True)
    for row, (name, joint, region) in enumerate(places):
        if name not in joints:
            raise InputError(
                f"{cells.where(row, 'id')}: the cohort has no results of '{name}'; remove the row "
                "or analyse the patient."
            )
        if by_joint and joint not in {j.joint for j in joints[name]}:
            raise InputError(
                f"{cells.where(row, 'joint')}: '{name}' has no joint '{joint}'; name one as in "
                "joints.csv, such as 'L4-L5 facet left'."
            )
        earlier = seen.setdefault((name, joint or region), row)
        if earlier != row:
            place = " ".join(filter(None, (name, joint or region)))
            raise InputError(
                f"{cells.where(row, 'id')}: '{place}' stands in row {cells.lines[earlier]} as "
                "well; keep one."
            )


def _observation(
    patient: str, joints: Sequence[Row], joint: str, region: str, condition: bool
) -> Observation:
    if joint:
        row = next(j for j in joints if j.joint == joint)
        return Observation(
            patient, joint, row.kind, condition, _class(row), ratio_of(row), row.metric
        )
    here = [j for j in joints if region in ("", j.cells.get("spine_region", ""))]
    ratios = [r for r in map(ratio_of, here) if isfinite(r)]
    classes = [_class(j) for j in here]
    order = ("positive", "indeterminate", "negative")
    uptake = next((name for name in order if name in classes), NOT_MEASURABLE)
    metric = here[0].metric if here else ""
    return Observation(patient, "", "", condition, uptake, max(ratios, default=nan), metric)


def _class(joint: Row) -> str:
    return joint.uptake if isfinite(ratio_of(joint)) else NOT_MEASURABLE


def groups(observations: Sequence[Observation]) -> Iterator[tuple[str, list[Observation]]]:
    """All observations, then those of each kind of joint where there are several kinds."""
    yield "all", list(observations)
    kinds = sorted({o.kind for o in observations if o.kind})
    if len(kinds) > 1:
        for kind in kinds:
            yield kind, [o for o in observations if o.kind == kind]
