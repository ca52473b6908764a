"""How much more a head looks at the right label than at the others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor

from interp.activations.batching import run_batches
from interp.activations.capture import checked_budget
from interp.errors import PositionError
from interp.heads.averages import sequence_mean
from interp.heads.one_copy import in_one_copy
from interp.heads.predicted import Predicted, predicted_tokens
from interp.models.language_model import LanguageModel
from interp.progress import progress_bar
from interp.statistics import Interval


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InductionStrength:
    """Attention to the right labels less that to the other ones, head by head.

    Attributes:
        mean: The mean over sequences, -1 to 1; 0 where right and wrong are alike.
        samples: The strength in each sequence.
        on_labels: How much attention all labels get in each sequence: a strength of 0
            is another thing for a head that looks at labels than for one that does not.
    """

    mean: Interval
    samples: Float32[np.ndarray, "layer head sequence"]
    on_labels: Float32[np.ndarray, "layer head sequence"]


def induction_strength(
    model: LanguageModel,
    sequences: Sequence[Sequence[int]],
    *,
    labels: Int[np.ndarray, "sequence pair"] | Sequence[Sequence[int]],
    right: Bool[np.ndarray, "sequence pair"] | Sequence[Sequence[bool]],
    queries: Int[np.ndarray, " sequence"] | Sequence[int] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> InductionStrength:
    """How much more each head looks from the query at right labels than at wrong ones.

    The sum over the right labels' positions minus the mean over the others'. With two
    pairs that is the difference of the two.

    Args:
        model: The model.
        sequences: Token ids of few-shot prompts: item, label, item, label, ..., item.
        labels: Where each sequence's labels are.
        right: Which of them belong to the query's class; at least one does, and at
            least one does not.
        queries: From where is looked; the last token by default.
        resamples: Bootstrap samples of the intervals, over sequences.
        seed: Feeds the intervals.

    Raises:
        PositionError: If a label or query is not in its sequence, a label comes after
            its query, or a sequence has no right or no wrong one.
        PromptError: If a sequence cannot be run.
        MissingSiteError: If the model does not show its attention patterns.

    Source:
        Singh et al. (2024), arXiv:2404.07129, for two pairs.

    Example:
        >>> from tiny import tiny_model
        >>> import interp
        >>> model = interp.load(tiny_model("llama"))
        >>> found = induction_strength(
        ...     model, [[5, 9, 6, 8, 5]], labels=[[1, 3]], right=[[True, False]]
        ... )
        >>> found.samples.shape
        (3, 4, 1)
    """
    given = predicted_tokens(model, sequences)
    lengths = [len(row) for row in given.ids]
    at = np.array(lengths) - 1 if queries is None else np.asarray(queries)
    weights = label_weights(lengths, labels, right, at)
    shape = (2, model.n_layers, model.n_heads, len(lengths))
    samples = np.full(shape, np.nan, dtype=np.float32)
    with (
        model.lock,
        torch.inference_mode(),
        progress_bar("strength", len(lengths), "sequences") as bar,
    ):

        def step(rows: tuple[int, ...]) -> None:
            own = list(rows)
            for layer, values in _looked(model, given, rows, at[own], weights[:, own]):
                samples[:, layer, :, own] = values
            bar.advance(len(rows))

        run_batches(lengths, step, token_budget=checked_budget(None, model))
    return InductionStrength(
        mean=sequence_mean(samples[0], resamples=resamples, seed=seed),
        samples=samples[0],
        on_labels=samples[1],
    )


def label_weights(
    lengths: Sequence[int],
    labels: Int[np.ndarray, "sequence pair"] | Sequence[Sequence[int]],
    right: Bool[np.ndarray, "sequence pair"] | Sequence[Sequence[bool]],
    queries: Int[np.ndarray, " sequence"],
) -> Float32[np.ndarray, "what sequence pos"]:
    """What each position counts for the strength, and for the attention to labels.

    Raises:
        PositionError: If the positions make no sense; see `induction_strength`.

    Example:
        >>> label_weights([4], [[0, 2]], [[False, True]], np.array([3])).tolist()
        [[[-1.0, 0.0, 1.0, 0.0]], [[1.0, 0.0, 1.0, 0.0]]]
    """
    if not len(labels) == len(right) == len(queries) == len(lengths):
        raise PositionError(
            f"There are labels for {len(labels)} sequences, marks of the right ones for"
            f" {len(right)}, and {len(queries)} queries.",
            expected=f"One of each for {len(lengths)} sequences.",
        )
    weights = np.zeros((2, len(lengths), max(lengths)), dtype=np.float32)
    for row, length in enumerate(lengths):
        places, marks = np.asarray(labels[row]), np.asarray(right[row], dtype=bool)
        query = int(queries[row])
        if not 0 <= query < length:
            raise PositionError(
                f"Sequence {row} has no token {query} to look from.",
                expected=f"It has {length}.",
            )
        if len(places) != len(marks) or not marks.any() or marks.all():
            raise PositionError(
                f"Sequence {row} has {int(marks.sum())} right ones among {len(marks)}"
                f" marks for {len(places)} labels.",
                expected="A mark for each label, at least one right and one wrong.",
            )
        if places.min() < 0 or places.max() > query:
            raise PositionError(
                f"The labels of sequence {row} are at {places.tolist()}, its query at"
                f" {query}.",
                expected="Labels come before the query.",
            )
        weights[0, row, places[marks]] = 1.0
        weights[0, row, places[~marks]] = -1.0 / (~marks).sum()
        weights[1, row, places] = 1.0
    return weights


def _looked(
    model: LanguageModel,
    given: Predicted,
    rows: tuple[int, ...],
    queries: Int[np.ndarray, " row"],
    weights: Float32[np.ndarray, "what row pos"],
) -> Iterator[tuple[int, Float32[np.ndarray, "row what head"]]]:
    """Each layer with the weighted attention of its heads, from one forward pass."""
    batch = given.batch(model, rows)
    counted = torch.as_tensor(weights[..., : batch.ids.shape[1]], device=model.device)
    where = torch.as_tensor(queries, device=model.device)
    layers: list[int] = []
    found: list[Tensor] = []

    def listen(pattern: Tensor) -> None:
        found.append(_weighted(pattern, where, counted))

    points = model.architecture.points("pattern.*")
    for point in points:
        assert point.site.layer is not None
        layers.append(point.site.layer)
    given.run(model, rows, batch, [(point, listen) for point in points])
    yield from zip(layers, in_one_copy(found), strict=True)


def _weighted(
    pattern: Float[Tensor, "batch head query key"], where: Tensor, counted: Tensor
) -> Float[Tensor, "batch what head"]:
    """Sums of the query's attention, weighted by position."""
    # The layers may lie on several devices.
    where, counted = where.to(pattern.device), counted.to(pattern.device)
    batch = torch.arange(len(where), device=where.device)
    looked = pattern[batch, :, where].float()  # batch head key
    return torch.einsum("bhk,wbk->bwh", looked, counted)
