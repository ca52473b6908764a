"""Training all replicas of an experiment at once, in steps that repeat exactly.

Weights are one flat array [replica, weight] of which the matrices are views:
clipping, the optimiser and a checkpoint are then a few operations on whole arrays.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from interp import atomic, stopping
from interp.errors import ConfigError
from interp.formation import checkpoints
from interp.formation.checkpoints import State
from interp.formation.forward import forward, losses
from interp.formation.network import (
    NetworkConfig,
    Parameters,
    new_parameters,
    parameter_shapes,
)
from interp.formation.spec import Experiment, check
from interp.progress import progress_bar


# Apart from each other and from the seeds of the weights.
DATA_SEED, EVALUATION_SEED = 1_000_003, 2_000_003
EPSILON = 1e-8
RELEASED = " (released)"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """What training gave.

    Attributes:
        parameters: The weights at the end.
        step: How many steps were taken.
        steps: When it was evaluated.
        curves: What was measured, by name.
    """

    parameters: Parameters
    step: int
    steps: Int64[np.ndarray, " evaluation"]
    curves: dict[str, Float32[np.ndarray, "replica evaluation"]]


Until = Callable[[Mapping[str, Tensor]], bool]


def train(
    experiment: Experiment, *, out: str | Path | None = None, until: Until | None = None
) -> Trained:
    """Train an experiment, or go on where it was stopped.

    Args:
        experiment: What to train.
        out: Folder for checkpoints. If it holds some of this experiment training goes
            on after the last, and gives what an unbroken run gives, bit for bit.
        until: Ends training early; sees the numbers of each evaluation.

    Raises:
        IncompatibleError: If the folder holds another experiment.
        StoppedError: If a stop was requested; the step reached is kept in `out`.
    """
    check(experiment)
    folder = None if out is None else Path(out)
    identity = checkpoints.identity(experiment)
    state = _start(experiment)
    if folder is not None:
        atomic.remove_strays(folder)
        if (last := checkpoints.last(folder, identity)) is not None:
            state = checkpoints.read(folder, last)
    state = _run(experiment, state, folder=folder, identity=identity, until=until)
    return _trained(experiment, state)


def replay(
    experiment: Experiment,
    folder: str | Path,
    *,
    start: int,
    stop: int,
    evaluate_every: int = 1,
) -> Trained:
    """Train a window again, exactly, and look more often.

    Args:
        experiment: The experiment that was trained.
        folder: Its checkpoints.
        start: The first step that is evaluated; the nearest checkpoint before it is
            where the replay begins.
        stop: The step at which it ends.
        evaluate_every: Steps between two evaluations.

    Raises:
        IncompatibleError: If the folder holds another experiment.
        ConfigError: If there is no checkpoint at or before the start.
    """
    identity = checkpoints.identity(experiment)
    before = [s for s in checkpoints.steps(Path(folder), identity) if s <= start]
    if not before or stop < start:
        raise ConfigError(
            f"{str(folder)!r} cannot be replayed from step {start} to {stop}.",
            expected="A checkpoint at or before the start, and an end after it.",
        )
    state = checkpoints.read(Path(folder), max(before))
    state.steps, state.curves = [], {}
    return _trained(
        experiment,
        _run(
            experiment,
            state,
            stop=stop,
            evaluate_at=lambda step: (
                step >= start and ((step - start) % evaluate_every == 0 or step == stop)
            ),
        ),
    )


def views(flat: Float[Tensor, "replica weight"], config: NetworkConfig) -> Parameters:
    """The weights by name, as views of the flat array.

    Example:
        >>> config = NetworkConfig(symbols=4, outputs=4, layers=0, norm=False)
        >>> {k: tuple(v.shape) for k, v in views(torch.zeros(2, 260), config).items()}
        {'embed.symbols': (2, 4, 32), 'readout.0.w': (2, 32, 4), 'readout.0.b': (2, 4)}
    """
    shapes = parameter_shapes(config)
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    parts = flat.split(sizes, dim=1)
    return {
        name: part.unflatten(1, shape)
        for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }


def evaluate(
    experiment: Experiment, parameters: Parameters, *, step: int | None = None
) -> dict[str, Float[Tensor, " replica"]]:
    """Everything an experiment measures, with and without its clamps.

    Args:
        experiment: The experiment.
        parameters: The weights.
        step: The step of training, which decides about clamps that hold for a time.
    """
    found: dict[str, Tensor] = {}
    for number, evaluation in enumerate(experiment.evaluations):
        seed = EVALUATION_SEED + number
        own = [torch.Generator().manual_seed(seed) for _ in experiment.seeds]
        batch = evaluation.task.sample(own, experiment.training.evaluate_on)
        ways = {"": experiment.clamps, RELEASED: ()}
        if evaluation.clamps is not None:
            ways = {"": evaluation.clamps}
        elif not experiment.clamps:
            ways = {"": ()}
        for suffix, clamps in ways.items():
            with torch.no_grad():
                run = forward(
                    parameters, experiment.network, batch, clamps=clamps, step=step
                )
                values = evaluation.measure(run, batch)
            found |= {f"{evaluation.name}{k}{suffix}": v for k, v in values.items()}
    return found


def _start(experiment: Experiment) -> State:
    seeds = experiment.seeds
    weights = new_parameters(experiment.network, seeds).values()
    flat = torch.cat([weight.flatten(1) for weight in weights], dim=1)
    return State(
        step=0,
        flat=flat,
        first=torch.zeros_like(flat),
        second=torch.zeros_like(flat),
        generators=[torch.Generator().manual_seed(DATA_SEED + s) for s in seeds],
        steps=[],
        curves={},
    )


def _run(
    experiment: Experiment,
    state: State,
    *,
    folder: Path | None = None,
    identity: str = "",
    until: Until | None = None,
    stop: int | None = None,
    evaluate_at: Callable[[int], bool] | None = None,
) -> State:
    training = experiment.training
    stop = training.steps if stop is None else stop
    every = training.checkpoint_every
    keep = None if folder is None else (folder, identity)
    decayed = _decayed(experiment.network) if training.weight_decay else None

    def on_schedule(step: int) -> bool:
        return step % training.evaluate_every == 0 or step == stop

    due = on_schedule if evaluate_at is None else evaluate_at
    with progress_bar("train", stop - state.step, "steps") as bar:
        while True:
            if due(state.step) and (not state.steps or state.steps[-1] != state.step):
                _record(experiment, state)
            enough = until is not None and bool(state.steps) and until(state.latest())
            ends = state.step >= stop or enough
            if keep and (ends or (every and state.step % every == 0)):
                checkpoints.write(*keep, state)
            if ends:
                return state
            _stop_if_requested(state, keep)
            _advance(experiment, state, decayed)
            bar.advance(1)


def _advance(experiment: Experiment, state: State, decayed: Tensor | None) -> None:
    """One step of the optimiser, in place."""
    training = experiment.training
    batch = experiment.task.sample(state.generators, training.batch)
    flat = state.flat.requires_grad_()
    parameters = views(flat, experiment.network)
    run = forward(
        parameters,
        experiment.network,
        batch,
        clamps=experiment.clamps,
        step=state.step,
    )
    (gradient,) = torch.autograd.grad(losses(run.logits, batch).sum(), flat)
    flat.requires_grad_(False)
    state.step += 1
    rate = training.learning_rate * min(1.0, state.step / max(1, training.warm_up))
    if training.clip:
        norm = gradient.norm(dim=1, keepdim=True)
        gradient *= (training.clip / (norm + 1e-6)).clamp(max=1.0)
    if training.optimiser == "sgd":
        flat.sub_(gradient, alpha=rate)
        return
    low, high = training.betas
    state.first.lerp_(gradient, 1 - low)
    state.second.mul_(high).addcmul_(gradient, gradient, value=1 - high)
    scale = (state.second / (1 - high**state.step)).sqrt_().add_(EPSILON)
    if decayed is not None:
        flat.sub_(flat * decayed, alpha=rate * training.weight_decay)
    flat.addcdiv_(state.first, scale, value=-rate / (1 - low**state.step))


def _record(experiment: Experiment, state: State) -> None:
    parameters = views(state.flat, experiment.network)
    found = evaluate(experiment, parameters, step=state.step)
    state.steps.append(state.step)
    for name, value in found.items():
        state.curves.setdefault(name, []).append(value)


def _stop_if_requested(state: State, keep: tuple[Path, str] | None) -> None:
    where = f"step {state.step} is kept in {str(keep[0])!r}" if keep else "nothing kept"
    try:
        stopping.stop_if_requested(where)
    except stopping.StoppedError:
        if keep:
            checkpoints.write(*keep, state)
        raise


def _decayed(config: NetworkConfig) -> Float[Tensor, " weight"]:
    """1 for the entries of matrices, 0 for biases and gains."""
    shapes = parameter_shapes(config).values()
    parts = [torch.full((int(np.prod(s)),), float(len(s) > 1)) for s in shapes]
    return torch.cat(parts)


def _trained(experiment: Experiment, state: State) -> Trained:
    curves = {
        name: torch.stack(values, dim=1).float().numpy()
        for name, values in state.curves.items()
    }
    return Trained(
        parameters=views(state.flat, experiment.network),
        step=state.step,
        steps=np.array(state.steps, dtype=np.int64),
        curves=curves,
    )
