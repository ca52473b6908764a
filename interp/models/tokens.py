"""Prompts as token ids: text is tokenised once, here, and never padded."""

import operator
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, SupportsIndex

from interp.errors import PromptError


# Rows of token ids may be lists, tuples, NumPy arrays or tensors.
Prompts = str | Collection[str] | Collection[Iterable[SupportsIndex]]
Span = tuple[int, int]
# A prompt in a message is quoted up to here.
QUOTED_CHARACTERS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedPrompts:
    """Token ids of several prompts, each of its own length.

    Attributes:
        ids: One tuple of token ids per prompt.
        texts: The text that was tokenised (with the chat template around it if one was
            asked for), or None where token ids were given.
        offsets: For each token the characters of its text that it covers, if asked for.
    """

    ids: tuple[tuple[int, ...], ...]
    texts: tuple[str | None, ...]
    offsets: tuple[tuple[Span, ...], ...] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> tuple[int, ...]:
        return tuple(len(ids) for ids in self.ids)


def tokenize(
    tokenizer: Any,
    prompts: Prompts,
    *,
    d_vocab: int,
    context_length: int | None = None,
    chat: bool = False,
    offsets: bool = False,
) -> TokenizedPrompts:
    """Token ids of each prompt, exactly as `tokenizer(prompt)` alone gives them.

    Text gets the special tokens that the tokenizer adds by default (often a BOS). Token
    ids are taken as they are.

    Args:
        tokenizer: A `transformers` tokenizer; None will do for token ids.
        prompts: Texts, or rows of token ids; one text stands for a list of one.
        d_vocab: Token ids must lie below it.
        context_length: No prompt may be longer.
        chat: Whether each text is a user message to be put into the chat template, up
            to the start of the assistant's answer.
        offsets: Whether to report which characters each token covers.

    Raises:
        PromptError: If a prompt is empty, too long or not text; if a token id is not in
            the vocabulary; if there is no tokenizer, chat template or offsets to use.
    """
    rows: list[Any] = [prompts] if isinstance(prompts, str) else list(prompts)
    if not rows:
        raise PromptError("There is no prompt.", remedy="Give at least one.")
    is_text = [isinstance(row, str) for row in rows]
    if all(is_text):
        tokenized = _from_texts(tokenizer, rows, chat=chat, offsets=offsets)
    elif any(is_text):
        raise PromptError(
            f"Prompt {is_text.index(not is_text[0])} is of another kind than prompt 0.",
            expected="Prompts are all texts or all rows of token ids.",
            remedy="Run the two kinds separately.",
        )
    else:
        _refuse_text_options(chat=chat, offsets=offsets)
        ids = tuple(_checked_ids(index, row) for index, row in enumerate(rows))
        tokenized = TokenizedPrompts(ids=ids, texts=(None,) * len(ids))
    _check_ranges(tokenized, d_vocab=d_vocab, context_length=context_length)
    return tokenized


def chat_text(tokenizer: Any, message: str) -> str:
    """The user message inside the chat template, ready for the assistant's answer."""
    if not getattr(tokenizer, "chat_template", None):
        raise PromptError(
            "The tokenizer has no chat template.",
            expected="chat=True puts each prompt into the template of a chat model.",
            remedy="Use chat=False or a model that was tuned to chat.",
        )
    try:
        return tokenizer.apply_chat_template(
            [{"role": "user", "content": message}],
            tokenize=False,
            add_generation_prompt=True,
        )
    except Exception as error:  # a template is a program: it can fail in any way
        raise PromptError(
            f"The chat template fails on {quote(message)}: {error}.",
            remedy="Use chat=False or repair the template.",
        ) from error


def quote(text: str) -> str:
    """A text in quotes, shortened for a message."""
    if len(text) <= QUOTED_CHARACTERS:
        return repr(text)
    return repr(text[:QUOTED_CHARACTERS] + "…")


def _from_texts(
    tokenizer: Any, texts: list[str], *, chat: bool, offsets: bool
) -> TokenizedPrompts:
    if tokenizer is None:
        raise PromptError(
            "The model has no tokenizer, so it cannot read text.",
            remedy="Give token ids, or load with tokenizer=... .",
        )
    if offsets and not tokenizer.is_fast:
        raise PromptError(
            "This tokenizer cannot say which characters a token covers.",
            expected="Character offsets need a fast tokenizer (tokenizer.json).",
            remedy="Name positions by token index instead.",
        )
    if chat:
        texts = [chat_text(tokenizer, text) for text in texts]
    for index, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise PromptError(
                f"Prompt {index} is not valid Unicode: {error.reason}.",
                remedy="Read the file with its right encoding.",
            ) from error
    encoded = tokenizer(
        texts,
        # The template writes its own special tokens.
        add_special_tokens=not chat,
        return_attention_mask=False,
        return_offsets_mapping=offsets,
        # Lengths are checked against the model, not against the tokenizer's guess.
        verbose=False,
    )
    return TokenizedPrompts(
        ids=tuple(tuple(ids) for ids in encoded["input_ids"]),
        texts=tuple(texts),
        offsets=tuple(
            tuple((int(start), int(end)) for start, end in spans)
            for spans in encoded["offset_mapping"]
        )
        if offsets
        else None,
    )


def _refuse_text_options(*, chat: bool, offsets: bool) -> None:
    if chat or offsets:
        option = "chat" if chat else "offsets"
        raise PromptError(
            f"{option}=True was asked for prompts that are token ids.",
            expected="It needs text.",
            remedy=f"Give texts, or leave {option} out.",
        )


def _checked_ids(index: int, row: Any) -> tuple[int, ...]:
    try:
        return tuple(operator.index(token) for token in row)
    except TypeError as error:
        raise PromptError(
            f"Prompt {index} is {quote(repr(row))}.",
            expected="A prompt is a text or a list of token ids.",
            remedy="Write [[1, 2, 3]] for one prompt of three token ids.",
        ) from error


def _check_ranges(
    tokenized: TokenizedPrompts, *, d_vocab: int, context_length: int | None
) -> None:
    for index, ids in enumerate(tokenized.ids):
        if not ids:
            raise PromptError(
                f"Prompt {index} has no token.",
                expected="Every prompt needs at least one.",
                remedy="Leave it out.",
            )
        if min(ids) < 0 or max(ids) >= d_vocab:
            wrong = next(token for token in ids if not 0 <= token < d_vocab)
            raise PromptError(
                f"Prompt {index} has the token id {wrong}.",
                expected=f"The model's vocabulary is 0 to {d_vocab - 1}.",
                remedy="Use the tokenizer that belongs to the model.",
            )
        if context_length is not None and len(ids) > context_length:
            raise PromptError(
                f"Prompt {index} has {len(ids)} tokens.",
                expected=f"The model reads at most {context_length}.",
                remedy="Shorten it.",
            )
