"""Controls of a sweep: which to run, random directions, random labels per type."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.errors import ConfigError, DataError
from interp.statistics import group_codes
from probes.evaluate import aurocs, held_out
from probes.folds import Groups, assign_folds, training_masks
from probes.linear import Fit
from probes.reading import Rows


BAND = 0.95
CONTROL_DRAWS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """Which controls a sweep runs; the defaults are those that cost next to nothing.

    Attributes:
        permutations: Shuffles of the labels for the p-value; 0 for none.
        permutation_fit: What is fitted again to them; by default closed forms, the best
            of which counts: the difference of means and two ridges.
        random_directions: How many directions of each kind; 0 for none.
        selectivity: Whether to fit the control task as well.
        types: The type of each example for the control task, as the last token or the
            entity; the groups if left out.
        mdl: Whether to measure the online description length.
        texts: The texts, for the baselines from words and length; those of captured
            activations are taken by themselves.
        baselines: Scores of anything else by name, as `{"log-probability":
            text_log_probability(model, prompts)}`; which end is positive is learnt from
            the training examples of each fold.
        references: Other activations of the same examples by name, as those of the site
            `embed` or of an `untrained_like` model, fitted on the same folds.
        erasure: Whether to fit again after LEACE and after INLP.
        resamples: Bootstrap samples of the intervals.
    """

    permutations: int = 200
    permutation_fit: Fit | None = None
    random_directions: int = 200
    selectivity: bool = False
    types: Sequence[object] | None = None
    mdl: bool = False
    texts: Sequence[str] | None = None
    baselines: Mapping[str, Sequence[float] | np.ndarray] = field(default_factory=dict)
    references: Mapping[str, Rows] = field(default_factory=dict)
    erasure: bool = False
    resamples: int = 1000

    def __post_init__(self) -> None:
        counts = (self.permutations, self.random_directions, self.resamples - 1)
        if min(counts) < 0:
            raise ConfigError(
                f"Controls with permutations={self.permutations}, random_directions="
                f"{self.random_directions}, resamples={self.resamples} were asked for.",
                expected="0 or more, and at least one resample.",
            )

    @classmethod
    def full(cls, *, types: Sequence[object] | None = None) -> "Controls":
        """Every control, the slow ones included."""
        return cls(
            permutations=1000, selectivity=True, mdl=True, erasure=True, types=types
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RandomBand:
    """What 95 % of random directions stay below, whichever end is called positive."""

    isotropic: Float[np.ndarray, " site"]
    covariance: Float[np.ndarray, " site"]


def random_band(
    rows: Float[Tensor, "site example d_model"],
    labels: Bool[np.ndarray, " example"],
    *,
    count: int,
    seed: int = 0,
) -> RandomBand:
    """The AUROC that random directions reach, isotropic and from the covariance.

    Args:
        rows: The activations.
        labels: Which examples are positive.
        count: How many directions of each kind.
        seed: Feeds them; every site gets the same draws.
    """
    generator = torch.Generator().manual_seed(seed)
    n, d_model = rows.shape[1:]
    plain = torch.randn(count, d_model, generator=generator).to(rows.device)
    mixing = torch.randn(count, n, generator=generator).to(rows.device)
    found = []
    for site in rows:
        centred = site.float() - site.float().mean(0)
        # A random mixture of centred examples has their covariance.
        for directions in (plain, mixing @ centred):
            scores = (directions @ centred.mT).cpu().numpy()
            values = aurocs(scores, np.broadcast_to(labels, scores.shape))
            found.append(np.quantile(np.maximum(values, 1 - values), BAND))
    isotropic, covariance = np.array(found).reshape(-1, 2).T
    return RandomBand(isotropic=isotropic, covariance=covariance)


def selectivity(
    rows: Float[Tensor, "site example d_model"],
    labels: Bool[np.ndarray, " example"],
    types: Groups,
    *,
    fit: Fit,
    n_folds: int = 5,
    seed: int = 0,
) -> Float[np.ndarray, " site"]:
    """Accuracy on the labels minus accuracy on labels drawn at random for each type.

    A probe that merely remembers types does as well on both. So both are measured on
    folds that cut through types.

    Args:
        rows: The activations.
        labels: Which examples are positive.
        types: The type of each example; types must repeat.
        fit: What is fitted.
        n_folds: How many folds.
        seed: Feeds folds and control labels.

    Raises:
        DataError: If hardly any type occurs twice, or there is one type only.
        ShapeError: If types and labels disagree in length.

    Source:
        Hewitt & Liang (2019), arXiv:1909.03368.
    """
    codes = group_codes(types, labels.size)
    sizes = np.bincount(codes)
    if sizes.size < 2 or (sizes > 1).mean() < 0.5:
        raise DataError(
            f"The {labels.size} examples have {sizes.size} types,"
            f" {int((sizes > 1).sum())} of which occur more than once.",
            expected="A control task needs several types, most of them repeated.",
            remedy="Pass types=, for example the last token or the entity.",
        )
    rng = np.random.default_rng(seed)
    tasks, folds = [labels], [assign_folds(labels, n_folds=n_folds, seed=seed)]
    while len(tasks) <= CONTROL_DRAWS:
        control = _balanced(sizes.size, rng)[codes]
        tasks.append(control)
        folds.append(assign_folds(control, n_folds=n_folds, seed=seed))
    masks = [training_masks(f, [(k,) for k in range(n_folds)]) for f in folds]
    probe = fit(
        rows,
        torch.from_numpy(np.repeat(np.stack(tasks), n_folds, axis=0)),
        weights=torch.from_numpy(np.concatenate(masks)).float(),
    )
    logits = probe.logits(rows).cpu().numpy()
    logits = logits.reshape(len(rows), len(tasks), n_folds, -1)
    accuracy = np.stack(
        [
            ((held_out(logits[:, k], folds[k]) > 0) == task).mean(-1)
            for k, task in enumerate(tasks)
        ]
    )
    return accuracy[0] - accuracy[1:].mean(0)


def _balanced(n: int, rng: np.random.Generator) -> Bool[np.ndarray, " type"]:
    """Random labels, half of them positive, so that both classes occur."""
    return rng.permutation(np.arange(n) % 2 == 0)
