"""What an experiment is: networks, what they learn, how, and what is measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from interp.errors import ConfigError
from interp.formation.batches import Batch, Task
from interp.formation.clamps import Clamp
from interp.formation.forward import Pass
from interp.formation.network import NetworkConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """How an experiment is trained.

    Attributes:
        steps: Steps of the optimiser.
        batch: Sequences of each replica in a step.
        optimiser: AdamW, or plain gradient descent on batches.
        learning_rate: Its rate after the warm-up.
        betas: Of AdamW.
        weight_decay: Of AdamW, for matrices alone.
        warm_up: Steps over which the rate rises.
        clip: Largest norm of a replica's gradient; 0 for none.
        evaluate_every: Steps between two evaluations.
        evaluate_on: Sequences of an evaluation, the same for all replicas and steps.
        checkpoint_every: Steps between two checkpoints; 0 for none but the last.
    """

    steps: int
    batch: int = 32
    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 3e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.0
    warm_up: int = 50
    clip: float = 1.0
    evaluate_every: int = 10
    evaluate_on: int = 128
    checkpoint_every: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """Something that is measured while training.

    Attributes:
        task: Where its sequences come from.
        measure: Gives numbers by name, one for each replica.
        name: Goes before the names of the numbers.
        clamps: For a progress measure: held in this evaluation alone, instead of the
            clamps of training. By default the network is measured with the clamps of
            training and, where there are any, also released from them.
    """

    task: Task
    measure: Callable[[Pass, Batch], Mapping[str, Tensor]]
    name: str = ""
    clamps: tuple[Clamp, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Experiment:
    """Networks that are trained together.

    Attributes:
        network: Their shape.
        task: What they learn.
        training: How.
        seeds: The seed of each replica: of its weights and its data. Conditions that
            share seeds start alike and see the same sequences.
        clamps: What is held during training.
        evaluations: What is measured.
    """

    network: NetworkConfig
    task: Task
    training: TrainingConfig
    seeds: tuple[int, ...]
    clamps: tuple[Clamp, ...] = ()
    evaluations: tuple[Evaluation, ...] = field(default=())


def check(experiment: Experiment) -> None:
    """Refuse an experiment that cannot be trained.

    Raises:
        ConfigError: If it has no seed, clamps a replica that is not there, or a count
            is not positive.
    """
    replicas = len(experiment.seeds)
    if not replicas:
        raise ConfigError("The experiment has no seed.")
    for clamp in experiment.clamps:
        wrong = [r for r in clamp.replicas or () if not -replicas <= r < replicas]
        if wrong:
            raise ConfigError(
                f"A clamp of {clamp.site!r} is for replica {wrong[0]}.",
                expected=f"There are {replicas}, counted from 0.",
            )
    _positive(experiment.training)


def _positive(training: TrainingConfig) -> None:
    for name in ("steps", "batch", "evaluate_every", "evaluate_on", "learning_rate"):
        if getattr(training, name) <= 0:
            raise ConfigError(f"{name} is {getattr(training, name)}; it is positive.")
