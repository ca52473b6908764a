"""What stands between the neurons of the last MLP and the logits, as matrices."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from interp.errors import UnsupportedModelError
from interp.models.architecture import Architecture
from interp.models.language_model import LanguageModel
from interp.models.norms import Norm, norm_of
from interp.neurons.matrices import HeldMatrix, Matrix
from interp.sites import Site


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Output:
    """The last MLP's output vectors, the final norm and the head of a model.

    Attributes:
        name: The model.
        layer: The last layer, counted from 0.
        neurons: The vector that each neuron writes, as stored.
        neuron_bias: What the down-projection adds, or None.
        write_norm: The norm that the MLP's output passes before it reaches the
            residual stream, where there is one (Gemma-2, OLMo-2).
        final_norm: The norm before the head.
        head: The rows of the head, one for each token.
        head_bias: What the head adds, or None.
        logit_scale: What the logits are multiplied with.
        softcap: Logits are squeezed into plus or minus this, where it is set.
    """

    name: str
    layer: int
    neurons: Float[Tensor, "neuron d_model"]
    neuron_bias: Float[Tensor, " d_model"] | None
    write_norm: Norm | None
    final_norm: Norm
    head: Matrix
    head_bias: Float[Tensor, " vocab"] | None
    logit_scale: float
    softcap: float | None

    @property
    def d_vocab(self) -> int:
        return self.head.shape[0]

    @property
    def n_neurons(self) -> int:
        return self.neurons.shape[0]

    def written(self, start: int, stop: int) -> Float[Tensor, "neuron d_model"]:
        """Output vectors as they enter the residual stream, in float64.

        Behind a norm this is up to the factor by which that norm divides, which is
        another one at every token and the same for all neurons.
        """
        vectors = self.neurons[start:stop].double()
        return (
            vectors if self.write_norm is None else self.write_norm.folded_in(vectors)
        )


def output_of(model: LanguageModel, *, with_neurons: bool = True) -> Output:
    """The output path of a loaded model; its head is not copied.

    Args:
        model: The model.
        with_neurons: False for the final norm and the head alone, which a mixture of
            experts has too.

    Raises:
        UnsupportedModelError: If its last MLP is a mixture of experts, or a part of the
            path is not where and what it must be.

    Example:
        >>> from tiny import tiny_model
        >>> output_of(LanguageModel(hf=tiny_model("gpt2"))).neurons.shape
        torch.Size([128, 32])
    """
    if not with_neurons:
        return _without_neurons(model)
    parts = parts_of(model.architecture, model.name)
    config = model.hf.config.get_text_config()
    down, head = parts.down, parts.head
    assert isinstance(down.weight, Tensor)
    assert isinstance(head.weight, Tensor)
    return Output(
        name=model.name,
        layer=model.n_layers - 1,
        neurons=neuron_rows(down, down.weight.detach()),
        neuron_bias=_optional(down.bias),
        write_norm=None
        if parts.write_norm is None
        else norm_of(
            parts.write_norm,
            dict(parts.write_norm.named_parameters()),
            width=model.d_model,
            name="norm behind the last MLP",
        ).to(down.weight.device),
        final_norm=norm_of(
            parts.final_norm,
            dict(parts.final_norm.named_parameters()),
            width=model.d_model,
            name="final norm",
        ).to(head.weight.device),
        head=HeldMatrix(weight=head.weight.detach()),
        head_bias=_optional(getattr(head, "bias", None)),
        logit_scale=logit_scale(config),
        softcap=getattr(config, "final_logit_softcapping", None),
    )


def _without_neurons(model: LanguageModel) -> Output:
    norm, head = end_of(model.architecture, model.name)
    assert isinstance(head.weight, Tensor)
    config = model.hf.config.get_text_config()
    return Output(
        name=model.name,
        layer=model.n_layers - 1,
        neurons=head.weight.new_empty(0, model.d_model),
        neuron_bias=None,
        write_norm=None,
        final_norm=norm_of(
            norm,
            dict(norm.named_parameters()),
            width=model.d_model,
            name="final norm",
        ).to(head.weight.device),
        head=HeldMatrix(weight=head.weight.detach()),
        head_bias=_optional(getattr(head, "bias", None)),
        logit_scale=logit_scale(config),
        softcap=getattr(config, "final_logit_softcapping", None),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """The modules of the output path, and their dotted paths in the model."""

    down: nn.Module
    down_path: str
    write_norm: nn.Module | None
    write_norm_path: str
    final_norm: nn.Module
    final_norm_path: str
    head: nn.Module
    head_path: str


def parts_of(architecture: Architecture, name: str) -> Parts:
    """The modules between the last MLP's neurons and the logits.

    Args:
        architecture: Of the model, which may be without storage.
        name: What a message calls the model.

    Raises:
        UnsupportedModelError: If its last MLP is a mixture of experts, it has no final
            norm, or something else stands before the head.
    """
    paths, layer = architecture.map, architecture.n_layers - 1
    _refuse_experts(architecture, name)
    final_norm, head = end_of(architecture, name)
    block = f"{paths.blocks}.{layer}"
    hf = architecture.hf
    down_path = f"{block}.{paths.mlp_down}"
    post = paths.mlp_post_norm
    return Parts(
        down=hf.get_submodule(down_path),
        down_path=down_path,
        write_norm=None if post is None else hf.get_submodule(f"{block}.{post}"),
        write_norm_path="" if post is None else f"{block}.{post}",
        final_norm=final_norm,
        final_norm_path=str(paths.final_norm),
        head=head,
        head_path=str(paths.unembed),
    )


def end_of(architecture: Architecture, name: str) -> tuple[nn.Module, nn.Module]:
    """The final norm and the head.

    Raises:
        UnsupportedModelError: If there is none, or something stands between them.
    """
    paths, hf = architecture.map, architecture.hf
    if paths.final_norm is None or paths.unembed is None:
        raise UnsupportedModelError(
            f"{name} has no {'final norm' if paths.final_norm is None else 'head'}.",
            expected="Effects on logits are read through the final norm and the head.",
        )
    norm = hf.get_submodule(paths.final_norm)
    head = hf.get_submodule(paths.unembed)
    d_model = hf.config.get_text_config().hidden_size
    width = getattr(head, "in_features", d_model)
    if width != d_model:
        raise UnsupportedModelError(
            f"The head of {name} reads {width} numbers and the final norm gives "
            f"{d_model}.",
            expected="Another projection stands between them, which is not read here.",
        )
    return norm, head


def neuron_rows(
    down: nn.Module, weight: Float[Tensor, "row column"]
) -> Float[Tensor, "neuron d_model"]:
    """The output vectors of a down-projection, a row each, as a view.

    `nn.Linear` keeps them as columns; the `Conv1D` of GPT-2 keeps them as rows.
    """
    return weight.T if isinstance(down, nn.Linear) else weight


def logit_scale(config: object) -> float:
    """What an architecture multiplies its logits with (Cohere, Granite)."""
    times = getattr(config, "logit_scale", None)
    divided = getattr(config, "logits_scaling", None)
    return float(times or 1.0) / float(divided or 1.0)


def _refuse_experts(architecture: Architecture, name: str) -> None:
    last = Site("mlp_post", architecture.n_layers - 1)
    router = Site("router", architecture.n_layers - 1)
    if router in architecture.sites:
        raise UnsupportedModelError(
            f"The last MLP of {name} is a mixture of experts.",
            expected="Which of its neurons run differs from token to token, so they "
            "are no one set with means to ablate to.",
            remedy="Use a model whose last MLP is dense.",
        )
    if last not in architecture.sites:
        raise UnsupportedModelError(
            f"The down-projection of the last MLP of {name} was not found.",
            remedy="`interp doctor MODEL` lists the sites that were.",
        )


def _optional(bias: object) -> Tensor | None:
    return bias.detach() if isinstance(bias, Tensor) else None
