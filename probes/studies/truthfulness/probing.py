"""Every probe at every layer of a model, fitted on training and judged on test rows."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, assert_never

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.data import Splits, Statements
from interp.errors import InterpError
from interp.progress import progress_bar
from interp.results import ProbeScore
from interp.results.truthfulness import Role
from interp.statistics import auroc, auroc_interval, mean_interval
from probes.controls import random_band
from probes.evaluate import quality
from probes.linear import Fit, LinearProbe
from probes.means import fit_lda, fit_mean_difference, fit_ridge
from probes.optimum import NotConvergedWarning
from probes.path import fit_logistic_cv
from probes.permutation import held_out_p
from probes.studies.truthfulness.negation import negation_of
from probes.studies.truthfulness.readout import best_layer
from probes.studies.truthfulness.shown import shown_statements
from probes.studies.truthfulness.spec import ProbeName, TruthfulnessSpec
from probes.ttpd import fit_ttpd
from probes.unsupervised import fit_ccs, fit_crc


# Bounds the rows of one call of a fit, layers times examples times d_model.
VALUES_AT_ONCE = 2**27
RANDOM_DIRECTIONS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class BestProbe:
    """The probe of the layer that validation statements choose, as plain values.

    Attributes:
        row: Its row of the table.
        weights: In the coordinates of the rows that it was fitted to.
        intercept: What is added to the product.
    """

    row: int
    weights: tuple[float, ...]
    intercept: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTable:
    """The probes of one model, and in sentences which could not be fitted.

    Attributes:
        rows: One for each probe and layer.
        notes: The sentences.
        scores: Test logits of the shown statements in the order of `rows`.
        best: One probe of each kind; nothing in parts that older versions wrote.
    """

    rows: tuple[ProbeScore, ...]
    notes: tuple[str, ...] = ()
    scores: tuple[tuple[float, ...], ...] = ()
    best: tuple[BestProbe, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Fitted:
    """A kind of probe at every layer, in the order of the layers.

    Attributes:
        name: The kind.
        probe: Its weights, one row for each layer.
        logits: Of validation and of test statements.
    """

    name: ProbeName
    probe: LinearProbe
    logits: tuple[
        Float[np.ndarray, "layer validation"], Float[np.ndarray, "layer test"]
    ]


def probe_fit(name: ProbeName, statements: Statements, *, seed: int) -> Fit | str:
    """How a probe is fitted on the activations of some statements, in their order.

    Args:
        name: The probe.
        statements: Their groups, and what is known of negation.
        seed: Feeds what is random in the fit.

    Returns:
        In a sentence what the probe lacks, if it cannot be fitted on these statements.
    """
    match name:
        case "mean_difference":
            return fit_mean_difference
        case "lda":
            return fit_lda
        case "ridge":
            return fit_ridge
        case "logistic":
            return partial(fit_logistic_cv, groups=statements.groups, seed=seed)
        case "ccs" | "crc":
            pairs = torch.from_numpy(negation_of(statements).pairs)
            if len(pairs) < 2:
                return "it needs statements with their negations, and there are none"
            if name == "crc":
                return partial(fit_crc, pairs=pairs)
            return partial(fit_ccs, pairs=pairs, seed=seed)
        case "ttpd":
            affirmative = negation_of(statements).affirmative
            if affirmative is None or affirmative.all() or not affirmative.any():
                return "it needs affirmative and negated statements"
            return partial(fit_ttpd, affirmative=torch.from_numpy(affirmative))
        case _:
            assert_never(name)


def probe_table(
    role: Role,
    rows: Float[Tensor, "example layer d_model"],
    statements: Statements,
    splits: Splits,
    *,
    spec: TruthfulnessSpec,
) -> ProbeTable:
    """How well every probe of every layer of a model tells true from false.

    Args:
        role: Which model.
        rows: Its activations.
        statements: What they are of.
        splits: Probes are fitted on training and judged on test statements.
        spec: Which probes, how many resamples.
    """
    notes, fitted = list[str](), list[_Fitted]()
    training = statements.take(splits.train)
    with progress_bar(f"probes of {role}", len(spec.probes), "probes") as bar:
        for name in spec.probes:
            found = _fitted(name, rows, training, splits, seed=spec.seed)
            bar.advance()
            if isinstance(found, str):
                notes.append(f"No {name} probe was fitted: {found}")
                continue
            fitted.append(found)
            missed = (~found.probe.converged).nonzero().flatten().tolist()
            if missed:
                notes.append(
                    f"The {name} probe of {role} did not reach its optimum at layer "
                    f"{', '.join(map(str, missed))}."
                )
    if not fitted:
        return ProbeTable(rows=(), notes=tuple(notes))
    truth, layers = statements.labels, rows.shape[1]
    val, test = (np.stack([one.logits[part] for one in fitted]) for part in range(2))
    judged = _judged(test, statements.take(splits.test), spec)
    judged["validation_auroc"] = auroc(val, truth[splits.val])
    judged |= _chance(rows, truth, splits, spec, count=len(fitted))
    return ProbeTable(
        rows=tuple(
            ProbeScore(
                model=role,
                probe=one.name,
                layer=layer,
                converged=bool(one.probe.converged[layer]),
                **{field: float(value[k, layer]) for field, value in judged.items()},
            )
            for k, one in enumerate(fitted)
            for layer in range(layers)
        ),
        notes=tuple(notes),
        scores=_rounded(test[:, :, shown_statements(splits, layers, spec)]),
        best=tuple(
            _best(one, truth[splits.val], first=k * layers)
            for k, one in enumerate(fitted)
        ),
    )


def _fitted(
    name: ProbeName,
    rows: Float[Tensor, "example layer d_model"],
    training: Statements,
    splits: Splits,
    *,
    seed: int,
) -> _Fitted | str:
    """A kind of probe at every layer, or in a sentence why these data do not allow it.

    Its error must not cost the other kinds.
    """
    fit = probe_fit(name, training, seed=seed)
    if isinstance(fit, str):
        return f"{fit}."
    train = torch.from_numpy(splits.train)
    labels = torch.from_numpy(training.labels)
    try:
        with warnings.catch_warnings():
            # Said in the table, once for all layers.
            warnings.simplefilter("ignore", NotConvergedWarning)
            found = [(fit(stack[:, train], labels), stack) for stack in _stacks(rows)]
    except InterpError as error:
        return str(error)
    return _Fitted(
        name=name,
        probe=LinearProbe(
            weights=torch.cat([one.weights for one, _ in found]),
            intercept=torch.cat([one.intercept for one, _ in found]),
            converged=torch.cat([one.converged for one, _ in found]),
            gap=torch.cat([one.gap for one, _ in found]),
        ),
        logits=(_logits(found, splits.val), _logits(found, splits.test)),
    )


def _best(
    fitted: _Fitted, labels: Bool[np.ndarray, " validation"], *, first: int
) -> BestProbe:
    """The probe of the best layer; `first` is the row of its kind's first layer."""
    layer = best_layer(fitted.logits[0], labels)
    return BestProbe(
        row=first + layer,
        weights=tuple(fitted.probe.weights[layer].detach().tolist()),
        intercept=float(fitted.probe.intercept[layer]),
    )


