"""From prompts and a position specification to token ids and token indices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from interp.errors import PositionError
from interp.models.language_model import LanguageModel
from interp.models.tokens import Prompts, TokenizedPrompts, chat_text
from interp.positions import (
    Positions,
    PositionSpec,
    Span,
    common_start,
    resolve,
    template_tail,
    token_spans,
)


# User messages with nothing in common: what their prompts share is the template.
_PROBES = ("Why?", "a", "12")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedPrompts:
    """Prompts as token ids, and which tokens of each are read."""

    tokenized: TokenizedPrompts
    positions: Positions


def resolve_positions(
    model: LanguageModel,
    prompts: Prompts,
    *,
    positions: PositionSpec,
    chat: bool = False,
    spans: Mapping[str, Sequence[Span]] | None = None,
) -> ResolvedPrompts:
    """The token ids of the prompts, and which of them are read.

    Work that is done in parts resolves the positions of all prompts first and gives
    each part its own by `Positions.select`.

    Args:
        model: The model, for its tokenizer.
        prompts: Texts, or rows of token ids.
        positions: What to read; see `interp.positions`.
        chat: Whether each text is a user message to be put into the chat template.
        spans: Named spans: of characters of each text, or of tokens for token ids.

    Raises:
        PromptError: If a prompt cannot be run.
        PositionError: If a prompt lacks a position.
    """
    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    is_text = bool(texts) and isinstance(texts[0], str)
    tokenized = model.tokenize(prompts, chat=chat, offsets=bool(spans) and is_text)
    if spans and is_text:
        starts = [_start(model, text) if chat else 0 for text in map(str, texts)]
        spans = {
            name: _in_tokens(name, pairs, starts, tokenized)
            for name, pairs in spans.items()
        }
    tail = None
    if chat and "template" in str(positions):
        # Prompts may happen to end alike ("?"); the probes do not.
        probes = model.tokenize(list(_PROBES), chat=True).ids
        tail = template_tail([*tokenized.ids, *probes])
    resolved = resolve(
        positions, tokenized.ids, texts=tokenized.texts, spans=spans, tail=tail
    )
    return ResolvedPrompts(tokenized=tokenized, positions=resolved)


def _start(model: LanguageModel, text: str) -> int:
    """The character at which a message starts in its chat text."""
    start = common_start([chat_text(model.tokenizer, probe) for probe in _PROBES])
    if not chat_text(model.tokenizer, text).startswith(text, start):
        raise PositionError(
            "The chat template changes the message, so its spans cannot be found.",
            expected=f"The message was {text[:40]!r}.",
            remedy="Strip spaces at its ends, or name positions by token index.",
        )
    return start


def _in_tokens(
    name: str,
    pairs: Sequence[Span],
    starts: Sequence[int],
    tokenized: TokenizedPrompts,
) -> list[Span]:
    assert tokenized.offsets is not None
    shifted = [
        (first + start, stop + start)
        for (first, stop), start in zip(pairs, starts, strict=False)
    ]
    # A wrong number of spans is for token_spans to refuse.
    shifted += [(0, 0)] * (len(pairs) - len(shifted))
    return token_spans(name, shifted, tokenized.offsets, tokenized.texts)
