"""`stream`: what a model writes, one token at a time."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from interp.edits import Edit
from interp.models.generation import (
    Draws,
    check_number,
    check_room,
    prompt_seeds,
    stop_tokens,
)
from interp.models.language_model import LanguageModel
from interp.models.one_prompt import Prompt, prompt_ids
from interp.models.words import token_words
from interp.streaming.passes import Passed, Passes
from interp.streaming.readers import TokenReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is chosen, as in `model.generate`.

    Attributes:
        max_new_tokens: Where to stop at the latest.
        temperature: 0 takes the likeliest token; above it, tokens are drawn from the
            softmax of the logits divided by it.
        seed: Of the draws.
    """

    max_new_tokens: int = 64
    temperature: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_number("max_new_tokens", self.max_new_tokens, 1)
        check_number("temperature", self.temperature, 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """One token that was written.

    Attributes:
        pos: Its place in the whole text, the prompt included.
        token_id: The token.
        token: Decoded by itself.
        text: All that has been written so far, decoded together.
        log_probability: Of the token, at temperature 1, under the edits.
        scores: What each reader says at this token, once the model has read it.
    """

    pos: int
    token_id: int
    token: str
    text: str
    log_probability: float
    scores: Float32[np.ndarray, " reader"]


def stream(
    model: LanguageModel,
    prompt: Prompt,
    *,
    edits: Edit | Sequence[Edit] = (),
    readers: Sequence[TokenReader] = (),
    sampling: Sampling | None = None,
    chat: bool = False,
) -> Generator[Step]:
    """The tokens that a model writes behind a prompt, each as soon as it is chosen.

    The tokens are those of `model.generate` with the same numbers, inside
    `interp.edit(model, edits)`. The lock of the model is taken for each token and given
    back before the token is handed over, and no hook stays: a consumer may stop at any
    time, and another may use the model between two tokens. With readers a token is
    handed over once it has been read itself, so that its scores are known.

    Args:
        model: The model.
        prompt: A text, or token ids.
        edits: What is changed while it writes; see `interp.edits`.
        readers: What scores each token; see `reader_of`.
        sampling: How tokens are chosen; the likeliest, at most 64, by default.
        chat: Whether the text is a user message to be put into the chat template.

    Raises:
        PromptError: If the prompt cannot be read, or has no room for the new tokens.
        UnknownSiteError: If a site does not exist.

    Example:
        >>> from tiny import tiny_model, tiny_tokenizer
        >>> import interp
        >>> model = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())
        >>> few = Sampling(max_new_tokens=5)
        >>> steps = list(stream(model, "Paris is", sampling=few))
        >>> steps[-1].text == model.generate("Paris is", max_new_tokens=5)[0]
        True
    """
    sampling = Sampling() if sampling is None else sampling
    ids = prompt_ids(model, prompt, chat=chat)
    check_room([ids], sampling.max_new_tokens, model.context_length)
    edits = tuple(edits) if isinstance(edits, Sequence) else (edits,)
    passes = Passes(model, prompt_length=len(ids), edits=edits, readers=readers)
    # The checks above happen now and not with the first token.
    return _steps(model, _Text(passes, ids), sampling, reads=bool(readers))


class _Text:
    """A text that grows, with the keys and values of what was read so far."""

    def __init__(self, passes: Passes, ids: Sequence[int]) -> None:
        self._passes = passes
        self._ids = list(ids)
        self._n_read = 0
        self._cache: Any = None

    def __len__(self) -> int:
        return len(self._ids)

    def append(self, token: int) -> None:
        self._ids.append(token)

    def read(self) -> Passed:
        """Read what has not been read; all of it where a model keeps no cache."""
        past = self._n_read if self._cache is not None else 0
        passed = self._passes.run(
            self._ids[past:], past=past, cache=self._cache, use_cache=True
        )
        self._n_read, self._cache = len(self._ids), passed.cache
        return passed

    def drop(self) -> None:
        """Give the memory of keys and values back."""
        self._cache = None


def _steps(
    model: LanguageModel, text: _Text, sampling: Sampling, *, reads: bool
) -> Generator[Step]:
    stops = stop_tokens(model)
    chooser = _Chooser(sampling, model.device)
    written: list[int] = []
    try:
        passed = text.read()
        while len(written) < sampling.max_new_tokens:
            logits = passed.logits[-1].float()
            token = chooser.choose(logits)
            if token in stops:
                return
            log_probability = float(logits.log_softmax(-1)[token])
            written.append(token)
            text.append(token)
            scores = np.zeros(0, dtype=np.float32)
            if reads:
                passed = text.read()
                scores = passed.scores[:, -1]
            yield Step(
                pos=len(text) - 1,
                token_id=token,
                token=token_words(model.tokenizer, [token])[0],
                text=decoded(model, written),
                log_probability=log_probability,
                scores=scores,
            )
            if not reads and len(written) < sampling.max_new_tokens:
                passed = text.read()
    finally:
        text.drop()


class _Chooser:
    """The next token from the logits, as `model.generate` takes it."""

    def __init__(self, sampling: Sampling, device: torch.device) -> None:
        self._draws = None
        if sampling.temperature > 0:
            seeds = prompt_seeds(sampling.seed, 1)
            self._draws = Draws(sampling.temperature, seeds, device)

    def choose(self, logits: Float[Tensor, " vocab"]) -> int:
        scores = logits[None]
        if self._draws is not None:
            scores = self._draws(torch.empty(1, 0, dtype=torch.long), scores)
        return int(scores.argmax(dim=-1))


def decoded(model: LanguageModel, ids: Sequence[int]) -> str:
    """Tokens as text, without special ones, as `model.generate` gives it."""
    if model.tokenizer is None:
        return "".join(token_words(None, ids))
    return model.tokenizer.decode(list(ids), skip_special_tokens=True)
