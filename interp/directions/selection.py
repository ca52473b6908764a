"""Choosing a refusal direction from a table of scores, and how stable the choice is.

Works on plain tables: the scores may come from anywhere.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from interp.errors import ConfigError, DataError, ShapeError


MAX_KL = 0.1
MIN_INDUCE = 0.0
# Later layers are too close to the output to be more than the first token of an answer.
LAYER_SHARE = 0.8
SCORES = ("bypass", "induce", "kl")
COLUMNS = ("position", "layer", *SCORES)
# Why a candidate falls by its scores.
NOT_LOWERED = "does not lower refusal when ablated"
CHANGES = "changes harmless answers when ablated"
NOT_INDUCED = "does not induce refusal when added"
TOP = 5
LEVEL = 0.95
# Bounds the memory of one block of resamples: an array of this many numbers.
ITEMS_PER_BLOCK = 2_000_000

Table = pd.DataFrame | Mapping[str, Sequence[object] | np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionRule:
    """What a candidate direction must reach to be used.

    Attributes:
        n_layers: How many layers the model has.
        max_kl: Ablation changes harmless answers by at most this, in nats.
        min_induce: Addition brings harmless prompts to at least this refusal score.
        layer_share: Layers from `int(layer_share * n_layers)` on are left out.
        max_bypass: Ablation brings harmful prompts below this refusal score, such as
            the score of the unchanged model; None for no such limit.
    """

    n_layers: int
    max_kl: float = MAX_KL
    min_induce: float = MIN_INDUCE
    layer_share: float = LAYER_SHARE
    max_bypass: float | None = None

    @property
    def first_late_layer(self) -> int:
        """Layers from this one on are left out."""
        return int(self.layer_share * self.n_layers)

    def late_in_words(self) -> str:
        """Why a candidate of a late layer falls."""
        return f"in the last layers (from {self.first_late_layer} on)"

    def in_words(self) -> str:
        """The rule as a sentence."""
        limit = "" if self.max_bypass is None else f"bypass < {self.max_bypass:.4g}, "
        return (
            f"layer < {self.first_late_layer} of {self.n_layers}, {limit}"
            f"kl <= {self.max_kl:.4g}, induce >= {self.min_induce:.4g}; of the rest the"
            " lowest bypass"
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Selection:
    """What a rule made of a table of candidates.

    Attributes:
        table: The candidates as they were given, with the columns `reason` (why it
            fell; empty for those that passed) and `rank` (1 for the chosen one; NaN for
            those that fell).
        chosen: The row of the chosen candidate, or None: no usable direction.
        top: The rows of the best candidates that passed, best first.
        rule: What was asked of them.
    """

    table: pd.DataFrame
    chosen: int | None
    top: tuple[int, ...]
    rule: SelectionRule

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why each candidate fell; empty for those that passed."""
        return tuple(self.table["reason"])

    def in_words(self) -> str:
        """What was chosen or why nothing was, in a sentence."""
        fallen = [reason for reason in self.reasons if reason]
        counted = {reason: fallen.count(reason) for reason in dict.fromkeys(fallen)}
        listed = "; ".join(f"{n} {reason}" for reason, n in counted.items())
        n = len(self.table)
        if self.chosen is None:
            return f"No usable direction: all {n} candidates fell ({listed or 'none'})."
        row = self.table.iloc[self.chosen]
        said = ", ".join(f"{name} {float(row[name]):.3g}" for name in SCORES)
        fell = f"; {len(fallen)} fell: {listed}" if fallen else ""
        return (
            f"Layer {int(row['layer'])}, position {int(row['position'])} was chosen of"
            f" {n} candidates ({said}{fell})."
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stability:
    """How a choice would have come out on other validation prompts.

    Attributes:
        shares: In which share of the resamples each candidate is chosen.
        none: In which share of them there is no usable direction.
        intervals: Percentile interval of the chosen candidate's three scores, by name;
            empty if none was chosen.
        resamples: How many resamples.
    """

    shares: Float[np.ndarray, " candidate"]
    none: float
    intervals: Mapping[str, tuple[float, float]]
    resamples: int


def select(
    table: Table,
    *,
    n_layers: int | None = None,
    max_kl: float = MAX_KL,
    min_induce: float = MIN_INDUCE,
    layer_share: float = LAYER_SHARE,
    max_bypass: float | None = None,
    top: int = TOP,
) -> Selection:
    """The candidate whose ablation bypasses refusal best, with a reason for each other.

    Dropped are, in this order, candidates that the table's own column `reason` gives
    up, those with a NaN score, of a late layer, whose ablation does not lower refusal
    (only with `max_bypass`), changes harmless answers, or whose addition does not
    induce refusal. Of the rest the lowest bypass is chosen; ties go to the smaller
    position (-n ... -1), then to the earlier layer.

    Args:
        table: One row per candidate: `position` (counted from the end of the prompt),
            `layer`, and mean scores on validation prompts: `bypass` (refusal score of
            harmful ones with the direction ablated), `induce` (of harmless ones with it
            added), `kl` (change of harmless answers when ablated). Other columns stay.
        n_layers: Layers of the model; by default one more than the largest in the
            table, which is wrong if late layers were not scored.
        max_kl: Above this a candidate falls.
        min_induce: Below this a candidate falls.
        layer_share: Layers from this share of the depth on fall.
        max_bypass: At or above this a candidate falls; not part of the published rule.
        top: How many of the best to name.

    Returns:
        The selection; where nothing passes its `chosen` is None.

    Raises:
        DataError: If a column is missing or holds something else than numbers.

    Source:
        Arditi et al. (2024), arXiv:2406.11717, appendix C.

    Example:
        >>> found = select({"position": [-2, -1], "layer": [1, 1], "bypass": [-3, -5],
        ...     "induce": [2.0, -1.0], "kl": [0.01, 0.01]}, n_layers=4)
        >>> found.chosen, found.reasons
        (0, ('', 'does not induce refusal when added'))
    """
    rows = _checked(table)
    if n_layers is None:
        n_layers = int(np.max(rows["layer"].to_numpy(), initial=0)) + 1
    if n_layers < 1 or not 0 < layer_share <= 1 or top < 1:
        raise ConfigError(
            f"n_layers is {n_layers}, layer_share {layer_share} and top {top}.",
            expected="At least one layer, a share in (0, 1], at least one candidate.",
        )
    rule = SelectionRule(
        n_layers=n_layers,
        max_kl=max_kl,
        min_induce=min_induce,
        layer_share=layer_share,
        max_bypass=max_bypass,
    )
    rows["reason"] = [_reason(row, rule) for row in rows.to_dict("records")]
    passed = np.flatnonzero(rows["reason"] == "")
    keys = [rows[name].to_numpy(np.float64)[passed] for name in _RANKED]
    order = passed[np.lexsort(keys[::-1])].tolist()
    ranks = np.full(len(rows), np.nan)
    ranks[order] = np.arange(1, len(order) + 1)
    rows["rank"] = ranks
    return Selection(
        table=rows,
        chosen=order[0] if order else None,
        top=tuple(order[:top]),
        rule=rule,
    )


def stability(
    selection: Selection,
    *,
    bypass: Float[np.ndarray, "..."],
    induce: Float[np.ndarray, "..."],
    kl: Float[np.ndarray, "..."],
    resamples: int = 1000,
    seed: int = 0,
) -> Stability:
    """How often each candidate would be chosen on other validation prompts (bootstrap).

    Harmful and harmless prompts are resampled with replacement, each resample is judged
    by the same rule. Candidates that fell for their place or by a reason of the table
    fall in every resample.

    Args:
        selection: What `select` gave for the mean scores.
        bypass: The scores of every candidate, in the order of the table, for each
            harmful validation prompt.
        induce: The same for each harmless one.
        kl: The same for each harmless one.
        resamples: How many resamples.
        seed: Of the draws.

    Raises:
        ShapeError: If the scores do not fit the table or each other.

    Example:
        >>> scores = {"bypass": np.array([[-3.0, -5.0]]), "induce": np.ones((1, 2)),
        ...     "kl": np.zeros((1, 2))}
        >>> means = {name: one.mean(1) for name, one in scores.items()}
        >>> found = select({"position": [-1], "layer": [0], **means}, n_layers=2)
        >>> stability(found, **scores).shares
        array([1.])
    """
    held = {"bypass": bypass, "induce": induce, "kl": kl}
    held = {name: np.asarray(rows, np.float64) for name, rows in held.items()}
    _check_scores(held, selection)
    rule, table = selection.rule, selection.table
    if not len(table):
        return Stability(
            shares=np.zeros(0), none=1.0, intervals={}, resamples=resamples
        )
    hopeless = np.array(
        [reason not in {*_SCORE_REASONS, ""} for reason in selection.reasons], bool
    )
    # Ties go to the smaller position and the earlier layer: argmin takes the first.
    order = np.lexsort([table["layer"].to_numpy(), table["position"].to_numpy()])
    wins = np.zeros(len(table))
    draws: dict[str, list[np.ndarray]] = {name: [] for name in held}
    for means in _resampled(held, resamples, seed):
        judged = np.where(_passes(means, rule, hopeless), means["bypass"], np.inf)
        best = order[judged[order].argmin(axis=0)]
        np.add.at(wins, best[np.isfinite(judged).any(axis=0)], 1)
        if selection.chosen is not None:
            for name in held:
                draws[name].append(means[name][selection.chosen])
    intervals: dict[str, tuple[float, float]] = {}
    if selection.chosen is not None:
        tails = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
        for name, values in draws.items():
            low, high = np.quantile(np.concatenate(values), tails)
            intervals[name] = float(low), float(high)
    return Stability(
        shares=wins / resamples,
        none=float(1 - wins.sum() / resamples),
        intervals=intervals,
        resamples=resamples,
    )


_RANKED = ("bypass", "position", "layer")
_NOT_A_NUMBER = "a score is not a number"
# Reasons that another draw of validation prompts can lift.
_SCORE_REASONS = (NOT_LOWERED, CHANGES, NOT_INDUCED)


def _reason(row: Mapping[str, object], rule: SelectionRule) -> str:
    own = row.get("reason")
    if isinstance(own, str) and own:
        return own
    bypass, induce, kl = (float(str(row[name])) for name in SCORES)
    if np.isnan([bypass, induce, kl]).any():
        return _NOT_A_NUMBER
    if int(str(row["layer"])) >= rule.first_late_layer:
        return rule.late_in_words()
    if rule.max_bypass is not None and bypass >= rule.max_bypass:
        return NOT_LOWERED
    if kl > rule.max_kl:
        return CHANGES
    if induce < rule.min_induce:
        return NOT_INDUCED
    return ""


def _passes(
    means: Mapping[str, Float[np.ndarray, "candidate draw"]],
    rule: SelectionRule,
    hopeless: Bool[np.ndarray, " candidate"],
) -> Bool[np.ndarray, "candidate draw"]:
    passes = (means["kl"] <= rule.max_kl) & (means["induce"] >= rule.min_induce)
    if rule.max_bypass is not None:
        passes &= means["bypass"] < rule.max_bypass
    return passes & np.isfinite(means["bypass"]) & ~hopeless[:, None]


def _resampled(
    scores: Mapping[str, np.ndarray], resamples: int, seed: int
) -> Iterator[dict[str, np.ndarray]]:
    """The mean scores of resampled prompts, [candidate, draw], in blocks of draws."""
    rng = np.random.default_rng(seed)
    n = {name: rows.shape[1] for name, rows in scores.items()}
    block = max(
        1, ITEMS_PER_BLOCK // max(1, max(len(rows) for rows in scores.values()))
    )
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        weights = {
            kind: rng.multinomial(n[name], np.full(n[name], 1 / n[name]), size=size)
            for kind, name in (("harmful", "bypass"), ("harmless", "induce"))
        }
        yield {
            name: rows
            @ weights["harmful" if name == "bypass" else "harmless"].T
            / n[name]
            for name, rows in scores.items()
        }


def _checked(table: Table) -> pd.DataFrame:
    rows = pd.DataFrame(table).reset_index(drop=True)
    missing = [name for name in COLUMNS if name not in rows]
    if missing:
        raise DataError(
            f"The table of candidates has no column {missing[0]!r}; it has"
            f" {', '.join(map(str, rows.columns)) or 'none'}.",
            expected=f"Columns: {', '.join(COLUMNS)}.",
            remedy="Rename the columns.",
        )
    for name in COLUMNS:
        numbers = np.asarray(pd.to_numeric(rows[name], errors="coerce"), np.float64)
        wrong = np.isnan(numbers) & ~np.asarray(pd.isna(rows[name]))
        if name in ("position", "layer"):
            wrong = np.isnan(numbers) | (numbers % 1 != 0)
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            raise DataError(
                f"The {name} of candidate {at} is {rows[name].tolist()[at]!r}.",
                expected="Scores are numbers, positions and layers whole numbers.",
                remedy="Correct the row or leave it out.",
            )
        rows[name] = numbers if name in SCORES else numbers.astype(np.int64)
    return rows


def _check_scores(scores: Mapping[str, np.ndarray], selection: Selection) -> None:
    for name, rows in scores.items():
        if rows.ndim != 2 or len(rows) != len(selection.table) or not rows.shape[1]:
            raise ShapeError(
                f"The scores {name!r} have the shape {list(rows.shape)}.",
                expected=f"[{len(selection.table)}, prompt]: the table has"
                f" {len(selection.table)} candidates.",
            )
    if scores["induce"].shape != scores["kl"].shape:
        raise ShapeError(
            f"'induce' has the shape {list(scores['induce'].shape)} and 'kl'"
            f" {list(scores['kl'].shape)}.",
            expected="Both are scores of the same harmless prompts.",
        )
