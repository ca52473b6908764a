"""The rows of a truthfulness result: probes, data sets, cosines, effects."""

from dataclasses import dataclass
from typing import Literal

from interp.results.files import Number


Role = Literal["base", "post"]
ROLES: tuple[Role, Role] = ("base", "post")
Control = Literal["none", "direction", "random", "covariance", "shuffled", "dataset"]
NOTHING = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitCount:
    """How much one split holds."""

    split: Literal["train", "val", "test"]
    statements: int
    true: int
    groups: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeScore:
    """How well one probe of one layer tells true from false test statements.

    Bounds are 95 % cluster-bootstrap intervals over groups.

    Attributes:
        model: Whose activations.
        probe: What was fitted on training statements, as `logistic`.
        layer: Counted from 0, read at `resid_post`.
        auroc: Of the logits.
        accuracy: Share of the logits with the right sign.
        brier: Mean squared error of the probabilities.
        ece: Expected calibration error.
        validation_auroc: On validation statements, where a layer is chosen.
        permutation_p: How often shuffled test labels do as well.
        converged: Whether the fit reached its optimum.
        random_auroc: What 95 % of random directions stay below on the same statements.
        covariance_auroc: The same for directions from the activations' covariance.
    """

    model: Role
    probe: str
    layer: int
    auroc: Number
    auroc_low: Number
    auroc_high: Number
    accuracy: Number
    accuracy_low: Number
    accuracy_high: Number
    brier: Number
    ece: Number
    validation_auroc: Number
    permutation_p: Number
    converged: bool
    random_auroc: Number = NOTHING
    covariance_auroc: Number = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetTransfer:
    """How well a probe trained on some data sets does on one, at one layer.

    Attributes:
        model: Whose activations.
        probe: What was fitted.
        layer: Counted from 0, read at `resid_post`.
        train: The data set it was fitted on, or `all others`: leave one out.
        test: The data set it was judged on; where it is `train`, by cross-validation.
        auroc: Of the logits.
        accuracy: Share of the logits with the right sign.
    """

    model: Role
    probe: str
    layer: int
    train: str
    test: str
    auroc: Number
    auroc_low: Number
    auroc_high: Number
    accuracy: Number
    accuracy_low: Number
    accuracy_high: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedOver:
    """What a direction loses in the other model, by a paired bootstrap.

    Attributes:
        direction: Whose direction.
        activations: On whose activations it is read, beside that model's own.
        layer: Counted from 0.
        difference: AUROC of this direction minus that of the model's own.
    """

    direction: Role
    activations: Role
    layer: int
    difference: Number
    low: Number
    high: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthCosine:
    """The cosine of the two models' directions at one layer, with its nulls.

    Attributes:
        layer: Counted from 0.
        metric: `plain`, or `whitened` by the covariance within classes.
        cosine: The cosine.
        corrected: The same without the noise of the training statements.
        isotropic_high: What 95 % of random vectors stay between, and minus it.
        independent_low: Of labels shuffled differently in each model.
        independent_p: How often these reach the cosine.
        shared_low: Of labels shuffled alike in both: high wherever the two models
            represent statements alike, whatever the labels mean.
        shared_p: How often these reach the cosine.
        signal: The part of the cosine that is due to the labels.
        signal_p: How often labels shuffled alike have as much of it.
        shrinkage: How far the covariance was shrunk; NaN for the plain cosine.
    """

    layer: int
    metric: Literal["plain", "whitened"]
    cosine: Number
    corrected: Number
    isotropic_high: Number
    independent_low: Number
    independent_high: Number
    independent_p: Number
    shared_low: Number
    shared_high: Number
    shared_p: Number
    signal: Number
    signal_p: Number
    shrinkage: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthEffect:
    """What adding one vector does to the judgement of a model.

    Attributes:
        direction: Whose direction is added; for controls, whose norm is matched.
        target: The model it is added in.
        condition: `none` for the unchanged model, `direction` for the truth direction,
            or a control of equal norm: `random`, `covariance` (random, but spread as
            the activations are), `shuffled` (from shuffled labels) or `dataset` (the
            truth direction of another data set than the statement's own).
        coefficient: Strength in units of the gap between the class means.
        norm_share: Length of what is added at a layer, in units of the mean norm of
            the residual stream there.
        cosine: Of the vector with the target's own truth direction.
        layers: The layers, as `"4..8"`.
        position: The tokens at which the vector is added, in words.
        orthogonal: Whether what the vector shares with the target's own truth direction
            was taken out: done besides where a control is so much like it that it
            controls nothing.
        draw: Which of several vectors of one kind of control.
        n: How many statements.
        p_difference_true: Mean of P(TRUE) - P(FALSE) over true statements.
        p_difference_false: The same over false statements.
        nie_saturation: Indirect effect relative to complete certainty.
        nie_gap: Indirect effect relative to the distance between the two means.
    """

    direction: Role
    target: Role
    condition: Control
    coefficient: float
    norm_share: Number = NOTHING
    cosine: Number = NOTHING
    layers: str
    position: str = ""
    orthogonal: bool = False
    draw: int = 0
    n: int
    p_difference_true: Number
    p_difference_false: Number
    nie_saturation: Number
    nie_saturation_low: Number
    nie_saturation_high: Number
    nie_gap: Number
    nie_gap_low: Number
    nie_gap_high: Number
