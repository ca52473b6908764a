"""How many neurons two models choose alike, beside what chance would give."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int, Int32
from scipy.stats import hypergeom

from interp.errors import ConfigError, IncompatibleError
from interp.results.neurons import NeuronTable


LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Overlap:
    """Intersection over union of two rankings' first neurons, by how many are taken.

    Attributes:
        sizes: How many neurons of each ranking.
        shared: How many of them are in both.
        iou: Shared neurons over all that are in either.
        expected: Its exact mean over two random sets of that size.
        low: The exact 2.5 % quantile of that.
        high: The exact 97.5 % quantile.
        p: The chance that random sets share at least as many.
    """

    sizes: Int32[np.ndarray, " size"]
    shared: Int32[np.ndarray, " size"]
    iou: Float32[np.ndarray, " size"]
    expected: Float32[np.ndarray, " size"]
    low: Float32[np.ndarray, " size"]
    high: Float32[np.ndarray, " size"]
    p: Float32[np.ndarray, " size"]


def overlap(
    first: NeuronTable, second: NeuronTable, *, sizes: Sequence[int] | None = None
) -> Overlap:
    """How alike the entropy-neuron candidates of two models are, at many set sizes.

    Args:
        first: One model's neurons.
        second: Those of a model with the same neurons, such as one fine-tuned from it.
        sizes: How many candidates of each model; a geometric series by default.

    Raises:
        IncompatibleError: If the models have different numbers of neurons.
        ConfigError: If a size is below 1 or exceeds a model's candidates.

    Example:
        >>> from tiny import tiny_model
        >>> from interp.models.language_model import LanguageModel
        >>> from interp.neurons import entropy_neurons
        >>> table = entropy_neurons(LanguageModel(hf=tiny_model("llama")))
        >>> overlap(table, table, sizes=[2, 5]).iou.tolist()
        [1.0, 1.0]
    """
    if first.norm.size != second.norm.size:
        raise IncompatibleError(
            f"{first.model} has {first.norm.size} neurons in its last MLP and "
            f"{second.model} has {second.norm.size}.",
            expected="Neurons are compared by number, so the models must be of one "
            "family.",
        )
    return overlap_of_rankings(
        first.ranking(), second.ranking(), n_neurons=first.norm.size, sizes=sizes
    )


def overlap_of_rankings(
    first: Int[np.ndarray, " rank"],
    second: Int[np.ndarray, " other_rank"],
    *,
    n_neurons: int,
    sizes: Sequence[int] | None = None,
) -> Overlap:
    """The same of plain rankings, best neuron first.

    The null draws both sets from all `n_neurons`: the number they share is then
    hypergeometric.

    Args:
        first: A ranking.
        second: Another one.
        n_neurons: How many neurons there are to rank.
        sizes: How many of each are taken.

    Raises:
        ConfigError: If a size is below 1 or exceeds a ranking.

    Example:
        >>> overlap_of_rankings(np.arange(4), np.arange(4)[::-1], n_neurons=9,
        ...                     sizes=[2, 4]).shared.tolist()
        [0, 4]
    """
    most = min(first.size, second.size)
    chosen = default_sizes(most) if sizes is None else tuple(sizes)
    if wrong := [size for size in chosen if not 1 <= size <= most]:
        raise ConfigError(
            f"Sets of {wrong[0]} neurons were asked for.", expected=f"1 to {most}."
        )
    rows = [_null(size, n_neurons) for size in chosen]
    shared = [int(np.isin(first[:k], second[:k]).sum()) for k in chosen]
    at_least = [
        float(hypergeom.sf(found - 1, n_neurons, k, k))
        for found, k in zip(shared, chosen, strict=True)
    ]
    found = np.array(shared, np.int32)
    size = np.array(chosen, np.int32)
    null = np.array(rows, np.float32).reshape(-1, 3)
    return Overlap(
        sizes=size,
        shared=found,
        iou=(found / (2 * size - found)).astype(np.float32),
        expected=null[:, 0],
        low=null[:, 1],
        high=null[:, 2],
        p=np.array(at_least, np.float32),
    )


def default_sizes(most: int) -> tuple[int, ...]:
    """Set sizes from 1 to `most`, each about a third above the one before.

    Example:
        >>> default_sizes(10)
        (1, 2, 3, 4, 5, 6, 8, 10)
    """
    sizes: list[int] = []
    size = 1
    while size < most:
        sizes.append(size)
        size = max(size + 1, round(size * 1.3))
    return (*sizes, most) if most else ()


def _null(size: int, n_neurons: int) -> tuple[float, float, float]:
    """Mean and quantiles of the IoU of random sets; it rises with what is shared."""
    shared = np.arange(size + 1)
    iou = shared / (2 * size - shared)
    chances = hypergeom.pmf(shared, n_neurons, size, size)
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = hypergeom.ppf(tails, n_neurons, size, size).astype(int)
    return float(chances @ iou), float(iou[low]), float(iou[high])
