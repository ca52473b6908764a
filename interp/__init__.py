"""Mechanistic interpretability of causal language models."""
