"""The built-in labeller's parts without its network: curve, segments, votes, painting, evidence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import SimpleITK as sitk

from CTSpectSpineLib.geometry import Grid, grid_of
from CTSpectSpineLib.labelling.builtin.bones import hip_masks
from CTSpectSpineLib.labelling.builtin.curve import find_segments, fit_curve
from CTSpectSpineLib.labelling.builtin.evidence import (
    above_sacrum,
    look_around,
    no_fragments,
    on_course,
    sacrum_mask,
)
from CTSpectSpineLib.labelling.builtin.field import SpineField, coarse_ct
from CTSpectSpineLib.labelling.builtin.instances import (
    NOTHING_SEEN,
    Column,
    Instance,
    Looks,
    find_column,
)
from CTSpectSpineLib.labelling.builtin.network import CLASSES
from CTSpectSpineLib.labelling.builtin.paint import paint
from CTSpectSpineLib.labelling.builtin.rib_count import rib_odds_in_ct

SPACING = 2.5
STEPS = (20.0, 22.5, 25.0, 27.5, 30.0, 32.5)
"""Of a row of model vertebrae, mm."""


def model_field(
    discs: bool = True, vote_error_mm: float = 3.0, sacrum: bool = False, ribs: int = 0
) -> tuple[SpineField, np.ndarray]:
    """What a perfect network says of a bent row of cylinders with spinous processes.

    Returns the field and the true centres, LPS mm, cranial first.
    """
    shape = (110, 60, 60)
    matrix = np.diag([SPACING, SPACING, SPACING, 1.0])
    matrix[:3, 3] = (-75.0, -60.0, 0.0)
    shares = np.zeros((len(CLASSES), *shape), dtype=np.float16)
    offsets = np.zeros((3, *shape), dtype=np.float16)
    hu = np.zeros(shape, dtype=np.float32)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    x, y, z = np.moveaxis(index[..., ::-1] * SPACING + matrix[:3, 3], -1, 0)
    tops = 255.0 - np.concatenate([[0], np.cumsum(STEPS)])
    rng = np.random.default_rng(3)
    centres = []
    for number, (top, long) in enumerate(zip(tops, STEPS, strict=False)):
        middle = top - 0.5 * long
        bend = 0.002 * (middle - 150.0) ** 2
        radius = 0.65 * long
        round_ = np.hypot(x, y - bend) < radius
        body = round_ & (z < top - 3) & (z > top - long + 3)
        arch = (np.abs(x) < 6) & (y - bend > radius + 12) & (y - bend < radius + 30)
        arch &= np.abs(z - middle + 0.3 * long) < 0.35 * long
        shares[CLASSES.index("lumbar")][body] = 1
        shares[CLASSES.index("posterior")][arch] = 1
        if discs:
            shares[CLASSES.index("disc")][round_ & (z <= top + 3) & (z >= top - 3)] = 1
        if number < ribs:
            rib = (np.abs(x) > 18) & (np.abs(x) < 70) & (np.abs(y - bend) < 8)
            rib &= np.abs(z - middle - 0.3 * long) < 5
            shares[CLASSES.index("rib")][rib & (np.abs(x) < 40)] = 1
            hu[rib] = 300.0
        centre = np.array([0.0, bend, middle])
        mine = body | arch
        way = (centre[::-1] - np.stack([z, y, x], axis=-1)[mine]) / SPACING
        offsets[:, mine] = (way + rng.normal(0, vote_error_mm / SPACING, way.shape)).T
        centres.append(centre)
    if sacrum:
        low = z < tops[-1]
        shares[CLASSES.index("sacrum")][low & (np.abs(x) < 30) & (np.abs(y - 45) < 30)] = 1
    return SpineField(Grid(shape[::-1], matrix), hu, shares, offsets), np.array(centres)


@pytest.mark.parametrize(("discs", "error"), [(True, 3.0), (False, 3.0), (True, 12.0)])
def test_each_vertebra_is_one_instance_with_its_own_arch(discs: bool, error: float) -> None:
    """Discs make up for votes that miss, and votes for discs that are not seen."""
    field, centres = model_field(discs, error)
    column = find_column(field)
    assert len(column.instances) == len(STEPS)
    for found, true in zip(column.instances, centres, strict=True):
        assert np.linalg.norm(found.centre_mm - true) < 5.0
        assert found.posterior @ np.array([0, 1.0, 0]) > 0.7
    arches = field.shares[CLASSES.index("posterior")] > 0
    z = field.grid.ijk_to_lps[2, 3] + SPACING * np.argwhere(arches)[:, 0]
    owner = column.assigned[arches]
    nearest = np.abs(z[:, None] - (centres[:, 2] - 0.3 * np.array(STEPS))).argmin(axis=1) + 1
    assert np.mean(owner == nearest) > (0.97 if error < 5 else 0.8)


def with_atlas(field: SpineField, centre: np.ndarray) -> tuple[SpineField, np.ndarray]:
    """The first vertebra is an axis, whose dens stands in a ring; returns the ring's voxels too."""
    index = np.stack(np.meshgrid(*map(np.arange, field.hu.shape), indexing="ij"), axis=-1)
    x, y, z = np.moveaxis(index[..., ::-1] * SPACING + field.grid.ijk_to_lps[:3, 3], -1, 0)
    top = 255.0
    away = np.hypot(x, y - centre[1])
    dens = (away < 6) & (z >= top - 3) & (z < top + 17)
    ring = (away > 9) & (away < 28) & (z > top + 1) & (z < top + 14)
    shares, offsets = field.shares.copy(), field.offsets.copy()
    axis = dens | (np.any(shares[[2, 3, 4]] > 0, axis=0) & (z > top - STEPS[0]))
    shares[:, axis | ring] = 0
    shares[CLASSES.index("C2")][axis] = 1
    shares[CLASSES.index("C1")][ring] = 1
    middle = np.array([0.0, centre[1], top + 7.5])
    for mask, aim in ((dens, centre), (ring, middle)):
        way = (aim[::-1] - np.stack([z, y, x], axis=-1)[mask]) / SPACING
        offsets[:, mask] = way.T
    return SpineField(field.grid, field.hu, shares, offsets), ring


