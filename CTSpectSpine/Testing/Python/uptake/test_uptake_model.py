"""Response, noise, sampler and classes against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, sparse

from CTSpectSpineLib.model import UptakeBounds
from CTSpectSpineLib.reconstruction import GIVEN, ReconstructionFacts
from CTSpectSpineLib.uptake import misfit
from CTSpectSpineLib.uptake.gibbs import Chain, Evidence
from CTSpectSpineLib.uptake.noise import Noise, estimate_noise
from CTSpectSpineLib.uptake.prior import Component, Group, Prior
from CTSpectSpineLib.uptake.resolution import Width
from CTSpectSpineLib.uptake.response import Response, families, family
from CTSpectSpineLib.uptake.sampling import SpectField
from CTSpectSpineLib.uptake_bounds import PROBABLE, UNLIKELY, class_of, probability_of, unanswerable

BOUNDS = UptakeBounds("ratio_corrected", 2.0, 1.6)
FREQUENCY = np.linspace(0.0, 0.1, 41)


@given(st.floats(6.0, 20.0), st.floats(-0.5, 2.0), st.floats(-1.0, 1.0))
def test_a_response_is_the_sum_of_its_gaussians(fwhm: float, lift: float, bend: float) -> None:
    response = Response(fwhm, lift, bend)
    parts = response.gaussians()
    assert sum(weight for weight, _ in parts) == pytest.approx(1.0)
    sigma = np.array([width for _, width in parts]) / 2.3548200450309493
    each = np.exp(-2.0 * np.square(np.pi * np.outer(FREQUENCY, sigma)))
    weights = np.array([weight for weight, _ in parts])
    np.testing.assert_allclose(each @ weights, response.at(FREQUENCY), atol=1e-9)


def test_width_of_the_point_spread() -> None:
    assert Response(10.0).width_mm == pytest.approx(10.0, rel=1e-3)
    assert Response(10.0, 1.0).width_mm < 9.5
    response = family("recovery").response(12.0)
    # Recovery: hardly any loss at low frequencies, and a fast fall after.
    assert response.at(np.array([0.015]))[0] > Response(response.width_mm).at(np.array([0.015]))[0]
    assert response.at(np.array([0.08]))[0] < 0.2


@pytest.mark.parametrize("filter_mm", [3.2, 4.2])
def test_noise_is_found_beside_a_smooth_misfit(filter_mm: float) -> None:
    spacing = np.full(3, 4.4)
    shape = (40, 40, 40)
    rng = np.random.default_rng(5)
    true = Noise(np.full(shape, 3.0), filter_mm, spacing)
    k = np.arange(40.0)
    smooth = 8.0 * np.sin(2.0 * np.pi * k / 16.0)[:, None, None] * np.ones(shape)
    fitted = np.full(shape, 100.0)
    field = SpectField(fitted + smooth + true.draw(rng), np.eye(4), spacing)
    near = np.flatnonzero(np.ones(shape))
    found = estimate_noise(field, fitted, near)
    assert found.filter_mm == pytest.approx(filter_mm, rel=0.12)
    assert np.median(found.sd) == pytest.approx(3.0, rel=0.2)


def test_covariance_of_the_noise_is_that_of_its_draws() -> None:
    shape, spacing = (24, 24, 24), np.full(3, 4.4)
    noise = Noise(np.full(shape, 2.0), 3.0, spacing)
    box = np.zeros(shape)
    box[10:14, 10:14, 10:14] = 1.0 / 64.0
    column = sparse.csc_matrix(box.reshape(-1, 1))
    predicted = float((column.T @ noise.correlated(column)).toarray()[0, 0])
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(60):
        white = rng.standard_normal(shape)
        field = ndimage.gaussian_filter(white, 3.0 / 4.4, mode="wrap", truncate=6.0)
        field *= 2.0 / np.sqrt(noise.energy())
        drawn += [
            float(ndimage.uniform_filter(field, 4, mode="wrap")[at]) for at in np.ndindex(3, 3, 3)
        ]
    assert predicted == pytest.approx(float(np.var(drawn)), rel=0.3)


def test_the_filter_of_the_noise_is_that_of_its_power() -> None:
    """Axis by axis, and by Fourier transform of the whole in a box with room for the filter."""
    shape, spacing = (20, 24, 18), np.array([4.4, 4.0, 5.0])
    noise = Noise(np.full(shape, 2.0), 3.0, spacing)
    box = np.zeros(shape)
    box[6:12, 8:13, 5:9] = np.random.default_rng(2).random((6, 5, 4))
    column = sparse.csc_matrix(box.reshape(-1, 1))
    found = noise.correlated(column).toarray().reshape(shape)
    wide = np.pad(box, 12)
    squares = np.zeros(())
    for n, h in zip(wide.shape, spacing, strict=True):
        squares = np.add.outer(squares, np.fft.fftfreq(n, h) ** 2)
    power = np.exp(-4.0 * np.square(np.pi * 3.0) * squares)
    whole = np.fft.ifftn(np.fft.fftn(wide) * power).real[12:-12, 12:-12, 12:-12]
    expected = 4.0 * whole / noise.energy()
    seen = found != 0.0
    assert np.count_nonzero(seen) > 500
    np.testing.assert_allclose(found[seen], expected[seen], atol=2e-3 * expected.max())


def one_region(group: Group) -> Prior:
    one = np.zeros(1, dtype=np.intp)
    return Prior(one, one[:0], one, (group,), np.zeros(0), np.zeros(0))


@pytest.mark.parametrize("seen", [1.1, 1.9, 4.0])
def test_sampler_gives_the_exact_mixture(seen: float) -> None:
    """One region observed directly, a fixed prior: mean and spread by numerical integration."""
    group = Group(1.0, 0.0, 0.2, 0.0, (Component(0.2, 3.0, 1.0),))
    noise = 0.4
    chain = Chain(one_region(group), np.ones(1), np.random.default_rng(3))
    found = Evidence(np.array([[noise**-2]]), np.array([seen * noise**-2]))
    draws = np.empty(4000)
    for n in range(len(draws)):
        chain._choose(found)
        chain._draw(found)
        draws[n] = chain.uptake[0]
    x = np.linspace(-5.0, 10.0, 60001)

    def normal(mean: float, sd: float) -> np.ndarray:
        return np.exp(-0.5 * np.square((x - mean) / sd)) / sd

    density = (0.8 * normal(1.0, 0.2) + 0.2 * normal(3.0, 1.0)) * normal(seen, noise)
    density /= density.sum()
    mean = float((x * density).sum())
    spread = float(np.sqrt((np.square(x - mean) * density).sum()))
    assert draws.mean() == pytest.approx(mean, abs=0.06)
    assert draws.std() == pytest.approx(spread, rel=0.08)


def test_level_and_spread_of_ordinary_joints_are_learnt() -> None:
    rng = np.random.default_rng(2)
    group = Group(1.0, 0.15, 0.2, 0.35)
    numbers = np.arange(30, dtype=np.intp)
    prior = Prior(
        numbers, numbers[:0], np.zeros(30, dtype=np.intp), (group,), np.zeros(0), np.zeros(0)
    )
    true = 0.8 + 0.1 * rng.standard_normal(30)
    precision = np.eye(30) / 0.1**2
    found = Evidence(precision, precision @ (true + 0.1 * rng.standard_normal(30)))
    chain = Chain(prior, np.ones(30), rng)
    chain._rescale = lambda: None  # type: ignore[method-assign]
    draws, _ = chain.run(found, 600)
    middle = draws[200:].mean(axis=0)
    assert middle.mean() == pytest.approx(true.mean(), abs=0.05)
    # Pooling: the errors are smaller than those of each observation by itself.
    assert np.sqrt(np.mean((middle - true) ** 2)) < 0.09


@pytest.mark.parametrize(
    ("ratio", "low", "high", "expected"),
    [
        (3.7, 0.9, 27.5, "indeterminate"),
        (1.02, 0.57, 5.27, "indeterminate"),
        (1.0, 0.8, 1.3, "negative"),
        (3.0, 2.2, 4.0, "positive"),
        (2.1, 1.2, 3.4, "positive"),
        (1.9, 1.2, 3.4, "indeterminate"),
        (2.4, 1.6, 3.4, "positive"),
        (2.6, 0.95, 3.6, "indeterminate"),
        (1.3, 0.8, 2.2, "negative"),
        (1.3, 0.8, 2.6, "indeterminate"),
        (1.7, 1.65, 1.75, "indeterminate"),
        (float("nan"), 0.8, 1.3, "not_measurable"),
        (2.1, None, None, "positive"),
        (1.0, float("nan"), float("nan"), "negative"),
    ],
)
def test_classes_obey_the_interval(
    ratio: float, low: float | None, high: float | None, expected: str
) -> None:
    assert class_of(ratio, BOUNDS, low, high) == expected


@given(st.floats(0.2, 8.0), st.floats(0.02, 1.0), st.floats(0.02, 2.0))
def test_no_confident_class_against_the_interval(ratio: float, below: float, above: float) -> None:
    low, high = ratio * np.exp(-below), ratio * np.exp(above)
    chance = probability_of(ratio, BOUNDS.positive, low, high)
    assert chance is not None
    assert (chance > 0.5) == (ratio > BOUNDS.positive) or ratio == BOUNDS.positive
    found = class_of(ratio, BOUNDS, low, high)
    if found == "negative":
        assert chance < UNLIKELY
        assert ratio < BOUNDS.indeterminate
    if found == "positive":
        assert chance >= PROBABLE
        assert low > 1.0
    if low > BOUNDS.positive:
        assert found == "positive"


def test_an_interval_that_leaves_everything_open() -> None:
    assert "from ordinary" in unanswerable(0.9, 5.0, BOUNDS)
    assert "from no uptake" in unanswerable(0.0, 2.1, BOUNDS)
    assert unanswerable(0.9, 2.5, BOUNDS) == ""
    assert unanswerable(1.5, 9.0, BOUNDS) == ""


def test_a_family_that_does_not_fit_is_said() -> None:
    fine, coarse = (Noise(np.ones((2, 2, 2)), width, np.full(3, 4.4)) for width in (2.5, 4.2))
    shortfall = family("no-recovery").shortfall
    plain = {name: Width(14.0 / shortfall, 0.3) for name in families()}
    sharp = {name: Width(10.0 / shortfall, 0.3) for name in families()}
    stated = {name: ReconstructionFacts(name, GIVEN) for name in ("recovery", "no-recovery")}
    assert not misfit.judge(plain, fine, stated["no-recovery"]).doubted
    assert not misfit.judge(sharp, coarse, stated["recovery"]).doubted
    for widths, noise, wrong in ((plain, fine, "recovery"), (sharp, coarse, "no-recovery")):
        judged = misfit.judge(widths, noise, stated[wrong])
        assert judged.doubted
        assert set(judged.families) == set(families())
        assert "Check the statement" in judged.sentences[0]
    unknown = misfit.judge(plain, fine, ReconstructionFacts())
    assert len(unknown.families) == 2
    assert "not known" in unknown.sentences[0]
