"""The statements whose single scores a result keeps, and where they lie."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int32
from torch import Tensor

from interp.data import Splits
from probes.studies.truthfulness.spec import TruthfulnessSpec


# Bounds what a result keeps of single statements, in numbers of four bytes.
VALUES_KEPT = 4_000_000
COMPONENTS = 2
# More directions than are asked for, and rounds, make subspace iteration exact.
EXTRA, ROUNDS = 8, 30


def shown_statements(
    splits: Splits, layers: int, spec: TruthfulnessSpec
) -> Int32[np.ndarray, " shown"]:
    """Which test statements are kept, as indices into them: all, or drawn ones.

    Args:
        splits: Has the test statements.
        layers: How many layers are read.
        spec: Which probes; its seed draws.

    Example:
        >>> parts = [np.arange(4), np.arange(0), np.arange(3)]
        >>> splits = Splits(train=parts[0], val=parts[1], test=parts[2])
        >>> spec = TruthfulnessSpec(base="b", post="p", statements=("s",))
        >>> shown_statements(splits, 2, spec).tolist()
        [0, 1, 2]
    """
    each = 2 * layers * (len(spec.probes) + COMPONENTS)
    count = min(len(splits.test), VALUES_KEPT // each)
    rng = np.random.default_rng(spec.seed)
    drawn = rng.choice(len(splits.test), count, replace=False)
    return np.sort(drawn).astype(np.int32)


def principal_components(
    rows: Float[Tensor, "example layer d_model"],
    labels: Bool[np.ndarray, " example"],
    *,
    seed: int,
) -> Float32[np.ndarray, "layer example 2"]:
    """The examples on the two principal components of each layer's activations.

    By subspace iteration, which for two components costs far less than a whole
    decomposition. Each component points to where true statements lie.

    Args:
        rows: Activations.
        labels: Which examples are true.
        seed: Draws where the iteration starts.

    Source:
        Halko, Martinsson & Tropp (2011), arXiv:0909.4061, algorithm 4.4.
    """
    generator = torch.Generator().manual_seed(seed)
    found = []
    for layer in range(rows.shape[1]):
        centred = rows[:, layer].float()
        centred = centred - centred.mean(0)
        basis = torch.randn(centred.shape[1], COMPONENTS + EXTRA, generator=generator)
        for _ in range(ROUNDS):
            basis = torch.linalg.qr(centred.T @ (centred @ basis)).Q
        u, s, _ = torch.linalg.svd(centred @ basis, full_matrices=False)
        places = (u * s)[:, :COMPONENTS].numpy()
        # One example has one component; two dimensions have two.
        missing = COMPONENTS - places.shape[1]
        places = np.pad(places, ((0, 0), (0, missing)))
        apart = places[labels].sum(0) / max(1, labels.sum())
        apart = apart - places[~labels].sum(0) / max(1, (~labels).sum())
        found.append(places * np.where(apart < 0, -1, 1))
    return np.stack(found).astype(np.float32)
