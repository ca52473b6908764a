"""How much better a model predicts later in its context than earlier."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32

from interp.activations.batching import run_batches
from interp.activations.capture import checked_budget
from interp.errors import ConfigError, PromptError
from interp.heads.averages import sequence_mean
from interp.heads.predicted import Sequences, predicted_tokens
from interp.heads.scoring import next_token_losses
from interp.heads.sequences import RepeatedTokens
from interp.models.language_model import LanguageModel
from interp.progress import progress_bar
from interp.statistics import Interval


# Olsson et al. compare the 50th with the 500th token of 512; the same shares of shorter
# contexts. Ten tokens around each, where there are that many, so that it is less noisy.
WHOLE, EARLY, LATE, WIDTH = 512, 50, 500, 10
Window = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenLosses:
    """Loss and success of every prediction; place i is about token i + 1.

    Attributes:
        loss: In nats; NaN for padding.
        correct: Whether the likeliest token was right, 0 or 1; NaN for padding.
    """

    loss: Float32[np.ndarray, "sequence next"]
    correct: Float32[np.ndarray, "sequence next"]

    def curve(self, *, resamples: int = 1000, seed: int = 0) -> Interval:
        """The mean loss at each place, with an interval over sequences."""
        return sequence_mean(self.loss.T, resamples=resamples, seed=seed)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InContextScore:
    """Loss late in the context minus loss early in it; negative where context helps.

    Attributes:
        score: The mean over sequences.
        samples: The score of each sequence; NaN where it does not reach the late
            window.
        early: The places of the early window in the sequence, the end left out.
        late: Those of the late one.
        curve: The mean loss of each token but the first, over all sequences.
        losses: What it was made from.
    """

    score: Interval
    samples: Float32[np.ndarray, " sequence"]
    early: Window
    late: Window
    curve: Interval
    losses: TokenLosses


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CopyGain:
    """What a model gains from having seen a block of random tokens before.

    The first token of each copy is left out, since nothing says that the block ends.

    Attributes:
        gain: Loss in the first minus loss in the second copy.
        accuracy: Share of the second copy whose likeliest token was right.
        first: The loss of each sequence in the first copy.
        second: In the second copy.
        correct: The accuracy of each sequence in the second copy.
    """

    gain: Interval
    accuracy: Interval
    first: Float32[np.ndarray, " sequence"]
    second: Float32[np.ndarray, " sequence"]
    correct: Float32[np.ndarray, " sequence"]


def token_losses(
    model: LanguageModel, sequences: Sequences, *, token_budget: int | None = None
) -> TokenLosses:
    """Loss and success of every prediction in some sequences.

    Args:
        model: The model; inside `interp.edit` and the like the edited one.
        sequences: Token ids; they may differ in length.
        token_budget: The most tokens in a batch; chosen by default.

    Raises:
        PromptError: If a sequence is too short or too long, or holds foreign ids.

    Example:
        >>> from tiny import tiny_model
        >>> import interp
        >>> found = token_losses(interp.load(tiny_model("llama")), [[5, 6, 7], [5, 6]])
        >>> np.isfinite(found.loss).tolist()
        [[True, True], [True, False]]
    """
    given = predicted_tokens(model, sequences)
    shape = given.counts.shape
    tables = np.full((2, *shape), np.nan, dtype=np.float32)
    lengths = [len(row) for row in given.ids]
    with (
        model.lock,
        torch.inference_mode(),
        progress_bar("losses", len(lengths), "sequences") as bar,
    ):

        def step(rows: tuple[int, ...]) -> None:
            batch = given.batch(model, rows)
            logits = given.run(model, rows, batch, watched=False)
            found = next_token_losses(logits, batch.ids, batch.real)
            width = batch.ids.shape[1] - 1
            for number, values in enumerate(found):
                tables[number, list(rows), :width] = values.cpu().numpy()
            bar.advance(len(rows))

        run_batches(lengths, step, token_budget=checked_budget(token_budget, model))
    return TokenLosses(loss=tables[0], correct=tables[1])


def in_context_score(
    model: LanguageModel,
    documents: Sequences,
    *,
    early: Window | None = None,
    late: Window | None = None,
    resamples: int = 1000,
    seed: int = 0,
    token_budget: int | None = None,
) -> InContextScore:
    """Loss in a late window of documents minus loss in an early one.

    Args:
        model: The model.
        documents: Token ids of ordinary text, as long as the windows want them; a
            shorter one has no score.
        early: From which token to which one, the end left out; token 0 has no loss.
            By default ten tokens around the 50th of 512, or around that share of the
            longest document if it is shorter.
        late: By default ten tokens around the 500th of 512, or that share.
        resamples: Bootstrap samples of the intervals, over documents.
        seed: Feeds the intervals.
        token_budget: The most tokens in a batch; chosen by default.

    Raises:
        ConfigError: If a window is empty, or lies outside of every document.
        PromptError: If a document cannot be run.

    Source:
        Olsson et al. (2022), arXiv:2209.11895.

    Example:
        >>> from tiny import tiny_model
        >>> import interp
        >>> model = interp.load(tiny_model("llama"))
        >>> found = in_context_score(model, [list(range(5, 69))] * 2)
        >>> found.early, found.late
        ((5, 7), (61, 63))
    """
    losses = token_losses(model, documents, token_budget=token_budget)
    n = losses.loss.shape[1] + 1
    windows = [
        _checked(window or default_window(n, centre), n, name)
        for window, centre, name in ((early, EARLY, "early"), (late, LATE, "late"))
    ]
    samples = _window_mean(losses, windows[1]) - _window_mean(losses, windows[0])
    return InContextScore(
        score=sequence_mean(samples, resamples=resamples, seed=seed),
        samples=samples,
        early=windows[0],
        late=windows[1],
        curve=losses.curve(resamples=resamples, seed=seed),
        losses=losses,
    )


def copy_gain(
    model: LanguageModel,
    sequences: RepeatedTokens,
    *,
    resamples: int = 1000,
    seed: int = 0,
    token_budget: int | None = None,
) -> CopyGain:
    """Loss in the first copy of random tokens minus that in the second, and accuracy.

    Args:
        model: The model.
        sequences: From `interp.heads.repeated_tokens`.
        resamples: Bootstrap samples of the intervals, over sequences.
        seed: Feeds the intervals.
        token_budget: The most tokens in a batch; chosen by default.

    Raises:
        PromptError: If the sequences do not repeat, or cannot be run.

    Example:
        >>> from tiny import tiny_model
        >>> import interp
        >>> from interp.heads import repeated_tokens
        >>> model = interp.load(tiny_model("llama"))
        >>> copy_gain(model, repeated_tokens(model, n_sequences=3)).first.shape
        (3,)
    """
    if not sequences.periods.all():
        raise PromptError(
            "Not all of the sequences repeat.",
            expected="A period of one token or more for each.",
            remedy="Make them with interp.heads.repeated_tokens.",
        )
    losses = token_losses(model, sequences, token_budget=token_budget)
    start = int(sequences.bos is not None)
    first, second, correct = [], [], []
    for row, period in enumerate(sequences.periods.tolist()):
        # The number in place i is about token i + 1.
        here = slice(start, start + period - 1)
        again = slice(start + period, start + 2 * period - 1)
        first.append(losses.loss[row, here].mean())
        second.append(losses.loss[row, again].mean())
        correct.append(losses.correct[row, again].mean())
    tables = [np.array(part, dtype=np.float32) for part in (first, second, correct)]
    return CopyGain(
        gain=sequence_mean(tables[0] - tables[1], resamples=resamples, seed=seed),
        accuracy=sequence_mean(tables[2], resamples=resamples, seed=seed),
        first=tables[0],
        second=tables[1],
        correct=tables[2],
    )


def default_window(n_tokens: int, centre: int) -> Window:
    """The tokens around a place of 512, or around the same share of fewer.

    Args:
        n_tokens: The length of the documents.
        centre: The place in 512 tokens.

    Example:
        >>> default_window(2048, 500), default_window(256, 500)
        ((495, 505), (248, 252))
    """
    share = min(1.0, n_tokens / WHOLE)
    middle, half = round(centre * share), max(1, round(WIDTH / 2 * share))
    return max(1, middle - half), min(n_tokens, middle + half)


def _checked(window: Window, n: int, name: str) -> Window:
    start, stop = window
    if not 1 <= start < stop <= n:
        raise ConfigError(
            f"The {name} window is {start} to {stop}.",
            expected=f"Two rising places from 1 to {n}, the length of the longest"
            " document.",
        )
    return start, stop


def _window_mean(
    losses: TokenLosses, window: Window
) -> Float32[np.ndarray, " sequence"]:
    """NaN where a sequence ends before the window does."""
    return losses.loss[:, window[0] - 1 : window[1] - 1].mean(axis=1)
