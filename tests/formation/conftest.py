"""A small experiment that every test of the formation lab starts from."""

from typing import Any

import pytest
import torch

from interp.formation import (
    Evaluation,
    Experiment,
    NetworkConfig,
    RepeatedTokens,
    TrainingConfig,
    measure_repeats,
)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def repeats():
    return RepeatedTokens(vocabulary=12, length=14, shortest=3, longest=6)


@pytest.fixture
def network():
    return NetworkConfig(symbols=12, outputs=12, d_model=8, symbol_std=0.5)


@pytest.fixture
def make_experiment(repeats, network):
    def make(*, seeds=(0, 1, 2), clamps=(), network=network, **training):
        settings: dict[str, Any] = {
            "steps": 12,
            "batch": 4,
            "warm_up": 3,
            "evaluate_every": 4,
            "evaluate_on": 8,
        }
        return Experiment(
            network=network,
            task=repeats,
            training=TrainingConfig(**(settings | training)),
            seeds=seeds,
            clamps=clamps,
            evaluations=(Evaluation(task=repeats, measure=measure_repeats),),
        )

    return make
