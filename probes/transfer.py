"""`transfer_matrix`: probes trained on one data set and judged on another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.errors import DataError, InterpError, ShapeError
from interp.provenance import ModelRecord, record
from interp.results.transfer import ALL_OTHERS, Centring, TransferMatrix
from interp.statistics import auroc_interval, mean_interval
from probes.design import FOLDS
from probes.evaluate import held_out
from probes.folds import Groups, assign_folds
from probes.linear import Fit
from probes.logistic import fit_logistic
from probes.loops import name_of
from probes.reading import (
    LabelValues,
    Reading,
    Rows,
    readings,
    stacks,
    truth_values,
)


def transfer_matrix(
    activations: Mapping[str, Rows],
    labels: Mapping[str, LabelValues],
    *,
    groups: Mapping[str, Groups] | None = None,
    fit: Fit = fit_logistic,
    centring: Centring = "inductive",
    resamples: int = 1000,
    seed: int = 0,
) -> TransferMatrix:
    """Every training set against every test set, at every site, with leave-one-out.

    `"inductive"` uses nothing of a test set: the training mean is taken out, which the
    intercept of a fit does by itself. `"transductive"` moves every data set, training
    and test alike, to its own mean first; that needs no labels, but many test examples
    at once, and is what published transfer results often do.

    Every call of `fit` gets the rows of all data sets, in the order of `activations`,
    and weights that say which of them to use. What a fit wants to know of each example
    besides (`affirmative` of `fit_ttpd`, `pairs` of `fit_ccs`) is set in that order
    with `functools.partial`.

    Args:
        activations: By data set, captured activations or an array `[example, d_model]`
            or `[example, layer, d_model]`; the same sites and positions in all.
        labels: By data set, which examples are positive.
        groups: By data set, what each example is about; kept whole by the folds of the
            diagonal and by the intervals.
        fit: One of the `fit_...` functions, or any function of that form.
        centring: Which mean is taken out of a data set.
        resamples: Bootstrap samples of the intervals.
        seed: Feeds folds and resamples.

    Raises:
        ShapeError: If the data sets have different sites, or lengths disagree.
        DataError: If there are fewer than two data sets, or none can be trained on.
        EmptyClassError: If a class has no example in a data set.

    Source:
        Marks & Tegmark (2023), arXiv:2310.06824; Bürger et al. (2024),
        arXiv:2407.12831.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> truth = np.arange(40) % 2 == 0
        >>> rows = {name: rng.normal(size=(40, 3)) for name in "ab"}
        >>> rows = {name: 4 * truth[:, None] + at for name, at in rows.items()}
        >>> found = transfer_matrix(rows, dict.fromkeys("ab", truth), resamples=50)
        >>> found.trains, bool((found.auroc > 0.9).all())
        (('a', 'b', 'all others'), True)
    """
    sets = {name: readings(given) for name, given in activations.items()}
    first = _alike(sets)
    parts = _parts(sets, labels, groups or {})
    notes: list[str] = []
    trainings = _trainings(parts, seed, notes)
    truth = np.concatenate([part.labels for part in parts])
    joined = [
        _joined([given[at] for given in sets.values()], centring)
        for at in range(len(first))
    ]
    stacked = [
        np.stack([_logits(rows, truth, one, fit, notes) for one in trainings])
        for rows in stacks(joined)
    ]
    scores = np.concatenate(stacked, axis=1)
    if np.isnan(scores).all():
        raise DataError("None of the data sets can be trained on.", expected=notes[0])
    names = tuple(sets)
    return TransferMatrix(
        fit=name_of(fit),
        centring=centring,
        trains=(*names, ALL_OTHERS),
        tests=names,
        sites=tuple(one.site for one in first),
        layers=np.array([one.layer for one in first], dtype=np.int32),
        positions=tuple(one.position for one in first),
        **_judged(scores, parts, resamples, seed),
        scores=scores,
        dataset_index=np.repeat(
            np.arange(len(parts), dtype=np.int32), [part.labels.size for part in parts]
        ),
        labels=truth,
        groups=_group_names(parts),
        notes=tuple(dict.fromkeys(notes)),
        provenance=record("transfer", models=_models(activations), seed=seed),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """One data set: its place among the rows of all, its labels and groups."""

    name: str
    rows: slice
    labels: Bool[np.ndarray, " example"]
    groups: Groups | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Training:
    """Fits that make up one row of the matrix.

    Attributes:
        name: What is trained on.
        masks: The examples of all data sets that each fit uses.
        fit_of: The fit whose logit each example gets.
    """

    name: str
    masks: Bool[np.ndarray, "fit example"]
    fit_of: Int[np.ndarray, " example"]


def _alike(sets: Mapping[str, Sequence[Reading]]) -> Sequence[Reading]:
    """The readings of the first data set, which those of the others must match."""
    if len(sets) < 2:
        raise DataError(
            f"{len(sets)} data set was given." if sets else "No data set was given.",
            expected="A transfer needs two or more.",
        )
    names = {
        name: [(one.site, one.position, one.rows.shape[-1]) for one in given]
        for name, given in sets.items()
    }
    first = next(iter(names))
    for name, found in names.items():
        if found != names[first]:
            raise ShapeError(
                f"The data sets {first!r} and {name!r} have different sites, positions"
                " or widths.",
                expected="The same in all.",
                remedy="Capture all of them with one sites= and one positions=.",
            )
    return sets[first]


def _parts(
    sets: Mapping[str, Sequence[Reading]],
    labels: Mapping[str, LabelValues],
    groups: Mapping[str, Groups],
) -> tuple[_Part, ...]:
    """The data sets with checked labels and groups, in order."""
    parts, start = [], 0
    for name, given in sets.items():
        n = len(given[0].rows)
        if name not in labels:
            raise DataError(
                f"The data set {name!r} has no labels.",
                expected=f"Labels are given for: {', '.join(map(str, labels))}.",
            )
        of_set = groups.get(name)
        if of_set is not None and len(of_set) != n:
            raise ShapeError(
                f"There are {len(of_set)} groups for the {n} examples of {name!r}.",
                expected="One group for each.",
            )
        truth = truth_values(labels[name], n)
        rows = slice(start, start + n)
        parts.append(_Part(name=name, rows=rows, labels=truth, groups=of_set))
        start += n
    return tuple(parts)


def _trainings(
    parts: Sequence[_Part], seed: int, notes: list[str]
) -> tuple[_Training, ...]:
    """One training for each data set and, last, for all others; may add notes."""
    n = parts[-1].rows.stop
    found = []
    for part in parts:
        inside = np.zeros(n, dtype=bool)
        inside[part.rows] = True
        masks, fit_of = [inside], np.zeros(n, dtype=np.int64)
        try:
            folds = assign_folds(
                part.labels, groups=part.groups, n_folds=FOLDS, seed=seed
            )
        except InterpError as error:
            notes.append(f"{part.name} is not judged on itself: {error}")
            # No fit: these examples have no score by a probe that did not see them.
            fit_of[part.rows] = -1
        else:
            for fold in range(FOLDS):
                kept = inside.copy()
                kept[part.rows] = folds != fold
                masks.append(kept)
            fit_of[part.rows] = folds + 1
        found.append(_Training(name=part.name, masks=np.stack(masks), fit_of=fit_of))
    outside, fit_of = np.ones((len(parts), n), dtype=bool), np.empty(n, dtype=np.int64)
    for index, part in enumerate(parts):
        outside[index, part.rows] = False
        fit_of[part.rows] = index
    found.append(_Training(name=ALL_OTHERS, masks=outside, fit_of=fit_of))
    return tuple(found)


def _joined(given: Sequence[Reading], centring: Centring) -> Reading:
    """The rows of one site of all data sets, one after the other."""
    rows = [one.rows for one in given]
    if centring == "transductive":
        rows = [(one.double() - one.double().mean(0)).to(one.dtype) for one in rows]
    first = given[0]
    return Reading(
        site=first.site,
        layer=first.layer,
        position=first.position,
        rows=torch.cat(rows),
    )


def _logits(
    rows: Float[Tensor, "site example d_model"],
    labels: Bool[np.ndarray, " example"],
    training: _Training,
    fit: Fit,
    notes: list[str],
) -> Float[np.ndarray, "site example"]:
    """Each example's logit by a fit that did not see it; NaN where there is none."""
    nothing = np.full(rows.shape[:2], np.nan, dtype=np.float32)
    try:
        probe = fit(
            rows,
            torch.from_numpy(labels),
            weights=torch.from_numpy(training.masks).float(),
        )
    except InterpError as error:
        # One data set without negations must not cost TTPD all the others.
        notes.append(f"Nothing is trained on {training.name}: {error}")
        return nothing
    logits = probe.logits(rows).detach().float().cpu().numpy()
    known = training.fit_of >= 0
    return np.where(known, held_out(logits, training.fit_of), nothing)


