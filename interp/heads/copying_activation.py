"""Whether a head raises the tokens it looks at, by what it does on sequences."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from interp.activations.batching import run_batches
from interp.activations.capture import checked_budget
from interp.heads.averages import sequence_mean
from interp.heads.direct_path import DirectPath, direct_path
from interp.heads.predicted import Predicted, Sequences, predicted_tokens
from interp.models.language_model import LanguageModel
from interp.progress import progress_bar
from interp.statistics import Interval


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CopyingByActivation:
    """How far each head raises what it looks at, beside all other tokens around.

    Attributes:
        mean: The mean over sequences, -1 to 1: 1 for a head that raises only what it
            looks at, -1 for one that raises only others.
        samples: The score of each sequence; NaN where a head raises nothing.
        even: What raising all tokens of the sequence alike would score.
    """

    mean: Interval
    samples: Float32[np.ndarray, "layer head sequence"]
    even: Float32[np.ndarray, " sequence"]


def copying_by_activation(
    model: LanguageModel,
    sequences: Sequences,
    *,
    resamples: int = 1000,
    seed: int = 0,
    token_budget: int | None = None,
) -> CopyingByActivation:
    """How much each head raises the logit of what it looks at, of all that it raises.

    At each position but the first the head's output is taken straight to the logits,
    through the gain of the final norm. Their mean over the vocabulary is taken off and
    what is negative set to zero. Of the different tokens in the sequence, the share of
    the attended one (every token weighted by the attention it gets) is averaged over
    positions and stretched from 0..1 to -1..1. Unlike `copying` this is about what a
    head really reads, after earlier layers.

    Args:
        model: The model.
        sequences: Token ids, best of random tokens; see `repeated_tokens`.
        resamples: Bootstrap samples of the intervals, over sequences.
        seed: Feeds the intervals.
        token_budget: The most tokens in a batch; chosen by default.

    Raises:
        UnsupportedModelError: If the model has no final norm or head that can be read.
        MissingSiteError: If its heads or patterns cannot be read.
        PromptError: If a sequence cannot be run.

    Source:
        After Olsson et al. (2022), arXiv:2209.11895.

    Example:
        >>> from tiny import tiny_model
        >>> import interp
        >>> model = interp.load(tiny_model("llama"))
        >>> found = copying_by_activation(model, [[5, 9, 6, 8, 5]])
        >>> found.samples.shape, float(found.even[0])
        ((3, 4, 1), -0.5)
    """
    given = predicted_tokens(model, sequences)
    lengths = [len(row) for row in given.ids]
    shape = (model.n_layers, model.n_heads, len(lengths))
    samples = np.full(shape, np.nan, dtype=np.float32)
    with (
        model.lock,
        torch.inference_mode(),
        progress_bar("copying", len(lengths), "sequences") as bar,
    ):
        path = direct_path(model)

        def step(rows: tuple[int, ...]) -> None:
            _fill(model, path, given, rows, samples)
            bar.advance(len(rows))

        run_batches(lengths, step, token_budget=checked_budget(token_budget, model))
    even = [2 / len(set(row)) - 1 for row in given.ids]
    return CopyingByActivation(
        mean=sequence_mean(samples, resamples=resamples, seed=seed),
        samples=samples,
        even=np.array(even, dtype=np.float32),
    )


def _fill(
    model: LanguageModel,
    path: DirectPath,
    given: Predicted,
    rows: tuple[int, ...],
    samples: Float32[np.ndarray, "layer head sequence"],
) -> None:
    """Run a batch; a layer is scored and forgotten when its second value is seen."""
    batch = given.batch(model, rows)
    readers = [_Reader(path, given.ids[row], model.device) for row in rows]
    waiting: dict[int, dict[str, Tensor]] = {}

    def listen(value: Tensor, layer: int, name: str) -> None:
        seen = waiting.setdefault(layer, {})
        seen[name] = value
        # Patterns of models with their own attention are handed on after its output.
        if len(seen) == 2:
            del waiting[layer]
            for number, (row, reader) in enumerate(zip(rows, readers, strict=True)):
                n = len(given.ids[row])
                pattern = seen["pattern"][number, :, :n, :n]
                samples[layer, :, row] = reader.score(
                    layer, seen["z"][number, :n], pattern
                )

    listeners = []
    for point in model.architecture.points(["z.*", "pattern.*"]):
        layer, name = point.site.layer, point.site.component
        assert layer is not None
        listeners.append((point, partial(listen, layer=layer, name=name)))
    given.run(model, rows, batch, listeners)


class _Reader:
    """What reads the logits of one sequence's own tokens, above the mean of all."""

    def __init__(
        self, path: DirectPath, ids: tuple[int, ...], device: torch.device
    ) -> None:
        tokens, place = torch.tensor(ids, device=device).unique(return_inverse=True)
        self._path = path
        self._vectors = path.vectors(tokens) - path.mean_vector
        self._is_at = torch.nn.functional.one_hot(place).double()  # pos token

    def score(
        self,
        layer: int,
        mixed: Float[Tensor, "pos head d_value"],
        pattern: Float[Tensor, "head query key"],
    ) -> Float32[np.ndarray, " head"]:
        """The score of each head of a layer; NaN where it raises nothing."""
        path = self._path
        # Where attention's output passes a norm, only its gain matters: what it divides
        # by is positive and the same for all tokens.
        norm = path.write_norms[layer]
        device = self._vectors.device  # layers may lie on several
        mixed, pattern = mixed.to(device), pattern.to(device)
        vectors = self._vectors if norm is None else norm.folded(self._vectors)
        back = torch.einsum("td,hed->hte", vectors, path.matrices[layer].double())
        raised = torch.einsum("hte,qhe->hqt", back, mixed.double()).clamp(min=0)
        attended = pattern.double() @ self._is_at
        share = (attended * raised).sum(-1) / raised.sum(-1)
        return (2 * share[:, 1:].nanmean(dim=-1) - 1).float().cpu().numpy()
