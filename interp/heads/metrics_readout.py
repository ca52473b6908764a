"""Directions, probes and entropy neurons as metrics of checkpoints.

Statements and instructions are split in two by what they are about; what is found on
one half is tested on the other, and the other way round. So every example has a score
from a direction that did not see it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.activations.capture import capture
from interp.data.instructions import Contrast
from interp.data.statements import Statements, fingerprint
from interp.errors import ConfigError
from interp.heads.metrics import Measured, MetricContext
from interp.models.language_model import LanguageModel
from interp.neurons.table import entropy_neurons


@runtime_checkable
class Readout(Protocol):
    """What a fit returns: scores of rows, above zero for positive."""

    def logits(
        self, activations: Float[Tensor, "example d_model"]
    ) -> Float[Tensor, " example"]: ...


Fit = Callable[[Float[Tensor, "example d_model"], Bool[Tensor, " example"]], Readout]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Examples:
    """Two classes of prompts, and what each is about.

    Attributes:
        prompts: The prompts.
        labels: Which are positive.
        groups: Prompts of one group are never on both sides of a split.
        chat: Whether they go into the chat template, if the model has one.
    """

    prompts: tuple[str, ...]
    labels: tuple[bool, ...]
    groups: tuple[str, ...]
    chat: bool = False

    def __repr__(self) -> str:
        return f"{len(self.prompts)}:{fingerprint(self.prompts, self.labels)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastDirection:
    """How well a difference of means tells two classes, and whether it is the last one.

    Its values are `NAME_auroc`, whose samples are the positive examples (each the share
    of negative ones it beats, so the interval leaves out the drawing of negative ones),
    and the direction, whose cosine to the last checkpoint's is followed.

    Attributes:
        name: What the direction is called.
        examples: The two classes.
        layer: Of the residual stream; the middle one by default.

    Source:
        Marks & Tegmark (2023), arXiv:2310.06824; Arditi et al. (2024),
        arXiv:2406.11717.
    """

    name: str
    examples: Examples
    layer: int | None = None

    def __call__(self, model: LanguageModel, context: MetricContext) -> Measured:
        rows = _rows(model, context, self.examples, self.layer)
        labels = np.array(self.examples.labels)
        scores = np.empty(len(labels))
        halves = _halves(self.examples.groups, labels, context.seed)
        wins = np.full(len(labels), np.nan)
        for half in (halves, ~halves):
            # What is left is tested.
            scores[half] = rows[half] @ _difference(rows[~half], labels[~half])
            wins[half & labels] = _placements(
                scores[half & labels], scores[half & ~labels]
            )
        return Measured(
            values={f"{self.name}_auroc": wins[labels]},
            vectors={self.name: _difference(rows, labels)},
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ProbeAccuracy:
    """How many examples a probe gets right that was fitted on the other half.

    Attributes:
        name: What is probed; the value is `NAME_probe_accuracy`.
        examples: The two classes.
        fit: For example `probes.fit_logistic`.
        layer: Of the residual stream; the middle one by default.
    """

    name: str
    examples: Examples
    fit: Fit
    layer: int | None = None

    def __repr__(self) -> str:
        fit = getattr(self.fit, "__qualname__", type(self.fit).__name__)
        return f"ProbeAccuracy({self.name}, {self.examples}, {fit}, {self.layer})"

    def __call__(self, model: LanguageModel, context: MetricContext) -> Measured:
        rows = torch.from_numpy(_rows(model, context, self.examples, self.layer))
        labels = np.array(self.examples.labels)
        halves = _halves(self.examples.groups, labels, context.seed)
        right = np.empty(len(labels))
        for half in (halves, ~halves):
            probe = self.fit(rows[~half], torch.from_numpy(labels[~half]))
            said = probe.logits(rows[half]).numpy() > 0
            right[half] = said == labels[half]
        return Measured(values={f"{self.name}_probe_accuracy": right})


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropyNeurons:
    """What the candidates for entropy neurons write; see `interp.neurons`.

    Means over the candidates of each checkpoint, by the weights alone: the length of
    what they write, the variance of its effect over the vocabulary, and its share in
    the null space of the head.

    Attributes:
        n_candidates: How many neurons of the last layer.

    Source:
        Stolfo et al. (2024), arXiv:2406.16254.
    """

    n_candidates: int = 10

    def __call__(self, model: LanguageModel, context: MetricContext) -> Measured:
        table = entropy_neurons(model, n_candidates=self.n_candidates)
        chosen = table.candidates
        found = {
            "norm": table.norm,
            "logit_variance": table.logit_var,
            "null_fraction": table.null_fraction,
        }
        return Measured(
            values={
                f"entropy_neurons_{name}": values[chosen].mean(keepdims=True)
                for name, values in found.items()
            }
        )


def truth_direction(
    statements: Statements, *, layer: int | None = None
) -> ContrastDirection:
    """The direction from false to true statements, followed over training.

    Args:
        statements: The statements; those of one group stay on one side of a split.
        layer: Of the residual stream; the middle one by default.
    """
    return ContrastDirection(
        name="truth_direction", examples=statement_examples(statements), layer=layer
    )


def refusal_direction(
    contrast: Contrast, *, layer: int | None = None
) -> ContrastDirection:
    """The direction from harmless to harmful instructions, followed over training.

    It is read at the last token of the chat template, if the model has one.

    Args:
        contrast: The instructions; those of the training split are used.
        layer: Of the residual stream; the middle one by default.
    """
    harmful, harmless = contrast.harmful.train, contrast.harmless.train
    prompts = (*harmful, *harmless)
    return ContrastDirection(
        name="refusal_direction",
        examples=Examples(
            prompts=prompts,
            labels=(*(True for _ in harmful), *(False for _ in harmless)),
            groups=tuple(str(number) for number in range(len(prompts))),
            chat=True,
        ),
        layer=layer,
    )


def statement_examples(statements: Statements) -> Examples:
    """Statements as the two classes of a metric."""
    return Examples(
        prompts=statements.prompts,
        labels=tuple(statements.labels.tolist()),
        groups=statements.groups,
    )


def _rows(
    model: LanguageModel, context: MetricContext, examples: Examples, layer: int | None
) -> Float[np.ndarray, "example d_model"]:
    layer = model.n_layers // 2 if layer is None else layer
    key = (repr(examples), examples.chat, layer)
    rows = context.shared.get(key)
    if not isinstance(rows, np.ndarray):
        rows = context.shared[key] = _captured(model, examples, layer)
    return rows


def _captured(
    model: LanguageModel, examples: Examples, layer: int
) -> Float[np.ndarray, "example d_model"]:
    template = getattr(model.tokenizer, "chat_template", None)
    found = capture(
        model,
        examples.prompts,
        sites=f"resid_post.{layer}",
        positions="last",
        chat=examples.chat and bool(template),
    )
    return found[f"resid_post.{layer}"].float().numpy()


def _halves(
    groups: Sequence[str], labels: np.ndarray, seed: int
) -> Bool[np.ndarray, " example"]:
    """Which examples are in the first half: whole groups, both classes in both."""
    names, codes = np.unique(np.array(groups), return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    first = (order < len(names) / 2)[codes]
    for half in (first, ~first):
        if len({*labels[half].tolist()}) < 2:
            raise ConfigError(
                f"The {len(names)} groups cannot be split in two with both classes on"
                " both sides.",
                expected="Several groups of each class.",
                remedy="Give more examples, or finer groups.",
            )
    return first


def _difference(rows: np.ndarray, labels: np.ndarray) -> Float[np.ndarray, " d_model"]:
    return rows[labels].mean(axis=0) - rows[~labels].mean(axis=0)


def _placements(
    positive: np.ndarray, negative: np.ndarray
) -> Float[np.ndarray, " positive"]:
    """Which share of the negative scores each positive one beats; ties count half."""
    return (np.sign(positive[:, None] - negative[None]) / 2 + 0.5).mean(axis=1)
