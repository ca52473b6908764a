import time

import numpy as np
import pytest
import torch
from forked import forked

from interp import stopping
from interp.errors import ConfigError, IncompatibleError, StoreError
from interp.formation import Clamp, NetworkConfig, holding, replay, train
from interp.formation.checkpoints import identity, last


def same(first, second):
    return all(
        torch.equal(first.parameters[name], second.parameters[name])
        for name in first.parameters
    )


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_replicas_train_as_they_would_alone(make_experiment, optimiser):
    together = train(make_experiment(optimiser=optimiser, learning_rate=0.05))
    for replica, seed in enumerate((0, 1, 2)):
        alone = train(
            make_experiment(seeds=(seed,), optimiser=optimiser, learning_rate=0.05)
        )
        for name, weight in alone.parameters.items():
            torch.testing.assert_close(
                weight[0], together.parameters[name][replica], atol=1e-5, rtol=0
            )
        for name, curve in alone.curves.items():
            np.testing.assert_allclose(curve[0], together.curves[name][replica], 1e-4)


def test_the_optimiser_is_that_of_torch(make_experiment):
    experiment = make_experiment(
        seeds=(3,), clip=0.5, weight_decay=0.1, warm_up=1, learning_rate=0.01
    )
    from interp.formation import forward, losses, new_parameters
    from interp.formation.training import DATA_SEED

    weights = new_parameters(experiment.network, [3])
    for weight in weights.values():
        weight.requires_grad_()
    matrices = [w for w in weights.values() if w.ndim > 2]
    others = [w for w in weights.values() if w.ndim <= 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices}, {"params": others, "weight_decay": 0.0}],
        lr=0.01,
        betas=(0.9, 0.98),
        weight_decay=0.1,
    )
    own = [torch.Generator().manual_seed(DATA_SEED + 3)]
    for _ in range(12):
        batch = experiment.task.sample(own, 4)
        optimizer.zero_grad()
        losses(forward(weights, experiment.network, batch).logits, batch)[0].backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), 0.5)
        optimizer.step()
    trained = train(experiment)
    for name, weight in weights.items():
        torch.testing.assert_close(
            trained.parameters[name], weight.detach(), atol=2e-5, rtol=0
        )


def test_a_resumed_run_is_the_unbroken_one_bit_for_bit(make_experiment, tmp_path):
    whole = train(make_experiment())
    train(make_experiment(steps=7, evaluate_every=4), out=tmp_path)
    # The evaluation at the end of the shorter run is one more than the whole run has.
    resumed = train(make_experiment(), out=tmp_path)
    assert same(whole, resumed)
    kept = np.isin(resumed.steps, whole.steps)
    for name, curve in whole.curves.items():
        assert np.array_equal(curve, resumed.curves[name][:, kept])


def test_a_run_that_is_done_is_not_trained_again(make_experiment, tmp_path):
    done = train(make_experiment(), out=tmp_path)
    again = train(make_experiment(), out=tmp_path)
    assert same(done, again)
    assert np.array_equal(done.steps, again.steps)


def test_a_window_is_replayed_exactly_and_more_densely(make_experiment, tmp_path):
    experiment = make_experiment(checkpoint_every=4)
    run = train(experiment, out=tmp_path)
    window = replay(experiment, tmp_path, start=6, stop=12)
    assert window.steps.tolist() == list(range(6, 13))
    assert same(run, window)
    for name, curve in run.curves.items():
        shared = [window.steps.tolist().index(step) for step in (8, 12)]
        assert np.array_equal(curve[:, 2:], window.curves[name][:, shared])


def test_a_run_killed_in_the_middle_resumes_bit_for_bit(make_experiment, tmp_path):
    whole = train(make_experiment(steps=100, checkpoint_every=20))
    experiment = make_experiment(steps=100, checkpoint_every=20)
    child = forked(lambda: train(experiment, out=tmp_path))
    deadline = time.monotonic() + 60
    while not (tmp_path / "step-00000020").exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    child.kill()
    child.join()
    reached = last(tmp_path, identity(experiment))
    assert reached is not None
    assert 20 <= reached < 100
    resumed = train(experiment, out=tmp_path)
    assert same(whole, resumed)
    assert all(np.array_equal(whole.curves[n], resumed.curves[n]) for n in whole.curves)


def test_a_signal_stops_after_a_step_that_is_kept(
    make_experiment, tmp_path, monkeypatch
):
    whole = train(make_experiment())
    calls = iter(range(100))

    def stop(done):
        if next(calls) == 5:
            raise stopping.StoppedError(done)

    monkeypatch.setattr(stopping, "stop_if_requested", stop)
    with pytest.raises(stopping.StoppedError, match="step 5 is kept"):
        train(make_experiment(), out=tmp_path)
    monkeypatch.undo()
    assert last(tmp_path, identity(make_experiment())) == 5
    assert same(whole, train(make_experiment(), out=tmp_path))


def test_training_ends_early_when_it_is_enough(make_experiment):
    run = train(make_experiment(), until=lambda now: bool((now["loss"] < 99).all()))
    assert run.step == 0


def test_clamped_networks_are_measured_both_ways(make_experiment):
    held = holding.previous_token(0, [0], replicas=(1, 2))
    curves = train(make_experiment(clamps=held)).curves
    assert (curves["previous_token"][1:] == 1).all()
    assert (curves["previous_token (released)"][1:] < 0.9).all()
    assert np.array_equal(curves["loss"][0], curves["loss (released)"][0])


def test_a_clamp_is_released_during_training(make_experiment):
    held = holding.previous_token(0, [0], stop=8)
    found = train(make_experiment(clamps=held, evaluate_every=2))
    before = found.steps < 8
    assert (found.curves["previous_token"][:, before] == 1).all()
    assert (found.curves["previous_token"][:, ~before] < 0.9).all()


def test_another_experiment_is_not_continued(make_experiment, tmp_path):
    train(make_experiment(steps=2), out=tmp_path)
    held = (Clamp(site="embedding", value=0.0),)
    wider = NetworkConfig(symbols=12, outputs=12, d_model=16)
    for other in ({"clamps": held}, {"network": wider}, {"learning_rate": 1.0}):
        with pytest.raises(IncompatibleError, match="another experiment"):
            train(make_experiment(**other), out=tmp_path)


def test_a_damaged_checkpoint_is_named(make_experiment, tmp_path):
    train(make_experiment(steps=2), out=tmp_path)
    (tmp_path / "step-00000002" / "state.safetensors").write_bytes(b"half")
    with pytest.raises(StoreError, match="step-00000002"):
        train(make_experiment(), out=tmp_path)


def test_a_window_without_a_checkpoint_before_it_is_refused(make_experiment, tmp_path):
    train(make_experiment(), out=tmp_path)
    with pytest.raises(ConfigError, match="cannot be replayed"):
        replay(make_experiment(), tmp_path, start=3, stop=5)


@pytest.mark.parametrize("wrong", [{"seeds": ()}, {"steps": 0}, {"batch": 0}])
def test_training_that_cannot_be_is_refused(make_experiment, wrong):
    with pytest.raises(ConfigError):
        train(make_experiment(**wrong))
    with pytest.raises(ConfigError, match="replica 7"):
        train(make_experiment(clamps=holding.ablate(0, [0], replicas=(7,))))
