"""Neurons, timelines and formation runs of two results: paired, or refused."""

from dataclasses import replace

import numpy as np
import pytest
from confidence_samples import confidence
from map_samples import formation
from sample_results import provenance
from timeline_samples import STEPS, timeline

from interp.errors import IncompatibleError
from interp.results import FormationRun, HeadTimeline
from interp.results.neurons import NeuronTable
from probes.studies.paired import paired_numbers


HOW = {"resamples": 100, "seed": 0}
CURVE = "prefix_matching (highest head)"


def rising(at: float, *, noise: float = 0.02, width: float = 25.0) -> HeadTimeline:
    """One curve that rises at a step, over 24 sequences with errors of their own."""
    errors = np.random.default_rng(0).normal(0, noise, size=(len(STEPS), 24))
    rise = 1 / (1 + np.exp(-(STEPS - at) / width))
    samples = (0.1 + 0.8 * rise[:, None] + errors)[None].astype(np.float32)
    return replace(
        timeline(), curves=(CURVE,), samples=samples, mean=samples.mean(axis=-1)
    )


def numbers(first, second):
    """The rows by their names."""
    found = paired_numbers(first, second, **HOW)
    return found, {row["number"]: row for row in found.rows.to_dict("records")}


def test_a_later_change_is_found_with_an_interval_that_leaves_out_zero():
    found, rows = numbers(rising(320.0), rising(380.0))
    for estimator in ("threshold crossing", "steepest slope", "logistic midpoint"):
        row = rows[f"{CURVE}: step of change, {estimator}"]
        assert 0 < row["low"] <= row["second - first"] <= row["high"]
    # The other two only know the straight lines between the checkpoints.
    assert row["second - first"] == pytest.approx(60, abs=4)
    assert "Without a transition" not in found.method


def test_a_series_does_not_change_later_than_itself():
    _, rows = numbers(rising(350.0), rising(350.0))
    assert len(rows) == 4
    for row in rows.values():
        assert [row[name] for name in ("second - first", "low", "high")] == [0, 0, 0]


def test_a_curve_that_does_not_change_has_no_time_and_is_named():
    line = rising(350.0, width=1e6)
    found, rows = numbers(rising(350.0), line)
    assert [*rows] == [f"{CURVE}: at the last checkpoint"]
    assert f"{CURVE} (transition; no transition)" in found.method


def test_series_of_other_sequences_are_not_paired():
    first = rising(350.0)
    fewer = replace(first, samples=first.samples[:, :, :-1])
    with pytest.raises(IncompatibleError, match="same number of evaluation sequences"):
        paired_numbers(first, fewer)
    seed = replace(first, provenance=replace(first.provenance, seed=1))
    with pytest.raises(IncompatibleError, match="same seed"):
        paired_numbers(first, seed)
    with pytest.raises(IncompatibleError, match="same curves"):
        paired_numbers(first, replace(first, curves=("other",)))


def falling(at: dict[int, float]) -> FormationRun:
    """Runs of one condition, each a straight fall through the level at a step."""
    steps = np.arange(0, 100, 10)
    times = np.array([*at.values()])
    loss = np.clip(1 - (steps - times[:, None]) / 20, 0, 2)
    return replace(
        formation(),
        conditions=("free",),
        condition=np.zeros(len(at), np.int32),
        seeds=np.array([*at]),
        steps=steps,
        curves=np.stack([loss, 2 - loss]).astype(np.float32),
    )


def test_runs_that_cross_later_are_compared_seed_by_seed():
    # Seeds differ by more than what is done to them.
    times = {seed: 20.0 + 5 * seed for seed in range(8)}
    first = falling(times)
    second = falling({seed: at + 6 for seed, at in times.items()})
    _, rows = numbers(first, second)
    row = rows["step at which loss falls below 1, free"]
    assert row["first"] == pytest.approx(np.median([*times.values()]))
    for name in ("second - first", "low", "high"):
        assert row[name] == pytest.approx(6, abs=1e-4)
    last = rows["last accuracy, free"]
    assert last["first"] == pytest.approx(first.curves[1, :, -1].mean())


def test_a_run_that_never_crosses_counts_as_if_it_did_at_the_last_step():
    never = dict.fromkeys(range(4), 1000000.0)
    _, rows = numbers(falling(dict.fromkeys(range(4), 40.0)), falling(never))
    row = rows["step at which loss falls below 1, free"]
    assert (row["second"], row["second - first"]) == (90, pytest.approx(50, abs=1e-4))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"level": 0.5}, "level of the transition"),
        ({"seeds": np.arange(4) + 7}, "seeds"),
        ({"conditions": ("free", "other")}, "conditions"),
        ({"metrics": ("accuracy", "loss")}, "metric of the transition"),
    ],
)
def test_experiments_that_differ_are_refused_by_the_name_of_the_field(changes, named):
    with pytest.raises(IncompatibleError, match=f"same {named}"):
        paired_numbers(formation(), replace(formation(), **changes))


def many(seed: int, n: int = 200) -> NeuronTable:
    """Neurons with a LogitVar of their own."""
    rng = np.random.default_rng(seed)
    norm, var, null = rng.uniform(0.1, 1, size=(3, n)).astype(np.float32)
    order = np.argsort(var)[:10].astype(np.int32)
    return NeuronTable(
        model="owner/base",
        layer=3,
        final_norm="RMSNorm",
        norm=norm,
        logit_var=var,
        null_fraction=null,
        null_directions=4,
        singular_values=np.linspace(9, 0.1, 16).astype(np.float32),
        percentile=75.0,
        candidates=order,
        provenance=provenance("neurons"),
    )


def test_candidates_that_are_none_in_the_other_model_have_a_lower_rank_there():
    first = many(0)
    rows = numbers(first, many(1))[1]
    own = rows["rank by LogitVar of the first's 10 candidates"]
    assert own["first"] == pytest.approx(5.5)
    assert own["low"] > 30
    same = numbers(first, first)[1]["rank by LogitVar of the first's 10 candidates"]
    assert (same["low"], same["high"]) == (0, 0)
    longer = replace(first, norm=first.norm * np.float32(1.5))
    norm = numbers(first, longer)[1]["norm, all neurons"]
    assert norm["second - first"] == pytest.approx(0.5 * first.norm.mean(), rel=1e-5)
    assert norm["low"] > 0


def test_models_with_other_neurons_are_not_paired():
    with pytest.raises(IncompatibleError, match="same number of neurons"):
        paired_numbers(many(0), many(0, n=100))
    with pytest.raises(IncompatibleError, match="same last layer"):
        paired_numbers(many(0), replace(many(0), layer=30))


def test_effects_of_neurons_that_both_ablated_are_paired():
    first = confidence()
    moved = tuple(
        replace(row, entropy_change=row.entropy_change + 0.25)
        if row.chosen == "entropy" and row.model == "post"
        else row
        for row in first.effects
    )
    _, rows = numbers(first, replace(first, effects=moved))
    change = {name: row for name, row in rows.items() if name.startswith("entropy:")}
    base, post = (
        next(row for name, row in change.items() if f"{role} model" in name)
        for role in ("base", "post")
    )
    assert (base["low"], base["high"]) == (0, 0)
    assert post["low"] == post["high"] == pytest.approx(0.25)
