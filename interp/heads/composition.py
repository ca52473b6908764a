"""How strongly one head reads what another writes, beside what chance would give."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import ConfigError
from interp.heads.rotation import lag_matrices
from interp.heads.weights import HeadWeights, head_weights
from interp.models.language_model import LanguageModel


Through = Literal["query", "key", "value"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Composition:
    """Composition of every pair of heads; NaN where the first does not come earlier.

    NaN too where one of the two is nothing: all weights zero.

    Attributes:
        through: By which of its inputs the second head reads the first.
        score: Norm of the product over the product of the norms, 0 to 1.
        expected: What randomly turned heads give: root of the mean square.
        z: How many standard deviations the squared score lies above randomly turned
            heads.
        lags: Over which distances of query and key the squared score was averaged;
            none if they were taken as at one place.
    """

    through: Through
    score: Float[np.ndarray, "layer head to_layer to_head"]
    expected: float
    z: Float[np.ndarray, "layer head to_layer to_head"]
    lags: tuple[int, ...] = ()


def composition(
    model: LanguageModel, *, through: Through, lags: Sequence[int] | None = None
) -> Composition:
    r"""How strongly each head reads what each earlier head writes, by the weights.

    The score is $\|W_{OV}^a W_X^b\|_F / (\|W_{OV}^a\|_F \|W_X^b\|_F)$ with the second
    head's $W_{QK}$ for queries, $W_{QK}^T$ for keys and $W_{OV}$ for values. It has no
    natural zero: two heads that have nothing to do with each other still score about
    $1/\sqrt{d}$. So each score is set beside the same two heads with a random rotation
    of the residual stream between them, whose mean and variance have closed forms.

    Only factors of d_head columns are multiplied. Where the model turns queries and
    keys by their positions (RoPE), $W_{QK}$ differs from lag to lag: with `lags` the
    model's own rotation stands between the two factors, and the squared score is
    averaged over lags, as is the null. Without, the rotation is left out, which is the
    score at lag 0.

    Args:
        model: The model.
        through: Which input of the second head.
        lags: How many tokens the query comes after the key. Through the value there
            are none.

    Raises:
        MissingSiteError: If the layout of the model's projections is not known.
        ConfigError: If lags are given for the value, or make no sense.
        UnsupportedModelError: If lags are given and the model's rotations cannot be
            found.

    Source:
        Elhage et al. (2021); moments of random rotations: Collins & Sniady (2006).

    Example:
        >>> from tiny import tiny_model
        >>> import interp
        >>> found = composition(interp.load(tiny_model("llama")), through="key")
        >>> found.score.shape, bool(np.isnan(found.score[1, :, 1]).all())
        ((3, 4, 3, 4), True)
    """
    turns = _turns(model, through, lags)
    layers = head_weights(model)
    n_layers, n_heads = len(layers), layers[0].output.shape[0]
    score = np.full((n_layers, n_heads) * 2, np.nan)
    z = np.full_like(score, np.nan)
    for a, first in enumerate(layers):
        for b in range(a + 1, n_layers):
            turn = None if turns is None else turns[b].to(first.output.device)
            found = pair_composition(first, layers[b], through=through, turns=turn)
            score[a, :, b, :] = found[0].cpu().numpy()
            z[a, :, b, :] = found[1].cpu().numpy()
    return Composition(
        through=through,
        score=score,
        expected=float(model.d_model**-0.5),
        z=z,
        lags=() if lags is None else tuple(int(lag) for lag in lags),
    )


def pair_composition(
    first: HeadWeights,
    second: HeadWeights,
    *,
    through: Through,
    turns: Float[Tensor, "lag d_head d_head"] | None = None,
) -> tuple[Float[Tensor, "head to_head"], Float[Tensor, "head to_head"]]:
    """Score and z of all pairs of heads of two layers; see `composition`.

    Args:
        first: The heads that write.
        second: The heads that read.
        through: Which of their inputs.
        turns: What stands between query and key of the second heads at each lag.
    """
    match through:
        case "query":
            reads, rest = second.query, second.key.transpose(1, 2)
        case "key":
            reads, rest = second.key, second.query.transpose(1, 2)
        case "value":
            reads, rest = second.value, second.output
        case _:
            assert_never(through)
    first_value, first_output = first.value.double(), first.output.double()
    reads, rest = reads.double(), rest.double()
    # All norms are traces of d_head x d_head matrices.
    gram_v = first_value.transpose(1, 2) @ first_value
    gram_o = first_output @ first_output.transpose(1, 2)
    gram_in = reads.transpose(1, 2) @ reads
    gram_out = rest @ rest.transpose(1, 2)
    if turns is not None:
        turns = turns if through == "query" else turns.transpose(1, 2)
        gram_out = _over_lags(gram_in, gram_out, turns)
    between = torch.einsum("hed,gdf->hgef", first_output, reads)
    squared = torch.einsum("hab,hgbc,gcd,hgad->hg", gram_v, between, gram_out, between)
    p1, p2 = _traces(gram_v, gram_o)
    s1, s2 = _traces(gram_out, gram_in)
    mean, variance = rotation_moments(
        (p1[:, None], p2[:, None]), (s1[None], s2[None]), d=first_output.shape[-1]
    )
    return (
        (squared / (p1[:, None] * s1[None])).clamp(min=0).sqrt(),
        (squared - mean) / variance.sqrt(),
    )


def rotation_moments(
    first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], *, d: int
) -> tuple[Tensor, Tensor]:
    r"""Mean and variance of $\mathrm{tr}(P R S R^T)$ over random rotations R of d axes.

    Args:
        first: Trace of P and trace of its square.
        second: The same of S.
        d: The number of axes.

    Example:
        >>> identity = (torch.tensor(3.0), torch.tensor(3.0))
        >>> other = (torch.tensor(2.0), torch.tensor(4.0))
        >>> [float(x) for x in rotation_moments(identity, other, d=3)]
        [2.0, 0.0]
    """
    (p1, p2), (s1, s2) = first, second
    square = (
        (d + 1) * p1**2 * s1**2 - 2 * p1**2 * s2 - 2 * p2 * s1**2 + 2 * d * p2 * s2
    ) / (d * (d - 1) * (d + 2))
    mean = p1 * s1 / d
    return mean, (square - mean**2).clamp(min=0)


def _turns(
    model: LanguageModel, through: Through, lags: Sequence[int] | None
) -> Float[Tensor, "layer lag d_head d_head"] | None:
    if lags is None:
        return None
    if through == "value":
        raise ConfigError(
            "Lags were given for composition through the value.",
            expected="Only queries and keys are turned by their positions.",
            remedy="Leave lags out.",
        )
    return lag_matrices(model, lags)


def _over_lags(
    gram_in: Float[Tensor, "head e e"],
    gram_out: Float[Tensor, "head e e"],
    turns: Float[Tensor, "lag e e"],
) -> Float[Tensor, "head e e"]:
    """The Gram of the turned factor, averaged with each lag's norm set to one.

    The squared score is linear in that Gram once divided by the norm, and so is the
    null: with the average in place of one Gram both are averages over lags.
    """
    turned = turns[:, None] @ gram_out @ turns[:, None].mT
    norms = torch.einsum("hab,lhba->lh", gram_in, turned)
    return (turned / norms[:, :, None, None]).mean(dim=0)


def _traces(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Trace of A^T A and of its square for A = B C, from the Grams of B and C."""
    product = left @ right
    return product.diagonal(dim1=1, dim2=2).sum(-1), torch.einsum(
        "hij,hji->h", product, product
    )
