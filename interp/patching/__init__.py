"""Causal tracing by activation patching: the exact grid, and its estimate."""

from interp.patching.aggregate import (
    RoleMap as RoleMap,
    columns_of as columns_of,
    paper_bins as paper_bins,
    role_map as role_map,
)
from interp.patching.attribution import attribute as attribute
from interp.patching.compare import Resampling as Resampling, compare as compare
from interp.patching.prompt_pairs import PromptPairs as PromptPairs
from interp.patching.screening import Screening as Screening, screen as screen
from interp.patching.statement_prompts import (
    prompt_pairs as prompt_pairs,
    top_tokens as top_tokens,
)
from interp.patching.trace import trace as trace
