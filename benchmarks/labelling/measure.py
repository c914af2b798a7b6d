"""Compare labels with the truth, vertebra by vertebra."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from time import process_time

import numpy as np
import SimpleITK as sitk

from benchmarks.labelling.cases import UNSEEN_FROM, Case, make_case
from benchmarks.labelling.figures import Panel
from CTSpectSpineLib import anatomy
from CTSpectSpineLib.errors import InputError
from CTSpectSpineLib.geometry import apply_matrix, grid_of
from CTSpectSpineLib.labelling.builtin.labeller import label_with
from CTSpectSpineLib.labelling.builtin.network import Network
from CTSpectSpineLib.labelling.levels.anchor import Anchor
from CTSpectSpineLib.model import VertebraLabels
from CTSpectSpineLib.progress import silent

NEAR_MM = 20.0
"""A level is identified when its label's centre is this near to the true one, mm. Standard: the
rule of the VerSe benchmark (Sekuboyina et al. 2021)."""


@dataclass(frozen=True)
class Row:
    """One true vertebra.

    Attributes
    ----------
    level, found
        True name, and the name that most of its labelled voxels got; empty when it was missed.
    cut
        Whether an end of the field of view cuts it; such ones do not count.
    identified
        Whether the label of that name is within `NEAR_MM`.
    confirmed
        Whether the labeller called the levels confirmed, and the found name is in no doubt.
    remarked
        Whether it remarked on the numbering.
    dice
        Overlap with the label that has most of it, whatever its name.
    """

    level: str
    found: str
    cut: bool
    identified: bool
    confirmed: bool
    remarked: bool
    dice: float


def measure(case: Case, network: Network, anchored: bool = False) -> list[dict[str, object]]:
    """Label a phantom; one record per true vertebra."""
    began = process_time()
    anchor = _true_anchor(case) if anchored else None
    labels: VertebraLabels | None
    try:
        labels = label_with(network, case.ct, anchor, silent)
    except InputError:
        labels = None
    seconds = process_time() - began
    about = {name: value for name, value in vars(case).items() if name not in ("ct", "labels")}
    about["cpu_s"] = seconds
    return [{**about, **asdict(row)} for row in compare(case.labels, labels)]


def phantom_panel(number: int, network: Network) -> Panel:
    """Label a phantom of the cohort for a picture."""
    case = make_case(UNSEEN_FROM, number)
    labels = label_with(network, case.ct, None, silent)
    flag = "confirmed" if labels.levels_confirmed else "flagged"
    about = f"{number}: {case.region}, {case.variant or 'usual'}\n{case.slices_mm:g} mm, {flag}"
    return Panel(about, case.ct, labels.image, case.labels)


def compare(truth: sitk.Image, labels: VertebraLabels | None) -> list[Row]:
    """Compare labels with the truth on the same grid."""
    true = sitk.GetArrayViewFromImage(truth)
    found = np.zeros_like(true) if labels is None else sitk.GetArrayViewFromImage(labels.image)
    grid = grid_of(truth)
    voxel = float(np.prod(grid.spacing_mm))
    rows = []
    for number in np.unique(true)[1:]:
        name = anatomy.name_of_id(int(number))
        mask = true == number
        if name is None or np.count_nonzero(mask) * voxel < 800.0:
            continue
        inside = found[mask]
        # Neighbours' fringes do not make a vertebra found: a quarter of it must be labelled.
        counts = np.bincount(inside, minlength=2)
        counts[0] = 0
        best = int(counts.argmax())
        hit = counts[best] >= 0.25 * np.count_nonzero(mask)
        label = anatomy.name_of_id(best) if hit else None
        same = found == number
        near = bool(same.any()) and _apart(mask, same, grid.ijk_to_lps) <= NEAR_MM
        whole = np.count_nonzero(found == best)
        rows.append(
            Row(
                level=name,
                found=label or "",
                cut=_touches_end(mask) and name != anatomy.SACRUM,
                identified=near and label == name,
                confirmed=labels is not None and is_confirmed(labels, label or name),
                remarked=labels is not None and bool(labels.warnings),
                dice=2 * int(counts[best]) / (np.count_nonzero(mask) + whole) if hit else 0.0,
            )
        )
    return rows


def is_confirmed(labels: VertebraLabels, name: str) -> bool:
    """Whether a name counts as confirmed."""
    return labels.levels_confirmed and name not in labels.doubted_levels


def _apart(first: np.ndarray, second: np.ndarray, matrix: np.ndarray) -> float:
    ends = [np.argwhere(m).mean(axis=0)[None, ::-1] for m in (first, second)]
    a, b = (apply_matrix(matrix, end)[0] for end in ends)
    return float(np.linalg.norm(a - b))


def _touches_end(mask: np.ndarray) -> bool:
    """Whether a side of the picture cuts the vertebra."""
    faces = [mask.take(at, axis=axis) for axis in range(3) for at in (0, -1)]
    return any(np.count_nonzero(face) > 2 for face in faces)


def _true_anchor(case: Case) -> Anchor:
    """A point in the middle one of the vertebrae."""
    true = sitk.GetArrayViewFromImage(case.labels)
    sacral = anatomy.vertebra(anatomy.SACRUM).id
    present = [int(n) for n in np.unique(true) if n not in (0, sacral)]
    number = present[len(present) // 2]
    points = np.argwhere(true == number)
    nearest = points[np.linalg.norm(points - points.mean(axis=0), axis=1).argmin()]
    x, y, z = apply_matrix(grid_of(case.labels).ijk_to_lps, nearest[None, ::-1])[0]
    return Anchor(str(anatomy.name_of_id(number)), (float(x), float(y), float(z)))
