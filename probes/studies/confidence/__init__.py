"""How sure two models are of their next tokens, and which neurons make them so."""
