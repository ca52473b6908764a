"""How well attribution patching follows the exact grid, measured on some pairs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32
from scipy.stats import rankdata

from interp.errors import ConfigError
from interp.models.language_model import LanguageModel
from interp.patching.attribution import attribute
from interp.patching.prompt_pairs import PromptPairs
from interp.patching.trace import trace
from interp.results.patch_map import Direction, PatchMap


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Screening:
    """An estimated map, and how well it follows the exact one on some pairs.

    Attributes:
        estimate: Of all pairs.
        exact: Of the sample.
        sample: Which pairs those are.
        pearson: Correlation of estimated and exact effects over the cells of the
            sample that are not known beforehand, by unit.
        spearman: The same of their ranks.
    """

    estimate: PatchMap
    exact: PatchMap
    sample: tuple[int, ...]
    pearson: Float32[np.ndarray, " unit"]
    spearman: Float32[np.ndarray, " unit"]


def screen(
    model: LanguageModel,
    pairs: PromptPairs,
    *,
    sites: str | Sequence[str] = ("resid_post",),
    positions: Sequence[str] | None = None,
    direction: Direction = "denoise",
    source: LanguageModel | None = None,
    sample: int = 8,
    seed: int = 0,
    token_budget: int | None = None,
) -> Screening:
    """The estimate for all pairs, and its correlation with the exact grid on a sample.

    For the other arguments and the errors see `trace`.

    Args:
        model: The model that runs.
        pairs: The prompts.
        sites: What is patched in every layer.
        positions: The roles of the grid positions; all by default.
        direction: Which prompt's values go into the other's run.
        source: Another model of the same shape whose values are put in.
        sample: How many pairs are traced exactly.
        seed: Decides which.
        token_budget: The most tokens in a batch.

    Raises:
        ConfigError: If the sample is empty.

    Example:
        >>> from tiny import tiny_model
        >>> import interp
        >>> pairs = PromptPairs(
        ...     clean_ids=((5, 6, 7, 8),) * 2, corrupted_ids=((5, 9, 7, 8),) * 2,
        ...     positive=(3, 3), negative=(4, 4), start=(1, 1), groups=("a", "b"),
        ...     roles=(("subject", "template", "last"),) * 2,
        ... )
        >>> found = screen(interp.load(tiny_model("llama")), pairs, sample=1)
        >>> found.pearson.shape  # a correlation for each site
        (1,)
    """
    chosen = _drawn(len(pairs), sample, seed)
    estimate = attribute(
        model,
        pairs,
        sites=sites,
        positions=positions,
        direction=direction,
        source=source,
        token_budget=token_budget,
    )
    exact = trace(
        model,
        pairs.subset(chosen),
        sites=sites,
        positions=positions,
        direction=direction,
        source=source,
        token_budget=token_budget,
    )
    crosses = source is not None and source.hf is not model.hf
    pearson, spearman = _correlations(
        estimate, exact, pairs, chosen, all_positions=crosses
    )
    found = "; ".join(
        f"{unit} {r:.2f} and {rho:.2f}"
        for unit, r, rho in zip(estimate.units, pearson, spearman, strict=True)
    )
    note = (
        "Pearson and Spearman correlation with the exact cells of "
        f"{len(chosen)} pairs: {found}."
    )
    return Screening(
        estimate=replace(estimate, notes=(*estimate.notes, note)),
        exact=exact,
        sample=tuple(chosen),
        pearson=pearson,
        spearman=spearman,
    )


def _drawn(n_pairs: int, sample: int, seed: int) -> list[int]:
    if sample < 1:
        raise ConfigError(f"sample is {sample}.", expected="At least one pair.")
    draw = np.random.default_rng(seed)
    return sorted(
        draw.choice(n_pairs, size=min(sample, n_pairs), replace=False).tolist()
    )


def _correlations(
    estimate: PatchMap,
    exact: PatchMap,
    pairs: PromptPairs,
    chosen: Sequence[int],
    *,
    all_positions: bool,
) -> tuple[np.ndarray, np.ndarray]:
    width = exact.ld.shape[-1]
    first = np.array(
        [
            0 if all_positions else pairs.first_difference[i] - pairs.start[i]
            for i in chosen
        ]
    )
    # What the invariants give would make any estimate look good.
    open_cells = np.arange(width) >= first[:, None]
    pearson, spearman = [], []
    for unit in range(len(exact.units)):
        true = exact.ld[unit] - exact.unpatched_ld[:, None, None]
        guess = estimate.ld[unit, list(chosen), :, :width]
        guess = guess - estimate.unpatched_ld[list(chosen), None, None]
        kept = open_cells[:, None, :] & ~np.isnan(true)
        kept[:, -1] = False
        x, y = true[kept].astype(float), guess[kept].astype(float)
        if len(x) < 3 or not x.std() or not y.std():
            pearson.append(np.nan)
            spearman.append(np.nan)
            continue
        pearson.append(np.corrcoef(x, y)[0, 1])
        spearman.append(np.corrcoef(rankdata(x), rankdata(y))[0, 1])
    return np.array(pearson, dtype=np.float32), np.array(spearman, dtype=np.float32)
