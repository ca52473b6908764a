"""The tokens whose logits a neuron raises and lowers, read from the weights alone."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.errors import ConfigError
from interp.models.language_model import LanguageModel
from interp.models.words import token_words
from interp.neurons.matrices import chunks
from interp.neurons.output import Output, output_of
from interp.neurons.table import computing_device
from interp.results.neurons import NeuronTokens


N_TOKENS = 10


def promoted_tokens(
    model: LanguageModel,
    neurons: Sequence[int],
    *,
    k: int = N_TOKENS,
    output: Output | None = None,
) -> tuple[NeuronTokens, ...]:
    """The tokens that each neuron of the last MLP raises most, and lowers most.

    Weights are what one unit of the neuron's activation adds to the logits before the
    final norm divides, without their mean over the vocabulary, which changes no
    prediction. A neuron that is negative does the reverse.

    Args:
        model: The model.
        neurons: Which neurons.
        k: How many tokens in each direction.
        output: The model's output path, if it was read already.

    Raises:
        ConfigError: If there is no such neuron, or no token was asked for.

    Example:
        >>> from tiny import tiny_model, tiny_tokenizer
        >>> model = LanguageModel(hf=tiny_model("llama"), tokenizer=tiny_tokenizer())
        >>> found = promoted_tokens(model, [3, 5], k=2)
        >>> [row.neuron for row in found], len(found[0].up)
        ([3, 5], 2)
    """
    output = output_of(model) if output is None else output
    wrong = [neuron for neuron in neurons if not 0 <= neuron < output.n_neurons]
    if wrong or k < 1:
        raise ConfigError(
            f"Neurons {wrong} and k = {k} were asked for.",
            expected=f"0 to {output.n_neurons - 1}, and at least one token.",
        )
    if not neurons:
        return ()
    k = min(k, output.d_vocab)
    high, low = (_extreme(output, neurons, k, sign=sign) for sign in (1, -1))
    return tuple(
        NeuronTokens(
            neuron=int(neuron),
            up=token_words(model.tokenizer, high[1][i].tolist()),
            up_weights=tuple(high[0][i].tolist()),
            down=token_words(model.tokenizer, low[1][i].tolist()),
            down_weights=tuple(low[0][i].tolist()),
        )
        for i, neuron in enumerate(neurons)
    )


def _extreme(
    output: Output, neurons: Sequence[int], k: int, *, sign: int
) -> tuple[Float[Tensor, "neuron token"], Int[Tensor, "neuron token"]]:
    """The largest weights, or the smallest with a sign of -1, and whose they are."""
    device = computing_device(output, None)
    vectors = torch.cat([output.written(i, i + 1) for i in neurons]).to(device)
    vectors = output.final_norm.to(device).folded_in(vectors) * output.logit_scale
    best = vectors.new_empty(len(neurons), 0)
    ids = torch.empty(len(neurons), 0, dtype=torch.long, device=device)
    total = torch.zeros(len(neurons), dtype=torch.float64, device=device)
    for start, stop, rows in chunks(output.head, device=device, copies=2):
        weights = vectors @ rows.T
        total += weights.sum(1)
        own = torch.arange(start, stop, device=device).expand(len(neurons), -1)
        best, ids = torch.cat([best, weights], 1), torch.cat([ids, own], 1)
        kept = (sign * best).topk(min(k, best.shape[1]), dim=1).indices
        best, ids = best.gather(1, kept), ids.gather(1, kept)
    return best - (total / output.d_vocab)[:, None], ids
