"""The Lab: one model, one prompt, and what directions do. Nothing else needs torch."""
