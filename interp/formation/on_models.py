"""The clamps of the formation lab on language models, by way of `interp.edits`.

A language model is one replica: a value is computed and spread over `[1, example, ...]`
as in the lab. Its sites have the names of the lab's (`block.0.attn.pattern`), where the
`embedding` is what the first block reads, with positions that are added.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from interp import edits
from interp.errors import (
    ConfigError,
    MissingSiteError,
    PromptError,
    UnknownSiteError,
    closest,
)
from interp.formation.batches import Batch
from interp.formation.clamps import ALL, Clamp, ClampContext, held_value
from interp.formation.network import NetworkConfig
from interp.models.language_model import LanguageModel
from interp.models.reading import Reader
from interp.sites import Component, Site


_COMPONENTS: dict[str, Component] = {
    "resid_pre": "resid_pre",
    "attn.q": "q",
    "attn.k": "k",
    "attn.v": "v",
    "attn.pattern": "pattern",
    "attn.z": "z",
    "attn.out": "attn_out",
    "resid_mid": "resid_mid",
    "mlp.post": "mlp_post",
    "mlp.out": "mlp_out",
    "resid_post": "resid_post",
}
# What only networks of the lab have, and what to hold instead.
_LAB_ONLY = {
    "attn.scores": "attn.pattern",
    "attn.q_input": "attn.q",
    "attn.k_input": "attn.k",
    "attn.v_input": "attn.v",
}


@contextmanager
def clamped(
    model: LanguageModel,
    clamps: Sequence[Clamp],
    *,
    step: int | None = None,
    reads: Sequence[str] = (),
    batch: Batch | None = None,
) -> Iterator[None]:
    """Run a language model with parts of it held, by the clamps of the formation lab.

    Clamps act in the order of the forward pass, at one site in that of the list, and
    inside blocks of `interp.edit` on what those left. `interp.capture` inside the block
    sees the values that are held. As in the lab no gradient flows into what was
    replaced, and one does flow through a value that was computed, unless the clamp
    says `detach`.

    A value that is computed gets a `ClampContext` whose `batch` has the token ids that
    the model reads, whose `config` has the sizes of the model, and whose `parameters`
    are empty. Such a value, a tensor, and an index of positions are for sequences that
    are read whole: they are refused for padded batches and where a cache is continued.
    A number at all positions holds there too, and in generation.

    `q`, `z` and patterns have the model's heads, `k` and `v` its key-value heads, of
    which there may be fewer.

    Args:
        model: The model; it is as before when the block ends, also by an exception.
        clamps: What is held. Those of an experiment for some of its replicas are given
            with `dataclasses.replace(clamp, replicas=None)`.
        step: A step of training, for clamps that hold for a time; without one all hold.
        reads: Sites that computed values look at, in `ClampContext.sites`; those with
            clamps are always there.
        batch: The sequences that will be run, where values ask for more than the token
            ids, such as `answers` or `periods`.

    Raises:
        UnknownSiteError: If the model has no such block, or nothing is called so.
        MissingSiteError: If the site exists in the lab but not in this model, or cannot
            be edited, such as patterns without transformers' attention interface.
        ConfigError: If a clamp is for other replicas; in the forward pass, if a value
            asks for what a language model does not have.
        ShapeError: In the forward pass, if a clamp does not fit its site.

    Example:
        >>> from tiny import tiny_model
        >>> from interp.formation import holding
        >>> model = LanguageModel(hf=tiny_model("llama"))
        >>> with clamped(model, holding.previous_token(0, [1])):
        ...     logits = model.hf(input_ids=torch.tensor([[5, 6, 7]])).logits
    """
    for clamp in clamps:
        if clamp.replicas not in (None, (0,)):
            raise ConfigError(
                f"A clamp of {clamp.site!r} is for the replicas {clamp.replicas}.",
                expected="A language model is one replica.",
                remedy="Use dataclasses.replace(clamp, replicas=None).",
            )
    at = {name: _site(model, name) for name in (*reads, *(c.site for c in clamps))}
    held = [clamp for clamp in clamps if clamp.holds_at(step)]
    with ExitStack() as stack:
        # Hooks belong to the module and not to the thread, as in `interp.edit`.
        stack.enter_context(model.lock)
        run = _Run(model, held, batch)
        stack.callback(run.plant())
        # Sites that no clamp holds now are left alone, unless a value looks at them.
        used = {*reads, *(clamp.site for clamp in held)}
        # The embedding is the first block's input too, and comes before it.
        names = sorted((name for name in at if name in used), key=_is_block)
        planned = [edits.Clamp(site=at[name], value=run.change(name)) for name in names]
        stack.enter_context(edits.edit(model, planned))
        yield


class _Run:
    """The forward passes of a model under clamps: what the running one has shown."""

    def __init__(
        self, model: LanguageModel, clamps: Sequence[Clamp], batch: Batch | None
    ) -> None:
        self._model, self._clamps, self._batch = model, clamps, batch
        self._reader = Reader(model.hf, model.architecture.map.blocks)
        self._config = _sizes(model)
        self._pass = -1
        self._ids: tuple[int, Tensor] | None = None
        self._sites = _Sites()

    def plant(self) -> Callable[[], None]:
        """Start to follow; returns the function that ends it."""
        unfollow = self._reader.plant()
        embedding: nn.Module = self._model.hf.get_input_embeddings()
        handle = embedding.register_forward_pre_hook(self._note, with_kwargs=True)

        def remove() -> None:
            handle.remove()
            unfollow()

        return remove

    def change(self, name: str) -> Callable[[Tensor], Tensor]:
        """The function from what a site computed to what it holds."""
        here = [clamp for clamp in self._clamps if clamp.site == name]
        is_pattern = name.endswith(".pattern")

        def changed(value: Tensor) -> Tensor:
            # Edits see patterns with the queries in front of the heads.
            value = (value.transpose(1, 2) if is_pattern else value)[None]
            if self._pass != self._reader.passes:
                self._pass, self._sites = self._reader.passes, _Sites()
            for clamp in here:
                value = held_value(clamp, self._context(clamp, value))
            self._sites[name] = value
            return value[0].transpose(1, 2) if is_pattern else value[0]

        return changed

    def _context(self, clamp: Clamp, value: Tensor) -> ClampContext:
        if _asks_for_positions(clamp):
            self._check_whole(clamp, value)
        return ClampContext(
            value=value,
            sites=self._sites,
            batch=self._sequences(clamp),
            parameters={},
            config=self._config,
        )

    def _check_whole(self, clamp: Clamp, value: Tensor) -> None:
        """Refuse passes in which a slot is not the position that a clamp means."""
        reading = self._reader.reading
        is_padded = reading.real is not None and not bool(reading.real.all())
        slots = value.shape[-2 if clamp.site.endswith(".pattern") else 2]
        if is_padded or not reading.starts or slots != reading.index.shape[1]:
            raise PromptError(
                f"The clamp of {clamp.site!r} is for whole sequences, and this forward "
                + ("is padded." if is_padded else "pass reads a piece of one."),
                remedy="Run sequences of one length together, without a cache.",
            )

    def _sequences(self, clamp: Clamp) -> Batch:
        if self._ids is None or self._ids[0] != self._reader.passes:
            if callable(clamp.value):
                raise PromptError(
                    f"The value of {clamp.site!r} is computed from token ids, and the "
                    "model was run on embeddings."
                )
            ids = self._reader.reading.index.new_full((1, 1, 1), -1)
        else:
            ids = self._ids[1][None]
        if self._batch is None:
            return Batch(symbols=ids, targets=torch.full_like(ids, -1))
        if not torch.equal(self._batch.symbols.to(ids.device), ids):
            raise PromptError(
                f"The batch {list(self._batch.symbols.shape)} given to clamped(...) is "
                "not what the model was run on.",
                expected=f"Its symbols are the token ids, {list(ids.shape)} here.",
            )
        return self._batch

    def _note(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        ids = args[0] if args else next(iter(kwargs.values()))
        self._ids = (self._reader.passes, ids)


class _Sites(dict[str, Tensor]):
    """What a pass has shown so far, with a clear line for what it has not."""

    def __missing__(self, name: str) -> NoReturn:
        raise UnknownSiteError(
            f"A computed value looks at {name!r}, which was not read before.",
            expected=f"Read so far: {', '.join(self) or 'nothing'}.",
            remedy="Name it in clamped(..., reads=[...]), if the model has it.",
        )


def _site(model: LanguageModel, name: str) -> Site:
    """The model's site for a name of the lab."""
    if name == "embedding":
        return Site("resid_pre", 0)
    if name == "logits":
        return Site("logits")
    found = re.fullmatch(r"block\.(\d+)\.([a-z_.]+)", name)
    part = found[2] if found else ""
    if found and part in _LAB_ONLY:
        raise MissingSiteError(
            f"{type(model.hf).__name__} has no site {name!r}.",
            expected="Only networks of interp.formation have it.",
            remedy=f"Hold 'block.{found[1]}.{_LAB_ONLY[part]}' instead.",
        )
    if not found or part not in _COMPONENTS or int(found[1]) >= model.n_layers:
        raise UnknownSiteError(
            f"There is no site {name!r} in this model.",
            expected="Sites: embedding, block.i."
            + ", block.i.".join(_COMPONENTS)
            + f", logits, with i from 0 to {model.n_layers - 1}.",
            remedy=closest(name, _names(model)),
        )
    return Site(_COMPONENTS[part], int(found[1]))


def _names(model: LanguageModel) -> list[str]:
    blocks = range(model.n_layers)
    return ["embedding", "logits"] + [
        f"block.{i}.{part}" for i in blocks for part in _COMPONENTS
    ]


def _is_block(name: str) -> bool:
    return name.startswith("block.")


def _asks_for_positions(clamp: Clamp) -> bool:
    """Whether it matters to a clamp which position a slot is."""
    if callable(clamp.value) or isinstance(clamp.value, Tensor):
        return True
    is_pattern = clamp.site.endswith(".pattern")
    places = clamp.index[1:] if is_pattern else clamp.index[:1]
    return any(place != ALL for place in places)


def _sizes(model: LanguageModel) -> NetworkConfig:
    return NetworkConfig(
        layers=model.n_layers,
        heads=model.n_heads,
        d_model=model.d_model,
        d_head=model.d_head,
        symbols=model.d_vocab,
        outputs=model.d_vocab,
        mlp=model.d_mlp,
    )