def test_atlas_and_axis_are_two_although_one_stands_in_the_other() -> None:
    field, centres = model_field()
    field, ring = with_atlas(field, centres[0])
    column = find_column(field)
    assert len(column.instances) == len(STEPS) + 1
    assert [item.looks.atlas > 0.9 for item in column.instances] == [True] + [False] * len(STEPS)
    assert [item.looks.axis > 0.9 for item in column.instances[:3]] == [False, True, False]
    assert np.mean(column.assigned[ring] == 1) > 0.98
    axis = field.shares[CLASSES.index("C2")] > 0
    assert np.mean(column.assigned[axis] == 2) > 0.95
    for found, true in zip(column.instances[2:], centres[1:], strict=True):
        assert np.linalg.norm(found.centre_mm - true) < 5.0


def test_what_looks_like_an_atlas_in_the_middle_of_a_column_is_none() -> None:
    field, _ = model_field()
    shares = field.shares.copy()
    lumbar = shares[CLASSES.index("lumbar")]
    z = field.grid.ijk_to_lps[2, 3] + SPACING * np.arange(lumbar.shape[0])
    low = z < 160
    shares[CLASSES.index("C1")][low] = lumbar[low]
    lumbar[low] = 0
    column = find_column(SpineField(field.grid, field.hu, shares, field.offsets))
    assert len(column.instances) == len(STEPS)


def test_nothing_seen_gives_no_vertebra() -> None:
    field, _ = model_field()
    empty = SpineField(field.grid, field.hu, np.zeros_like(field.shares), field.offsets)
    assert find_column(empty).instances == ()


def test_ribs_and_sacrum_are_seen_where_they_are() -> None:
    field, _ = model_field(sacrum=True, ribs=3)
    sacrum = sacrum_mask(field)
    column = find_column(field)
    assert above_sacrum(column.instances, field, sacrum) == tuple(range(len(STEPS)))
    seen = look_around(column.instances, field, sacrum)
    assert [row.rib > 1 for row in seen.vertebrae] == [True] * 3 + [False] * 3
    assert all(abs(row.rib) > 1 for row in seen.vertebrae)
    assert seen.sacrum_mm == pytest.approx(20.0, abs=6.0)


def test_ribs_beyond_the_picture_say_nothing() -> None:
    field, _ = model_field(ribs=0)
    narrow = slice(22, 38)
    matrix = field.grid.ijk_to_lps.copy()
    matrix[0, 3] += 22 * SPACING
    cut = SpineField(
        Grid((16, 60, 110), matrix),
        field.hu[:, :, narrow],
        field.shares[..., narrow],
        field.offsets[..., narrow],
    )
    seen = look_around(find_column(cut).instances, cut, sacrum_mask(cut))
    assert {row.rib for row in seen.vertebrae} == {0.0}


