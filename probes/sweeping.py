"""`sweep`: probes at every site and position, held-out scores, controls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from interp.provenance import ModelRecord, record
from interp.results.sweep import Erasure, ProbeSweep
from interp.statistics import auroc_interval
from probes.baselines import measured_baselines
from probes.controls import (
    Controls,
    random_band,
    selectivity,
)
from probes.design import (
    FOLDS,
    Design,
    chosen_probes,
    designed,
    held_out_scores,
    nested_scores,
)
from probes.erasing import erasures
from probes.evaluate import quality
from probes.folds import Groups
from probes.keeping import kept_scores, kept_texts
from probes.linear import Fit
from probes.logistic import fit_logistic
from probes.loops import name_of
from probes.mdl import online_compression
from probes.p_values import permutation_p_values
from probes.permutation import (
    CLOSED_FORMS,
    MOST_ALIKE,
    shuffled_aurocs,
    shuffles,
)
from probes.reading import (
    Captured,
    LabelValues,
    Reading,
    Rows,
    readings,
    stacks,
    truth_values,
)


# Below, how often intervals hold the truth is not known: `benchmarks/validity.py`
# simulates as few groups as these.
FEW_GROUPS = 8
CONTROL_FIELDS = ("random_auroc", "covariance_auroc", "selectivity", "mdl_compression")


def sweep(
    activations: Rows,
    labels: LabelValues,
    *,
    groups: Groups | None = None,
    fit: Fit = fit_logistic,
    folds: int | Sequence[object] | np.ndarray = FOLDS,
    controls: Controls | None = None,
    seed: int = 0,
) -> ProbeSweep:
    """Probes of every site and position with held-out scores and their controls.

    Every example is scored by a probe that saw neither it nor its group. The site is
    chosen on training examples alone, inside each fold; `nested_auroc` is what that
    choice achieves on the fold. All sites and folds go to `fit` together.

    Args:
        activations: Captured activations, or an array `[example, d_model]`,
            `[example, layer, d_model]` or `[example, layer, pos, d_model]`.
        labels: Which examples are positive.
        groups: What each example is about (a city, a template). Examples of a group are
            never on both sides of a split, and are resampled together.
        fit: One of the `fit_...` functions, or any function of that form.
        folds: How many folds, or the fold of each example (a data set, to leave one
            out). More than 20 different values are taken as groups.
        controls: Which controls; the cheap ones by default.
        seed: Feeds folds, shuffles, random directions and resamples.

    Raises:
        ShapeError: If lengths disagree.
        DataError: If a value is not finite, or the groups do not allow the folds.
        EmptyClassError: If a class has no example.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> labels = np.arange(60) % 2 == 0
        >>> rows = rng.normal(size=(60, 2, 4)).astype(np.float32)
        >>> rows[:, 1, 0] += 4 * labels
        >>> found = sweep(rows, labels)
        >>> found.best_site, bool(found.auroc[1] > 0.9)
        ('activations.1', True)
    """
    controls = Controls() if controls is None else controls
    given = readings(activations)
    design = designed(truth_values(labels, len(given[0].rows)), groups, folds, seed)
    notes: list[str] = []
    texts = _texts(activations, controls)
    baselines = measured_baselines(texts, design, controls, fit=fit, seed=seed)
    shuffled = _shuffled(design, controls, seed, notes)
    _note_few_groups(design, notes)
    measured: list[_Measured] = []
    erased: list[Erasure] = []
    for rows in stacks(given):
        if controls.erasure:
            at = sum(len(part.logits) for part in measured)
            erased += erasures(rows, design.labels, design.folds, fit=fit, first=at)
        measured.append(_measured(rows, design, fit, controls, seed, shuffled, notes))
    logits = np.concatenate([part.logits for part in measured])
    if not design.pairs:
        notes.append(f"With {design.n_folds} folds no site is chosen inside each.")
    null = np.concatenate([part.null for part in measured], axis=1)
    judged = _judged(logits, design, controls, seed)
    scored = kept_scores(judged["auroc"], judged["chosen"], design.labels.size, notes)
    judged["scores"] = judged["scores"][scored]
    return ProbeSweep(
        fit=name_of(fit),
        split=design.split,
        **_places(given),
        **judged,
        **_p_values(null),
        **_joined([part.controls for part in measured]),
        baselines=baselines,
        erasures=tuple(erased),
        labels=design.labels,
        groups=tuple(map(str, () if design.groups is None else design.groups)),
        folds=design.folds.astype(np.int32),
        examples=kept_texts(texts, design.labels.size, notes),
        scored=scored,
        permutation_fit=_permuted(controls) if len(shuffled) else "",
        notes=tuple(dict.fromkeys(notes)),
        provenance=record("sweep", models=_models(activations), seed=seed),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Measured:
    """What was measured on a stack of sites.

    Attributes:
        logits: By the fits of the design, for every example.
        null: AUROC of the observed labels, in row 0, and of shuffled ones.
        controls: Further fields of the result, one value per site; NaN for what was not
            asked for.
    """

    logits: Float[np.ndarray, "site fit example"]
    null: Float[np.ndarray, "shuffle_and_one site"]
    controls: Mapping[str, np.ndarray]


def _measured(
    rows: Float[Tensor, "site example d_model"],
    design: Design,
    fit: Fit,
    controls: Controls,
    seed: int,
    shuffled: Bool[np.ndarray, "shuffle_and_one example"],
    notes: list[str],
) -> _Measured:
    """Fit every fold of a stack of sites, and run its controls; may add notes."""
    labels = design.labels
    masks = torch.from_numpy(design.masks).float()
    probe = fit(rows, torch.from_numpy(labels), weights=masks)
    fields = dict.fromkeys(CONTROL_FIELDS, np.full(len(rows), np.nan, np.float32))
    if controls.random_directions:
        band = random_band(rows, labels, count=controls.random_directions, seed=seed)
        fields["random_auroc"] = _float(band.isotropic)
        fields["covariance_auroc"] = _float(band.covariance)
    if controls.selectivity:
        types = design.groups if controls.types is None else controls.types
        if types is None:
            notes.append("No selectivity: neither types nor groups were given.")
        else:
            found = selectivity(rows, labels, types, fit=fit, seed=seed)
            fields["selectivity"] = _float(found)
    if controls.mdl:
        found = online_compression(
            rows, labels, fit=fit, groups=design.groups, seed=seed
        )
        fields["mdl_compression"] = _float(found)
    null = np.empty((0, len(rows)))
    if len(shuffled):
        null = shuffled_aurocs(
            rows, shuffled, design.folds, fit=controls.permutation_fit
        )
    return _Measured(
        logits=probe.logits(rows).detach().float().cpu().numpy(),
        null=null,
        controls={**fields, "converged": probe.converged.all(-1).cpu().numpy()},
    )


def _places(given: Sequence[Reading]) -> dict[str, Any]:
    """Fields of the result that say what was read, and where."""
    return {
        "sites": tuple(one.site for one in given),
        "layers": np.array([one.layer for one in given], dtype=np.int32),
        "positions": tuple(one.position for one in given),
    }


def _judged(
    logits: Float[np.ndarray, "probe fit example"],
    design: Design,
    controls: Controls,
    seed: int,
) -> dict[str, Any]:
    """Fields of the result that come from the held-out logits."""
    scores = held_out_scores(logits, design)
    good = quality(scores, design.labels)
    chosen = chosen_probes(logits, design)
    # The nested readout is one more row, so that it shares the resamples.
    rows = scores
    if chosen.size:
        rows = np.concatenate((scores, nested_scores(scores, chosen, design)[None]))
    interval = auroc_interval(
        rows,
        design.labels,
        groups=design.groups,
        resamples=controls.resamples,
        seed=seed,
    )
    fields: dict[str, Any] = {
        "accuracy": _float(good.accuracy),
        "brier": _float(good.brier),
        "ece": _float(good.ece),
        "scores": _float(scores),
        "chosen": chosen,
    }
    bounds = {"": interval.estimate, "_lo": interval.low, "_hi": interval.high}
    for suffix, values in bounds.items():
        fields[f"auroc{suffix}"] = _float(values[: len(scores)])
        nested = float(values[-1]) if chosen.size else float("nan")
        fields[f"nested_auroc{suffix}"] = nested
    return fields


def _shuffled(
    design: Design, controls: Controls, seed: int, notes: list[str]
) -> Bool[np.ndarray, "shuffle_and_one example"]:
    """The observed labels and shuffles of them; nothing if shuffles change nothing."""
    nothing = np.empty((0, design.labels.size), dtype=bool)
    if not controls.permutations:
        return nothing
    found = shuffles(
        design.labels,
        groups=design.groups,
        # Folds that were given may themselves be what the labels depend on.
        folds=design.folds,
        count=controls.permutations,
        seed=seed,
    )
    if (found == design.labels).all(1).mean() > MOST_ALIKE:
        notes.append(
            "No permutation p: groups of one label and of different sizes have nothing"
            " to exchange."
        )
        return nothing
    return np.concatenate((design.labels[None], found))


def _permuted(controls: Controls) -> str:
    """What is fitted to shuffled labels, by name."""
    fit = controls.permutation_fit
    return CLOSED_FORMS if fit is None else name_of(fit)


def _note_few_groups(design: Design, notes: list[str]) -> None:
    if design.groups is None:
        return
    n_groups = len(set(map(str, design.groups)))
    if n_groups < FEW_GROUPS:
        notes.append(
            f"Intervals are bootstrapped over {n_groups} groups: with fewer than "
            f"{FEW_GROUPS} how often they hold the truth is not known."
        )


def _p_values(null: Float[np.ndarray, "shuffle_and_one probe"]) -> dict[str, Any]:
    if not len(null):
        nothing = np.full(null.shape[1], np.nan, dtype=np.float32)
        return {"permutation_p": nothing, "permutation_p_corrected": nothing}
    found = permutation_p_values(null)
    return {
        "permutation_p": _float(found.each),
        "permutation_p_corrected": _float(found.corrected),
    }


def _joined(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Any]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _models(activations: Rows) -> tuple[ModelRecord, ...]:
    known = getattr(activations, "provenance", None)
    return (known,) if isinstance(known, ModelRecord) else ()


def _texts(activations: Rows, controls: Controls) -> Sequence[str]:
    """The texts that were given, or those of captured activations."""
    if controls.texts is not None:
        return controls.texts
    if not isinstance(activations, Captured):
        return ()
    texts = [text for text in activations.texts if text is not None]
    return texts if len(texts) == len(activations) else ()


def _float(values: np.ndarray) -> Float32[np.ndarray, "..."]:
    return np.asarray(values, dtype=np.float32)
