"""The unpatched runs of a group of pairs, with everything the grid is made from."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import DynamicCache

from interp.errors import SelfCheckError
from interp.models.hookpoints import plant
from interp.models.language_model import LanguageModel
from interp.patching.block_call import BlockCall, CannotEnterError, recorded_call
from interp.patching.cache import Prefix, plain_layers
from interp.patching.plan import Component, Group, Job
from interp.sites import Site


# Gets component, layer and value; returns what shall replace the value, or None.
Keep = Callable[[Component, int, Tensor], Tensor | None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Runs:
    """What the passes of a group of pairs gave, without any patch.

    Attributes:
        base_ld: Of the prompts that values are put into.
        other_ld: Of the prompts that values are taken from, in the model that runs.
        source_ld: Of the same prompts, in the model that the values come from.
        logit_scale: The size of the logits: what rounding is relative to.
        source: The values to put in, `[pair, pos, ...]`, by component and layer.
    """

    base_ld: Float[Tensor, " pair"]
    other_ld: Float[Tensor, " pair"]
    source_ld: Float[Tensor, " pair"]
    logit_scale: float
    source: dict[tuple[str, int], Tensor]


@dataclass(slots=True, kw_only=True, eq=False)
class Recording:
    """What entering the blocks needs of the unpatched run of a group.

    Attributes:
        calls: How the model called each block.
        inputs: What entered each block, `[pair, pos, d_model]`.
        keys: Of the grid positions in each block, `[pair, head, pos, d_head]`.
        values: The same of the values.
        final: The last block's output at the last position of base and other prompts.
        final_ld: What the model makes of it.
    """

    calls: list[BlockCall] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    final: Tensor = field(default_factory=lambda: torch.empty(0))
    final_ld: Tensor = field(default_factory=lambda: torch.empty(0))


def run_unpatched(
    job: Job,
    group: Group,
    prefix: Prefix | None,
    source_prefix: Prefix | None,
    *,
    recording: Recording | None = None,
) -> Runs:
    """Run both prompts of each pair of a group once, and keep the values to put in.

    Args:
        job: The trace.
        group: Some pairs of one prefix and length.
        prefix: The model's keys and values of the prefix; None to run whole prompts.
        source_prefix: The same of the model that the values come from.
        recording: Filled with what entering the blocks needs, if given.

    Raises:
        CannotEnterError: If a recording is wanted and a block cannot be entered.
    """
    n_pairs = len(group.pairs)
    skip = len(group.prefix)
    base = [job.base_ids[i] for i in group.pairs]
    other = [job.other_ids[i] for i in group.pairs]
    source: dict[tuple[str, int], Tensor] = {}

    def keep(component: Component, layer: int, value: Tensor) -> None:
        rows = n_pairs if job.crosses else 2 * n_pairs
        check_value(job, Site(layer=layer, component=component), value, rows=rows)
        value = value[-n_pairs:]
        source[component, layer] = value[:, value.shape[1] - group.length :].clone()

    with ExitStack() as stack:
        if not job.crosses:
            stack.enter_context(listening(job, job.model, keep))
        if recording is not None:
            stack.enter_context(_recording(job.model, recording, n_pairs))
        cache = None if prefix is None else prefix.cache(2 * n_pairs)
        logits = final_logits(
            job.model, [row[skip if prefix else 0 :] for row in base + other], cache
        )
    if recording is not None:
        assert prefix is not None
        _keep_cache(recording, cache, n_pairs, prefix.length, group.length)
    if job.crosses:
        with listening(job, job.source, keep):
            cache = None if source_prefix is None else source_prefix.cache(n_pairs)
            tails = [row[skip if source_prefix else 0 :] for row in other]
            source_logits = final_logits(job.source, tails, cache)
    else:
        source_logits = logits[n_pairs:]
    ld = logit_difference(logits, job, [*group.pairs, *group.pairs])
    if recording is not None:
        recording.final_ld = ld
    return Runs(
        base_ld=ld[:n_pairs],
        other_ld=ld[n_pairs:],
        source_ld=logit_difference(source_logits, job, group.pairs),
        logit_scale=float(logits.float().square().mean().sqrt()),
        source=source,
    )


def final_logits(
    model: LanguageModel,
    ids: Sequence[Sequence[int]],
    cache: DynamicCache | None,
) -> Float[Tensor, "row vocab"]:
    """The logits after the last token of prompts of one length, by the model itself."""
    arguments: dict[str, object] = {"use_cache": False}
    if cache is not None:
        arguments = {"use_cache": True, "past_key_values": cache}
    if takes_logits_to_keep(type(model.hf)):
        arguments["logits_to_keep"] = 1
    tokens = torch.tensor([tuple(row) for row in ids], device=model.device)
    return model.hf(input_ids=tokens, **arguments).logits[:, -1]


def logit_difference(
    logits: Float[Tensor, "row vocab"], job: Job, pairs: Sequence[int]
) -> Float[Tensor, " row"]:
    """LD of each row, in float32 at least."""
    answers = torch.tensor(
        [[job.pairs.positive[i], job.pairs.negative[i]] for i in pairs],
        device=logits.device,
    )
    chosen = logits.gather(1, answers)
    chosen = chosen.to(torch.promote_types(chosen.dtype, torch.float32))
    return chosen[:, 0] - chosen[:, 1]


def check_value(job: Job, site: Site, value: Tensor, *, rows: int) -> None:
    """Refuse a site whose value has no axes of prompts and positions.

    Raises:
        SelfCheckError: If the shape is another one.
    """
    rank = 4 if site.component == "z" else 3
    if value.dim() != rank or value.shape[0] != rows:
        raise SelfCheckError(
            f"The site {site.short!r} of {job.model.name or 'the model'} has the shape"
            f" {list(value.shape)} in a batch of {rows} prompts.",
            expected="[prompt, position, ...].",
            remedy="Leave the site out; interp doctor tells more about the model.",
        )


@lru_cache(maxsize=64)
def takes_logits_to_keep(model_class: type) -> bool:
    """Whether a model can be spared the logits of all positions but the last."""
    forward = getattr(model_class, "forward")  # noqa: B009 - pyright knows no forward
    return "logits_to_keep" in inspect.signature(forward).parameters


@contextmanager
def listening(job: Job, model: LanguageModel, keep: Keep) -> Iterator[None]:
    """Hand the value of every component and layer to `keep`, which may replace it."""
    with ExitStack() as stack:
        for component in job.components:
            for layer in range(model.n_layers):
                point = model.architecture.point(Site(layer=layer, component=component))

                def listen(
                    value: Tensor, at: tuple[Component, int] = (component, layer)
                ) -> Tensor | None:
                    return keep(*at, value)

                for remove in plant(point, listen):
                    stack.callback(remove)
        yield


@contextmanager
def _recording(
    model: LanguageModel, recording: Recording, n_pairs: int
) -> Iterator[None]:
    def enter(block: nn.Module, args: tuple, kwargs: dict) -> None:
        recording.calls.append(recorded_call(block, args, kwargs))
        hidden = args[0] if args else kwargs["hidden_states"]
        recording.inputs.append(hidden[:n_pairs].clone())

    def leave(block: nn.Module, args: tuple, output: Any) -> None:
        value = output[0] if isinstance(output, tuple) else output
        recording.final = value[:, -1].clone()

    blocks = model.architecture.blocks
    handles = [b.register_forward_pre_hook(enter, with_kwargs=True) for b in blocks]
    handles.append(blocks[-1].register_forward_hook(leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _keep_cache(
    recording: Recording, cache: Any, n_pairs: int, prefix: int, length: int
) -> None:
    n_layers = len(recording.calls)
    layers = plain_layers(cache, n_layers=n_layers, length=prefix + length)
    if layers is None:
        raise CannotEnterError("its cache is not one of keys and values")
    recording.keys = [layer.keys[:n_pairs, :, prefix:].clone() for layer in layers]
    recording.values = [layer.values[:n_pairs, :, prefix:].clone() for layer in layers]