def _chance(
    rows: Float[Tensor, "example layer d_model"],
    truth: Bool[np.ndarray, " example"],
    splits: Splits,
    spec: TruthfulnessSpec,
    *,
    count: int,
) -> dict[str, Float[np.ndarray, "probe layer"]]:
    """What a direction reaches that knows nothing: the same for every kind of probe."""
    band = random_band(
        rows[torch.from_numpy(splits.test)].transpose(0, 1),
        truth[splits.test],
        count=RANDOM_DIRECTIONS,
        seed=spec.seed,
    )
    return {
        "random_auroc": np.tile(band.isotropic, (count, 1)),
        "covariance_auroc": np.tile(band.covariance, (count, 1)),
    }


def _rounded(
    logits: Float[np.ndarray, "probe layer shown"],
) -> tuple[tuple[float, ...], ...]:
    """To seven digits, which is what a result keeps and short as text."""
    flat = logits.reshape(-1, logits.shape[-1])
    size = np.floor(np.log10(np.abs(flat), where=flat != 0, out=np.zeros_like(flat)))
    unit = 10.0 ** (6 - size)
    return tuple(tuple(row) for row in (np.round(flat * unit) / unit).tolist())


def _stacks(
    rows: Float[Tensor, "example layer d_model"],
) -> Iterator[Float[Tensor, "layer example d_model"]]:
    """Neighbouring layers together, as many as fit."""
    size = max(1, VALUES_AT_ONCE // max(1, rows[:, 0].numel()))
    for some in rows.split(size, dim=1):
        yield some.transpose(0, 1).contiguous()


def _logits(
    found: Sequence[tuple[LinearProbe, Tensor]], part: np.ndarray
) -> Float[np.ndarray, "layer example"]:
    at = torch.from_numpy(part)
    return np.concatenate(
        [probe.logits(stack[:, at]).detach().double().numpy() for probe, stack in found]
    )


def _judged(
    logits: Float[np.ndarray, "probe layer example"],
    statements: Statements,
    spec: TruthfulnessSpec,
) -> dict[str, Float[np.ndarray, "probe layer"]]:
    """Measures of test logits by the name of their field."""
    labels = statements.labels
    options: dict[str, Any] = {
        "groups": statements.groups, "resamples": spec.resamples, "seed": spec.seed,
    }  # fmt: skip
    areas = auroc_interval(logits, labels, **options)
    right = mean_interval((logits > 0) == labels, **options)
    good = quality(logits, labels)
    return {
        "auroc": areas.estimate,
        "auroc_low": areas.low,
        "auroc_high": areas.high,
        "accuracy": right.estimate,
        "accuracy_low": right.low,
        "accuracy_high": right.high,
        "brier": good.brier,
        "ece": good.ece,
        "permutation_p": held_out_p(
            logits, labels, groups=statements.groups, seed=spec.seed
        ),
    }
