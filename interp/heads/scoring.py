"""`score`: what each attention head looks at, and how well the model repeats."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from interp.activations.batching import run_batches
from interp.activations.capture import checked_budget
from interp.errors import ConfigError, closest
from interp.heads.averages import sequence_mean
from interp.heads.one_copy import in_one_copy
from interp.heads.predicted import Batch, Predicted, predicted_tokens
from interp.heads.sequences import RepeatedTokens, repeated_tokens
from interp.heads.targets import (
    PATTERN_METRICS,
    PatternMetric,
    Targets,
    head_scores,
    targets_of,
)
from interp.models.language_model import LanguageModel
from interp.models.words import token_words
from interp.progress import progress_bar
from interp.provenance import record
from interp.results.heads import HeadScores


# Of one sequence: what shows what a head looks at, and no more.
KEPT_HEADS, KEPT_TOKENS = 3, 64


def score(
    model: LanguageModel,
    sequences: RepeatedTokens | Sequence[Sequence[int]] | None = None,
    *,
    metrics: Sequence[str] = PATTERN_METRICS,
    resamples: int = 1000,
    seed: int = 0,
    token_budget: int | None = None,
    pattern_heads: int = KEPT_HEADS,
) -> HeadScores:
    """Attention scores of every head, sequence by sequence, and the loss by position.

    Each pattern is reduced to one number per sequence, head and score as soon as it is
    formed, and then dropped: at no time are the patterns of two layers held. All
    scores of one call come from the same forward passes. Of one sequence, that with
    the shortest period or else the first, what the heads that are highest in each
    score attend to in its first 64 tokens is kept.

    Args:
        model: The model; inside `interp.ablate` and the like the edited one is scored.
        sequences: Token ids; random blocks that repeat by default, see
            `interp.heads.repeated_tokens`. They may differ in length.
        metrics: Which scores; see `interp.heads.targets_of`.
        resamples: Bootstrap samples of the intervals, over sequences.
        seed: Feeds the sequences and the intervals.
        token_budget: The most tokens in a batch; chosen by default.
        pattern_heads: Of how many heads for each score the pattern is kept.

    Raises:
        ConfigError: If there is no such score.
        PromptError: If a sequence is too short or too long, or holds foreign ids.
        MissingSiteError: If the model does not show its attention patterns.

    Source:
        Olsson et al. (2022), arXiv:2209.11895; Singh et al. (2024), arXiv:2404.07129.

    Example:
        >>> from tiny import tiny_model
        >>> import interp
        >>> model = interp.load(tiny_model("llama"))
        >>> scores = score(model, resamples=20)
        >>> scores.value("prefix_matching").shape
        (3, 4)
    """
    chosen = _checked_metrics(metrics)
    asked = repeated_tokens(model, seed=seed) if sequences is None else sequences
    given = predicted_tokens(model, asked)
    repeated = asked if isinstance(asked, RepeatedTokens) else None
    periods = np.zeros(len(given.ids)) if repeated is None else repeated.periods
    shown = int(periods.argmin())
    tables = _Tables(model, chosen, given, shown=shown)
    with (
        model.lock,
        torch.inference_mode(),
        progress_bar("heads", len(given.ids), "sequences") as bar,
    ):

        def step(rows: tuple[int, ...]) -> None:
            tables.fill(rows)
            bar.advance(len(rows))

        lengths = [len(row) for row in given.ids]
        run_batches(lengths, step, token_budget=checked_budget(token_budget, model))
    found = sequence_mean(tables.samples, resamples=resamples, seed=seed)
    mean = found.estimate.astype(np.float32)
    kept = _highest(mean, pattern_heads)
    return HeadScores(
        metrics=chosen,
        mean=mean,
        low=found.low.astype(np.float32),
        high=found.high.astype(np.float32),
        samples=tables.samples,
        uniform=tables.uniform,
        loss=tables.loss,
        correct=tables.correct,
        periods=periods.astype(np.int32),
        has_bos=repeated is not None and repeated.bos is not None,
        pattern_heads=tuple(f"L{layer}H{head}" for layer, head in kept),
        pattern_tokens=token_words(model.tokenizer, given.ids[shown][:KEPT_TOKENS]),
        pattern_sequence=shown,
        patterns=tables.patterns_of(kept),
        notes=(),
        provenance=record("heads", models=[model.identity(hashes=False)], seed=seed),
    )


def _highest(
    mean: Float[np.ndarray, "metric layer head"], n_heads: int
) -> list[tuple[int, int]]:
    """Layer and number of the heads that are highest in a score."""
    found: dict[tuple[int, int], None] = {}
    for values in mean:
        for place in np.argsort(-values, axis=None, kind="stable")[:n_heads]:
            layer, head = np.unravel_index(place, values.shape)
            if np.isfinite(values[layer, head]):
                found[int(layer), int(head)] = None
    return sorted(found)


class _Tables:
    """What is kept of every sequence, filled batch by batch."""

    def __init__(
        self,
        model: LanguageModel,
        metrics: tuple[PatternMetric, ...],
        given: Predicted,
        *,
        shown: int,
    ) -> None:
        n, longest = len(given.ids), max(map(len, given.ids))
        shape = (len(metrics), model.n_layers, model.n_heads, n)
        self._model = model
        self._metrics = metrics
        self._given = given
        self._shown = shown
        self._points = model.architecture.points("pattern.*")
        self.samples = np.full(shape, np.nan, dtype=np.float32)
        self.uniform = np.full((len(metrics), n), np.nan, dtype=np.float32)
        size = min(KEPT_TOKENS, len(given.ids[shown]))
        self.patterns = np.zeros((*shape[1:3], size, size), dtype=np.float32)
        self.loss = np.full((n, longest - 1), np.nan, dtype=np.float32)
        self.correct = np.full((n, longest - 1), np.nan, dtype=np.float32)

    def fill(self, rows: tuple[int, ...]) -> None:
        batch = self._given.batch(self._model, rows)
        targets: dict[PatternMetric, Targets] = {
            name: targets_of(name, batch.ids, batch.real) for name in self._metrics
        }
        where = list(rows)
        for number, name in enumerate(self._metrics):
            self.uniform[number, where] = targets[name].uniform.cpu().numpy()
        logits = self._run(batch, where, targets)
        loss, correct = next_token_losses(logits, batch.ids, batch.real)
        width = loss.shape[1]
        self.loss[where, :width] = loss.cpu().numpy()
        self.correct[where, :width] = correct.cpu().numpy()

    def patterns_of(
        self, heads: Sequence[tuple[int, int]]
    ) -> Float32[np.ndarray, "head query key"]:
        """What some heads attend to in the one sequence that is shown."""
        if not heads:
            return np.zeros((0, 0, 0), dtype=np.float32)
        return np.stack([self.patterns[place] for place in heads])

    def _run(
        self,
        batch: Batch,
        where: list[int],
        targets: Mapping[PatternMetric, Targets],
    ) -> Tensor:
        """One forward pass with a listener on every layer; returns the logits."""
        found: list[Tensor] = []
        seen: list[Tensor] = []
        there: dict[tuple[PatternMetric, torch.device], Targets] = {}
        size = self.patterns.shape[-1]

        def listen(pattern: Tensor) -> None:
            if self._shown in where:
                # The rest of the pattern goes with the pass.
                row = where.index(self._shown)
                seen.append(pattern[row, :, :size, :size].clone())
            scores = []
            for name in self._metrics:
                key = name, pattern.device
                if key not in there:
                    there[key] = targets[name].to(pattern.device)
                scores.append(head_scores(name, pattern, there[key]))
            found.append(torch.stack(scores))

        listeners = [(point, listen) for point in self._points]
        logits = self._given.run(self._model, where, batch, listeners)
        layers = [point.site.layer or 0 for point in self._points]
        if seen:
            self.patterns[layers] = in_one_copy(seen)
        scored = in_one_copy(found)  # layer metric sequence head
        for number in range(len(self._metrics)):
            for layer, values in zip(layers, scored[:, number], strict=True):
                self.samples[number, layer][:, where] = values.T
        return logits


def next_token_losses(
    logits: Float[Tensor, "batch pos vocab"],
    ids: Int[Tensor, "batch pos"],
    real: Bool[Tensor, "batch pos"],
) -> tuple[Float[Tensor, "batch next"], Float[Tensor, "batch next"]]:
    """Loss in nats and whether the guess was right, for every token but the first.

    NaN where the next token is padding. The first number belongs to the second token.

    Args:
        logits: What the model says after each token.
        ids: The tokens.
        real: Which of them are not padding.
    """
    following, there = ids[:, 1:], real[:, 1:]
    loss = torch.full(following.shape, torch.nan, device=logits.device)
    correct = torch.full_like(loss, torch.nan)
    # A sequence at a time: all logits in float32 would be a second copy of the largest
    # tensor, and pass through the cache three times.
    for row, (said, target, is_real) in enumerate(
        zip(logits[:, :-1], following, there, strict=True)
    ):
        said = said.float()
        loss[row, is_real] = cross_entropy(said, target, reduction="none")[is_real]
        correct[row, is_real] = (said.argmax(dim=-1) == target).float()[is_real]
    return loss, correct


def _checked_metrics(metrics: Sequence[str]) -> tuple[PatternMetric, ...]:
    if not metrics:
        raise ConfigError("No attention score was asked for.", remedy="Name one.")
    return tuple(_known(name) for name in dict.fromkeys(metrics))


def _known(name: str) -> PatternMetric:
    for known in PATTERN_METRICS:
        if known == name:
            return known
    raise ConfigError(
        f"There is no attention score {name!r}.",
        expected=f"Scores: {', '.join(PATTERN_METRICS)}.",
        remedy=closest(name, PATTERN_METRICS),
    )