def test_segments_of_a_regular_row() -> None:
    rng = np.random.default_rng(1)
    ends = np.cumsum([60, *([30] * 8)])
    body = np.concatenate([rng.uniform(a + 3, a + 27, 900) for a in ends[:-1]])
    disc = np.concatenate([rng.uniform(a - 3, a + 3, 220) for a in ends])
    votes = np.concatenate([rng.normal(a + 15, 4, 900) for a in ends[:-1]])
    found = find_segments(360, body, disc, votes)
    assert [round(s.middle) for s in found] == pytest.approx([a + 15 for a in ends[:-1]], abs=4)


def test_a_curve_follows_the_middle_of_its_material() -> None:
    rng = np.random.default_rng(2)
    angle = np.linspace(0, 1.2, 4000)
    middle = np.stack([0 * angle, 200 * np.cos(angle), -200 * np.sin(angle)], axis=1)
    cloud = middle + rng.uniform(-1, 1, (4000, 3)) * [18, 14, 0]
    curve = fit_curve(middle[::500], cloud)
    along, away = curve.place(middle)
    assert away.max() < 3.0
    assert np.ptp(along) == pytest.approx(240, abs=6)


@pytest.mark.parametrize("degrees", [0.0, 33.0])
def test_painted_labels_do_not_depend_on_the_grid(degrees: float) -> None:
    """A ball keeps its place and volume on permuted, flipped and oblique grids."""
    grid = Grid((40, 40, 40), np.diag([2.5, 2.5, 2.5, 1.0]))
    k, j, i = np.ogrid[:40, :40, :40]
    away = np.sqrt((k - 20) ** 2 + (j - 18) ** 2 + (i - 22) ** 2) * 2.5
    share = np.clip((20.0 - away) / 4 + 0.5, 0, 1).astype(np.float32)
    ct = sitk.Image([70, 60, 50], sitk.sitkInt16)
    ct.SetSpacing((1.2, 1.5, 2.0))
    turn = np.radians(degrees)
    axes = np.array([[0, -np.sin(turn), np.cos(turn)], [0, np.cos(turn), np.sin(turn)], [-1, 0, 0]])
    ct.SetDirection(axes.ravel().tolist())
    middle = np.array([22, 18, 20]) * 2.5
    ct.SetOrigin((middle - axes @ (np.array([34.5, 29.5, 24.5]) * ct.GetSpacing())).tolist())
    labels = sitk.GetArrayFromImage(paint(ct, grid, {28: share}))
    found = np.argwhere(labels == 28)
    volume = len(found) * 1.2 * 1.5 * 2.0
    assert volume == pytest.approx(4 / 3 * np.pi * 20.4**3, rel=0.03)
    centre = ct.TransformContinuousIndexToPhysicalPoint(found.mean(axis=0)[::-1].tolist())
    assert np.linalg.norm(centre - middle) < 0.5


