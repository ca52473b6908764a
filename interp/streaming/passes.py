"""One forward pass over a text: edited, read, and over before anything is returned.

Hooks and the lock are held for the length of one pass only. Whoever stops listening to
a stream between two passes leaves nothing behind in the model.
"""

import inspect
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from interp.edits import Edit, edit
from interp.edits.planting import by_site
from interp.errors import ShapeError
from interp.models.hookpoints import Callback, HookPoint, plant
from interp.models.language_model import LanguageModel
from interp.models.reading import stated_batch
from interp.streaming.readers import TokenReader


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Passed:
    """What one pass gave.

    Attributes:
        logits: Of the last positions that were asked for.
        scores: What each reader says at every position that was read.
        cache: Keys and values, to go on; None if the model keeps none.
    """

    logits: Float[Tensor, "kept vocab"]
    scores: Float32[np.ndarray, "reader pos"]
    cache: Any


class Passes:
    """Forward passes over one text with the same edits and readers.

    Args:
        model: The model; between two passes it is as it was.
        prompt_length: How many tokens the prompt has, for edits that ask.
        edits: What is in force during each pass.
        readers: What is read.

    Raises:
        UnknownSiteError: If a site does not exist.
        MissingSiteError: If the architecture has no such site.
        ShapeError: If an edit does not fit its site.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        prompt_length: int,
        edits: Sequence[Edit] = (),
        readers: Sequence[TokenReader] = (),
    ) -> None:
        self._model = model
        self._prompt_length = prompt_length
        self._edits = tuple(edits)
        by_site(model, self._edits)  # what does not fit is said now
        self._readers = [
            (model.architecture.point(reader.site), reader) for reader in readers
        ]
        takes = inspect.signature(type(model.hf).forward).parameters
        self._cuts = "logits_to_keep" in takes

    def run(
        self,
        ids: Sequence[int],
        *,
        past: int = 0,
        cache: Any = None,
        keep: int = 1,
        use_cache: bool = False,
    ) -> Passed:
        """Read tokens.

        Args:
            ids: The tokens that are new.
            past: How many tokens the cache holds.
            cache: Of the tokens before them.
            keep: Of how many positions at the end the logits are wanted.
            use_cache: Whether to go on afterwards.
        """
        device = self._model.device
        arguments: dict[str, Any] = {"use_cache": use_cache}
        if cache is not None:
            arguments["past_key_values"] = cache
        if self._cuts:
            arguments["logits_to_keep"] = keep
        rows: dict[int, Tensor] = {}
        with ExitStack() as stack:
            # The lock first: another thread's pass must not run our hooks, and ours
            # must not run its.
            stack.enter_context(self._model.lock)
            stack.enter_context(edit(self._model, self._edits))
            for number, (point, reader) in enumerate(self._readers):
                for remove in plant(point, _scorer(rows, number, point, reader)):
                    stack.callback(remove)
            stack.enter_context(
                stated_batch(self._model.hf, prompt_lengths=[self._prompt_length])
            )
            stack.enter_context(torch.inference_mode())
            output = self._model.hf(
                input_ids=torch.tensor([list(ids)], device=device),
                attention_mask=torch.ones(1, past + len(ids), device=device).long(),
                **arguments,
            )
            scores = np.zeros((len(self._readers), len(ids)), dtype=np.float32)
            for number, row in rows.items():
                scores[number] = row.cpu().numpy()
        return Passed(
            logits=output.logits[0, -keep:],
            scores=scores,
            cache=getattr(output, "past_key_values", None) if use_cache else None,
        )


def _scorer(
    rows: dict[int, Tensor], number: int, point: HookPoint, reader: TokenReader
) -> Callback:
    weights = torch.from_numpy(reader.weights.copy())

    def score(value: Tensor) -> None:
        # Sites with heads are read as one vector, head after head.
        flat = value[0].flatten(1).float()
        if flat.shape[-1] != len(weights):
            raise ShapeError(
                f"The reader {reader.name!r} has {len(weights)} weights.",
                expected=f"{point.site.short!r} has {flat.shape[-1]} numbers a token.",
                remedy="Use a direction or probe that was found in this model.",
            )
        rows[number] = flat @ weights.to(flat.device) + reader.offset

    return score
