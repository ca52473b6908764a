"""Candidate refusal directions: differences of means at the template's last tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.activations import capture
from interp.directions.means import DEGENERATE
from interp.models.language_model import LanguageModel
from probes.studies.refusal.chat import Ids, Template


# An instruction that ends in all these ways shows where the template begins again.
ENDINGS = ("", ".", "?", "!", " a", " 1", ")", "'", " Paris")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prompts:
    """Prompts of both kinds as token ids."""

    harmful: Ids
    harmless: Ids


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidates:
    """Differences of class means before every block, at some positions.

    Attributes:
        vectors: Mean over harmful minus mean over harmless prompts, not normalised.
        harmless: The mean over harmless prompts.
        positions: The positions, counted from the end of the prompt.
        tokens: The token at each of them.
    """

    vectors: Float[Tensor, "position layer d_model"]
    harmless: Float[Tensor, "position layer d_model"]
    positions: tuple[int, ...]
    tokens: tuple[str, ...]

    @property
    def n_layers(self) -> int:
        return self.vectors.shape[1]

    @property
    def norms(self) -> Float[np.ndarray, "position layer"]:
        """The length of each vector."""
        return self.vectors.double().norm(dim=-1).numpy()

    @property
    def relative_norms(self) -> Float[np.ndarray, "position layer"]:
        """The length of each vector over that of the activations there."""
        typical = self.harmless.double().norm(dim=-1).clamp_min(1e-30)
        return self.norms / typical.numpy()

    @property
    def degenerate(self) -> Bool[np.ndarray, "position layer"]:
        """Where the classes do not differ but by rounding."""
        return self.relative_norms < DEGENERATE

    def vector(self, position: int, layer: int) -> Float[Tensor, " d_model"]:
        """The candidate at a place."""
        return self.vectors[self.positions.index(position), layer]

    def level(
        self, position: int, layer: int, direction: Float[Tensor, " d_model"]
    ) -> float:
        """The mean projection of harmless prompts at a place on a direction."""
        mean = self.harmless[self.positions.index(position), layer]
        return float(mean @ torch.nn.functional.normalize(direction, dim=-1))


def candidates(
    model: LanguageModel, prompts: Prompts, *, positions: Sequence[int] = (-1,)
) -> Candidates:
    """The candidate directions of a model: difference of means at every place.

    Args:
        model: The model.
        prompts: Training prompts.
        positions: Counted from the end of the prompt.

    Source:
        Arditi et al. (2024), arXiv:2406.11717, section 2.3.
    """
    means: list[Tensor] = []
    for ids in (prompts.harmful, prompts.harmless):
        acts = capture(
            model, ids, sites="resid_pre.*", positions=list(positions), dtype="float32"
        )
        mean = acts["resid_pre"].mean(0, dtype=torch.float64)
        means.append(mean.transpose(0, 1))
    return Candidates(
        vectors=(means[0] - means[1]).float(),
        harmless=means[1].float(),
        positions=tuple(positions),
        tokens=tuple(_token(model, prompts, position) for position in positions),
    )


def template_positions(
    model: LanguageModel, template: Template, instruction: str
) -> tuple[int, ...]:
    """The positions of the tokens that the template writes behind an instruction.

    They are the longest common end of prompts whose instructions end differently, as
    token ids; at least the last token.

    Args:
        model: The model whose tokenizer counts.
        template: How instructions are put.
        instruction: Any instruction.

    Example:
        >>> from tiny import tiny_model, tiny_tokenizer
        >>> import interp
        >>> from probes.studies.refusal.chat import templates
        >>> model = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())
        >>> own, _ = templates(model, model)
        >>> template_positions(model, own, "Write a poem")
        (-2, -1)
    """
    rows = template.ids(model, [instruction.rstrip() + end for end in ENDINGS])
    common = 0
    for column in zip(*(row[::-1] for row in rows), strict=False):
        if len(set(column)) > 1:
            break
        common += 1
    return tuple(range(-max(common, 1), 0))


def _token(model: LanguageModel, prompts: Prompts, position: int) -> str:
    found = {row[position] for row in (*prompts.harmful, *prompts.harmless)}
    if len(found) > 1 or model.tokenizer is None:
        return f"{len(found)} different tokens"
    return model.tokenizer.decode(list(found))
