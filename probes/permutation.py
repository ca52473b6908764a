"""P-values of probes from refits on shuffled labels.

Shuffling the labels under fixed held-out scores would ignore that the scores came from
those labels. Here every shuffle is fitted again, all of them in one product, and the
statistic of the observed labels is one more row of the same computation: that makes the
p-value exact whatever the folds are, and whatever is fitted.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.directions.shuffling import dealt_labels, exchangeable
from interp.errors import ConfigError
from interp.statistics import average_ranks, group_codes
from probes.evaluate import aurocs, held_out
from probes.folds import Groups
from probes.linear import Fit
from probes.p_values import TIE


# Bounds the memory of one product: shuffles times folds times examples.
VALUES_AT_ONCE = 20_000_000
# With more of the shuffles than this alike, they test nothing.
MOST_ALIKE = 0.5
# In units of the mean variance over axes: one ridge for rows that are hardly more than
# dimensions, and one for a truth on an axis much narrower than the widest.
PENALTIES = (1e-2, 1e-5)
CLOSED_FORMS = "the better of difference of means and ridge"
SMALLEST = 1e-30


def shuffles(
    labels: Bool[np.ndarray, " example"],
    *,
    groups: Groups | None = None,
    folds: Int[np.ndarray, " example"] | None = None,
    count: int,
    seed: int = 0,
) -> Bool[np.ndarray, "shuffle example"]:
    """Labels in other orders that are as likely if labels do not matter.

    Examples of a group depend on each other. So groups of one size exchange their
    labels as a whole, and labels are shuffled within each group; a group with one label
    keeps having one. Folds that were balanced by label stay so: nothing crosses them.

    Args:
        labels: The observed labels.
        groups: The group of each example.
        folds: The fold of each example; no group may be in two.
        count: How many shuffles.
        seed: Feeds them.

    Raises:
        ConfigError: If no shuffle is asked for.
        ShapeError: If groups and labels disagree in length.

    Source:
        Winkler et al. (2015), "Multi-level block permutation".

    Example:
        >>> shuffles(np.array([True, False, False]), count=5).sum(axis=1).tolist()
        [1, 1, 1, 1, 1]
    """
    if count < 1:
        raise ConfigError(f"{count} shuffles were asked for.", expected="1 or more.")
    labels = np.asarray(labels, dtype=bool)
    members = exchangeable(group_codes(groups, labels.size), folds=folds)
    return dealt_labels(labels, members, count=count, seed=seed)


def held_out_p(
    scores: Float[np.ndarray, "*batch example"],
    labels: Bool[np.ndarray, " example"],
    *,
    groups: Groups | None = None,
    permutations: int = 999,
    seed: int = 0,
) -> Float[np.ndarray, "*batch"]:
    """How often shuffled labels give scores of held-out examples as high an AUROC.

    The scores stay as they are: they are of examples that no fit has seen. Labels are
    shuffled as in `shuffles`, since examples of a group depend on each other. NaN where
    groups of one label and of different sizes have nothing to exchange.

    Args:
        scores: The last axis runs over examples.
        labels: Which examples are positive.
        groups: The group of each example.
        permutations: How many shuffles.
        seed: Feeds them.

    Raises:
        ShapeError: If groups and labels disagree in length.

    Source:
        Phipson & Smyth (2010); Winkler et al. (2015).

    Example:
        >>> labels = np.arange(20) > 9
        >>> float(held_out_p(np.arange(20.0), labels, permutations=99))
        0.01
    """
    orders = shuffles(labels, groups=groups, count=permutations, seed=seed)
    shape = scores.shape[:-1]
    if (orders == labels).all(1).mean() > MOST_ALIKE:
        return np.full(shape, np.nan)
    # With as many positives everywhere, AUROCs are in the order of their rank sums.
    ranks = average_ranks(np.asarray(scores, dtype=np.float64))
    observed = ranks @ labels.astype(np.float64)
    reached = (ranks @ orders.T.astype(np.float64) >= observed[..., None] - TIE).sum(-1)
    return np.asarray((1 + reached) / (1 + permutations))


def shuffled_aurocs(
    rows: Float[Tensor, "site example d_model"],
    labels: Bool[np.ndarray, "shuffle example"],
    folds: Int[np.ndarray, " example"],
    *,
    fit: Fit | None = None,
) -> Float[np.ndarray, "shuffle site"]:
    """Cross-validated AUROC under every row of labels.

    Args:
        rows: The activations.
        labels: Rows of labels.
        folds: The fold of each example, counted from 0.
        fit: What is fitted; by default the best AUROC of `closed_form_scores` counts.
    """
    found = []
    for site in rows:
        scores = (
            closed_form_scores(site, labels, folds)
            if fit is None
            else _fitted_scores(fit, site, labels, folds)[None]
        )
        found.append(np.max([aurocs(one, labels) for one in scores], axis=0))
    return np.stack(found, axis=1)


def closed_form_scores(
    rows: Float[Tensor, "example d_model"],
    labels: Bool[np.ndarray, "shuffle example"],
    folds: Int[np.ndarray, " example"],
) -> Float[np.ndarray, "form shuffle example"]:
    """Held-out scores under every row of labels: difference of means, and two ridges.

    The difference of means is the best where the axes of the activations are equally
    wide, and sees nothing along an axis much narrower than others, as ridges do. All
    are linear in the labels: what is solved for a fold serves all of them. Scores are
    projections from the training mean.

    Args:
        rows: The activations of one site.
        labels: Rows of labels.
        folds: The fold of each example, counted from 0.

    Source:
        Hastie, Tibshirani & Friedman (2009), "The Elements of Statistical Learning",
        section 3.4.1, for ridge regression on labels.
    """
    exact = rows.double() - rows.double().mean(0)
    n, d_model = exact.shape
    # Products of examples or of dimensions, whichever are fewer; once for all folds.
    dual = n <= d_model
    products = exact @ exact.mT if dual else exact.mT @ exact
    given = torch.from_numpy(labels).to(exact)
    found = np.empty((1 + len(PENALTIES), *labels.shape), dtype=np.float32)
    for fold in range(int(folds.max()) + 1):
        kept, out = (
            torch.from_numpy(np.flatnonzero(at)).to(exact.device)
            for at in (folds != fold, folds == fold)
        )
        signs = given[:, kept] - given[:, kept].mean(1, keepdim=True)
        if dual:
            centred = products[kept]
            centred = centred - centred[:, kept].mean(1, keepdim=True)
            centred = centred - centred.mean(0)
            gram, onto = centred[:, kept], centred[:, out]
        else:
            centre = exact[kept].mean(0)
            held = exact[out]
            gram = products - held.mT @ held - len(kept) * torch.outer(centre, centre)
            onto, signs = (held - centre).mT, signs @ (exact[kept] - centre)
        maps = torch.stack((onto, *_ridges(gram, onto, min(len(kept), d_model))))
        scores = torch.matmul(signs, maps)
        # Scores of folds are ranked together: the difference of means has its length.
        share = given[:, kept].mean(1)
        scores[0] /= (len(kept) * share * (1 - share)).clamp_min(TIE)[:, None]
        found[:, :, out.cpu().numpy()] = scores.cpu().numpy()
    return found


def _ridges(gram: Tensor, onto: Tensor, rank: int) -> Iterator[Tensor]:
    """For each penalty, what takes the place of `onto` in the difference of means."""
    mean_variance = gram.trace() / rank
    for share in PENALTIES:
        penalised = gram.clone()
        # Without any variance all scores are 0, whatever the penalty is.
        penalised.diagonal().add_((share * mean_variance).clamp_min(SMALLEST))
        yield torch.cholesky_solve(onto, torch.linalg.cholesky(penalised))


def _fitted_scores(
    fit: Fit,
    rows: Tensor,
    labels: Bool[np.ndarray, "shuffle example"],
    folds: Int[np.ndarray, " example"],
) -> Float[np.ndarray, "shuffle example"]:
    """Held-out logits of a fit under every row of labels."""
    n_folds = int(folds.max()) + 1
    masks = torch.from_numpy(folds != np.arange(n_folds)[:, None])
    at_once = max(1, VALUES_AT_ONCE // (folds.size * n_folds))
    parts = []
    for start in range(0, len(labels), at_once):
        block = torch.from_numpy(labels[start : start + at_once])
        probe = fit(
            rows,
            block.repeat_interleave(n_folds, 0),
            weights=masks.repeat(len(block), 1).float(),
        )
        logits = probe.logits(rows).detach().cpu().numpy()
        parts.append(held_out(logits.reshape(len(block), n_folds, -1), folds))
    return np.concatenate(parts)
