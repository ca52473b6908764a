"""The three scores of every candidate direction, many candidates to a forward pass."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.atomic import json_hash
from interp.directions.selection import SelectionRule
from interp.models.language_model import LanguageModel
from interp.progress import Progress, progress_bar
from probes.studies.refusal.candidates import Candidates, Prompts
from probes.studies.refusal.candidates_clean import (
    CleanRun,
    chance_measure,
    clean_runs,
)
from probes.studies.refusal.candidates_plain import Measure
from probes.studies.refusal.grid_scores import (
    GridScores,
    Place,
    Score,
    Scorer,
    unscored,
    with_all,
    with_needed,
)
from probes.studies.refusal.score import refusal_score
from probes.studies.shards import Shards


# `plain` sets the projection to zero at every write and token. `affine` sets it to its
# mean over harmless prompts, before the direction's block and at the token where it was
# read: for other tokens and layers that mean is not theirs.
Ablation = Literal["plain", "affine"]
# Tokens of a part that is kept on disk: some seconds of work. The number is the same
# on every machine, since batches of other candidates round otherwise.
TOKENS_KEPT = 2**14
TOKENS_KEPT_ACCELERATED = 2**18


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid:
    """Candidates and validation prompts, and what the unchanged model makes of these.

    Attributes:
        model: The model; what is edited follows its write sites.
        found: Its candidates; those without length are not scored.
        harmful: Harmful prompts.
        harmless: Harmless ones.
        tokens: The refusal tokens.
        shards: Where finished parts of the scores are kept.
    """

    model: LanguageModel
    found: Candidates
    harmful: CleanRun
    harmless: CleanRun
    tokens: tuple[int, ...]
    shards: Shards = field(default_factory=Shards)

    @classmethod
    def of(
        cls,
        model: LanguageModel,
        found: Candidates,
        prompts: Prompts,
        *,
        tokens: Sequence[int],
        shards: Shards | None = None,
    ) -> "Grid":
        harmful, harmless = clean_runs(model, prompts.harmful, prompts.harmless)
        return cls(
            model=model,
            found=found,
            harmful=harmful,
            harmless=harmless,
            tokens=tuple(tokens),
            shards=shards or Shards(),
        )

    @property
    def places(self) -> tuple[Place, ...]:
        """Slot of the position and layer of each row."""
        slots, layers = range(len(self.found.positions)), range(self.found.n_layers)
        return tuple((slot, layer) for slot in slots for layer in layers)

    @property
    def live(self) -> tuple[int, ...]:
        """The rows of candidates that have a direction."""
        dead = self.found.degenerate
        return tuple(row for row, place in enumerate(self.places) if not dead[place])

    def unscored(self) -> GridScores:
        chance = chance_measure(self.tokens)
        return unscored(
            self.places,
            clean_harmful=refusal_score(self.harmful.measured(chance)),
            clean_harmless=refusal_score(self.harmless.measured(chance)),
        )

    def scored(
        self,
        ablation: Ablation = "plain",
        *,
        known: GridScores | None = None,
        needed_by: SelectionRule | None = None,
    ) -> GridScores:
        """The scores of all candidates, or those by which a rule chooses.

        They equal those of one candidate and one prompt at a time, up to rounding.

        Args:
            ablation: How directions are ablated.
            known: Scores under the same ablation that are not computed again.
            needed_by: Leave out what this rule does not need; see `with_needed`.

        Source:
            Arditi et al. (2024), arXiv:2406.11717, section 2.3 and appendix C.
        """
        scores = self.unscored() if known is None else known
        with progress_bar("score directions", 3 * len(self.live), "scores") as bar:

            def scorers(score: Score) -> Scorer:
                return lambda rows: self._kept(score, ablation, rows, bar)

            if needed_by is None:
                return with_all(scores, scorers, live=self.live)
            return with_needed(
                scores,
                scorers,
                live=self.live,
                positions=self.found.positions,
                rule=needed_by,
            )

    def _kept(
        self, score: Score, ablation: Ablation, rows: Sequence[int], bar: Progress
    ) -> Float[np.ndarray, "candidate prompt"]:
        """A score of some rows; parts of it that are on disk are not computed again."""
        # Rows of one layer enter there together.
        ordered = sorted(rows, key=lambda row: self.places[row][1])
        run = self.harmful if score == "bypass" else self.harmless
        name = score if score == "induce" else f"{score}-{ablation}"
        n = max(1, _tokens_kept(self.model) // run.run.n_tokens)
        held: dict[int, Float[np.ndarray, " prompt"]] = {}
        for start in range(0, len(ordered), n):
            part = ordered[start : start + n]
            made = self.shards.kept_arrays(
                f"scores-{name}-{json_hash(part)}",
                ["values"],
                lambda part=part: {"values": self._run(score, ablation, part)},
            )
            held |= zip(part, made["values"], strict=True)
            bar.advance(len(part))
        return np.stack([held[row] for row in rows])

    def _run(
        self, score: Score, ablation: Ablation, rows: Sequence[int]
    ) -> Float[np.ndarray, "candidate prompt"]:
        places = [self.places[row] for row in rows]
        chance = chance_measure(self.tokens)
        match score:
            case "induce":
                layers = [layer for _, layer in places]
                vectors = self._vectors(places)
                return refusal_score(self.harmless.run.added(layers, vectors, chance))
            case "bypass":
                found = self._ablated(self.harmful, ablation, places, chance)
                return refusal_score(found)
            case "kl":
                change = self.harmless.change
                return self._ablated(self.harmless, ablation, places, change)

    def _ablated(
        self,
        clean: CleanRun,
        ablation: Ablation,
        places: Sequence[Place],
        measure: Measure,
    ) -> Float[np.ndarray, "candidate prompt"]:
        units = torch.nn.functional.normalize(self._vectors(places).double(), dim=-1)
        if ablation == "plain":
            return clean.run.ablated(units, measure)
        # Only what is ablated everywhere can share a forward pass between places.
        rows: list[Float[np.ndarray, "1 prompt"]] = []
        for (slot, layer), unit in zip(places, units, strict=True):
            level = unit[None] @ self.found.harmless[slot, layer].double()
            position = self.found.positions[slot]
            rows.append(clean.run.levelled(layer, position, unit[None], level, measure))
        return np.concatenate(rows)

    def _vectors(self, places: Sequence[Place]) -> Float[Tensor, "candidate d_model"]:
        return torch.stack([self.found.vectors[place] for place in places])


def _tokens_kept(model: LanguageModel) -> int:
    return TOKENS_KEPT if model.device.type == "cpu" else TOKENS_KEPT_ACCELERATED
