"""Single tokens as text that can be shown, also where a token is half a character."""

from collections.abc import Iterable
from functools import cache
from typing import Any


# What decoding puts in the place of bytes that are no character.
BROKEN = "\ufffd"


def token_words(tokenizer: Any, ids: Iterable[int]) -> tuple[str, ...]:
    r"""Each token decoded by itself.

    A token that is a part of a character is given as its bytes in hexadecimal; without
    a tokenizer a token is its number.

    Args:
        tokenizer: A `transformers` tokenizer, or None.
        ids: Token ids.

    Example:
        >>> from tiny import tiny_tokenizer
        >>> token_words(tiny_tokenizer(), tiny_tokenizer().encode("ä")[-2:])
        ('\\xc3', '\\xa4')
        >>> token_words(None, [7])
        ('<7>',)
    """
    found: dict[int, str] = {}
    result = []
    for token in ids:
        if token not in found:
            found[token] = _word(tokenizer, token)
        result.append(found[token])
    return tuple(result)


def _word(tokenizer: Any, token: int) -> str:
    if tokenizer is None:
        return f"<{token}>"
    text = tokenizer.decode([token])
    if BROKEN not in text:
        return text
    raw = tokenizer.convert_ids_to_tokens(token)
    if not isinstance(raw, str) or not set(raw) <= _bytes_of_characters().keys():
        return text
    held = bytes(_bytes_of_characters()[character] for character in raw)
    return "".join(f"\\x{byte:02x}" for byte in held)


@cache
def _bytes_of_characters() -> dict[str, int]:
    """Which byte each character of a byte-level vocabulary stands for."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    moved = {chr(256 + place): byte for place, byte in enumerate(others)}
    return {**{chr(byte): byte for byte in plain}, **moved}
