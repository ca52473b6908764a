"""`TracedModel`: a model that nnsight runs, here or on the machines of NDIF.

It stands wherever a `LanguageModel` does: sites, prompts, batches and edits are the
same, and only a forward pass goes another way. Edits in force are kept on the model as
functions from "which tokens does this pass hold?" to plain operations, so that they can
travel; `traced_tasks` joins them with what is to be captured.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList

from interp.errors import ConfigError, MissingSiteError
from interp.models.hookpoints import HookPoint
from interp.models.language_model import LanguageModel
from interp.models.reading import (
    BatchStatement,
    Reading,
    stated_reading,
    statement_of,
)
from interp.models.traced_body import (
    Act,
    Operation,
    Taken,
    Task,
    keep_text,
    run_tasks,
)
from interp.models.traced_remote import (
    prepared,
    remote_backend,
    remote_envoy,
    translated,
)


# For one batch: at which sites, and what is done there one after the other.
TracedEdit = Callable[[Reading], list[tuple[HookPoint, list[Operation]]]]


@dataclass(frozen=True, kw_only=True, eq=False)
class TracedModel(LanguageModel):
    """A causal language model that nnsight runs.

    Attributes:
        envoy: nnsight's wrapper.
        remote: Whether forward passes run on NDIF; `hf` then has no weights.
        edits: The edits in force, outer blocks first; changed only under the lock.
    """

    envoy: Any
    remote: bool = False
    edits: list[TracedEdit] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        """Where token ids go; what runs on NDIF gets them from the CPU."""
        return torch.device("cpu") if self.remote else super().device

    def complete(
        self,
        ids: Int[Tensor, "batch pos"],
        mask: Int[Tensor, "batch pos"],
        settings: GenerationConfig,
        processors: LogitsProcessorList,
    ) -> Int[Tensor, "batch all_pos"]:
        """Padded prompts with what `generate` writes behind them, under the edits.

        Raises:
            ConfigError: If tokens are to be drawn and the model runs on NDIF.
        """
        if processors:
            refuse_remote(self, "A temperature above 0", "Use temperature=0.")
        statement = statement_of(self.hf)
        assert statement is not None, "generation states its batch"
        step = torch.ones_like(mask[:, :1])
        readings = (
            stated_reading(ids, mask, statement),
            stated_reading(
                step, torch.cat([mask, step], 1), statement, n_past=ids.shape[1]
            ),
        )
        n_passes = settings.max_new_tokens
        assert n_passes is not None
        inputs: dict[str, Any] = {
            "input_ids": ids,
            "attention_mask": mask,
            "generation_config": _stated(settings) if self.remote else settings,
        }
        if processors:
            inputs["logits_processor"] = processors
        tasks = traced_tasks(self, readings)
        with torch.inference_mode(), warnings.catch_warnings():
            # nnsight warns of every text that a stop token ends.
            warnings.filterwarnings("ignore", message=".* was never reached")
            kept = run_traced(self, inputs, tasks, method="generate", n_passes=n_passes)
        return kept["result"]

    def __repr__(self) -> str:
        where = "on NDIF" if self.remote else "by nnsight"
        return f"{super().__repr__()[:-1]}, run {where})"


def traced(model: LanguageModel) -> TracedModel:
    """The same model, run by nnsight on this machine.

    nnsight puts a switch into each module of `model.hf` and leaves it there; it does
    nothing outside a trace.

    Args:
        model: A loaded model.

    Raises:
        ConfigError: If nnsight is not installed.

    Example:
        >>> from tiny import tiny_model
        >>> traced(LanguageModel(hf=tiny_model("llama"))).remote
        False
    """
    prepared()
    from nnsight import NNsight

    return TracedModel(
        hf=model.hf,
        tokenizer=model.tokenizer,
        name=model.name,
        revision=model.revision,
        commit=model.commit,
        folder=model.folder,
        envoy=NNsight(model.hf),
    )


def remote_model(
    source: str | Path, *, revision: str | None = None, tokenizer: Any = None
) -> TracedModel:
    """A model of which only config and tokenizer are here, run on NDIF.

    Nothing is sent before it is first run.

    Args:
        source: A hub id.
        revision: A branch, tag or commit.
        tokenizer: Used instead of the model's own.

    Raises:
        ConfigError: If it is a folder, or nnsight is not installed.
        ModelAccessError: If NDIF_API_KEY is not set.
        ModelNotFoundError: If there is no such model.
        OfflineError: If the hub cannot be reached.
        UnsupportedModelError: If no model can be made of its config.
    """
    envoy = remote_envoy(source, revision=revision, tokenizer=tokenizer)
    name = str(source)

    def refuse(module: torch.nn.Module, args: object) -> None:
        raise ConfigError(
            f"{name} runs on NDIF, and this needs its weights here.",
            expected="Remote models can be captured, edited and made to generate.",
            remedy="Load it with remote=False.",
        )

    envoy._module.register_forward_pre_hook(refuse)
    return TracedModel(
        hf=envoy._module,
        tokenizer=envoy.tokenizer,
        name=name,
        revision=revision,
        envoy=envoy,
        remote=True,
    )


def run_traced(
    model: TracedModel,
    inputs: Mapping[str, Any],
    tasks: Sequence[Task],
    *,
    method: str | None = None,
    n_passes: int = 1,
) -> dict[int | str, Tensor]:
    """Run the model once with tasks beside it; its lock has to be held.

    Args:
        model: The model.
        inputs: The keyword arguments of the call.
        tasks: What to do at which module, from `traced_tasks`.
        method: Which method of the model is called; None for a forward pass.
        n_passes: The most forward passes that there can be.

    Returns:
        The rows by their number and, where there is a method, what it returned under
        `"result"`.

    Raises:
        MissingSiteError: If a site was not reached.
        ModelAccessError: If there is no key for NDIF, or it is refused.
        OfflineError: If NDIF cannot be reached.
        RemoteError: If the run failed there.
    """
    backend = remote_backend(model.envoy) if model.remote else None
    keep_text()
    with _found(tasks), translated(backend):
        return run_tasks(
            model.envoy,
            inputs,
            tasks,
            backend=backend,
            method=method,
            n_passes=n_passes,
        )


def traced_tasks(
    model: TracedModel,
    readings: Sequence[Reading],
    taken: Sequence[tuple[HookPoint, Taken]] = (),
) -> list[Task]:
    """The edits in force and what is to be captured, by module and in their order.

    Args:
        model: The model.
        readings: Where the first pass stands and, if there are more, the one after it.
        taken: Hook points, and what is kept there.

    Raises:
        PositionError: If a prompt has no such position.
        ShapeError: If values of an edit do not fit their site.
    """
    acts: list[tuple[HookPoint, Act]] = []
    for edit in model.edits:
        passes = [edit(reading) for reading in readings]
        for (point, first), (_, later) in zip(passes[0], passes[-1], strict=True):
            if first or later:
                acts.append((point, _act(point, (first, later), None)))
    acts += [(point, _act(point, ([], []), kept)) for point, kept in taken]
    tasks: dict[tuple[str, str], Task] = {}
    # Stable: at one site edits come first, and those of outer blocks before others.
    for point, act in sorted(acts, key=lambda one: one[0].site.depth):
        around = None
        if point.bypassed and any(act["operations"]):
            around = f"{model.architecture.map.blocks}.{point.site.layer}"
        task = tasks.setdefault(
            (point.path, point.side),
            Task(path=point.path, side=point.side, around=None, acts=[]),
        )
        task["acts"].append(act)
        task["around"] = task["around"] or around
    return list(tasks.values())


def batch_reading(
    input_ids: Int[Tensor, "batch pos"],
    mask: Int[Tensor, "batch pos"] | None,
    *,
    rows: Sequence[int],
    n_rows: int,
) -> Reading:
    """Where a forward pass over whole prompts, padded on the right, stands.

    Args:
        input_ids: The padded prompts.
        mask: Which tokens are real; None if all are.
        rows: Which of the user's prompts they are.
        n_rows: How many prompts the user gave.
    """
    lengths = [input_ids.shape[1]] * len(rows) if mask is None else mask.sum(1).tolist()
    statement = BatchStatement(
        prompt_lengths=tuple(lengths), rows=tuple(rows), n_rows=n_rows
    )
    return stated_reading(input_ids, mask, statement)


def refuse_patterns(points: Iterable[HookPoint]) -> None:
    """Refuse sites that no trace reaches.

    Raises:
        MissingSiteError: If an attention pattern is among them.
    """
    for point in points:
        if point.side == "pattern":
            raise MissingSiteError(
                f"The site {point.site.short!r} was asked of a model run by nnsight.",
                expected="Attention patterns are inside a module, where its traces do"
                " not reach.",
                remedy="Use 'z', or load the model without backend='nnsight'.",
            )


def refuse_remote(model: TracedModel, what: str, remedy: str) -> None:
    """Refuse on NDIF what needs this machine.

    Raises:
        ConfigError: If the model runs there.
    """
    if model.remote:
        raise ConfigError(
            f"{what} was asked of {model.name}, which runs on NDIF.",
            expected="What runs there is made of tensors; code of yours stays here.",
            remedy=remedy,
        )


def _stated(settings: GenerationConfig) -> GenerationConfig:
    """The settings with those said that a checkpoint could fill in otherwise.

    Here the checkpoint's own settings are put aside (`interp.models.generation`); those
    of a model that others use too cannot be.
    """
    plain = {
        "num_beams": 1,
        "repetition_penalty": 1.0,
        "no_repeat_ngram_size": 0,
        "min_length": 0,
        "length_penalty": 1.0,
    }
    return GenerationConfig(**{**plain, **settings.to_diff_dict()})


def _act(
    point: HookPoint,
    operations: tuple[list[Operation], list[Operation]],
    taken: Taken | None,
) -> Act:
    return Act(
        columns=point.columns,
        n_heads=point.n_heads,
        operations=operations,
        taken=taken,
    )


@contextmanager
def _found(tasks: Sequence[Task]) -> Iterator[None]:
    """Say which site it was when nnsight says that a place was never reached."""
    from nnsight.intervention.interleaver import OutOfOrderError

    try:
        yield
    except OutOfOrderError as error:
        longest = sorted({task["path"] for task in tasks}, key=len, reverse=True)
        path = next((path for path in longest if path and path in str(error)), "")
        raise MissingSiteError(
            f"A site in {path!r} was not reached in a forward pass.",
            expected=f"The model did not call {path!r}.",
            remedy="Leave the site out; `interp doctor` shows which sites work.",
        ) from error
