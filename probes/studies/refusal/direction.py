"""Finding the refusal direction of a model among candidates, on validation prompts.

Candidates are the differences of class means at the last tokens of the chat template,
one for each layer. The rule, after Arditi et al. (2024): drop what is degenerate, lies
in the last fifth of the layers, changes harmless answers too much when ablated, or does
not make harmless instructions refused when added; of the rest take the one whose
ablation leaves the lowest refusal score on harmful instructions.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.activations import capture
from interp.edits import ablate, steer
from interp.errors import SelfCheckError
from interp.models.language_model import LanguageModel
from interp.progress import progress_bar
from interp.results import RefusalCandidate
from interp.results.truthfulness import Role
from probes.studies.refusal.chat import Ids
from probes.studies.refusal.score import chance_of, divergence, refusal_score


# Later layers are too close to the output to be more than the first token of an answer.
LATEST_LAYER = 0.8
MOST_DIVERGENCE = 0.1
DEGENERATE = 1e-6
# `plain` sets the projection to zero at every write and token. `affine` sets it to its
# mean over harmless prompts, before the direction's block and at the token where it was
# read: for other tokens and layers that mean is not theirs.
Ablation = Literal["plain", "affine"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prompts:
    """Prompts of both kinds as token ids."""

    harmful: Ids
    harmless: Ids


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Directions:
    """Differences of class means before every block, at one position.

    Attributes:
        vectors: Mean over harmful minus mean over harmless prompts.
        harmless: The mean over harmless prompts.
        position: The position, counted from the end of the prompt.
        token: The token there.
    """

    vectors: Float[Tensor, "layer d_model"]
    harmless: Float[Tensor, "layer d_model"]
    position: int
    token: str

    def level(self, layer: int) -> float:
        """The mean projection of harmless prompts on the unit direction."""
        unit = torch.nn.functional.normalize(self.vectors[layer], dim=-1)
        return float(self.harmless[layer] @ unit)

    def degenerate(self, layer: int) -> bool:
        """Whether the classes do not differ there but by rounding."""
        size = float(self.harmless[layer].norm())
        return float(self.vectors[layer].norm()) <= DEGENERATE * max(size, 1e-30)


def first_tokens(
    model: LanguageModel,
    prompts: Ids,
    edit: AbstractContextManager[None] | None = None,
) -> Float[np.ndarray, "example vocab"]:
    """The distribution of the first token of each answer."""
    with edit or nullcontext():
        acts = capture(
            model, prompts, sites="logits", positions="last", dtype="float32"
        )
    return torch.softmax(acts["logits"].double(), dim=-1).numpy()


def directions(
    model: LanguageModel, prompts: Prompts, *, positions: Sequence[int] = (-1,)
) -> tuple[Directions, ...]:
    """The candidate directions of a model, for each position.

    Args:
        model: The model.
        prompts: Training prompts.
        positions: Counted from the end of the prompt.
    """
    means: list[Tensor] = []
    for ids in (prompts.harmful, prompts.harmless):
        acts = capture(
            model, ids, sites="resid_pre.*", positions=list(positions), dtype="float32"
        )
        means.append(acts["resid_pre"].double().mean(0))
    return tuple(
        Directions(
            vectors=(means[0][:, slot] - means[1][:, slot]).float(),
            harmless=means[1][:, slot].float(),
            position=position,
            token=_token(model, prompts.harmful, position),
        )
        for slot, position in enumerate(positions)
    )


def can_ablate(model: LanguageModel) -> str:
    """Why directions cannot be ablated in a model, or nothing if they can."""
    try:
        with ablate(model, torch.ones(model.d_model)):
            return ""
    except SelfCheckError as error:
        return str(error)


def ablated(
    model: LanguageModel, one: Directions, layer: int, ablation: Ablation
) -> AbstractContextManager[None]:
    """A model without the direction of a layer, as a block of edits."""
    if ablation == "plain":
        return ablate(model, one.vectors[layer])
    return ablate(
        model,
        one.vectors[layer],
        to=one.level(layer),
        sites=f"resid_pre.{layer}",
        positions=[one.position],
    )


def score_candidates(
    model: LanguageModel,
    found: Sequence[Directions],
    prompts: Prompts,
    *,
    role: Role,
    tokens: Sequence[int],
    ablation: Ablation = "plain",
) -> tuple[RefusalCandidate, ...]:
    """All candidates with their scores on validation prompts, for `choose`.

    Args:
        model: The model whose directions they are.
        found: What `directions` gave.
        prompts: Validation prompts.
        role: What the model is in the comparison.
        tokens: The refusal tokens.
        ablation: How directions are ablated.

    Source:
        Arditi et al. (2024), arXiv:2406.11717, section 2.3 and appendix C.
    """
    clean = first_tokens(model, prompts.harmless)
    scored: list[RefusalCandidate] = []
    latest = int(LATEST_LAYER * model.n_layers)
    pairs = [(one, layer) for one in found for layer in range(model.n_layers)]
    with progress_bar("score directions", len(pairs), "candidates") as bar:
        for one, layer in pairs:
            blank = RefusalCandidate(
                model=role,
                layer=layer,
                position=one.position,
                token=one.token,
                bypass=float("nan"),
                induce=float("nan"),
                kl=float("nan"),
                fate="",
            )
            if one.degenerate(layer):
                scored.append(replace(blank, fate="the classes do not differ there"))
            elif layer >= latest and model.n_layers > 1:
                scored.append(replace(blank, fate="in the last fifth of the layers"))
            else:
                induce = _induce(model, one, layer, prompts, tokens)
                harmful, harmless = (
                    first_tokens(model, ids, ablated(model, one, layer, ablation))
                    for ids in (prompts.harmful, prompts.harmless)
                )
                bypass = float(refusal_score(chance_of(harmful, tokens)).mean())
                kl = float(divergence(clean, harmless).mean())
                scored.append(replace(blank, induce=induce, bypass=bypass, kl=kl))
            bar.advance()
    return tuple(scored)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a candidate must reach; scores are mean refusal scores on validation.

    Attributes:
        max_bypass: On harmful prompts with the direction ablated it stays below this.
        least_induce: On harmless prompts with the direction added it reaches this.
        max_divergence: Ablation changes harmless answers by at most this, in nats.
    """

    max_bypass: float
    least_induce: float = 0.0
    max_divergence: float = MOST_DIVERGENCE

    def fault(self, candidate: RefusalCandidate) -> str:
        """Why a candidate falls, or nothing."""
        if np.isnan([candidate.induce, candidate.bypass, candidate.kl]).any():
            return "a score is not a number"
        if candidate.bypass >= self.max_bypass:
            return "does not lower refusal when ablated"
        if candidate.kl > self.max_divergence:
            return "changes harmless answers when ablated"
        if candidate.induce < self.least_induce:
            return "does not induce refusal when added"
        return ""


