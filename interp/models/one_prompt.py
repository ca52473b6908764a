"""One prompt as token ids, and which of them the user has not written."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from interp.models.language_model import LanguageModel
from interp.models.tokens import chat_text


# A text, or the token ids of one prompt.
Prompt = str | Sequence[int]
# A message that no template contains, to find where a template puts messages.
_MESSAGE = "qwertz"


def prompt_ids(
    model: LanguageModel, prompt: Prompt, *, chat: bool = False
) -> tuple[int, ...]:
    """The token ids of one prompt.

    Raises:
        PromptError: If it cannot be read.
    """
    if isinstance(prompt, str):
        return model.tokenize(prompt, chat=chat).ids[0]
    return model.tokenize([list(prompt)], chat=chat).ids[0]


def template_mask(
    model: LanguageModel, prompt: Prompt, *, chat: bool = False
) -> Bool[np.ndarray, " pos"]:
    """Which tokens are special, or belong to the chat template and not to the message.

    Args:
        model: The model, for its tokenizer.
        prompt: A text, or token ids.
        chat: Whether the text is put into the chat template.
    """
    ids = prompt_ids(model, prompt, chat=chat)
    special = _special_ids(model.tokenizer)
    mask = np.array([token in special for token in ids], dtype=bool)
    if not (chat and isinstance(prompt, str) and model.tokenizer.is_fast):
        return mask
    tokenized = model.tokenize(prompt, chat=True, offsets=True)
    text, offsets = tokenized.texts[0], tokenized.offsets
    assert text is not None
    assert offsets is not None
    span = _message_span(model, prompt, text)
    if span is None:
        return mask
    inside = [start < span[1] and end > span[0] for start, end in offsets[0]]
    return mask | ~np.array(inside, dtype=bool)


def _special_ids(tokenizer: Any) -> set[int]:
    if tokenizer is None:
        return set()
    # The named ones, and those that only a chat template writes.
    added = tokenizer.added_tokens_decoder.items()
    return {*tokenizer.all_special_ids, *(i for i, token in added if token.special)}


def _message_span(
    model: LanguageModel, message: str, text: str
) -> tuple[int, int] | None:
    """The characters of the message inside the template, which may strip it."""
    frame = chat_text(model.tokenizer, _MESSAGE)
    start = frame.find(_MESSAGE)
    for version in (message, message.strip()):
        if start >= 0 and text.startswith(version, start):
            return start, start + len(version)
    start = text.rfind(message.strip())
    return None if start < 0 else (start, start + len(message.strip()))
