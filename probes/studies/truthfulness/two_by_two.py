"""Each model's direction on each model's activations, at every layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from interp.data import Splits, Statements, bag_of_words_scores
from interp.results import CarriedOver
from interp.results.truthfulness import ROLES
from interp.statistics import (
    Interval,
    auroc,
    auroc_difference,
    auroc_interval,
    mean_interval,
)
from probes.permutation import held_out_p
from probes.studies.truthfulness import readout
from probes.studies.truthfulness.spec import TruthfulnessSpec


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """Readouts of two models: first axis whose direction, second whose activations.

    Attributes:
        scores: Projections of the test statements.
        auroc: Of the projections.
        accuracy: With the boundary of a logistic regression on training projections.
        validation: AUROC of each model's own direction on validation statements.
        best: The layer of each model that is best there.
        p: P-value of each model's own AUROC at that layer.
        cosine: Of the two directions.
        layer_cosines: Of the directions of all layers of both models with each other.
        carried: What each direction loses in the other model.
        surface: AUROC of the words alone.
    """

    scores: Float[np.ndarray, "two two layer example"]
    auroc: Interval
    accuracy: Interval
    validation: Float[np.ndarray, "two layer"]
    best: tuple[int, int]
    p: tuple[float, float]
    cosine: Float[np.ndarray, " layer"]
    layer_cosines: Float[np.ndarray, "two two layer layer"]
    carried: tuple[CarriedOver, ...]
    surface: Interval


def read_out(
    rows: Sequence[Float[Tensor, "example layer d_model"]],
    statements: Statements,
    splits: Splits,
    spec: TruthfulnessSpec,
) -> Table:
    """The table of two models.

    Args:
        rows: The activations of base and post.
        statements: What they are of.
        splits: Directions are fitted on training and judged on test statements.
        spec: How many resamples.
    """
    labels = [
        statements.labels[part] for part in (splits.train, splits.val, splits.test)
    ]
    groups = [statements.groups[i] for i in splits.test]
    parts = [readout.split_rows(each, splits) for each in rows]
    fits = [readout.fit(train, labels[0]) for train, _, _ in parts]
    projected = [
        [
            [readout.project(part, of.direction, into.centre) for part in three]
            for into, three in zip(fits, parts, strict=True)
        ]
        for of in fits
    ]
    train, val, test = (
        np.stack([np.stack([two[i] for two in of]) for of in projected])
        for i in range(3)
    )
    edge = readout.cut(train, labels[0])
    correct = (test > edge[..., None]) == labels[2]
    best = tuple(readout.best_layer(val[i, i], labels[1]) for i in range(2))
    options = {"groups": groups, "resamples": spec.resamples, "seed": spec.seed}
    surface = bag_of_words_scores(
        [statements.prompts[i] for i in splits.train],
        labels[0],
        [statements.prompts[i] for i in splits.test],
    )
    own = np.stack([test[i, i, best[i]] for i in range(2)])
    p = held_out_p(own, labels[2], groups=groups, seed=spec.seed)
    return Table(
        scores=test,
        auroc=auroc_interval(test, labels[2], **options),
        accuracy=mean_interval(correct, **options),
        validation=np.stack([auroc(val[i, i], labels[1]) for i in range(2)]),
        best=(best[0], best[1]),
        p=(float(p[0]), float(p[1])),
        cosine=readout.cosines(fits[0].direction, fits[1].direction),
        layer_cosines=readout.all_cosines([fit.direction for fit in fits]),
        carried=_carried(test, labels[2], options),
        surface=auroc_interval(surface, labels[2], **options),
    )


def _carried(
    scores: Float[np.ndarray, "two two layer example"],
    labels: Bool[np.ndarray, " example"],
    options: dict[str, Any],
) -> tuple[CarriedOver, ...]:
    """Each direction in the other model against that model's own, paired."""
    rows = []
    for i, direction in enumerate(ROLES):
        j = 1 - i
        found = auroc_difference(scores[i, j], scores[j, j], labels, **options)
        rows += [
            CarriedOver(
                direction=direction,
                activations=ROLES[j],
                layer=layer,
                difference=float(found.estimate[layer]),
                low=float(found.low[layer]),
                high=float(found.high[layer]),
            )
            for layer in range(scores.shape[2])
        ]
    return tuple(rows)
