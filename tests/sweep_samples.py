"""Rows with a planted layer, and settings that keep sweeps short."""

import numpy as np

from probes.controls import Controls


CHEAP = Controls(permutations=50, random_directions=50, resamples=200)
NONE = Controls(permutations=0, random_directions=0, resamples=50)


def planted(n=240, layers=3, d=16, *, at=1, delta=2.0, seed=0):
    """Rows in which one layer holds the label, `delta` standard deviations apart."""
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.5
    rows = rng.normal(size=(n, layers, d)).astype(np.float32)
    rows[:, at, 0] += delta * labels
    return rows, labels
