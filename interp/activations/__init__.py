"""Capture: activations of prompts, kept as rows or as streaming moments."""

from interp.activations.activations import Activations as Activations
from interp.activations.capture import capture as capture
from interp.activations.moments import Moments as Moments, moments as moments
from interp.activations.resolving import (
    ResolvedPrompts as ResolvedPrompts,
    resolve_positions as resolve_positions,
)
