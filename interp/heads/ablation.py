"""`ablate_heads`: what each attention head is worth, ablated one at a time.

Clean and ablated rows run side by side in one forward pass, so that what is replayed
(patterns or values of later layers, the output of another sequence) is read from the
clean rows while both pass the same layer: nothing of it is ever stored.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import get_args

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from interp.activations.batching import run_batches
from interp.activations.capture import checked_budget
from interp.errors import ConfigError, MissingSiteError, PromptError, closest
from interp.heads.averages import sequence_mean
from interp.heads.lockstep import AblationKind, Variant, run_variants
from interp.heads.predicted import Predicted, Sequences, predicted_tokens
from interp.models.attention import has_attention_interface
from interp.models.language_model import LanguageModel
from interp.progress import progress_bar
from interp.provenance import record
from interp.results.head_ablation import HeadAblations


KINDS: tuple[AblationKind, ...] = get_args(AblationKind)
# How many ablated copies of a sequence run beside it.
AT_A_TIME = 16


def ablate_heads(
    model: LanguageModel,
    sequences: Sequences,
    *,
    kinds: Sequence[str] = KINDS,
    heads: Sequence[str | tuple[int, int]] | None = None,
    targets: Sequence[Sequence[int]] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    token_budget: int | None = None,
) -> HeadAblations:
    """How much the loss and the right token's logit change without each head.

    The output of a head, before it is projected into the residual stream, is replaced:

    * `zero`: by zeros.
    * `mean`: by its mean over the sequences and positions given.
    * `resample`: by that at the same position of another sequence of equal length.
    * `pattern_preserving`: by zeros, while all later layers keep the attention patterns
      of the clean run. What the head does through queries and keys of later heads is
      not removed; what it adds to values, MLPs and logits is.
    * `value_preserving`: by zeros, while all later layers keep the values of the clean
      run. What it does through later heads' values is not removed; what it does
      through their queries and keys, and beside attention, is.

    Args:
        model: The model; inside `interp.edit` and the like the edited one is ablated.
        sequences: Token ids; see `interp.heads.repeated_tokens`.
        kinds: Which of these.
        heads: Which heads, as `"L5H3"` or `(5, 3)`; all by default.
        targets: For each sequence the places of the tokens whose prediction counts; by
            default the repeated ones, or all but the first.
        resamples: Bootstrap samples of the intervals, over sequences.
        seed: Feeds which sequence stands for which, and the intervals.
        token_budget: The most tokens in a batch; chosen by default.

    Raises:
        ConfigError: If there is no such kind or head.
        PromptError: If a sequence cannot be run, or has none of its length to resample.
        PositionError: If a sequence has no such target.
        MissingSiteError: If the outputs of the heads cannot be reached, or the patterns
            or values of later layers where they are needed.

    Source:
        Olsson et al. (2022), arXiv:2209.11895; Singh et al. (2024), arXiv:2404.07129.

    Example:
        >>> from tiny import tiny_model
        >>> import interp
        >>> model = interp.load(tiny_model("llama"))
        >>> found = ablate_heads(model, [[5, 6, 7, 8]], kinds=["zero"], heads=["L1H0"])
        >>> found.loss.shape, int(np.isfinite(found.loss).sum())
        ((1, 3, 4), 1)
    """
    chosen = _checked_kinds(model, kinds)
    wanted = _checked_heads(model, heads)
    given = predicted_tokens(model, sequences, targets=targets)
    donors = _donors(given.ids, seed) if "resample" in chosen else None
    budget = checked_budget(token_budget, model)
    tables = _Tables.empty(model, chosen, n_sequences=len(given.ids))
    with model.lock, torch.inference_mode():
        means = _means(model, given, budget) if "mean" in chosen else {}
        run = partial(run_variants, model, given, donors=donors, means=means)
        with progress_bar("ablation", len(given.ids), "sequences") as bar:

            def step(rows: tuple[int, ...]) -> None:
                for part in _side_by_side(chosen, wanted):
                    tables.keep(rows, part, run(rows, part))
                bar.advance(len(rows))

            most = min(AT_A_TIME, len(chosen) * max(map(len, wanted.values()))) + 2
            lengths = [len(row) for row in given.ids]
            run_batches(lengths, step, token_budget=max(1, budget // most))
    loss, logit = (
        sequence_mean(part, resamples=resamples, seed=seed) for part in tables.changes
    )
    return HeadAblations(
        kinds=chosen,
        loss=loss.estimate.astype(np.float32),
        loss_low=loss.low.astype(np.float32),
        loss_high=loss.high.astype(np.float32),
        logit=logit.estimate.astype(np.float32),
        logit_low=logit.low.astype(np.float32),
        logit_high=logit.high.astype(np.float32),
        loss_samples=tables.changes[0],
        logit_samples=tables.changes[1],
        clean_loss=tables.clean[0],
        clean_logit=tables.clean[1],
        notes=(),
        provenance=record(
            "head ablation", models=[model.identity(hashes=False)], seed=seed
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Tables:
    """Loss and logit of every sequence, filled batch by batch.

    Attributes:
        kinds: The kinds of ablation, in the order of `changes`.
        changes: By how much ablating a head moves both; NaN where none was ablated.
        clean: Both without ablation.
    """

    kinds: tuple[AblationKind, ...]
    changes: Float32[np.ndarray, "2 kind layer head sequence"]
    clean: Float32[np.ndarray, "2 sequence"]

    @classmethod
    def empty(
        cls, model: LanguageModel, kinds: tuple[AblationKind, ...], *, n_sequences: int
    ) -> "_Tables":
        shape = (2, len(kinds), model.n_layers, model.n_heads, n_sequences)
        return cls(
            kinds=kinds,
            changes=np.full(shape, np.nan, dtype=np.float32),
            clean=np.full((2, n_sequences), np.nan, dtype=np.float32),
        )

    def keep(
        self,
        rows: tuple[int, ...],
        variants: Sequence[Variant],
        found: Float[np.ndarray, "2 variant row"],
    ) -> None:
        """Put in what a pass found, whose first variant is the clean one."""
        self.clean[:, rows] = found[:, 0]
        for number, variant in enumerate(variants, start=1):
            at = (self.kinds.index(variant.kind), variant.layer, variant.head)
            self.changes[:, *at, rows] = found[:, number] - found[:, 0]


def _side_by_side(
    kinds: tuple[AblationKind, ...], heads: Mapping[int, Sequence[int]]
) -> Iterator[list[Variant]]:
    """The ablations of each layer, as many at once as run beside one clean row."""
    for layer, here in heads.items():
        variants = [
            Variant(kind=kind, layer=layer, head=head)
            for kind in kinds
            for head in here
        ]
        for start in range(0, len(variants), AT_A_TIME):
            yield variants[start : start + AT_A_TIME]


def _means(
    model: LanguageModel, given: Predicted, budget: int
) -> dict[int, Float[Tensor, "head d_value"]]:
    """The mean output of every head over all tokens, padding left out."""
    sums: dict[int, Tensor] = {}
    points = model.architecture.points("z.*")
    n_tokens = sum(len(row) for row in given.ids)

    def step(rows: tuple[int, ...]) -> None:
        batch = given.batch(model, rows)
        parts: dict[int, Tensor] = {}

        def keep(value: Tensor, layer: int) -> None:
            real = batch.real.to(value.device)
            parts[layer] = value[real].double().sum(dim=0)

        listeners = []
        for point in points:
            assert point.site.layer is not None
            listeners.append((point, partial(keep, layer=point.site.layer)))
        given.run(model, rows, batch, listeners, watched=False)
        # Only now: a batch that ran out of memory is run again in parts.
        for layer, part in parts.items():
            sums[layer] = sums[layer] + part if layer in sums else part

    run_batches([len(row) for row in given.ids], step, token_budget=budget)
    return {layer: total / n_tokens for layer, total in sums.items()}


def _donors(ids: Sequence[Sequence[int]], seed: int) -> tuple[int, ...]:
    """For each sequence another one of its length, each used once."""
    rng = np.random.default_rng(seed)
    lengths = np.array([len(row) for row in ids])
    donors = np.empty(len(ids), dtype=np.int64)
    for length in np.unique(lengths):
        group = rng.permutation(np.flatnonzero(lengths == length))
        if len(group) == 1:
            raise PromptError(
                f"Sequence {group[0]} is the only one of {length} tokens.",
                expected="Resampling takes a head's output from another sequence of"
                " the same length.",
                remedy="Leave 'resample' out of kinds, or give sequences of one"
                " length.",
            )
        donors[group] = np.roll(group, 1)
    return tuple(int(donor) for donor in donors)


def _checked_kinds(
    model: LanguageModel, kinds: Sequence[str]
) -> tuple[AblationKind, ...]:
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise ConfigError(
            f"There is no ablation {unknown[0]!r}."
            if unknown
            else "No kind of ablation was asked for.",
            expected=f"Kinds: {', '.join(KINDS)}.",
            remedy=closest(unknown[0], KINDS) if unknown else "Name one.",
        )
    if "pattern_preserving" in kinds and not has_attention_interface(model.hf):
        raise MissingSiteError(
            f"The attention patterns of {model.name or 'the model'} cannot be replayed:"
            f" {type(model.hf).__name__} does not use transformers' attention"
            " interface.",
            remedy="Leave 'pattern_preserving' out of kinds.",
        )
    return tuple(kind for kind in KINDS if kind in kinds)


def _checked_heads(
    model: LanguageModel, heads: Sequence[str | tuple[int, int]] | None
) -> dict[int, list[int]]:
    """The heads of each layer."""
    everything = [(a, b) for a in range(model.n_layers) for b in range(model.n_heads)]
    wanted = everything if heads is None else [_head(model, head) for head in heads]
    if not wanted:
        raise ConfigError("No head was named.", expected="One or more, or None.")
    by_layer: dict[int, list[int]] = {}
    for layer, head in dict.fromkeys(wanted):
        by_layer.setdefault(layer, []).append(head)
    return by_layer


def _head(model: LanguageModel, asked: str | tuple[int, int]) -> tuple[int, int]:
    found = asked
    if isinstance(asked, str):
        layer, _, head = asked.upper().removeprefix("L").partition("H")
        found = (
            (int(layer), int(head)) if layer.isdigit() and head.isdigit() else (-1, -1)
        )
    assert not isinstance(found, str)
    if not (0 <= found[0] < model.n_layers and 0 <= found[1] < model.n_heads):
        raise ConfigError(
            f"There is no head {asked!r}.",
            expected=f"Heads run from 'L0H0' to"
            f" 'L{model.n_layers - 1}H{model.n_heads - 1}'.",
        )
    return found
