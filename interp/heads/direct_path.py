"""The way from what a head writes straight to the logits, with all scales held."""

from contextlib import ExitStack
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.heads.predicted import Batch
from interp.heads.weights import output_matrices
from interp.models.hookpoints import Callback, plant
from interp.models.language_model import LanguageModel
from interp.models.norms import Norm, norm_of
from interp.neurons.matrices import chunks
from interp.neurons.output import Output, output_of
from interp.neurons.readout import Head, head_of
from interp.sites import Component, Site


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pass:
    """What one forward pass wrote at some places.

    Attributes:
        embedding: What entered the first block.
        mixed: By layer, what the heads handed to the last projection.
        attn: By layer, what attention wrote.
        mlp: By layer, what the MLP wrote.
        final: What the last block left.
        logits: What the model said.
    """

    embedding: Float[Tensor, "place d_model"]
    mixed: tuple[Float[Tensor, "place head d_value"], ...]
    attn: tuple[Float[Tensor, "place d_model"], ...]
    mlp: tuple[Float[Tensor, "place d_model"], ...]
    final: Float[Tensor, "place d_model"]
    logits: Float[Tensor, "place vocab"]


def read_pass(
    model: LanguageModel, batch: Batch, places: Bool[Tensor, "batch pos"]
) -> Pass:
    """Run a batch and keep all that was written at some places.

    Args:
        model: The model, whose lock is held.
        batch: The tokens.
        places: Where.

    Raises:
        MissingSiteError: If the model lacks a site that writes.
    """
    last = model.n_layers - 1
    values: dict[Site, Tensor] = {}
    names = [f"{name}.*" for name in ("z", "attn_out", "mlp_out")]
    points = model.architecture.points(["resid_pre.0", *names, f"resid_post.{last}"])
    with ExitStack() as stack:
        for point in points:
            for remove in plant(point, _keeper(values, point.site, places)):
                stack.callback(remove)
        logits = model.hf(
            input_ids=batch.ids, attention_mask=batch.mask, use_cache=False
        ).logits

    def of(component: Component) -> tuple[Tensor, ...]:
        return tuple(values[Site(component, layer)] for layer in range(model.n_layers))

    return Pass(
        embedding=values[Site("resid_pre", 0)],
        mixed=of("z"),
        attn=of("attn_out"),
        mlp=of("mlp_out"),
        final=values[Site("resid_post", last)],
        logits=logits[places],
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DirectPath:
    """What stands between the residual stream and the logits.

    Attributes:
        output: The final norm and the head.
        head: The head with its constants.
        matrices: By layer, what each head writes with.
        projections: By layer, the module that writes.
        write_norms: By layer, the norm that attention's output passes, if any.
        mean_vector: What reads the mean over all logits.
        mean_constant: What biases add to that mean.
    """

    output: Output
    head: Head
    matrices: tuple[Float[Tensor, "head d_value d_model"], ...]
    projections: tuple[torch.nn.Module, ...]
    write_norms: tuple[Norm | None, ...]
    mean_vector: Float[Tensor, " d_model"]
    mean_constant: Float[Tensor, ""]

    def vectors(self, tokens: Int[Tensor, " token"]) -> Float[Tensor, "token d_model"]:
        """What reads the logits of some tokens from the not yet scaled stream."""
        rows = _rows(self.output, tokens)
        return self.output.final_norm.folded(rows)

    def constants(self, tokens: Int[Tensor, " token"]) -> Float[Tensor, " token"]:
        """What biases add to these logits."""
        return self.head.constant[tokens]

    def scale(self, final: Float[Tensor, "place d_model"]) -> Float[Tensor, " place"]:
        """What the final norm divides by."""
        return self.output.final_norm.scale(final)

    def finished(self, logits: Float[Tensor, " place"]) -> Float[Tensor, " place"]:
        """With the architecture's factor and soft cap, as the model gives them."""
        logits, cap = logits * self.output.logit_scale, self.output.softcap
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def through_write_norm(
        self,
        layer: int,
        vectors: Float[Tensor, "place d_model"],
        mixed: Float[Tensor, "place head d_value"],
    ) -> Float[Tensor, "place d_model"]:
        """The reading vectors ahead of the norm that attention's output passes."""
        norm = self.write_norms[layer]
        if norm is None:
            return vectors
        written = torch.einsum("phe,hed->pd", mixed, self.matrices[layer].double())
        bias = getattr(self.projections[layer], "bias", None)
        if isinstance(bias, Tensor):
            written = written + bias.double().to(written.device)
        return norm.folded(vectors) / norm.scale(written)[:, None]

    def head_writes(
        self,
        layer: int,
        vectors: Float[Tensor, "place d_model"],
        mixed: Float[Tensor, "place head d_value"],
    ) -> Float[Tensor, "place head"]:
        """What each head adds along the reading vectors."""
        matrices = self.matrices[layer].double()
        back = torch.einsum("pd,hed->phe", vectors, matrices)
        return (back * mixed).sum(-1)


def direct_path(model: LanguageModel) -> DirectPath:
    """The direct path of a model.

    Raises:
        UnsupportedModelError: If it has no final norm or head that can be read.
        MissingSiteError: If the last projection of its heads is not known.
    """
    output = output_of(model, with_neurons=False)
    # Layers may lie on several devices; all that is small is on the first.
    device = model.device
    head, layers = head_of(output), range(model.n_layers)
    head = replace(head, constant=head.constant.to(device))
    mean = _mean_row(output).to(device)
    output = replace(output, final_norm=output.final_norm.to(device))
    return DirectPath(
        output=output,
        head=head,
        matrices=tuple(output_matrices(model, layer).to(device) for layer in layers),
        projections=tuple(
            model.architecture.point(f"z.{layer}").module for layer in layers
        ),
        write_norms=tuple(_write_norm(model, layer) for layer in layers),
        mean_vector=output.final_norm.folded(mean),
        mean_constant=head.constant.mean(),
    )


def _rows(output: Output, tokens: Tensor) -> Float[Tensor, "token d_model"]:
    """The head's rows of some tokens, in float64, on the device of the tokens."""
    unique, place = tokens.unique(return_inverse=True)
    rows = [output.head.rows(int(token), int(token) + 1) for token in unique.tolist()]
    return torch.cat(rows).double().to(place.device)[place]


def _mean_row(output: Output) -> Float[Tensor, " d_model"]:
    sums = [rows.sum(dim=0) for _, _, rows in chunks(output.head)]
    return torch.stack(sums).sum(dim=0) / output.d_vocab


def _write_norm(model: LanguageModel, layer: int) -> Norm | None:
    path = model.architecture.map.attn_post_norm
    if path is None:
        return None
    module = model.architecture.blocks[layer].get_submodule(path)
    return norm_of(
        module,
        dict(module.named_parameters()),
        width=model.d_model,
        name=f"norm behind attention in layer {layer}",
    ).to(model.device)


def _keeper(values: dict[Site, Tensor], site: Site, places: Tensor) -> Callback:
    def keep(value: Tensor) -> None:
        # A copy: Falcon adds what attention wrote into what the MLP wrote, in place.
        rows = value[places.to(value.device)].double()
        # Layers may lie on several devices, and what they write is added up.
        values[site] = rows.to(places.device)

    return keep
