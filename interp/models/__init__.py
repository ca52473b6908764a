"""Models: loading, where their sites are, and the check that it holds."""
