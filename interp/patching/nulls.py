"""What likeness of two maps is held against: noise floors and nulls."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from interp.patching.likeness import TwoMaps, measure
from interp.results.map_comparison import MEASURES, Against, Likeness


MIDDLE = (0.025, 0.975)


def halves(
    maps: TwoMaps, groups: Sequence[str], *, draws: int, seed: int
) -> tuple[Likeness, ...]:
    """How alike halves of the pairs are: within each model, and across the two.

    Groups are dealt out at random, half of them to each side. The last of the three
    has the same noise as the other two, so it is more different only if the models are.

    Args:
        maps: The two maps.
        groups: The group of each pair.
        draws: How many times the pairs are halved.
        seed: Feeds the halving.
    """
    names, codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    sides: tuple[Against, ...] = (
        "halves of a",
        "halves of b",
        "a half of a and the other of b",
    )
    if len(names) < 2:
        nothing = np.full((1, len(MEASURES)), np.nan)
        return tuple(row for side in sides for row in _summed(nothing, side))
    rng = np.random.default_rng([seed, 1])
    order = rng.permuted(np.tile(np.arange(len(names)), (draws, 1)), axis=1)
    half = (order < len(names) // 2).astype(np.float64)[:, codes]
    rest = 1.0 - half
    a, b = maps.map_a(half), maps.map_b(half)
    other_a, other_b = maps.map_a(rest), maps.map_b(rest)
    compared = ((a, other_a), (b, other_b), (a, other_b))
    return tuple(
        row
        for side, two in zip(sides, compared, strict=True)
        for row in _summed(measure(*two, maps.knowledge), side)
    )


def shifted(maps: TwoMaps) -> tuple[Likeness, ...]:
    """How alike maps are that are held one layer apart, over the layers both have."""
    once = np.ones((1, len(maps.a)))
    a, b = maps.map_a(once), maps.map_b(once)
    pairs: dict[Against, tuple[np.ndarray, np.ndarray]] = {
        "b one layer up": (a[:, 1:], b[:, :-1]),
        "b one layer down": (a[:, :-1], b[:, 1:]),
        "a and itself one layer up": (a[:, 1:], a[:, :-1]),
        "b and itself one layer up": (b[:, 1:], b[:, :-1]),
    }
    rows: list[Likeness] = []
    for against, (first, second) in pairs.items():
        found = measure(first, second, maps.knowledge)[0]
        rows += [
            Likeness(measure=name, against=against, value=float(value))
            for name, value in zip(MEASURES, found, strict=True)
        ]
    return tuple(rows)


def permuted(maps: TwoMaps, *, draws: int, seed: int) -> tuple[Likeness, ...]:
    """How alike the maps are when the columns of the second are in another order.

    Columns keep their profile over layers, so what is tested is whether the same roles
    matter in both.

    Args:
        maps: The two maps.
        draws: How many orders.
        seed: Feeds them.
    """
    once = np.ones((1, len(maps.a)))
    a, b = maps.map_a(once), maps.map_b(once)
    rng = np.random.default_rng([seed, 2])
    width = b.shape[2]
    order = rng.permuted(np.tile(np.arange(width), (draws, 1)), axis=1)
    mixed = np.moveaxis(b[0][:, order], 1, 0)
    null = measure(np.broadcast_to(a, mixed.shape), mixed, maps.knowledge)
    observed = measure(a, b, maps.knowledge)[0]
    alike = np.column_stack([null[:, 0] >= observed[0], null[:, 1:] <= observed[1:]])
    return _summed(null, "columns of b permuted", reached=alike)


def exchanged(
    maps: TwoMaps, groups: Sequence[str], *, draws: int, seed: int
) -> tuple[Likeness, ...]:
    """How different the maps are when the models are exchanged for random groups.

    If the two models do not differ, it does not matter which is called which: this is
    a test of any difference at all, over all cells together.

    Args:
        maps: The two maps.
        groups: The group of each pair, exchanged whole.
        draws: How many exchanges.
        seed: Feeds them.
    """
    codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    rng = np.random.default_rng([seed, 3])
    coins = rng.integers(0, 2, size=(draws, int(codes.max()) + 1))
    swapped = coins[:, codes].astype(np.float64)
    null = measure(*maps.exchanged(swapped), maps.knowledge)
    once = np.ones((1, len(maps.a)))
    observed = measure(maps.map_a(once), maps.map_b(once), maps.knowledge)[0]
    # Exchanging all or no groups gives the observed value up to rounding.
    close = 1e-12 * (1 + np.abs(observed))
    different = np.column_stack(
        [
            null[:, 0] <= observed[0] + close[0],
            null[:, 1:] >= (observed - close)[1:],
        ]
    )
    return _summed(null, "models exchanged", reached=different)


def _summed(
    null: Float[np.ndarray, "draw measure"],
    against: Against,
    *,
    reached: np.ndarray | None = None,
) -> tuple[Likeness, ...]:
    """Mean and middle of each measure over draws, with a p-value where one is due."""
    rows: list[Likeness] = []
    for k, name in enumerate(MEASURES):
        values = null[np.isfinite(null[:, k]), k]
        if not values.size:
            rows.append(Likeness(measure=name, against=against, value=float("nan")))
            continue
        low, high = np.quantile(values, MIDDLE)
        p = float("nan")
        if reached is not None:
            p = (1 + int(reached[:, k].sum())) / (1 + len(null))
        rows.append(
            Likeness(
                measure=name,
                against=against,
                value=float(values.mean()),
                low=float(low),
                high=float(high),
                p=p,
            )
        )
    return tuple(rows)
