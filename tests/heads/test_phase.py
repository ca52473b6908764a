"""Phase changes against curves of known midpoint, lines, and scipy's own fit."""

import numpy as np
import pytest
from scipy.optimize import curve_fit

from interp.errors import ShapeError
from interp.heads.phase import lag, over_runs, phase_change
from interp.heads.phase_fits import TO_NINE_TENTHS, fit_logistic
from interp.heads.phase_times import crossing, local_lines, steepest


STEPS = np.arange(0.0, 1001.0, 50.0)


def logistic(x, middle, spread, start=0.0, end=1.0):
    return start + (end - start) / (1 + np.exp(-(x - middle) / spread))


def noisy(curve, *, n=64, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    return curve[:, None] + noise * rng.normal(size=(len(curve), n))


@pytest.mark.parametrize("middle", [310.0, 433.0, 580.0])
@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (4.0, 0.5)])
def test_a_known_midpoint_and_width_are_found_by_all_estimators(middle, start, end):
    curve = logistic(STEPS, middle, 35.0, start, end)
    change = phase_change(curve[:, None], STEPS).change
    assert change.verdict == "transition"
    for time in change.times:
        # Half of the distance of two checkpoints is 25.
        assert time.step == pytest.approx(middle, abs=5.0), time.estimator
        assert time.grid_low <= time.step <= time.grid_high
        assert time.grid_high - time.grid_low == 50.0
        assert np.isnan(time.low)
    assert change.time("logistic midpoint").step == pytest.approx(middle, abs=0.2)
    assert change.width == pytest.approx(2 * TO_NINE_TENTHS * 35.0, rel=0.01)
    assert (change.start, change.end) == pytest.approx((start, end), abs=0.01)


@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_the_logistic_fit_is_that_of_scipy(noise):
    curve = noisy(logistic(STEPS, 420.0, 40.0, 5.0, 1.0), noise=noise).mean(axis=1)
    wanted, _ = curve_fit(logistic, STEPS, curve, p0=[400.0, 50.0, 5.0, 1.0])
    found = fit_logistic(STEPS, curve[None])
    values = [found.midpoint, found.spread, found.start, found.end]
    assert np.concatenate(values) == pytest.approx(wanted, rel=2e-3)
    error = np.square(curve - logistic(STEPS, *wanted)).sum()
    assert found.error[0] == pytest.approx(error, rel=1e-4)


STEADY = {
    "line": STEPS / 1000,
    "flat": np.full_like(STEPS, 0.3),
    "decay": np.exp(-STEPS / 200),
    "saturation": 1 - np.exp(-STEPS / 150),
    "growth": np.exp(STEPS / 300 - 3),
    "power law": (STEPS + 20) ** -0.5,
}


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("name", STEADY)
def test_what_changes_steadily_has_no_transition(name, noise):
    found = phase_change(noisy(STEADY[name], noise=noise), STEPS).change
    assert found.verdict == "no transition"
    assert all(np.isnan(time.step) for time in found.times)
    assert np.isnan(found.width)
    assert found.held_up > 0.9


def test_a_change_at_either_end_of_the_series_is_undetermined():
    early = phase_change(logistic(STEPS, 20.0, 30.0)[:, None], STEPS).change
    late = phase_change(logistic(STEPS, 985.0, 50.0)[:, None], STEPS).change
    assert (early.verdict, late.verdict) == ("undetermined", "undetermined")
    assert "older than the series" in early.reason
    assert "not over" in late.reason


def test_evaluation_intervals_cover_the_truth_as_often_as_they_say():
    curve = logistic(STEPS, 430.0, 40.0)
    hits = 0
    for seed in range(20):
        samples = noisy(curve, n=40, noise=0.3, seed=seed)
        change = phase_change(samples, STEPS, resamples=100).change
        time = change.time("logistic midpoint")
        hits += time.low <= 430.0 <= time.high
    # 95 % of 20 is 19; fewer than 15 happens once in three thousand.
    assert hits >= 15


def test_more_sequences_narrow_the_evaluation_interval_but_not_the_grid():
    curve = logistic(STEPS, 430.0, 40.0)
    times = [
        phase_change(noisy(curve, n=n, noise=0.5), STEPS).change.times[2]
        for n in (32, 512)
    ]
    widths = [time.high - time.low for time in times]
    assert widths[1] < 0.5 * widths[0]
    assert {(time.grid_low, time.grid_high) for time in times} == {(400.0, 450.0)}


