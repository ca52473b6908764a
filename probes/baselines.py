"""What a probe must beat: words, length, other scores, other activations."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from interp.data import bag_of_words_scores
from interp.errors import ShapeError
from interp.results.sweep import Baseline
from interp.statistics import auroc_interval
from probes.controls import Controls
from probes.design import Design, chosen_probes, held_out_scores, nested_scores
from probes.evaluate import aurocs
from probes.folds import Groups
from probes.linear import Fit
from probes.reading import Rows, readings, stacks


def measured_baselines(
    texts: Sequence[str], design: Design, controls: Controls, *, fit: Fit, seed: int
) -> tuple[Baseline, ...]:
    """The baselines that the controls ask for, with their AUROC and interval.

    Args:
        texts: One for each example, or none.
        design: The examples and folds of the sweep.
        controls: What was asked for.
        fit: What is fitted on other activations.
        seed: Feeds the resamples.

    Raises:
        ShapeError: If something has not one value for each example.
    """
    n = design.labels.size
    if texts and len(texts) != n:
        raise ShapeError(
            f"There are {len(texts)} texts for {n} examples.",
            expected="One text for each.",
        )
    found: dict[str, np.ndarray] = {}
    if texts:
        found |= surface_baselines(texts, design.labels, design.folds)
    for name, given in controls.baselines.items():
        values = np.asarray(given, dtype=np.float64)
        if values.shape != (n,):
            raise ShapeError(
                f"The baseline {name!r} has the shape {list(values.shape)}.",
                expected=f"One score for each of the {n} examples.",
            )
        found[name] = oriented(values, design.labels, design.folds)
    found |= reference_scores(controls.references, design, fit=fit)
    return _judged(
        found, design.labels, design.groups, resamples=controls.resamples, seed=seed
    )


def surface_baselines(
    texts: Sequence[str],
    labels: Bool[np.ndarray, " example"],
    folds: Int[np.ndarray, " example"],
) -> dict[str, Float[np.ndarray, " example"]]:
    """Held-out scores from the words of the texts, and from their length.

    Args:
        texts: One for each example.
        labels: Which examples are positive.
        folds: The folds of the probes, so that both are judged alike.
    """
    words = np.empty(labels.size)
    lengths = np.array([len(text) for text in texts], dtype=np.float64)
    for fold in np.unique(folds):
        inside = folds == fold
        out, kept = np.flatnonzero(inside).tolist(), np.flatnonzero(~inside).tolist()
        words[out] = bag_of_words_scores(
            [texts[i] for i in kept], labels[kept], [texts[i] for i in out]
        )
    return {"bag of words": words, "length": oriented(lengths, labels, folds)}


def oriented(
    scores: Float[np.ndarray, " example"],
    labels: Bool[np.ndarray, " example"],
    folds: Int[np.ndarray, " example"],
) -> Float[np.ndarray, " example"]:
    """Scores turned so that more says positive, as the training examples have it.

    Args:
        scores: Any number for each example.
        labels: Which examples are positive.
        folds: The folds; each is turned by what the others say.

    Example:
        >>> labels = np.array([True, False, True, False])
        >>> oriented(np.array([1.0, 2, 1, 2]), labels, np.array([0, 0, 1, 1])).tolist()
        [0.5, -0.5, 0.5, -0.5]
    """
    found = np.empty(labels.size)
    for fold in np.unique(folds):
        out, kept = folds == fold, folds != fold
        means = [scores[kept & (labels == truth)].mean() for truth in (True, False)]
        found[out] = np.sign(means[0] - means[1]) * (scores[out] - scores[kept].mean())
    return found


def reference_scores(
    references: Mapping[str, Rows], design: Design, *, fit: Fit
) -> dict[str, Float[np.ndarray, " example"]]:
    """Held-out logits from each reference, on the folds of the probes.

    Of several sites each fold takes the one that its training examples choose; without
    that choice it is the best of all, which flatters the reference.

    Args:
        references: Activations of the same examples by name.
        design: The examples and folds of the sweep.
        fit: What is fitted.

    Raises:
        ShapeError: If a reference has another number of examples.
    """
    found = {}
    for name, activations in references.items():
        given = readings(activations)
        if len(given[0].rows) != design.labels.size:
            raise ShapeError(
                f"The reference {name!r} has {len(given[0].rows)} examples.",
                expected=f"The same {design.labels.size} as the sweep.",
            )
        masks = torch.from_numpy(design.masks).float()
        labels = torch.from_numpy(design.labels)
        logits = np.concatenate(
            [
                fit(rows, labels, weights=masks).logits(rows).detach().cpu().numpy()
                for rows in stacks(given)
            ]
        )
        scores = held_out_scores(logits, design)
        if design.pairs:
            chosen = chosen_probes(logits, design)
            found[name] = nested_scores(scores, chosen, design)
        else:
            alike = np.broadcast_to(design.labels, scores.shape)
            found[name] = scores[aurocs(scores, alike).argmax()]
    return found


def _judged(
    scores: Mapping[str, np.ndarray],
    labels: Bool[np.ndarray, " example"],
    groups: Groups | None,
    *,
    resamples: int,
    seed: int,
) -> tuple[Baseline, ...]:
    """Baselines with their AUROC and interval."""
    found = []
    for name, values in scores.items():
        interval = auroc_interval(
            values, labels, groups=groups, resamples=resamples, seed=seed
        )
        found.append(
            Baseline(
                name=name,
                auroc=float(interval.estimate),
                auroc_lo=float(interval.low),
                auroc_hi=float(interval.high),
            )
        )
    return tuple(found)
