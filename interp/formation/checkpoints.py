"""Checkpoints of an experiment: weights, optimiser, generators and what was measured.

One folder for each step, written whole: `state.safetensors` and `state.json`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from interp import atomic
from interp.errors import IncompatibleError, StoreError
from interp.formation.spec import Experiment


STATE, TENSORS = "state.json", "state.safetensors"
PROBE_SEED = 0


@dataclass(slots=True, kw_only=True)
class State:
    """Everything that the next step depends on, and the curves so far."""

    step: int
    flat: Float[Tensor, "replica weight"]
    first: Float[Tensor, "replica weight"]
    second: Float[Tensor, "replica weight"]
    generators: list[torch.Generator]
    steps: list[int]
    curves: dict[str, list[Tensor]]

    def latest(self) -> Mapping[str, Tensor]:
        """The numbers of the last evaluation."""
        return {name: values[-1] for name, values in self.curves.items()}


def identity(experiment: Experiment) -> str:
    """A hash of what decides about the steps of an experiment, but how many and when.

    The task counts by the sequences it draws. A clamp whose value is computed counts by
    where it holds, as code has no content that could be compared.
    """
    training = asdict(experiment.training)
    # The run may be prolonged and looked at more often.
    for name in ("steps", "checkpoint_every"):
        training.pop(name)
    batch = experiment.task.sample([torch.Generator().manual_seed(PROBE_SEED)], 4)
    drawn = [batch.symbols, batch.targets]
    drawn += [] if batch.items is None else [batch.items]
    return atomic.json_hash(
        {
            "network": asdict(experiment.network),
            "training": training,
            "seeds": experiment.seeds,
            "task": [tensor.flatten().tolist() for tensor in drawn],
            "evaluations": [evaluation.name for evaluation in experiment.evaluations],
            "clamps": [
                [
                    clamp.site,
                    repr(clamp.index),
                    clamp.replicas,
                    clamp.start,
                    clamp.stop,
                    clamp.strength,
                    clamp.detach,
                    clamp.value if isinstance(clamp.value, int | float) else None,
                ]
                for clamp in experiment.clamps
            ],
        }
    )


def write(folder: Path, identity: str, state: State) -> None:
    """Write the checkpoint of the present step.

    Raises:
        DiskFullError: If the disk is full; earlier checkpoints stay.
        UnwritableError: If the folder cannot be written.
    """
    tensors = {
        "flat": state.flat.detach(),
        "first": state.first,
        "second": state.second,
        "generators": torch.stack([g.get_state() for g in state.generators]),
        "steps": torch.tensor(state.steps, dtype=torch.long),
    }
    for name, values in state.curves.items():
        tensors[f"curve/{name}"] = torch.stack(values)
    with atomic.replacing_folder(_place(folder, state.step)) as beside:
        save_file(tensors, beside / TENSORS)
        description = {"step": state.step, "experiment": identity}
        (beside / STATE).write_text(atomic.json_text(description), encoding="utf-8")


def steps(folder: Path, identity: str) -> list[int]:
    """The steps of which there is a checkpoint, rising.

    Raises:
        IncompatibleError: If one is of another experiment.
        StoreError: If one is damaged.
    """
    found: list[int] = []
    for path in sorted(folder.glob("step-*")):
        try:
            description = atomic.parse_json((path / STATE).read_bytes())
            step, theirs = int(description["step"]), description["experiment"]
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise _damaged(path / STATE) from error
        if theirs != identity:
            raise IncompatibleError(
                f"{str(folder)!r} holds another experiment.",
                expected="The network, task, seeds, clamps or training differ.",
                remedy="Choose another folder.",
            )
        found.append(step)
    return sorted(found)


def last(folder: Path, identity: str) -> int | None:
    """The step of the last checkpoint, if there is any.

    Raises:
        IncompatibleError: If one is of another experiment.
        StoreError: If one is damaged.
    """
    return max(steps(folder, identity), default=None)


def read(folder: Path, step: int) -> State:
    """The state of a checkpoint.

    Raises:
        StoreError: If it is damaged.
    """
    path = _place(folder, step) / TENSORS
    try:
        tensors = load_file(path)
        flat, first, second = (tensors[name] for name in ("flat", "first", "second"))
        states, at = tensors["generators"], tensors["steps"].tolist()
        generators = [torch.Generator() for _ in states]
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state.clone())
    except (OSError, SafetensorError, KeyError, RuntimeError, TypeError) as error:
        raise _damaged(path) from error
    curves = {
        name.removeprefix("curve/"): list(tensor.unbind())
        for name, tensor in tensors.items()
        if name.startswith("curve/")
    }
    return State(
        step=step,
        flat=flat,
        first=first,
        second=second,
        generators=generators,
        steps=at,
        curves=curves,
    )


def _place(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}"


def _damaged(path: Path) -> StoreError:
    return StoreError(
        f"The checkpoint {str(path)!r} is damaged.",
        remedy="Remove its folder: training goes on from the one before.",
    )