def _judged(
    scores: Float[np.ndarray, "train site example"],
    parts: Sequence[_Part],
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """AUROC and accuracy of every cell, with bounds, as fields of the result."""
    shape = (scores.shape[0], len(parts), scores.shape[1])
    names = ("auroc", "accuracy")
    fields = {
        f"{name}{end}": np.full(shape, np.nan, dtype=np.float32)
        for name in names
        for end in ("", "_lo", "_hi")
    }
    for index, part in enumerate(parts):
        inside = scores[..., part.rows]
        known = ~np.isnan(inside).any((1, 2))
        options: dict[str, Any] = {
            "groups": part.groups, "resamples": resamples, "seed": seed,
        }  # fmt: skip
        right = (inside[known] > 0) == part.labels
        for name, found in (
            ("auroc", auroc_interval(inside[known], part.labels, **options)),
            ("accuracy", mean_interval(right, **options)),
        ):
            fields[name][known, index] = found.estimate
            fields[f"{name}_lo"][known, index] = found.low
            fields[f"{name}_hi"][known, index] = found.high
    return fields


def _group_names(parts: Sequence[_Part]) -> tuple[str, ...]:
    """Groups told apart by data set; none if no data set has any."""
    if all(part.groups is None for part in parts):
        return ()
    return tuple(
        f"{part.name}: {row if part.groups is None else part.groups[row]}"
        for part in parts
        for row in range(part.labels.size)
    )


def _models(activations: Mapping[str, Rows]) -> tuple[ModelRecord, ...]:
    known = (getattr(given, "provenance", None) for given in activations.values())
    return tuple(dict.fromkeys(one for one in known if isinstance(one, ModelRecord)))
