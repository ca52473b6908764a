"""`compare`: how alike two patching maps are, with floors, nulls and equivalence.

Correlation and the largest difference are blunt: a map correlates highly with itself
one layer further up, and two halves of one model's pairs differ. So each measure stands
beside what halves, a shift of one layer, permuted columns and exchanged models give,
and a test of equivalence says how small the difference is shown to be.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool

from interp.errors import ConfigError, ShapeError
from interp.patching.aggregate import Cells, Ends, Scale, bounds_of, resamples_of
from interp.patching.equivalence import equivalence
from interp.patching.likeness import TwoMaps, measure
from interp.patching.nulls import exchanged, halves, permuted, shifted
from interp.results.map_comparison import MEASURES, Likeness, MapComparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """How intervals, floors and nulls are drawn.

    Attributes:
        resamples: Bootstrap samples of whole groups of pairs.
        permutations: Draws of the halves and of each null.
        seed: Of all of them.
    """

    resamples: int = 1000
    permutations: int = 200
    seed: int = 0


def compare(
    a: Cells,
    b: Cells,
    *,
    ends: tuple[Ends, Ends] | None = None,
    knowledge: Sequence[int] | Bool[np.ndarray, " position"] = (),
    groups: Sequence[str] | None = None,
    scale: Scale | None = None,
    delta: float = 0.1,
    resampling: Resampling | None = None,
) -> MapComparison:
    """How alike two patching maps of the same pairs are.

    Each cell is averaged over pairs, the mean maps are put on a scale, then compared.
    The scale of Du et al. has steps; with it, the differences of single cells and the
    test of equivalence are still those of the restoration (without ends, of the values
    as they are).

    Args:
        a: One value for each pair, layer and position (or role); NaN where there is
            none.
        b: The same of the other model.
        ends: For each map the logit difference of the false and of the true prompt of
            each pair; needed for restoration.
        knowledge: The positions of subject and object, as numbers or as a mask.
        groups: The group of each pair, resampled whole; by default each is its own.
        scale: `restoration` by default where there are ends, else `ld`, which takes the
            values as they are; or `bins`.
        delta: The difference that would matter.
        resampling: How often to draw.

    Raises:
        ShapeError: If maps, ends or groups do not fit each other.
        ConfigError: If delta is not positive, or restoration lacks its ends.

    Source:
        Pearson and largest difference: Du et al. (2025), arXiv:2504.02904.

    Example:
        >>> a = np.random.default_rng(0).normal(size=(40, 3, 4)) + np.arange(4)
        >>> compare(a, a, knowledge=[1])
        MapComparison(40 pairs, Pearson 1.000)
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    names = [str(i) for i in range(len(a))] if groups is None else list(groups)
    _check(a, b, ends, names, delta)
    how = resampling or Resampling()
    ends_a, ends_b = ends or (None, None)
    smooth: Scale = "ld" if ends is None else "restoration"
    level = TwoMaps(
        a=a,
        b=b,
        ends_a=ends_a,
        ends_b=ends_b,
        scale=smooth,
        knowledge=_mask(knowledge, a.shape[2]),
    )
    maps = replace(level, scale=scale or smooth)
    weights = resamples_of(names, resamples=how.resamples, seed=how.seed)
    drawing = {"draws": how.permutations, "seed": how.seed}
    likeness = (
        *_observed(maps, weights, names),
        *halves(maps, names, **drawing),
        *shifted(maps),
        *permuted(maps, **drawing),
        *exchanged(maps, names, **drawing),
    )
    return _on_smooth_scale(level, weights, likeness, maps.scale, names, delta)


def _on_smooth_scale(
    level: TwoMaps,
    weights: np.ndarray,
    likeness: tuple[Likeness, ...],
    scale: Scale,
    names: Sequence[str],
    delta: float,
) -> MapComparison:
    """The comparison, with the differences of single cells and tests of equivalence."""
    once = np.ones((1, len(level.a)))
    difference = (level.map_a(once) - level.map_b(once))[0]
    draws = level.map_a(weights) - level.map_b(weights)
    low, high = bounds_of(draws, groups=names)
    groups, inside = len(set(names)), level.knowledge
    return MapComparison(
        scale=scale,
        likeness=likeness,
        equivalence=(
            equivalence("all", difference, draws, delta=delta, groups=groups),
            equivalence(
                "knowledge",
                difference[:, inside],
                draws[:, :, inside],
                delta=delta,
                groups=groups,
            ),
        ),
        difference=difference.astype(np.float32),
        difference_low=low.astype(np.float32),
        difference_high=high.astype(np.float32),
        pairs=len(level.a),
        groups=groups,
    )


def _observed(
    maps: TwoMaps, weights: np.ndarray, names: Sequence[str]
) -> list[Likeness]:
    """The measures of the maps themselves, with basic bootstrap intervals.

    Noise in the maps lowers a correlation and raises a largest difference, and drawing
    pairs anew adds as much again: percentiles would be off twice over. The basic
    interval takes that off, so it may lie beyond the value; in maps that are mostly
    noise it takes off too little.
    """
    once = np.ones((1, len(maps.a)))
    found = measure(maps.map_a(once), maps.map_b(once), maps.knowledge)[0]
    draws = measure(maps.map_a(weights), maps.map_b(weights), maps.knowledge)
    below, above = (one[0] for one in bounds_of(draws[:, None], groups=names))
    ends = np.array([-1.0, 0.0, 0.0]), np.array([1.0, np.inf, np.inf])
    low, high = (np.clip(2 * found - one, *ends) for one in (above, below))
    return [
        Likeness(
            measure=name,
            against="the two maps",
            value=float(found[k]),
            low=float(low[k]),
            high=float(high[k]),
        )
        for k, name in enumerate(MEASURES)
    ]


def _mask(
    knowledge: Sequence[int] | Bool[np.ndarray, " given"], width: int
) -> Bool[np.ndarray, " position"]:
    if isinstance(knowledge, np.ndarray) and knowledge.dtype == np.bool_:
        if knowledge.size != width:
            raise ShapeError(
                f"The mask of knowledge has {knowledge.size} entries.",
                expected=f"The maps have {width} positions.",
            )
        return knowledge
    wrong = [place for place in knowledge if not 0 <= int(place) < width]
    if wrong:
        raise ShapeError(
            f"There is no position {wrong[0]} of knowledge.",
            expected=f"The maps have {width} positions, counted from 0.",
        )
    mask = np.zeros(width, dtype=bool)
    mask[[int(place) for place in knowledge]] = True
    return mask


def _check(
    a: np.ndarray,
    b: np.ndarray,
    ends: tuple[np.ndarray, np.ndarray] | None,
    names: Sequence[str],
    delta: float,
) -> None:
    if a.shape != b.shape or a.ndim != 3 or not a.size:
        raise ShapeError(
            f"The maps have the shapes {a.shape} and {b.shape}.",
            expected="Both are [pair, layer, position], of the same pairs.",
            remedy="Give one value for each pair, NaN where there is none.",
        )
    wrong = [one.shape for one in ends or () if one.shape != (len(a), 2)]
    if wrong:
        raise ShapeError(
            f"The ends have the shape {wrong[0]}.",
            expected=f"The logit difference of the false and of the true prompt of "
            f"each of {len(a)} pairs.",
        )
    if len(names) != len(a):
        raise ShapeError(
            f"There are {len(names)} groups for {len(a)} pairs.",
            expected="One for each pair.",
        )
    if not delta > 0:
        raise ConfigError(
            f"delta is {delta}.", expected="A positive difference that would matter."
        )
