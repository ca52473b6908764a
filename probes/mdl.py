"""Online description length: how few bits a probe needs to hand over the labels."""

import math
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import softplus

from interp.errors import DataError
from interp.statistics import group_codes
from probes.folds import Groups
from probes.linear import Fit


# Shares of the data at which the probe is fitted again.
BLOCKS = (
    0.001,
    0.002,
    0.004,
    0.008,
    0.016,
    0.032,
    0.0625,
    0.125,
    0.25,
    0.5,
    1.0,
)
# A block is sent by a probe that has seen at least so many examples of both classes.
LEAST_PER_CLASS = 2


def online_compression(
    rows: Float[Tensor, "site example d_model"],
    labels: Bool[np.ndarray, " example"],
    *,
    fit: Fit,
    groups: Groups | None = None,
    seed: int = 0,
) -> Float[np.ndarray, " site"]:
    """How many times shorter the labels become when a probe predicts them.

    The labels are sent in blocks, each coded by the probe fitted on all blocks before;
    the first is sent plainly. A value of 1 means that the activations do not help.
    Groups are sent whole. Blocks too small to fit on join the first one.

    Args:
        rows: The activations.
        labels: Which examples are positive.
        fit: What is fitted; all blocks of all sites at once.
        groups: The group of each example.
        seed: Feeds the order of the groups.

    Raises:
        DataError: If half of the examples do not hold both classes.

    Source:
        Voita & Titov (2020), arXiv:2003.12298.
    """
    n = labels.size
    order = _shuffled(groups, n, seed)
    ends = _block_ends(labels[order], group_codes(groups, n)[order])
    rank = np.empty(n, dtype=np.int64)
    rank[order] = np.arange(n)
    masks = torch.from_numpy(rank < np.array(ends[:-1])[:, None])
    signs = torch.from_numpy(np.where(labels, 1.0, -1.0))
    probe = fit(rows, torch.from_numpy(labels), weights=masks.float())
    logits = probe.logits(rows).double().cpu()
    bits = softplus(-signs * logits) / math.log(2)
    total = torch.full((len(rows),), float(ends[0]), dtype=torch.float64)
    for block, (start, stop) in enumerate(pairwise(ends)):
        total += bits[:, block, order[start:stop]].sum(-1)
    return (n / total).numpy()


def _shuffled(groups: Groups | None, n: int, seed: int) -> np.ndarray:
    codes = group_codes(groups, n)
    place = np.random.default_rng(seed).permutation(int(codes.max()) + 1)
    return np.argsort(place[codes], kind="stable")


def _block_ends(labels: np.ndarray, codes: np.ndarray) -> list[int]:
    """Where blocks end, at the ends of groups, from the first that can be fitted on."""
    n = labels.size
    last = np.append(np.flatnonzero(codes[1:] != codes[:-1]) + 1, n)
    wanted = np.ceil(np.array(BLOCKS) * n)
    ends = np.unique(last[np.minimum(np.searchsorted(last, wanted), last.size - 1)])
    positive = np.cumsum(labels)[ends - 1]
    enough = np.minimum(positive, ends - positive) >= LEAST_PER_CLASS
    usable = ends[enough]
    if usable.size < 2:
        raise DataError(
            f"{n} examples are too few for an online description length.",
            expected="Half of them must hold both classes in whole groups.",
            remedy="Leave mdl out of the controls.",
        )
    return usable.tolist()