def test_steps_that_double_are_looked_at_by_their_logarithm():
    steps = np.array(
        [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, *range(1000, 9000, 500)]
    )
    curve = logistic(np.log1p(steps), np.log1p(700.0), 0.25)
    found = phase_change(curve[:, None], steps).change
    assert (found.scale, found.verdict) == ("log", "transition")
    time = found.time("logistic midpoint")
    assert time.step == pytest.approx(700.0, rel=0.01)
    assert (time.grid_low, time.grid_high) == (512.0, 1000.0)


def test_a_lag_is_paired_over_sequences():
    rng = np.random.default_rng(1)
    # Each sequence has its own time, which both curves share.
    own = rng.normal(0.0, 40.0, size=200)
    first, second = (
        logistic(STEPS[:, None], middle + own[None], 30.0) for middle in (400.0, 440.0)
    )
    a, b = (phase_change(s, STEPS, resamples=200) for s in (first, second))
    found = lag(a, b, estimator="logistic midpoint")
    assert found.steps == pytest.approx(40.0, abs=1.0)
    assert found.high - found.low < 1.0
    alone = b.change.time("logistic midpoint")
    assert alone.high - alone.low > 5.0
    assert not lag(a, b, estimator="threshold crossing").unresolved
    assert lag(a, a, estimator="threshold crossing").unresolved


def test_a_threshold_crossing_is_that_of_a_plain_loop():
    rng = np.random.default_rng(0)
    x, y = np.sort(rng.random(12)), rng.random((50, 12)).cumsum(axis=1)
    level = rng.uniform(1.0, 5.0, size=50)
    found = crossing(x, y, level, rising=np.ones(50, dtype=bool))
    for row in range(50):
        wanted = np.nan
        for i in range(1, 12):
            if y[row, i - 1] < level[row] <= y[row, i]:
                wanted = np.interp(level[row], y[row, i - 1 : i + 1], x[i - 1 : i + 1])
                break
        assert found[row] == pytest.approx(wanted, nan_ok=True)


def test_the_steepest_slope_of_a_parabola_of_slopes_is_its_vertex():
    x = np.arange(12.0)
    # The slope is 9 - (x - 5.3)^2, a parabola: refinement is exact up to smoothing.
    y = 9 * x - (x - 5.3) ** 3 / 3
    found = steepest(x, y[None], rising=np.array([True]))
    assert found[0] == pytest.approx(5.3, abs=0.01)


def test_the_steepest_slope_lies_beside_the_middle_where_the_spacing_jumps():
    # Pythia saves powers of two up to 512, then every 1000 steps.
    steps = np.array([0, *2 ** np.arange(10), *range(1000, 20001, 1000)], dtype=float)
    x = np.log1p(steps)
    for middle in (512, 1000, 1300, 2000):
        curves = [logistic(x, np.log1p(middle), spread) for spread in (0.15, 0.3, 0.6)]
        found = np.expm1(steepest(x, np.stack(curves), rising=np.ones(3, dtype=bool)))
        np.testing.assert_allclose(found, middle, rtol=0.2)


def test_smoothing_keeps_a_straight_line_straight_and_is_a_mean_on_even_steps():
    rng = np.random.default_rng(0)
    x = rng.random(12).cumsum()
    np.testing.assert_allclose(local_lines(x, 3 * x[None] - 1), 3 * x[None, 1:-1] - 1)
    y = rng.random((4, 12))
    means = (y[:, :-2] + y[:, 1:-1] + y[:, 2:]) / 3
    np.testing.assert_allclose(local_lines(np.arange(12.0), y), means)


def test_runs_without_a_transition_count_as_later():
    changes = [
        phase_change(logistic(STEPS, middle, 30.0)[:, None], STEPS).change
        for middle in (300.0, 400.0, 500.0)
    ]
    never = phase_change((STEPS / 1000)[:, None], STEPS).change
    kind = "logistic midpoint"
    found = over_runs(changes, estimator=kind)
    assert float(found.estimate) == pytest.approx(400.0, abs=0.5)
    # Student's t of 300, 400 and 500: three runs say little.
    half = 4.3027 * 100 / np.sqrt(3)
    assert float(found.low) == pytest.approx(400.0 - half, abs=1)
    assert float(found.high) == pytest.approx(400.0 + half, abs=1)
    most = over_runs([changes[0], never, never], estimator=kind)
    assert float(most.estimate) == np.inf


def test_too_few_checkpoints_and_steps_that_do_not_rise_are_refused():
    with pytest.raises(ShapeError, match="needs 6"):
        phase_change(np.zeros((5, 1)), np.arange(5))
    with pytest.raises(ShapeError, match="rise"):
        phase_change(np.zeros((7, 1)), np.zeros(7))
