"""Patched cells summed up over pairs: by role, on two scales, with intervals.

Everything takes plain arrays `[pair, layer, position]`, NaN where a pair has no such
position, so that maps from elsewhere can be used. `role_map` does it all for a
`PatchMap`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from interp.data.pairing_tokens import kind_of
from interp.errors import ConfigError, ShapeError
from interp.results.patch_map import PatchMap
from interp.statistics import effective_groups, widened


Category = Literal["subject", "object", "template", "question", "last"]
Scale = Literal["ld", "restoration", "bins"]
Cells = Float[np.ndarray, "pair layer position"]
Ends = Float[np.ndarray, "pair two"]
KNOWLEDGE = ("subject", "object")
# Where fewer pairs than this share have a role, its mean says little about the rest.
MIN_SHARE = 0.1
BINS, KEPT_BINS, MARGIN = 20, 10, 1e-5
LEVEL = 0.95
# What two ways of computing one logit difference in float32 may differ by.
ROUNDING = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Columns:
    """Which positions of each pair make up each column of a map.

    Attributes:
        names: The columns, in the order of the prompt.
        index: The column of each position, -1 for none.
    """

    names: tuple[str, ...]
    index: Int[np.ndarray, "pair position"]

    @property
    def knowledge(self) -> Bool[np.ndarray, " column"]:
        """Which columns are tokens of the subject or the object."""
        return np.array([name.split(" ")[0] in KNOWLEDGE for name in self.names])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RoleMap:
    """A patching map by role, averaged over pairs, with intervals for each cell.

    Attributes:
        columns: The columns, in the order of the prompt.
        knowledge: Which of them are tokens of the subject or the object.
        layers: The layers.
        pairs: How many pairs have each column.
        ld: Mean logit difference.
        ld_low: Lower bound of its interval.
        ld_high: Upper bound.
        restoration: 0 where the mean is that of the false prompts, 1 where it is that
            of the true ones.
        restoration_low: Lower bound.
        restoration_high: Upper bound.
        bins: The mean map on the scale of Du et al.
    """

    columns: tuple[str, ...]
    knowledge: Bool[np.ndarray, " column"]
    layers: Int[np.ndarray, " layer"]
    pairs: Int[np.ndarray, " column"]
    ld: Float[np.ndarray, "layer column"]
    ld_low: Float[np.ndarray, "layer column"]
    ld_high: Float[np.ndarray, "layer column"]
    restoration: Float[np.ndarray, "layer column"]
    restoration_low: Float[np.ndarray, "layer column"]
    restoration_high: Float[np.ndarray, "layer column"]
    bins: Float[np.ndarray, "layer column"]

    def to_dataframe(self) -> pd.DataFrame:
        """One row per layer and column."""
        layer, column = (axis.ravel() for axis in np.indices(self.ld.shape))
        return pd.DataFrame(
            {
                "layer": self.layers[layer],
                "role": np.array(self.columns)[column],
                "pairs": self.pairs[column],
                "ld": self.ld.ravel(),
                "ld_low": self.ld_low.ravel(),
                "ld_high": self.ld_high.ravel(),
                "restoration": self.restoration.ravel(),
                "restoration_low": self.restoration_low.ravel(),
                "restoration_high": self.restoration_high.ravel(),
                "bins": self.bins.ravel(),
            }
        )


def category(role: str) -> Category:
    """What kind of token a role is; words around the two fields are `template`.

    Example:
        >>> [category(role) for role in ("subject[1]", "between[0]", "last")]
        ['subject', 'template', 'last']
    """
    match kind_of(role):
        case "subject":
            return "subject"
        case "object":
            return "object"
        case "question":
            return "question"
        case "last":
            return "last"
        case _:
            return "template"


def columns_of(
    roles: Sequence[Sequence[str]],
    *,
    by: Literal["role", "category"] = "role",
    min_share: float = MIN_SHARE,
) -> Columns:
    """The columns of a map from the role of every position.

    By role, a subject or object of several tokens has the columns first, middle and
    last, so that long and short ones can be averaged; one of a single token counts as
    last. Columns that few pairs have are left out.

    Args:
        roles: For each pair the role of each position, as `"subject[0]"`.
        by: Whether each word of the template has its column, or each category.
        min_share: A column is left out if a smaller share of the pairs has it.

    Example:
        >>> found = columns_of([("before[0]", "subject[0]", "subject[1]", "last")])
        >>> found.names, found.index.tolist()
        (('before 0', 'subject first', 'subject last', 'last'), [[0, 1, 2, 3]])
    """
    # Maps pad the roles of shorter prompts with nothing.
    real = [[role for role in pair if role] for pair in roles]
    named = [_names(pair) if by == "role" else [*map(category, pair)] for pair in real]
    places: dict[str, list[float]] = {}
    having: dict[str, int] = {}
    for pair in named:
        for place, name in enumerate(pair):
            places.setdefault(name, []).append(place / len(pair))
        for name in set(pair):
            having[name] = having.get(name, 0) + 1
    kept = [name for name in places if having[name] >= min_share * len(named)]
    kept.sort(key=lambda name: float(np.mean(places[name])))
    number = {name: i for i, name in enumerate(kept)}
    index = np.full((len(named), max(map(len, roles), default=0)), -1)
    for i, pair in enumerate(named):
        index[i, : len(pair)] = [number.get(name, -1) for name in pair]
    return Columns(names=tuple(kept), index=index)


def by_column(cells: Cells, columns: Columns) -> Float[np.ndarray, "pair layer column"]:
    """The cells of each pair, averaged over the positions of each column.

    Args:
        cells: One value for each pair, layer and position.
        columns: Of the same pairs.

    Raises:
        ShapeError: If the columns are of other pairs or positions.
    """
    n_pairs, n_layers, n_positions = cells.shape
    if columns.index.shape != (n_pairs, n_positions):
        raise ShapeError(
            f"The columns are of {columns.index.shape} pairs and positions.",
            expected=f"The cells are of {(n_pairs, n_positions)}.",
        )
    result = np.full((n_pairs, n_layers, len(columns.names)), np.nan)
    for column in range(len(columns.names)):
        inside = (columns.index == column)[:, None] & ~np.isnan(cells)
        counts = inside.sum(axis=2)
        sums = np.where(inside, cells, 0.0).sum(axis=2)
        np.divide(sums, counts, out=result[:, :, column], where=counts > 0)
    return result


def mean_map(
    cells: Cells,
    weights: Float[np.ndarray, "resample pair"],
    *,
    ends: Ends | None = None,
    scale: Scale = "ld",
) -> Float[np.ndarray, "resample layer position"]:
    """The map averaged over pairs, for each row of weights.

    A cell is averaged over the pairs that have it, and so are the two ends that it is
    compared with.

    Args:
        cells: One value for each pair, layer and position.
        weights: How often each pair counts.
        ends: Logit difference of the false and of the true prompt of each pair.
        scale: `ld` for the mean itself, `restoration` for its place between the means
            of the two ends, `bins` for the scale of Du et al.

    Raises:
        ConfigError: If restoration is asked for without ends.
    """
    held = ~np.isnan(cells)
    values = np.where(held, cells, 0.0).reshape(len(cells), -1)
    flat = held.reshape(len(cells), -1).astype(np.float64)
    shape = (len(weights), *cells.shape[1:])
    counts = weights @ flat
    with np.errstate(invalid="ignore", divide="ignore"):
        if scale != "restoration":
            means = (weights @ values / counts).reshape(shape)
            return paper_bins(means) if scale == "bins" else means
        if ends is None:
            raise ConfigError(
                "Restoration was asked for without ends.",
                expected="It is measured between the false and the true prompts.",
                remedy="Give the logit differences of both for each pair.",
            )
        false, true = ends[:, 0], ends[:, 1]
        above = weights @ values - (weights * false) @ flat
        return (above / ((weights * (true - false)) @ flat)).reshape(shape)


def paper_bins(
    means: Float[np.ndarray, "*batch layer column"],
) -> Float[np.ndarray, "*batch layer column"]:
    """A mean map on the scale of Du et al.: 20 bins, the lower half of them zero.

    lo = min - 1e-5 and hi = max + 1e-5 of the map, k = floor(20 (M - lo) / (hi - lo));
    the value is 0 for k < 10, else 0.1 (k - 9).

    Args:
        means: Mean logit differences; each map has its own lowest and highest.

    Source:
        Du et al. (2025), arXiv:2504.02904.

    Example:
        >>> paper_bins(np.array([[0.0, 0.4, 0.6, 1.0]])).round(1).tolist()
        [[0.0, 0.0, 0.2, 1.0]]
    """
    low = np.nanmin(means, axis=(-2, -1), keepdims=True) - MARGIN
    high = np.nanmax(means, axis=(-2, -1), keepdims=True) + MARGIN
    bins = np.floor(BINS * (means - low) / (high - low))
    kept = np.where(bins < KEPT_BINS, 0.0, (bins - KEPT_BINS + 1) / KEPT_BINS)
    return np.where(np.isnan(means), np.nan, kept)


def resamples_of(
    groups: Sequence[str], *, resamples: int, seed: int
) -> Float[np.ndarray, "resample pair"]:
    """How often each pair is drawn in bootstrap samples of whole groups.

    Args:
        groups: The group of each pair.
        resamples: How many samples.
        seed: Two calls with one seed and the same groups draw the same samples.
    """
    names, codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=resamples
    )
    return drawn.astype(np.float64)[:, codes]


def bounds_of(
    draws: Float[np.ndarray, "resample layer position"],
    *,
    groups: Sequence[str],
    level: float = LEVEL,
) -> tuple[Float[np.ndarray, "layer position"], Float[np.ndarray, "layer position"]]:
    """The bounds of bootstrap draws; NaN where there is no draw, or one group.

    Args:
        draws: What was found in every resample.
        groups: The group of each pair: few of them widen the bounds.
        level: Coverage of the interval.
    """
    count = effective_groups(groups, len(groups))
    found = widened(draws[0], np.moveaxis(draws, 0, -1), groups=count, level=level)
    return found.low, found.high


def ends_of(patched: PatchMap) -> Ends:
    """The logit differences of the false and of the true prompt of each pair."""
    both = [patched.corrupted_ld, patched.clean_ld]
    return np.stack(both, axis=1).astype(np.float64)


def role_map(
    patched: PatchMap,
    *,
    unit: int = 0,
    by: Literal["role", "category"] = "role",
    min_share: float = MIN_SHARE,
    resamples: int = 1000,
    seed: int = 0,
) -> RoleMap:
    """A patching map by role, on every scale, with intervals over groups of pairs.

    Args:
        patched: The cells.
        unit: Which of its units.
        by: Whether each word of the template has its column, or each category.
        min_share: A column is left out if a smaller share of the pairs has it.
        resamples: How many bootstrap samples.
        seed: Feeds the resampling.
    """
    columns = columns_of(patched.roles, by=by, min_share=min_share)
    cells = by_column(patched.ld[unit].astype(np.float64), columns)
    ends = ends_of(patched)
    once = np.ones((1, len(cells)))
    weights = resamples_of(patched.groups, resamples=resamples, seed=seed)
    ld_low, ld_high = bounds_of(mean_map(cells, weights), groups=patched.groups)
    low, high = bounds_of(
        mean_map(cells, weights, ends=ends, scale="restoration"), groups=patched.groups
    )
    return RoleMap(
        columns=columns.names,
        knowledge=columns.knowledge,
        layers=patched.layers,
        pairs=(~np.isnan(cells)).any(axis=1).sum(axis=0),
        ld=mean_map(cells, once)[0],
        ld_low=ld_low,
        ld_high=ld_high,
        restoration=mean_map(cells, once, ends=ends, scale="restoration")[0],
        restoration_low=low,
        restoration_high=high,
        bins=mean_map(cells, once, scale="bins")[0],
    )


def inside(
    cells: Cells, ends: Ends, *, slack: float = 0.0
) -> Float[np.ndarray, "pair layer position"]:
    """1 where a patched logit difference lies between the pair's two ends, else 0.

    Args:
        cells: One value for each pair, layer and position; NaN stays NaN.
        ends: Logit difference of the false and of the true prompt of each pair.
        slack: How far beyond still counts, as a share of the pair's gap. The rounding
            of single precision always does.

    Example:
        >>> inside(np.array([[[0.5, 2.0]]]), np.array([[1.0, 0.0]])).tolist()
        [[[1.0, 0.0]]]
    """
    beyond = slack * np.abs(ends[:, 1] - ends[:, 0]) + ROUNDING
    low = (ends.min(axis=1) - beyond)[:, None, None]
    high = (ends.max(axis=1) + beyond)[:, None, None]
    return np.where(np.isnan(cells), np.nan, (cells >= low) & (cells <= high))


def _names(roles: Sequence[str]) -> list[str]:
    counts: dict[str, int] = dict.fromkeys(KNOWLEDGE, 0)
    for role in roles:
        if kind_of(role) in counts:
            counts[kind_of(role)] += 1
    names: list[str] = []
    for role in roles:
        kind, _, number = role.rstrip("]").partition("[")
        if kind in counts:
            i, n = int(number), counts[kind]
            where = "last" if i == n - 1 else "first" if i == 0 else "middle"
            names.append(f"{kind} {where}")
        else:
            names.append(f"{kind} {number}".rstrip())
    return names
