"""Whether a head's queries and keys match prefixes, by the weights alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.errors import ShapeError, UnsupportedModelError
from interp.heads.rotation import lag_matrices
from interp.heads.weights import HeadWeights, head_weights
from interp.models.language_model import LanguageModel


# Distances at which a head may have to find an earlier copy.
LAGS = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PrefixTrace:
    """How much each head's scores rise where its keys hold its query's own token.

    Attributes:
        trace: The mean score of a query with a key whose previous token is the same,
            as earlier heads would have written it there. NaN in the first layer.
        z: How many standard deviations that lies above keys whose previous tokens are
            dealt out at random.
        lags: Over which distances of query and key the scores are averaged.
    """

    trace: Float[np.ndarray, "layer head"]
    z: Float[np.ndarray, "layer head"]
    lags: tuple[int, ...]


def prefix_match_trace(
    model: LanguageModel,
    previous: Float[np.ndarray, "layer head"],
    *,
    lags: Sequence[int] = LAGS,
    tokens: Int[np.ndarray, " token"] | None = None,
    n_tokens: int = 512,
    seed: int = 0,
) -> PrefixTrace:
    r"""The trace of $\sum_e w_e\, E^T W_{QK} W_{OV}^e E$ of each head, with its null.

    A query reads its token's embedding; a key reads what earlier heads e, as far as
    each looks at the previous token ($w_e$), moved there from the token before. On the
    diagonal the two tokens are the same: that is prefix matching by the weights. The
    null is all ways of dealing out the tokens to the keys, whose mean and variance have
    closed forms. Rotations by position stand between query and key, averaged over lags.

    Args:
        model: The model.
        previous: How much each head looks at the previous token, such as
            `score(model).value("previous_token")`.
        lags: How many tokens the query comes after the key; those beyond the model's
            context are left out.
        tokens: Over which tokens; some drawn ones by default.
        n_tokens: How many to draw.
        seed: Feeds the drawing.

    Raises:
        ShapeError: If `previous` is not one number for each head.
        UnsupportedModelError: If the model's rotations cannot be found, or its
            embeddings are not as wide as its blocks.
        MissingSiteError: If the layout of its projections is not known.

    Source:
        Olsson et al. (2022), arXiv:2209.11895; the null after Hoeffding (1951).

    Example:
        >>> from tiny import tiny_model
        >>> import interp
        >>> model = interp.load(tiny_model("llama"))
        >>> found = prefix_match_trace(model, np.ones((3, 4)), n_tokens=16)
        >>> np.isnan(found.z).sum(axis=1).tolist()
        [4, 0, 0]
    """
    shape = (model.n_layers, model.n_heads)
    if previous.shape != shape:
        raise ShapeError(
            f"The previous-token scores have the shape {previous.shape}.",
            expected=f"One for each of {shape[0]} layers with {shape[1]} heads.",
        )
    limit = model.context_length
    lags = tuple(int(lag) for lag in lags if limit is None or lag < limit)
    turns = lag_matrices(model, lags).mean(dim=1)
    embedding = _embedding(model, tokens, n_tokens, seed)
    layers = head_weights(model)
    trace, z = np.full(shape, np.nan), np.full(shape, np.nan)
    moved = torch.zeros_like(embedding)
    for layer, (weights, turn) in enumerate(zip(layers, turns, strict=True)):
        if layer > 0:
            turn = turn.to(embedding.device)
            found = _matched(embedding, moved, weights, turn)
            trace[layer], z[layer] = (part.cpu().numpy() for part in found)
        looks = torch.as_tensor(previous[layer], device=embedding.device).double()
        moved = moved + _moved(embedding, weights, looks)
    return PrefixTrace(trace=trace, z=z, lags=lags)


def _moved(
    embedding: Float[Tensor, "token d_model"],
    weights: HeadWeights,
    looks: Float[Tensor, " head"],
) -> Float[Tensor, "token d_model"]:
    """What the heads of a layer write at a token's successor, weighted."""
    read = torch.einsum("td,hde->the", embedding, weights.value.double())
    return torch.einsum("the,hed,h->td", read, weights.output.double(), looks)


def _matched(
    embedding: Float[Tensor, "token d_model"],
    moved: Float[Tensor, "token d_model"],
    weights: HeadWeights,
    turn: Float[Tensor, "d_head d_head"],
) -> tuple[Float[Tensor, " head"], Float[Tensor, " head"]]:
    """Mean score on the diagonal, and its z among all ways to deal out the tokens."""
    queries = torch.einsum("td,hde->hte", embedding, weights.query.double()) @ turn
    keys = torch.einsum("td,hde->hte", moved, weights.key.double())
    n = len(embedding)
    trace = (queries * keys).sum(dim=(1, 2)) / n
    queries = queries - queries.mean(dim=1, keepdim=True)
    keys = keys - keys.mean(dim=1, keepdim=True)
    above = (queries * keys).sum(dim=(1, 2))
    grams = (queries.mT @ queries) * (keys.mT @ keys)
    return trace, above / (grams.sum(dim=(1, 2)) / (n - 1)).sqrt()


def _embedding(
    model: LanguageModel, tokens: np.ndarray | None, n_tokens: int, seed: int
) -> Float[Tensor, "token d_model"]:
    weight = model.hf.get_submodule(model.architecture.map.embed).weight.detach()
    if weight.shape[-1] != model.d_model:
        raise UnsupportedModelError(
            f"{model.name!r} projects between its embeddings and its blocks.",
            expected="Prefix matching is read off embeddings as wide as the blocks.",
        )
    if tokens is None:
        rng = np.random.default_rng(seed)
        n = min(n_tokens, model.d_vocab)
        tokens = rng.choice(model.d_vocab, size=n, replace=False)
    return weight[torch.as_tensor(tokens, device=weight.device)].double()
