"""The knowledge study: where two models store and read a fact."""
