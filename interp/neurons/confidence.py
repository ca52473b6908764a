"""How sure a model is of its next tokens, and how sure it should be."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32

from interp.models.language_model import LanguageModel
from interp.models.tokens import Prompts
from interp.neurons.effects import entropy_of, loss_of
from interp.neurons.output import Output, output_of
from interp.neurons.readout import head_of, read_stream, token_chunks, verify
from interp.statistics import Interval


# Equal widths, as calibration errors of language models are usually reported.
N_BINS = 15
LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenConfidence:
    """A model's predictions of the real next tokens of some texts.

    Attributes:
        entropy: Of each prediction, in nats.
        top: The probability of the likeliest token.
        correct: Whether that is the token that comes.
        loss: The negative log-likelihood of the token that comes, in nats.
        brier: The squared distance of the prediction from the truth, 0 to 2.
        groups: The text that each prediction is from.
    """

    entropy: Float32[np.ndarray, " token"]
    top: Float32[np.ndarray, " token"]
    correct: Bool[np.ndarray, " token"]
    loss: Float32[np.ndarray, " token"]
    brier: Float32[np.ndarray, " token"]
    groups: Int32[np.ndarray, " token"]


def token_confidence(
    model: LanguageModel,
    prompts: Prompts,
    *,
    first: int = 1,
    output: Output | None = None,
) -> TokenConfidence:
    """How sure the model is of each next token of some texts.

    Args:
        model: The model; edits in force apply.
        prompts: Texts, or rows of token ids.
        first: Predictions from earlier tokens are left out.
        output: What reads the final stream instead of the model's own norm and head.

    Raises:
        PromptError: If no text is long enough to predict anything.
        SelfCheckError: If norm and head, applied to the final stream, are not what the
            model does.

    Example:
        >>> from tiny import tiny_model
        >>> model = LanguageModel(hf=tiny_model("llama"))
        >>> token_confidence(model, [[5, 6, 7, 8]]).entropy.shape
        (2,)
    """
    own = output_of(model) if output is None else output
    head = head_of(own)
    if output is None:
        verify(model, head, prompts)
    stream = read_stream(model, own, prompts, first=first, keeps_write=False)
    device = head.constant.device
    columns: list[list[np.ndarray]] = [[] for _ in range(5)]
    for part in token_chunks(stream, head):
        log_p = head.logits(stream.residual[part].to(device)).log_softmax(-1)
        targets = stream.targets[part].to(device)
        p = log_p.exp()
        loss = loss_of(log_p, targets)
        top, likeliest = p.max(-1)
        brier = p.square().sum(-1) - 2 * (-loss).exp() + 1
        found = (entropy_of(log_p), top, likeliest == targets, loss, brier)
        for column, values in zip(columns, found, strict=True):
            column.append(values.cpu().numpy())
    entropy, top, correct, loss, brier = (np.concatenate(c) for c in columns)
    return TokenConfidence(
        entropy=entropy.astype(np.float32),
        top=top.astype(np.float32),
        correct=correct,
        loss=loss.astype(np.float32),
        brier=brier.astype(np.float32),
        groups=stream.groups.numpy().astype(np.int32),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bins:
    """Predictions sorted into bins by how sure they are.

    Attributes:
        n: How many predictions.
        confidence: Their mean probability of the likeliest token; NaN in empty bins.
        accuracy: How many are right, as a share; NaN in empty bins.
    """

    n: Int32[np.ndarray, " bin"]
    confidence: Float32[np.ndarray, " bin"]
    accuracy: Float32[np.ndarray, " bin"]


def reliability(
    top: Float[np.ndarray, " token"],
    correct: Bool[np.ndarray, " token"],
    *,
    n_bins: int = N_BINS,
) -> Bins:
    """Confidence and accuracy of predictions in bins of equal width.

    Args:
        top: The probability of the likeliest token.
        correct: Whether it is the right one.
        n_bins: How many bins between 0 and 1.

    Example:
        >>> bins = reliability(np.array([0.1, 0.9, 0.95]), np.array([1, 1, 0]) > 0,
        ...                    n_bins=2)
        >>> bins.n.tolist(), bins.accuracy.tolist()
        ([1, 2], [1.0, 0.5])
    """
    sums = _binned(top, correct, np.zeros(top.size, int), n_bins)[0]
    share = np.full((2, n_bins), np.nan)
    np.divide(sums[1:], sums[0], out=share, where=sums[0] > 0)
    return Bins(
        n=sums[0].astype(np.int32),
        confidence=share[0].astype(np.float32),
        accuracy=share[1].astype(np.float32),
    )


def calibration_error(
    top: Float[np.ndarray, " token"],
    correct: Bool[np.ndarray, " token"],
    *,
    groups: Sequence[object] | Int[np.ndarray, " token"] | None = None,
    n_bins: int = N_BINS,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Expected calibration error with an interval from resampling whole texts.

    The mean distance between confidence and accuracy of bins of equal width, weighted
    by how many predictions they hold. It cannot be below zero, so that a perfectly
    calibrated model has a small positive one.

    Args:
        top: The probability of the likeliest token.
        correct: Whether it is the right one.
        groups: The text of each prediction.
        n_bins: How many bins.
        resamples: How many bootstrap samples.
        seed: Feeds the resampling.

    Source:
        Guo et al. (2017), arXiv:1706.04599.

    Example:
        >>> float(calibration_error(np.array([0.75] * 4), np.arange(4) > 0).estimate)
        0.0
    """
    labels = np.arange(top.size) if groups is None else np.asarray(groups)
    codes = np.unique(labels, return_inverse=True)[1]
    sums = _binned(top, correct, codes, n_bins)
    n_groups = len(sums)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=resamples)
    draws = _error(np.einsum("rg,gsb->rsb", drawn, sums, optimize=True))
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(
        estimate=np.asarray(_error(sums.sum(0)[None])[0]),
        low=np.asarray(low),
        high=np.asarray(high),
    )


def _binned(
    top: np.ndarray, correct: np.ndarray, codes: np.ndarray, n_bins: int
) -> Float[np.ndarray, "group sum bin"]:
    """Count, summed confidence and number right, by group and bin."""
    bins = np.clip((np.asarray(top, np.float64) * n_bins).astype(int), 0, n_bins - 1)
    sums = np.zeros((int(codes.max()) + 1, 3, n_bins))
    for row, values in enumerate((np.ones(top.size), top, correct)):
        np.add.at(sums[:, row], (codes, bins), values)
    return sums


def _error(sums: Float[np.ndarray, "draw sum bin"]) -> Float[np.ndarray, " draw"]:
    gaps = np.abs(sums[:, 1] - sums[:, 2]).sum(axis=-1)
    return gaps / sums[:, 0].sum(axis=-1)
