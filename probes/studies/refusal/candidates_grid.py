"""The three scores of every candidate direction, many candidates to a forward pass."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.activations import capture
from interp.activations.forward import has_hooks
from interp.models.language_model import LanguageModel
from interp.models.reading import is_followed
from interp.progress import progress_bar
from probes.studies.refusal.candidates import Candidates, Prompts
from probes.studies.refusal.candidates_forward import Forest, grown
from probes.studies.refusal.candidates_plain import Measure, PlainBatches
from probes.studies.refusal.chat import Ids
from probes.studies.refusal.score import KL_EPSILON, refusal_score


# `plain` sets the projection to zero at every write and token. `affine` sets it to its
# mean over harmless prompts, before the direction's block and at the token where it was
# read: for other tokens and layers that mean is not theirs.
Ablation = Literal["plain", "affine"]
Place = tuple[int, int]
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GridScores:
    """The scores of every candidate for every validation prompt; NaN if not scored.

    The rows are the places in `places`: a position's slot and a layer.

    Attributes:
        places: Slot of the position and layer of each row.
        bypass: Refusal scores of harmful prompts with the direction ablated.
        induce: Refusal scores of harmless prompts with the vector added.
        kl: Change of harmless answers with the direction ablated, in nats.
        clean_harmful: Refusal scores of harmful prompts in the unchanged model.
        clean_harmless: The same of harmless ones.
    """

    places: tuple[Place, ...]
    bypass: Float[np.ndarray, "candidate harmful"]
    induce: Float[np.ndarray, "candidate harmless"]
    kl: Float[np.ndarray, "candidate harmless"]
    clean_harmful: Float[np.ndarray, " harmful"]
    clean_harmless: Float[np.ndarray, " harmless"]


def score_grid(
    model: LanguageModel,
    found: Candidates,
    prompts: Prompts,
    *,
    tokens: Sequence[int],
    ablation: Ablation = "plain",
    layers: Iterable[int] | None = None,
    least_induce: float | None = None,
) -> GridScores:
    """The scores of all candidates on validation prompts.

    Candidates without length are left out. The scores equal those of one candidate and
    one prompt at a time, up to rounding.

    Args:
        model: The model; what is edited follows its write sites.
        found: Its candidates.
        prompts: Validation prompts.
        tokens: The refusal tokens.
        ablation: How directions are ablated.
        layers: Score these layers only.
        least_induce: Candidates whose mean induce score is below it are not ablated:
            they fall whatever else their scores are.

    Source:
        Arditi et al. (2024), arXiv:2406.11717, section 2.3 and appendix C.
    """
    slots, n_layers = range(len(found.positions)), found.n_layers
    asked = set(range(n_layers) if layers is None else layers)
    places = tuple((slot, layer) for slot in slots for layer in range(n_layers))
    live = [
        row
        for row, (slot, layer) in enumerate(places)
        if layer in asked and not found.degenerate[slot, layer]
    ]
    harmful = CleanRun.of(model, prompts.harmful)
    harmless = CleanRun.of(model, prompts.harmless)
    chance = chance_measure(tokens)
    shape = len(places), len(prompts.harmless)
    induce, kl = np.full(shape, np.nan), np.full(shape, np.nan)
    bypass = np.full((len(places), len(prompts.harmful)), np.nan)
    with progress_bar("score directions", 3 * len(live), "scores") as bar:
        if live:
            here = [places[row] for row in live]
            layer_of = [layer for _, layer in here]
            added = harmless.run.added(layer_of, _stacked(found, here), chance)
            induce[live] = refusal_score(added)
            bar.advance(len(live))
        kept = live
        if least_induce is not None:
            kept = [row for row in live if induce[row].mean() >= least_induce]
        # Only what is ablated everywhere can share a forward pass between places.
        shared = ablation == "plain"
        for _, rows in _grouped(kept, lambda row: None if shared else places[row]):
            here = [places[row] for row in rows]
            kl[rows] = _ablated(harmless.run, found, here, ablation, harmless.change)
            chances = _ablated(harmful.run, found, here, ablation, chance)
            bypass[rows] = refusal_score(chances)
            bar.advance(2 * len(rows))
    return GridScores(
        places=places,
        bypass=bypass,
        induce=induce,
        kl=kl,
        clean_harmful=refusal_score(harmful.measured(chance)),
        clean_harmless=refusal_score(harmless.measured(chance)),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class CleanRun:
    """Some prompts, their logits in the unchanged model, and how to run them edited.

    `run` is a `Forest` where trees of prompts are exact in the model.
    """

    logits: Float[Tensor, "prompt vocab"]
    run: Forest | PlainBatches

    @classmethod
    def of(cls, model: LanguageModel, ids: Ids) -> "CleanRun":
        # Somebody else's edits and hooks expect whole prompts.
        is_free = not (is_followed(model.hf) or has_hooks(model.hf))
        forest = grown(model, ids) if is_free else None
        if forest is not None:
            return cls(logits=forest.logits, run=forest)
        acts = capture(model, ids, sites="logits", positions="last", dtype="float32")
        plain = PlainBatches(model=model, prompts=ids)
        return cls(logits=acts["logits"], run=plain)

    def measured(self, measure: Measure) -> Float[np.ndarray, " prompt"]:
        """A number for each prompt in the unchanged model."""
        return measure(range(len(self.logits)), self.logits).numpy()

    def change(
        self, prompts: Sequence[int], logits: Float[Tensor, "prompt vocab"]
    ) -> Float[Tensor, " prompt"]:
        """How far the answers are from those of the unchanged model."""
        edited = _weights(logits)
        edited /= edited.sum(-1, keepdim=True)
        clean, entropy = self._clean
        clean = clean[list(prompts)].to(edited.device)
        cross = torch.einsum("pv,pv->p", clean, edited.add_(KL_EPSILON).log_())
        return entropy[list(prompts)].to(edited.device) - cross

    @cached_property
    def _clean(
        self,
    ) -> tuple[Float[Tensor, "prompt vocab"], Float[Tensor, " prompt"]]:
        """The distributions, and the part of the change that is theirs alone."""
        clean = _weights(self.logits)
        clean /= clean.sum(-1, keepdim=True)
        logs = (clean + KL_EPSILON).log_()
        return clean, torch.einsum("pv,pv->p", clean, logs)


def chance_measure(tokens: Sequence[int]) -> Measure:
    """The summed probability of some tokens, as a measure of logits."""
    chosen = list(tokens)

    def chance(
        prompts: Sequence[int], logits: Float[Tensor, "prompt vocab"]
    ) -> Float[Tensor, " prompt"]:
        weights = _weights(logits)
        return weights[:, chosen].sum(-1) / weights.sum(-1)

    return chance


def _weights(
    logits: Float[Tensor, "prompt vocab"],
) -> Float[Tensor, "prompt vocab"]:
    """The exponentials of the logits, the largest being 1, in double precision."""
    # Apple's accelerator has no float64.
    held = logits.cpu() if logits.device.type == "mps" else logits
    # A copy also of float64 logits, which belong to somebody else.
    held = held.to(torch.float64, copy=True)
    return held.sub_(held.amax(-1, keepdim=True)).exp_()


def _ablated(
    run: Forest | PlainBatches,
    found: Candidates,
    places: Sequence[Place],
    ablation: Ablation,
    measure: Measure,
) -> Float[np.ndarray, "candidate prompt"]:
    vectors = _stacked(found, places)
    units = torch.nn.functional.normalize(vectors.double(), dim=-1)
    if ablation == "plain":
        return run.ablated(units, measure)
    ((slot, layer),) = places
    levels = units @ found.harmless[slot, layer].double()
    return run.levelled(layer, found.positions[slot], units, levels, measure)


def _stacked(
    found: Candidates, places: Sequence[Place]
) -> Float[Tensor, "candidate d_model"]:
    return torch.stack([found.vectors[place] for place in places])


def _grouped(
    rows: Sequence[int], key: Callable[[int], Key]
) -> Iterator[tuple[Key, list[int]]]:
    """The rows of each key together, in the order of their first rows."""
    groups: dict[Key, list[int]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    yield from groups.items()
