"""Attention heads: what each looks at, copies and reads from others."""

from interp.heads.composition import (
    Composition as Composition,
    composition as composition,
)
from interp.heads.copying import Copying as Copying, copying as copying
from interp.heads.scoring import score as score
from interp.heads.sequences import (
    RepeatedTokens as RepeatedTokens,
    repeated_tokens as repeated_tokens,
    token_pool as token_pool,
)
from interp.heads.weights import (
    HeadWeights as HeadWeights,
    head_weights as head_weights,
)
