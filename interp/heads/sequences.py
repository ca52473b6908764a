"""Sequences of repeated random tokens, on which induction heads show themselves.

A block of distinct random tokens is tiled to the length of the sequence. The period is
drawn anew for each sequence: with a fixed one a head that looks back a fixed distance
cannot be told from one that looks for the same token.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int

from interp.errors import ConfigError
from interp.models.language_model import LanguageModel


Bos = Literal["auto", "always", "never"]
# The most and the least frequent tokens are special cases: left out on both sides.
BAND = (0.02, 0.6)
N_TOKENS = 128


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RepeatedTokens:
    """Token sequences that repeat themselves.

    Attributes:
        ids: The tokens; the same everywhere if a first token was asked for.
        periods: After how many tokens each sequence repeats.
        bos: The token put in front of each sequence, or None.
    """

    ids: Int[np.ndarray, "sequence pos"]
    periods: Int[np.ndarray, " sequence"]
    bos: int | None


def repeated_tokens(
    model: LanguageModel,
    *,
    n_sequences: int = 64,
    n_tokens: int | None = None,
    periods: tuple[int, int] | None = None,
    bos: Bos = "auto",
    pool: Int[np.ndarray, " token"] | None = None,
    seed: int = 0,
) -> RepeatedTokens:
    """Blocks of distinct random tokens, each tiled to the length of its sequence.

    Args:
        model: Gives the vocabulary, the context length and the first token.
        n_sequences: How many.
        n_tokens: Their length; 128 or the context length if that is shorter.
        periods: The shortest and longest period, both drawn; an eighth to a third of
            the length by default, so that every block occurs three times or more.
        bos: Whether a beginning-of-sequence token stands in front: as the tokenizer
            does it, always, or never.
        pool: The token ids to draw from; see `token_pool`.
        seed: Feeds the drawing.

    Raises:
        ConfigError: If the sequences are too long, or the periods do not fit them.

    Source:
        Olsson et al. (2022), arXiv:2209.11895, with random periods.

    Example:
        >>> from tiny import tiny_model
        >>> import interp
        >>> model = interp.load(tiny_model("llama"))
        >>> given = repeated_tokens(model, n_sequences=2, n_tokens=12, periods=(4, 4))
        >>> bool((given.ids[:, :4] == given.ids[:, 4:8]).all())
        True
    """
    n_tokens = _checked_length(model, n_tokens)
    first = _first_token(model, bos)
    room = n_tokens - (first is not None)
    ids = token_pool(model) if pool is None else np.asarray(pool, dtype=np.int64)
    longest = min(room // 3, len(ids))
    low, high = periods or (max(2, min(room // 8, longest)), longest)
    if not 2 <= low <= high <= min(room // 2, len(ids)):
        raise ConfigError(
            f"The periods are {low} to {high}.",
            expected=f"2 or more, at most half of the {room} tokens, and not more than"
            f" the {len(ids)} different tokens.",
            remedy="Give other periods or more tokens.",
        )
    rng = np.random.default_rng(seed)
    drawn = rng.integers(low, high + 1, size=n_sequences)
    rows = [
        np.resize(rng.choice(ids, size=int(period), replace=False), room)
        for period in drawn
    ]
    table = np.stack(rows)
    if first is not None:
        table = np.concatenate([np.full((n_sequences, 1), first), table], axis=1)
    return RepeatedTokens(ids=table, periods=drawn, bos=first)


def token_pool(
    model: LanguageModel,
    *,
    band: tuple[float, float] = BAND,
    counts: Mapping[int, int] | None = None,
) -> Int[np.ndarray, " token"]:
    """Ids of ordinary tokens of middling frequency, most frequent first.

    Special and added tokens are left out, and ids beyond the tokenizer's own, which
    only pad the embedding table. Without counts the order of the ids stands for
    frequency: tokenizers number what they merged or kept first, which is what occurs
    most.

    Args:
        model: The model.
        band: Which share of the tokens in that order is kept.
        counts: How often each token id occurs in some text.

    Raises:
        ConfigError: If the band is not two rising shares, or leaves fewer than two.

    Example:
        >>> from tiny import tiny_model
        >>> import interp
        >>> token_pool(interp.load(tiny_model("llama")), band=(0.5, 0.51))
        array([161, 162, 163, 164])
    """
    low, high = band
    if not 0 <= low < high <= 1:
        raise ConfigError(
            f"The band of frequencies is {band}.", expected="Two rising shares of 1."
        )
    special = {getattr(model.hf.config, f"{name}_token_id") for name in _SPECIAL}
    size = model.d_vocab
    if model.tokenizer is not None:
        size = min(size, len(model.tokenizer))
        special |= set(model.tokenizer.all_special_ids)
        special |= set(getattr(model.tokenizer, "added_tokens_decoder", {}))
    ordinary = [token for token in range(size) if token not in special]
    if counts is not None:
        ordinary = sorted(
            (token for token in ordinary if counts.get(token, 0) > 0),
            key=lambda token: (-counts[token], token),
        )
    kept = ordinary[int(low * len(ordinary)) : int(np.ceil(high * len(ordinary)))]
    if len(kept) < 2:
        raise ConfigError(
            f"The band {band} leaves {len(kept)} of {len(ordinary)} tokens.",
            expected="At least two different ones.",
            remedy="Give a wider band.",
        )
    return np.array(kept, dtype=np.int64)


_SPECIAL = ("bos", "eos", "pad")


def _checked_length(model: LanguageModel, n_tokens: int | None) -> int:
    limit = model.context_length
    if n_tokens is None:
        return min(N_TOKENS, limit or N_TOKENS)
    if n_tokens < 8 or (limit is not None and n_tokens > limit):
        within = "" if limit is None else f", at most the context of {limit}"
        raise ConfigError(
            f"Sequences of {n_tokens} tokens were asked for.",
            expected=f"At least 8{within}.",
        )
    return n_tokens


def _first_token(model: LanguageModel, bos: Bos) -> int | None:
    if bos == "never":
        return None
    token = getattr(model.tokenizer, "bos_token_id", None)
    if token is None and bos == "always":
        token = getattr(model.hf.config, "bos_token_id", None)
        if token is None:
            raise ConfigError(
                f"{model.name!r} names no beginning-of-sequence token.",
                remedy="Use bos='never'.",
            )
    if bos == "always" or token is None:
        return token
    encoded = model.tokenizer("a", verbose=False)["input_ids"]
    return token if encoded and encoded[0] == token else None
