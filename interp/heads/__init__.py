"""Attention heads: what each looks at, and the sequences that show it."""

from interp.heads.scoring import score as score
from interp.heads.sequences import (
    RepeatedTokens as RepeatedTokens,
    repeated_tokens as repeated_tokens,
    token_pool as token_pool,
)
