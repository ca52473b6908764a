"""Whether a head raises the tokens it looks at, by its weights."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.errors import UnsupportedModelError
from interp.heads.weights import head_weights
from interp.models.language_model import LanguageModel
from interp.models.norms import norm_of


# Bounds the memory of a block of vocabulary.
TOKENS_PER_BLOCK = 8192


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Copying:
    """How much each head copies, token by token, from embedding to logits.

    Attributes:
        eigenvalues: Sum of the real parts over the sum of the sizes of the eigenvalues
            of the map from tokens to logits, -1 to 1; 1 for a head that copies all.
        top: Share of tokens whose own logit the head raises most.
    """

    eigenvalues: Float[np.ndarray, "layer head"]
    top: Float[np.ndarray, "layer head"]


def copying(
    model: LanguageModel,
    *,
    tokens: Int[np.ndarray, " token"] | None = None,
    n_tokens: int = 512,
    seed: int = 0,
) -> Copying:
    r"""Whether each head's way from embedding to logits raises the token it came from.

    The map $E W_V W_O U$ from tokens to logits has the non-zero eigenvalues of the
    d_head x d_head matrix $W_O U E W_V$, so no vocabulary-sized matrix is formed. The
    final norm's gain is folded into $U$ and the layer's into $W_V$; embeddings are
    taken as they stand, without what earlier layers make of them.

    Args:
        model: The model.
        tokens: For which tokens `top` is measured; some drawn ones by default.
        n_tokens: How many to draw.
        seed: Feeds the drawing.

    Raises:
        UnsupportedModelError: If the model has no final norm or head that can be read.
        MissingSiteError: If the layout of its projections is not known.

    Source:
        Elhage et al. (2021), "A Mathematical Framework for Transformer Circuits".

    Example:
        >>> from tiny import tiny_model
        >>> import interp
        >>> found = copying(interp.load(tiny_model("llama")), n_tokens=16)
        >>> bool((abs(found.eigenvalues) <= 1).all()), found.top.shape
        (True, (3, 4))
    """
    with torch.no_grad():
        embedding, head = _ends(model)
        if tokens is None:
            rng = np.random.default_rng(seed)
            n = min(n_tokens, model.d_vocab)
            tokens = rng.choice(model.d_vocab, size=n, replace=False)
        chosen = torch.as_tensor(tokens, device=embedding.device)
        layers = head_weights(model)
        values = torch.stack([layer.value for layer in layers]).flatten(0, 1)
        outputs = torch.stack([layer.output for layer in layers]).flatten(0, 1)
        circuit = _circuit(embedding, head, values, outputs)
        eigenvalues = torch.linalg.eigvals(circuit.cpu())
        share = eigenvalues.real.sum(-1) / eigenvalues.abs().sum(-1)
        top = [
            _raises_itself(embedding[chosen] @ value @ output, head, chosen)
            for value, output in zip(values, outputs, strict=True)
        ]
    shape = (len(layers), -1)
    return Copying(
        eigenvalues=share.double().numpy().reshape(shape),
        top=np.array(top).reshape(shape),
    )


def _circuit(
    embedding: Tensor, head: Tensor, values: Tensor, outputs: Tensor
) -> Float[Tensor, "head d_value d_value"]:
    """`W_O U E W_V` of every head, a block of the vocabulary at a time."""
    total = torch.zeros(
        values.shape[0], values.shape[-1], values.shape[-1], device=values.device
    ).double()
    for start in range(0, embedding.shape[0], TOKENS_PER_BLOCK):
        part = slice(start, start + TOKENS_PER_BLOCK)
        between = head[part].double().T @ embedding[part].double()
        total += outputs.double() @ between @ values.double()
    return total


def _raises_itself(writes: Tensor, head: Tensor, tokens: Tensor) -> float:
    logits = writes @ head.T
    return float((logits.argmax(-1) == tokens).double().mean())


def _ends(model: LanguageModel) -> tuple[Tensor, Tensor]:
    """Embedding and head, the final norm folded into the head, in float32."""
    paths, hf = model.architecture.map, model.hf
    if paths.final_norm is None or paths.unembed is None:
        raise UnsupportedModelError(f"{model.name!r} has no final norm or no head.")
    embedding = hf.get_submodule(paths.embed).weight.float()
    head = hf.get_submodule(paths.unembed).weight.float()
    if embedding.shape[-1] != model.d_model or head.shape[-1] != model.d_model:
        raise UnsupportedModelError(
            f"{model.name!r} projects between its embeddings and its blocks.",
            expected="Copying is read off embeddings as wide as the blocks.",
        )
    module = hf.get_submodule(paths.final_norm)
    norm = norm_of(
        module,
        dict(module.named_parameters()),
        width=model.d_model,
        name="final norm",
    ).to(head.device)
    return embedding, norm.folded(head).to(embedding.device)
