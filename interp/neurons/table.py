"""`entropy_neurons`: the neurons of the last MLP that may regulate confidence."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import ConfigError
from interp.models.language_model import LanguageModel
from interp.neurons.files import read_output
from interp.neurons.matrices import CHUNK_BYTES
from interp.neurons.output import Output, output_of
from interp.neurons.spectrum import HeadMoments, head_moments
from interp.provenance import ModelRecord, record
from interp.results.neurons import PERCENTILE, NeuronTable, by_variance


N_CANDIDATES = 10
# The share of d_model's directions that count as null space.
NULL_SHARE = 0.01


def entropy_neurons(
    model: LanguageModel | str | Path,
    *,
    revision: str | None = None,
    percentile: float = PERCENTILE,
    n_candidates: int = N_CANDIDATES,
    null_share: float = NULL_SHARE,
    device: str | torch.device | None = None,
) -> NeuronTable:
    """The last MLP's neurons with their norm, LogitVar and null-space fraction.

    An entropy neuron writes a long vector that hardly reaches the logits: it acts by
    what the final norm then divides everything by. What the weights suggest here, the
    `effects` of ablating the candidates have to show.

    A folder or hub id is not loaded: only the last down-projection, the norms and the
    head are read, the head some rows at a time, in memory that does not grow with the
    vocabulary. All sums are in float64.

    Args:
        model: A loaded model, or the folder or hub id of one.
        revision: Of a hub model.
        percentile: Only norms strictly above this percentile make a candidate.
        n_candidates: How many neurons of smallest LogitVar become candidates.
        null_share: The share of the directions, those of smallest singular value, that
            count as the head's null space.
        device: Where to compute; where the model is by default.

    Raises:
        ModelNotFoundError: If there is no such model.
        UnsupportedModelError: If its last MLP is a mixture of experts, or its path to
            the logits is not the usual one.
        ConfigError: If a number is out of its range.

    Source:
        Stolfo et al. (2024), arXiv:2406.16254; Gurnee et al. (2024), arXiv:2401.12181.

    Example:
        >>> from tiny import tiny_model
        >>> table = entropy_neurons(LanguageModel(hf=tiny_model("llama")))
        >>> table.norm.shape, table.candidates.size
        ((48,), 10)
    """
    if isinstance(model, LanguageModel):
        output, identity = output_of(model), model.identity(hashes=False)
    else:
        output = read_output(model, revision=revision)
        identity = ModelRecord(name=str(model), revision=revision or "")
    moments = head_moments(
        output.head, output.final_norm, device=computing_device(output, device)
    )
    return table_of(
        output,
        moments,
        identity=identity,
        percentile=percentile,
        n_candidates=n_candidates,
        null_share=null_share,
    )


def computing_device(output: Output, device: str | torch.device | None) -> torch.device:
    """Where float64 sums over the head are computed."""
    chosen = output.final_norm.gain.device if device is None else torch.device(device)
    # Apple's GPUs know no float64.
    return torch.device("cpu") if chosen.type == "mps" else chosen


def table_of(
    output: Output,
    moments: HeadMoments,
    *,
    identity: ModelRecord,
    percentile: float = PERCENTILE,
    n_candidates: int = N_CANDIDATES,
    null_share: float = NULL_SHARE,
) -> NeuronTable:
    """The table of a model whose head's moments are there already.

    Args:
        output: The model's output path.
        moments: Of its head.
        identity: What goes into the table as its origin.
        percentile: See `entropy_neurons`.
        n_candidates: See `entropy_neurons`.
        null_share: See `entropy_neurons`.

    Raises:
        ConfigError: If a number is out of its range.
    """
    if n_candidates < 1 or not 0 < null_share < 1:
        raise ConfigError(
            f"n_candidates is {n_candidates} and null_share {null_share}.",
            expected="At least 1, and between 0 and 1.",
        )
    n_null = max(1, round(null_share * len(moments.gram)))
    null = moments.spectrum(n_null)
    norm, variance, fraction = (
        over_neurons(output, moments, of).astype(np.float32)
        for of in (
            lambda rows: rows.norm(dim=-1),
            moments.cosine_variance,
            null.share,
        )
    )
    ranked = by_variance(norm, variance, percentile=percentile)
    return NeuronTable(
        model=output.name,
        layer=output.layer,
        final_norm="LayerNorm" if output.final_norm.centres else "RMSNorm",
        norm=norm,
        logit_var=variance,
        null_fraction=fraction,
        null_directions=n_null,
        singular_values=null.singular_values.cpu().numpy().astype(np.float32),
        percentile=percentile,
        candidates=ranked[:n_candidates],
        notes=_notes(output, ranked.size, n_candidates),
        provenance=record("neurons", models=[identity]),
    )


def over_neurons(
    output: Output, moments: HeadMoments, of: Callable[[Tensor], Tensor]
) -> Float[np.ndarray, " neuron"]:
    """A function of output vectors, evaluated some neurons at a time."""
    device, width = moments.gram.device, len(moments.gram)
    step = max(1, CHUNK_BYTES // (8 * width))
    parts = [
        of(output.written(start, min(start + step, output.n_neurons)).to(device)).cpu()
        for start in range(0, output.n_neurons, step)
    ]
    return torch.cat(parts).numpy() if parts else np.empty(0)


def _notes(output: Output, n_large: int, n_candidates: int) -> tuple[str, ...]:
    notes: list[str] = []
    if n_large < n_candidates and output.n_neurons:
        notes.append(
            f"Only {n_large} neurons have a norm above the percentile, fewer than the "
            f"{n_candidates} candidates that were asked for."
        )
    if output.write_norm is not None:
        notes.append(
            "The MLP's output passes a norm before the residual stream: its gain is "
            "folded into the output vectors, and norms are up to the factor that it "
            "divides by, which all neurons share at a token."
        )
    if output.softcap is not None:
        notes.append(
            f"Logits are squeezed into plus or minus {output.softcap:g} after the "
            "head: LogitVar and the null space are those before it."
        )
    return tuple(notes)
