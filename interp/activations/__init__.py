"""Capture: activations of prompts, kept as rows or as streaming moments."""

from interp.activations.activations import Activations as Activations
from interp.activations.capture import capture as capture
