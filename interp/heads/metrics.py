"""What is measured at each checkpoint: an open protocol and the usual metrics.

A metric is any callable that takes a model and a context and returns `Measured`. There
is no list to enter it in: hand it to `track`. A frozen dataclass with `__call__` has
its settings in its `repr`, by which a run recognises it when it is resumed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from interp.errors import ConfigError
from interp.heads.composition import Through, composition
from interp.heads.copying import copying
from interp.heads.scoring import score
from interp.heads.sequences import RepeatedTokens
from interp.heads.series import CheckpointRef
from interp.heads.track_patterns import KeptPatterns, kept_patterns
from interp.models.language_model import LanguageModel
from interp.results.heads import HeadScores


# What the bootstrap of `score` would say of one checkpoint is not kept.
FEWEST_RESAMPLES = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """Named values at one checkpoint, with their samples.

    The value of each is the mean over its samples; the samples are the same things (the
    same sequences, the same statements) at every checkpoint, and NaN where there is
    nothing. One sample means that there is nothing to draw anew, as with weights.

    Attributes:
        values: One number for each sample.
        heads: One for each head and sample.
        vectors: Directions, of which the cosine to the last checkpoint's is followed.
        chance: What a metric of `heads` would be by chance, if that is known.
        patterns: What heads attend to in one sequence, the same at every checkpoint.
    """

    # Metrics differ in their number of samples, so these axes have no name.
    values: Mapping[str, Float[np.ndarray, " _"]] = field(default_factory=dict)
    heads: Mapping[str, Float[np.ndarray, "layer head _"]] = field(default_factory=dict)
    vectors: Mapping[str, Float[np.ndarray, " _"]] = field(default_factory=dict)
    chance: Mapping[str, float] = field(default_factory=dict)
    patterns: KeptPatterns | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class MetricContext:
    """What metrics of one checkpoint share.

    Attributes:
        model: The model, with the checkpoint's weights.
        checkpoint: Which checkpoint.
        sequences: The evaluation tokens, the same at every checkpoint.
        patterns: The attention scores that some metric needs.
        seed: Of everything random; the same at every checkpoint.
        shared: For what one metric computes and another may need too, such as
            activations of the same prompts.
    """

    model: LanguageModel
    checkpoint: CheckpointRef
    sequences: RepeatedTokens
    patterns: tuple[str, ...]
    seed: int
    shared: dict[object, object] = field(default_factory=dict)

    @cached_property
    def head_scores(self) -> HeadScores:
        """Attention scores and losses on the sequences, from one forward pass.

        Its intervals are not usable: they are made from the samples of all checkpoints.
        """
        return score(
            self.model,
            self.sequences,
            metrics=self.patterns,
            resamples=FEWEST_RESAMPLES,
            seed=self.seed,
            # Which heads will be the high ones in the end is not known yet.
            pattern_heads=self.model.n_layers * self.model.n_heads,
        )


@runtime_checkable
class CheckpointMetric(Protocol):
    """Anything that measures a model at a checkpoint."""

    def __call__(self, model: LanguageModel, context: MetricContext) -> Measured: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionScores:
    """Attention scores of every head; see `interp.heads.targets_of`.

    What all heads attend to in one of the sequences is handed over with them, from the
    same pass.

    Attributes:
        names: Which scores.
    """

    names: tuple[str, ...] = ("prefix_matching", "previous_token")

    def __call__(self, model: LanguageModel, context: MetricContext) -> Measured:
        scores = context.head_scores
        numbers = {name: scores.metrics.index(name) for name in self.names}
        return Measured(
            heads={name: scores.samples[row] for name, row in numbers.items()},
            chance={
                name: float(np.nanmean(scores.uniform[row]))
                for name, row in numbers.items()
            },
            patterns=kept_patterns(scores, context.sequences),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """How well the model predicts, and how much the context helps.

    * `loss`: in nats, over all tokens but the first.
    * `icl_score`: loss late in the sequence minus loss early; negative where the
      context helps.
    * `loss_first_copy`, `loss_later_copies`, `copy_accuracy`: before a block repeats,
      and after; only for sequences that repeat.

    Attributes:
        early: The first window of `icl_score`, in shares of the sequence.
        late: The second.

    Source:
        Olsson et al. (2022), arXiv:2209.11895: the 500th token minus the 50th of 512.
    """

    early: tuple[float, float] = (0.05, 0.15)
    late: tuple[float, float] = (0.85, 1.0)

    def __call__(self, model: LanguageModel, context: MetricContext) -> Measured:
        scores = context.head_scores
        lengths = np.isfinite(scores.loss).sum(axis=1)
        windows = [_window(scores.loss, lengths, w) for w in (self.early, self.late)]
        values = {
            "loss": np.nanmean(scores.loss, axis=1),
            "icl_score": windows[1] - windows[0],
        }
        if scores.periods.any():
            copies = scores.by_copy().set_index("sequence")
            copies = copies.reindex(np.arange(len(scores.periods)))
            for name, column in (
                ("loss_first_copy", "loss_first"),
                ("loss_later_copies", "loss_later"),
                ("copy_accuracy", "accuracy_later"),
            ):
                values[name] = copies[column].to_numpy(dtype=np.float64)
        return Measured(values=values)


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyingByWeights:
    """How much each head copies, by its weights; see `interp.heads.copying`."""

    n_tokens: int = 64

    def __call__(self, model: LanguageModel, context: MetricContext) -> Measured:
        found = copying(model, n_tokens=self.n_tokens, seed=context.seed)
        return Measured(heads={"copying": found.eigenvalues[:, :, None]})


@dataclass(frozen=True, slots=True, kw_only=True)
class StrongestComposition:
    """How strongly each head reads the earlier head that it reads most.

    Attributes:
        through: By which of its inputs; see `interp.heads.composition`.
    """

    through: Through = "key"

    def __call__(self, model: LanguageModel, context: MetricContext) -> Measured:
        found = composition(model, through=self.through)
        n_layers, n_heads = found.score.shape[:2]
        reads = np.full((n_layers, n_heads), np.nan)
        # The first layer has no earlier head.
        reads[1:] = np.nanmax(
            np.where(np.isnan(found.score), -np.inf, found.score)[:, :, 1:], axis=(0, 1)
        )
        reads[np.isneginf(reads)] = np.nan
        name = f"{self.through}_composition"
        return Measured(heads={name: reads[:, :, None]}, chance={name: found.expected})


DEFAULT_METRICS: tuple[CheckpointMetric, ...] = (AttentionScores(), Losses())


def patterns_of(metrics: Sequence[CheckpointMetric]) -> tuple[str, ...]:
    """The attention scores that some of the metrics need, at least one."""
    names = [
        name
        for metric in metrics
        if isinstance(metric, AttentionScores)
        for name in metric.names
    ]
    return tuple(dict.fromkeys(names)) or ("prefix_matching",)


def metric_name(metric: CheckpointMetric) -> str:
    """By what a metric is recognised when a run is resumed: its settings or name."""
    plain = getattr(metric, "__qualname__", None)
    if plain is not None:
        return f"{getattr(metric, '__module__', '')}.{plain}"
    return repr(metric)


def measure(metrics: Sequence[CheckpointMetric], context: MetricContext) -> Measured:
    """What all metrics say of one checkpoint, together.

    Raises:
        ConfigError: If two of them use one name.
    """
    values, heads, vectors, chance = {}, {}, {}, {}
    patterns: KeptPatterns | None = None
    for metric in metrics:
        found = metric(context.model, context)
        names = {*found.values, *found.heads, *found.vectors}
        if twice := sorted(names & {*values, *heads, *vectors}):
            raise ConfigError(
                f"Two metrics are called {twice[0]!r}.",
                remedy=f"Give one of them another name: {metric_name(metric)}.",
            )
        values |= found.values
        heads |= found.heads
        vectors |= found.vectors
        chance |= found.chance
        patterns = patterns or found.patterns
    return Measured(
        values=values, heads=heads, vectors=vectors, chance=chance, patterns=patterns
    )


def _window(
    loss: np.ndarray, lengths: np.ndarray, window: tuple[float, float]
) -> Float[np.ndarray, " sequence"]:
    """The mean loss of each sequence in a window, given in shares of its length."""
    place = np.arange(loss.shape[1])
    low, high = (np.floor(share * lengths)[:, None] for share in window)
    inside = (place >= low) & (place < np.maximum(high, low + 1))
    return np.nanmean(np.where(inside, loss, np.nan), axis=1)
