"""Token-frequency neurons: those that push the prediction towards the unigram one."""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.errors import ConfigError, ShapeError
from interp.models.generation import generate
from interp.models.language_model import LanguageModel
from interp.models.tokens import Prompts
from interp.neurons.output import Output, output_of
from interp.neurons.spectrum import HeadMoments, head_moments
from interp.neurons.table import computing_device, over_neurons


# Added to every count, so that a token that was never seen has a logarithm.
SMOOTHING = 1.0


def token_counts(model: LanguageModel, texts: Prompts) -> Int[Tensor, " vocab"]:
    """How often each token of the vocabulary occurs in texts.

    The first token of a text is not counted where all texts begin with it: it is what
    the tokenizer puts there.

    Args:
        model: Whose tokenizer and vocabulary are used.
        texts: Texts, or rows of token ids.
    """
    rows = model.tokenize(texts).ids
    begins_alike = len(rows) > 1 and len({row[0] for row in rows}) == 1
    return _counted((row[int(begins_alike) :] for row in rows), model.d_vocab)


def own_token_counts(
    model: LanguageModel, *, n_texts: int = 64, n_tokens: int = 64, seed: int = 0
) -> Int[Tensor, " vocab"]:
    """How often each token occurs in what the model writes by itself.

    Texts are drawn at temperature 1 from the model's start token, or from tokens
    drawn evenly from the vocabulary where it has none. The start is not counted.

    Args:
        model: The model.
        n_texts: How many texts.
        n_tokens: How long each may get.
        seed: Of the draws.
    """
    start = getattr(model.tokenizer, "bos_token_id", None)
    if start is None:
        start = getattr(model.hf.config.get_text_config(), "bos_token_id", None)
    rng = np.random.default_rng(seed)
    starts = (
        rng.integers(model.d_vocab, size=n_texts)
        if start is None
        else np.full(n_texts, start)
    )
    written = generate(
        model,
        [[int(token)] for token in starts],
        max_new_tokens=n_tokens,
        temperature=1.0,
        seed=seed,
    )
    return _counted(written.ids, model.d_vocab)


def unigram_direction(
    counts: Int[Tensor, " vocab"], *, smoothing: float = SMOOTHING
) -> Float[Tensor, " vocab"]:
    """The direction in logits that makes a prediction more like the unigram one.

    It is `log p - mean(log p)` of the smoothed token frequencies.

    Args:
        counts: How often each token occurs.
        smoothing: Added to every count.

    Raises:
        ConfigError: If the smoothing is not above 0.
        ShapeError: If nothing was counted.

    Source:
        Stolfo et al. (2024), arXiv:2406.16254.

    Example:
        >>> unigram_direction(torch.tensor([3, 0]), smoothing=1.0).tolist()
        [0.6931471805599453, -0.6931471805599453]
    """
    if not smoothing > 0:
        raise ConfigError(f"The smoothing is {smoothing}.", expected="More than 0.")
    if not int(counts.sum()):
        raise ShapeError("No token was counted.", expected="At least one.")
    log = (counts.double() + smoothing).log()
    return log - log.mean()


def frequency_cosines(
    model: LanguageModel, unigram: Float[Tensor, " vocab"]
) -> Float[np.ndarray, " neuron"]:
    """The cosine of what each neuron of the last MLP adds to the logits with `unigram`.

    Logits are those before the norm's scale, without their mean over the vocabulary,
    which changes no prediction.

    Args:
        model: The model.
        unigram: See `unigram_direction`.

    Raises:
        ShapeError: If the direction does not fit the vocabulary.

    Example:
        >>> from tiny import tiny_model
        >>> model = LanguageModel(hf=tiny_model("llama"))
        >>> direction = unigram_direction(torch.arange(320))
        >>> frequency_cosines(model, direction).shape
        (48,)
    """
    output = output_of(model)
    if unigram.numel() != output.d_vocab:
        raise ShapeError(
            f"The unigram direction has {unigram.numel()} entries.",
            expected=f"The vocabulary has {output.d_vocab}.",
        )
    moments = head_moments(
        output.head,
        output.final_norm,
        target=unigram,
        device=computing_device(output, None),
    )
    return cosines_with_target(output, moments, unigram)


def cosines_with_target(
    output: Output, moments: HeadMoments, unigram: Float[Tensor, " vocab"]
) -> Float[np.ndarray, " neuron"]:
    """The same from moments that were taken with `unigram` as their target."""
    target = moments.target
    assert target is not None
    length = (unigram - unigram.mean()).double().norm()
    along = over_neurons(output, moments, lambda rows: rows @ target)
    whole = over_neurons(output, moments, moments.logit_lengths) * float(length)
    cosine = np.zeros_like(along)
    np.divide(along, whole, out=cosine, where=whole > 0)
    return cosine.astype(np.float32)


def _counted(rows: Iterable[Iterable[int]], d_vocab: int) -> Int[Tensor, " vocab"]:
    tokens = torch.tensor([token for row in rows for token in row], dtype=torch.long)
    return torch.bincount(tokens, minlength=d_vocab)
