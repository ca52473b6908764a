"""The unchanged and the steered text side by side, and how far they are apart."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from interp.edits import Edit
from interp.models.language_model import LanguageModel
from interp.models.one_prompt import Prompt, prompt_ids, template_mask
from interp.models.words import token_words
from interp.results.streams import SideBySide, WrittenText
from interp.streaming.passes import Passed, Passes
from interp.streaming.readers import TokenReader
from interp.streaming.scoring import scores_of
from interp.streaming.stepping import Sampling, Step, decoded, stream


# A table of positions x vocabulary in float64 has at most so many entries.
ENTRIES = 8_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairStep:
    """The next token of both texts; None for a text that has ended."""

    unchanged: Step | None
    steered: Step | None


def stream_pair(
    model: LanguageModel,
    prompt: Prompt,
    *,
    edits: Edit | Sequence[Edit],
    readers: Sequence[TokenReader] = (),
    sampling: Sampling | None = None,
    chat: bool = False,
) -> Generator[PairStep]:
    """The unchanged and the steered text, written in turn, with the same seed.

    Args:
        model: The model.
        prompt: A text, or token ids.
        edits: What is changed in the steered text.
        readers: What scores each token of both.
        sampling: How tokens are chosen, in both.
        chat: Whether the text is a user message to be put into the chat template.

    Raises:
        PromptError: If the prompt cannot be read, or has no room for the new tokens.
        UnknownSiteError: If a site does not exist.
    """
    unchanged = stream(model, prompt, readers=readers, sampling=sampling, chat=chat)
    steered = stream(
        model, prompt, edits=edits, readers=readers, sampling=sampling, chat=chat
    )
    return _pairs(unchanged, steered)


def _pairs(unchanged: Generator[Step], steered: Generator[Step]) -> Generator[PairStep]:
    with closing(unchanged), closing(steered):
        for first, second in zip_longest(unchanged, steered):
            yield PairStep(unchanged=first, steered=second)


def compare(
    model: LanguageModel,
    prompt: Prompt,
    texts: tuple[Sequence[int], Sequence[int]],
    *,
    edits: Edit | Sequence[Edit],
    readers: Sequence[TokenReader] = (),
    chat: bool = False,
) -> SideBySide:
    """An unchanged and a steered text with all scores, and the KL at each token.

    Both texts are read again, whole. The KL divergence is that of the steered model's
    prediction from the unchanged model's, both reading the steered text.

    Args:
        model: The model.
        prompt: What the texts stand behind.
        texts: The token ids of the unchanged and of the steered text.
        edits: What was changed in the steered text.
        readers: What scores each token of both.
        chat: Whether the prompt is a user message to be put into the chat template.
    """
    ids = prompt_ids(model, prompt, chat=chat)
    edits = tuple(edits) if isinstance(edits, Sequence) else (edits,)
    plain = Passes(model, prompt_length=len(ids), readers=readers)
    steering = Passes(model, prompt_length=len(ids), edits=edits, readers=readers)
    first, second = tuple(texts[0]), tuple(texts[1])
    own = plain.run((*ids, *first), keep=len(first) + 1)
    under = plain.run((*ids, *second), keep=len(second) + 1)
    forced = steering.run((*ids, *second), keep=len(second) + 1)
    template = template_mask(model, prompt, chat=chat)
    return SideBySide(
        model=model.name,
        prompt=scores_of(model, ids, own.scores[:, : len(ids)], readers, template),
        unchanged=_written(model, first, own),
        steered=_written(model, second, forced),
        kl=_divergence(forced.logits[:-1], under.logits[:-1]),
        unchanged_log_probability=_token_log_probability(under, second),
    )


def side_by_side(
    model: LanguageModel,
    prompt: Prompt,
    *,
    edits: Edit | Sequence[Edit],
    readers: Sequence[TokenReader] = (),
    sampling: Sampling | None = None,
    chat: bool = False,
) -> SideBySide:
    """What a model writes unchanged and steered, with the KL at each token.

    Args:
        model: The model.
        prompt: A text, or token ids.
        edits: What is changed in the steered text.
        readers: What scores each token of both.
        sampling: How tokens are chosen, in both.
        chat: Whether the text is a user message to be put into the chat template.

    Raises:
        PromptError: If the prompt cannot be read, or has no room for the new tokens.
        UnknownSiteError: If a site does not exist.

    Example:
        >>> from tiny import tiny_model, tiny_tokenizer
        >>> import interp
        >>> from interp.edits import Add
        >>> model = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())
        >>> push = Add(site="resid_post.1", vector=torch.ones(32), strength=0.0)
        >>> found = side_by_side(model, "Paris is", edits=push)
        >>> found.steered.text == found.unchanged.text, float(found.kl.max())
        (True, 0.0)
    """
    texts: tuple[list[int], list[int]] = ([], [])
    for step in stream_pair(model, prompt, edits=edits, sampling=sampling, chat=chat):
        if step.unchanged is not None:
            texts[0].append(step.unchanged.token_id)
        if step.steered is not None:
            texts[1].append(step.steered.token_id)
    return compare(model, prompt, texts, edits=edits, readers=readers, chat=chat)


def _written(model: LanguageModel, ids: tuple[int, ...], passed: Passed) -> WrittenText:
    n_prompt = passed.scores.shape[1] - len(ids)
    return WrittenText(
        token_ids=ids,
        tokens=token_words(model.tokenizer, ids),
        text=decoded(model, ids),
        log_probability=_token_log_probability(passed, ids),
        scores=passed.scores[:, n_prompt:],
    )


def _token_log_probability(
    passed: Passed, ids: tuple[int, ...]
) -> Float32[np.ndarray, " pos"]:
    logits = passed.logits[:-1]
    tokens = torch.tensor(ids, dtype=torch.long, device=logits.device)
    parts = [
        logits[rows].double().log_softmax(-1).gather(-1, tokens[rows, None])[:, 0]
        for rows in _rows(logits)
    ]
    return torch.cat([*parts, logits.new_zeros(0).double()]).float().cpu().numpy()


def _divergence(
    a: Float[Tensor, "pos vocab"], b: Float[Tensor, "pos vocab"]
) -> Float32[np.ndarray, " pos"]:
    """KL(a || b) at each position, in nats."""
    parts = []
    for rows in _rows(a):
        log_a, log_b = (
            a[rows].double().log_softmax(-1),
            b[rows].double().log_softmax(-1),
        )
        parts.append((log_a.exp() * (log_a - log_b)).sum(-1))
    return torch.cat([*parts, a.new_zeros(0).double()]).float().cpu().numpy()


def _rows(logits: Tensor) -> list[slice]:
    """Positions a few at a time, so that tables in float64 stay small."""
    step = max(1, ENTRIES // logits.shape[-1])
    return [slice(start, start + step) for start in range(0, len(logits), step)]
