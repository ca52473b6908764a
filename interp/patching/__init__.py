"""Causal tracing by activation patching: the exact grid, and its estimate."""

from interp.patching.attribution import (
    Screening as Screening,
    attribute as attribute,
    screen as screen,
)
from interp.patching.prompt_pairs import PromptPairs as PromptPairs
from interp.patching.trace import trace as trace
