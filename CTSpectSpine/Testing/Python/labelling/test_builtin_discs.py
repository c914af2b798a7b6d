"""Vertebrae that the network merged are cut at the disc that the CT shows; whole ones stay."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import SimpleITK as sitk

from CTSpectSpineLib.geometry import image_from_array
from CTSpectSpineLib.labelling.builtin.curve import Curve, Segment, fit_curve
from CTSpectSpineLib.labelling.builtin.discs import cut_at_discs, disc_darkness
from CTSpectSpineLib.labelling.levels.numbering import body_centres
from CTSpectSpineLib.phantom.anatomy.build import make_anatomy
from CTSpectSpineLib.phantom.config import SpineConfig


def spine(step: float, disc: float, inside_hu: float = 220.0, spacing: float = 1.0) -> sitk.Image:
    """Eight bodies one above the other, with endplates and dark discs; noise of 20 HU."""
    z = np.arange(0.0, 8 * step, spacing)
    place = z % step
    row = np.full(len(z), inside_hu)
    row[(place < disc + 2.5) | (place > step - 2.5)] = 450.0
    row[place < disc] = 90.0
    width = round(40 / spacing)
    voxels = np.repeat(row, width * width).reshape(len(z), width, width)
    voxels += np.random.default_rng(1).normal(0, 20, voxels.shape)
    matrix = np.diag([spacing, spacing, spacing, 1.0])
    return image_from_array(np.rint(voxels).astype(np.int16), matrix)


def straight(step: float) -> Curve:
    line = np.stack([np.full(40, 20.0), np.full(40, 20.0), np.linspace(8 * step, 0, 40)], axis=1)
    return fit_curve(line, line)


def parts(curve: Curve, step: float, *merged: int) -> tuple[tuple[Segment, ...], list[float]]:
    """Vertebrae from disc to disc; those given are one with the next. And all discs' places."""
    heights = [step * n + 1.5 for n in range(7, 0, -1)]
    middles = np.array([[20.0, 20.0, h] for h in heights])
    discs = curve.place(middles)[0].tolist()
    ends = [at for n, at in enumerate(discs) if n not in merged]
    return tuple(Segment(a, b, 1.0) for a, b in pairwise(ends)), discs


def test_two_merged_pairs_of_the_neck_are_cut_at_their_discs() -> None:
    step, ct = 17.0, spine(17.0, 5.0)
    curve = straight(step)
    segments, discs = parts(curve, step, 2, 4)
    assert len(segments) == 4
    found, cuts = cut_at_discs(segments, disc_darkness(ct, curve))
    assert len(found) == 6
    assert np.allclose(cuts, [discs[2], discs[4]], atol=2.0)
    assert [s.start for s in found] == sorted(s.start for s in found)


def test_whole_vertebrae_are_not_cut_even_where_their_inside_is_dark() -> None:
    for step, disc, inside in ((17.0, 5.0, 220.0), (32.0, 9.0, 60.0), (36.0, 11.0, 40.0)):
        curve = straight(step)
        segments, _ = parts(curve, step)
        found, cuts = cut_at_discs(segments, disc_darkness(spine(step, disc, inside), curve))
        assert found == segments
        assert cuts == ()


def test_a_coarse_ct_shows_no_discs() -> None:
    curve = straight(17.0)
    assert disc_darkness(spine(17.0, 5.0, spacing=2.5), curve) is None
    segments, _ = parts(curve, 17.0, 2)
    assert cut_at_discs(segments, None) == (segments, ())


@pytest.mark.slow
def test_merged_pairs_of_phantom_necks_are_cut() -> None:
    """The numbers of docs/labelling.md: 40 of 44 pairs; what is missed lies at the image's end."""
    pairs, whole, right, wrong = 0, 0, 0, 0
    sizes = (1.0, 1.5, (0.8, 0.8, 2.0), 1.5, 1.0)
    for seed, size in enumerate(sizes, start=1):
        made = make_anatomy(
            SpineConfig(
                seed=seed,
                spacing_mm=size,
                first="C3",
                last="T2",
                lateral_mm=90.0,
                ap_mm=110.0,
                noise_hu=25,
                bone_density=0.6 + 0.15 * seed,
            )
        )
        centres = np.array(list(body_centres(made.labels).values()))
        ticks, rows = np.arange(0, len(centres) - 1 + 1e-6, 0.25), np.arange(len(centres))
        line = np.stack([np.interp(ticks, rows, centres[:, axis]) for axis in range(3)], axis=1)
        curve = fit_curve(centres, line)
        at, _ = curve.place(centres)
        half = np.diff(at) / 2
        ends = np.concatenate([[at[0] - half[0]], at[:-1] + half, [at[-1] + half[-1]]]).tolist()
        dark = disc_darkness(made.ct, curve)
        true = tuple(Segment(a, b, 1.0) for a, b in pairwise(ends))
        whole, wrong = whole + len(true), wrong + len(cut_at_discs(true, dark)[1])
        for n in range(len(true) - 1):
            both = Segment(true[n].start, true[n + 1].end, 1.0)
            _, cuts = cut_at_discs((*true[:n], both, *true[n + 2 :]), dark)
            pairs += 1
            right += len(cuts) == 1 and abs(cuts[0] - ends[n + 1]) < 4.0
    assert (pairs, whole, wrong) == (44, 49, 0)
    assert right >= 40