def choose(
    candidates: Sequence[RefusalCandidate], rule: Rule
) -> tuple[RefusalCandidate, ...]:
    """The candidates with their fates; at most one is chosen, that of lowest bypass.

    Candidates that already have a fate keep it.

    Args:
        candidates: Candidates with their scores.
        rule: What they must reach.

    Example:
        >>> row = RefusalCandidate(model="post", layer=3, position=-1, token="",
        ...     bypass=-2.0, induce=1.0, kl=0.01, fate="")
        >>> rows = [row, replace(row, induce=-1.0)]
        >>> [one.fate for one in choose(rows, Rule(max_bypass=5.0))]
        ['chosen', 'does not induce refusal when added']
    """
    judged = [replace(one, fate=one.fate or rule.fault(one)) for one in candidates]
    passed = [i for i, one in enumerate(judged) if not one.fate]

    def rank(i: int) -> tuple[float, int, int]:
        return judged[i].bypass, judged[i].position, judged[i].layer

    best = min(passed, key=rank, default=None)
    return tuple(
        replace(one, fate="chosen" if i == best else one.fate or "passed")
        for i, one in enumerate(judged)
    )


def _induce(
    model: LanguageModel,
    one: Directions,
    layer: int,
    prompts: Prompts,
    tokens: Sequence[int],
) -> float:
    adding = steer(model, one.vectors[layer], site=f"resid_pre.{layer}")
    added = first_tokens(model, prompts.harmless, adding)
    return float(refusal_score(chance_of(added, tokens)).mean())


def _token(model: LanguageModel, prompts: Ids, position: int) -> str:
    found = {row[position] for row in prompts}
    if len(found) > 1 or model.tokenizer is None:
        return f"{len(found)} different tokens"
    return model.tokenizer.decode(list(found))
