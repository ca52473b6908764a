"""Candidate directions through `interp.edits`: a row for each candidate and prompt."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.activations import capture
from interp.activations.budget import default_token_budget
from interp.edits import Add, Edit, ProjectOut, edit
from interp.models.language_model import LanguageModel
from probes.studies.refusal.chat import Ids


# From the logits after some prompts (which, by number) to one number for each.
Measure = Callable[
    [Sequence[int], Float[Tensor, "prompt vocab"]], Float[Tensor, " prompt"]
]
Vectors = Float[Tensor, "candidate d_model"]
Scores = Float[np.ndarray, "candidate prompt"]
_Which = Int[Tensor, " row"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlainBatches:
    """Prompts of any model whose rows get the edits of different candidates."""

    model: LanguageModel
    prompts: Ids

    @property
    def n_tokens(self) -> int:
        """How many tokens a candidate costs."""
        return sum(map(len, self.prompts))

    def ablated(self, units: Vectors, measure: Measure) -> Scores:
        """A number for each candidate and prompt, each direction ablated everywhere."""
        first, *others = self.model.architecture.write_sites

        def edits(which: _Which) -> list[Edit]:
            return [
                ProjectOut(site=site, vectors=units[which], per_row=True)
                for site in (first, others)
            ]

        return self._run(len(units), edits, measure)

    def added(
        self, layers: Sequence[int], vectors: Vectors, measure: Measure
    ) -> Scores:
        """The same with each vector added before its block, at every token."""
        found = np.empty((len(vectors), len(self.prompts)))
        for layer in sorted(set(layers)):
            rows = [row for row, one in enumerate(layers) if one == layer]
            here = vectors[rows]

            def edits(
                which: _Which, layer: int = layer, here: Tensor = here
            ) -> list[Edit]:
                return [Add(site=f"resid_pre.{layer}", vector=here[which])]

            found[rows] = self._run(len(rows), edits, measure)
        return found

    def levelled(
        self,
        layer: int,
        position: int,
        units: Vectors,
        levels: Float[Tensor, " candidate"],
        measure: Measure,
    ) -> Scores:
        """The same with the projection at one token before a block set to a level."""

        def edits(which: _Which) -> list[Edit]:
            return [
                ProjectOut(
                    site=f"resid_pre.{layer}",
                    vectors=units[which],
                    to=levels[which][:, None],
                    per_row=True,
                    positions=[position],
                )
            ]

        return self._run(len(units), edits, measure)

    def _run(
        self, n: int, edits: Callable[[_Which], list[Edit]], measure: Measure
    ) -> Scores:
        n_prompts = len(self.prompts)
        found = np.empty((n, n_prompts))
        # Logits of all of them are held at once.
        most = max(1, default_token_budget(self.model) // sum(map(len, self.prompts)))
        for start in range(0, n, most):
            some = torch.arange(start, min(n, start + most))
            with edit(self.model, edits(some.repeat_interleave(n_prompts))):
                acts = capture(
                    self.model,
                    self.prompts * len(some),
                    sites="logits",
                    positions="last",
                    dtype="float32",
                )
            logits = acts["logits"].unflatten(0, (len(some), n_prompts))
            for i, row in zip(some.tolist(), logits, strict=True):
                found[i] = measure(range(n_prompts), row).numpy()
        return found