def test_fine_voxels_are_averaged_and_the_outside_is_air() -> None:
    rng = np.random.default_rng(5)
    ct = sitk.GetImageFromArray(rng.normal(300, 100, (60, 60, 60)).astype(np.float32))
    ct.SetSpacing((0.8, 0.8, 0.8))
    turn = np.radians(30)
    axes = [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    ct.SetDirection(np.ravel(axes).tolist())
    hu, grid = coarse_ct(ct, 2.5)
    inside = hu[hu > -500]
    assert inside.mean() == pytest.approx(300, abs=20)
    assert inside.std() < 60
    assert hu[0, 0, 0] == -1000
    corners, own = grid.corners_mm(), grid_of(ct).corners_mm()
    assert np.all(corners.min(axis=0) <= own.min(axis=0) + 1.3)
    assert np.all(corners.max(axis=0) >= own.max(axis=0) - 1.3)


def test_hips_are_told_apart_by_side() -> None:
    field, _ = model_field()
    hip = field.shares[CLASSES.index("hip")]
    hip[0:20, 20:40, 2:14] = 1
    hip[0:20, 20:40, 46:58] = 1
    masks = hip_masks(field, Column(find_column(field).instances, np.zeros(hip.shape, np.uint8)))
    assert np.argwhere(masks["hip_left"])[:, 2].min() >= 46
    assert np.argwhere(masks["hip_right"])[:, 2].max() < 14


def ribbed_ct(ribs: Sequence[int], reach_mm: float = 80.0) -> tuple[np.ndarray, Grid, np.ndarray]:
    """Bodies 25 mm apart with transverse processes; ribs go on from those of some of them.

    Returns HU, grid, and centres (LPS mm), cranial first. A kidney with contrast lies beside.
    """
    shape = (100, 60, 84)
    matrix = np.diag([SPACING, SPACING, SPACING, 1.0])
    matrix[:3, 3] = (-105.0, -60.0, 0.0)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    x, y, z = np.moveaxis(index[..., ::-1] * SPACING + matrix[:3, 3], -1, 0)
    hu = np.full(shape, 50.0, dtype=np.float32)
    centres = np.array([[0.0, 0.0, 205.0 - 25.0 * n] for n in range(7)])
    for number, (_, _, height) in enumerate(centres):
        hu[(np.hypot(x, y) < 18) & (np.abs(z - height) < 10)] = 250.0
        end = reach_mm if number in ribs else 42.0
        way = np.abs(x)
        drop = height + 2.0 - 0.3 * np.maximum(way - 40.0, 0)
        bar = (way > 18) & (way < end) & (np.abs(y - 22.0) < 4) & (np.abs(z - drop) < 4)
        hu[bar] = 300.0
    hu[(np.hypot(x - 55.0, y + 10.0) < 22) & (np.abs(z - 60.0) < 40)] = 220.0
    return hu, Grid(shape[::-1], matrix), centres


def test_ribs_are_counted_in_the_ct_and_processes_and_kidneys_are_not() -> None:
    hu, grid, centres = ribbed_ct(ribs=(0, 1, 2))
    frames = np.repeat(np.eye(3)[None], len(centres), axis=0)
    odds = rib_odds_in_ct(hu, grid, centres, frames)
    # At the two ends the place of a rib is not in view on all of its way.
    assert (odds[:3] >= 0).all()
    assert (odds[1:3] == 3).all()
    assert (odds[3:6, 1] == -3).all()
    assert (odds[3:6, 0] <= 0).all()
    short = rib_odds_in_ct(*ribbed_ct((0, 1, 2), reach_mm=54.0), frames)
    assert (np.abs(short[1:3]) < 2).all()


def test_bones_beside_the_cranial_end_are_no_vertebrae() -> None:
    up = np.array([0.0, 0.0, 1.0])
    column = [
        Instance(np.array([0.0, 3.0 * n, -18.0 * n]), up, 5000.0, 12000.0, NOTHING_SEEN, 0.6, False)
        for n in range(6)
    ]
    # The breastbone and the inner end of a clavicle: in front of the column, lower than its end.
    beside = [
        Instance(np.array([x, -50.0, -30.0]), up, 0.0, 4000.0, NOTHING_SEEN, 0.1, False)
        for x in (20.0, -15.0)
    ]
    assert on_course((*beside, *column)) == (2, 3, 4, 5, 6, 7)
    assert on_course(tuple(column)) == (0, 1, 2, 3, 4, 5)


def lumbar_column(*rows: tuple[float, float, bool]) -> tuple[Instance, ...]:
    """Vertebrae of the lower back: height of the centre and volume of the body, and whether cut."""
    up = np.array([0.0, 0.0, 1.0])
    return tuple(
        Instance(np.array([0.0, 0.0, z]), up, body, 1.6 * body, Looks(lumbar=0.99), 0.6, cut)
        for z, body, cut in rows
    )


def test_a_fragment_of_the_sacrum_is_no_vertebra() -> None:
    """The top of a sacrum below L5, on the lower part of a real CT: all names were one off."""
    seen = lumbar_column((278, 36516, True), (242, 33000, False), (226, 3234, False))
    assert no_fragments(seen) == (0, 1)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (((80, 34000, False), (42, 15000, False), (4, 36000, False)), "crushed"),
        (((80, 34000, False), (62, 3000, True)), "cut by the end of the image"),
        (((80, 34000, False), (46, 5000, False), (10, 36000, False)), "in a place of its own"),
    ],
)
def test_small_vertebrae_are_no_fragments(
    rows: tuple[tuple[float, float, bool], ...], why: str
) -> None:
    assert no_fragments(lumbar_column(*rows)) == tuple(range(len(rows))), why
