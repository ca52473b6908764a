"""`logit_contributions`: what each component adds to a logit, directly."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.activations.capture import capture
from interp.errors import SelfCheckError
from interp.lens.tokens import token_id
from interp.models.language_model import LanguageModel
from interp.models.one_prompt import Prompt, prompt_ids
from interp.models.reading import is_followed
from interp.models.words import token_words
from interp.neurons.output import output_of
from interp.neurons.readout import ROUGH, TOLERANCE, Head, head_of
from interp.positions import PositionSpec
from interp.results.lens import LogitContributions


def logit_contributions(
    model: LanguageModel,
    prompt: Prompt,
    *,
    target: str | int,
    distractor: str | int | None = None,
    positions: PositionSpec = "last",
    chat: bool = False,
) -> LogitContributions:
    """What embedding, attention and MLP of each layer add to a logit, directly.

    Also called direct logit attribution. The scale of the final norm is held as it was
    in this run; then the logit, before a factor or soft cap of the architecture, is the
    sum of the parts. That sum is compared with the model's own logit before any number
    is given. With edits in force, what they add is a part of its own. For single heads
    see `interp.heads.attribute_heads`.

    Args:
        model: The model.
        prompt: A text, or token ids.
        target: The token whose logit is taken apart, as text or id.
        distractor: A token whose logit is taken off.
        positions: At which tokens; see `interp.positions`.
        chat: Whether the text is a user message to be put into the chat template.

    Raises:
        PromptError: If the prompt cannot be read, or a word is not one token.
        SelfCheckError: If what the parts write does not add up to the model's own
            residual stream or logit.
        UnsupportedModelError: If the model has no final norm or head that can be read.
        MissingSiteError: If it lacks a site that writes.

    Source:
        Elhage et al. (2021), "A Mathematical Framework for Transformer Circuits".

    Example:
        >>> from tiny import tiny_model
        >>> import interp
        >>> model = interp.load(tiny_model("llama"))
        >>> found = logit_contributions(model, [5, 6, 7], target=8, distractor=9)
        >>> bool(abs(found.values.sum() - found.logit[0]) < 1e-4)
        True
    """
    ids = prompt_ids(model, prompt, chat=chat)
    tokens = [token_id(model, target)]
    if distractor is not None:
        tokens.append(token_id(model, distractor))
    with model.lock, torch.inference_mode():
        head = head_of(output_of(model, with_neurons=False))
        written = _read(model, ids, positions, device=head.constant.device)
        tables = [_parts(head, written, token) for token in tokens]
        logits = [written.logits[:, token].double() for token in tokens]
        size = _size(written.logits)
        for table, own in zip(tables, logits, strict=True):
            _require_sum(model, _finished(head, table.sum(0)) - own, size, "logit")
    values = _difference(tables)
    words = token_words(model.tokenizer, tokens)
    return LogitContributions(
        model=model.name,
        target=tokens[0],
        distractor=tokens[1] if len(tokens) > 1 else None,
        names=(*written.names, "bias"),
        positions=written.positions,
        tokens=token_words(model.tokenizer, ids),
        values=values.float().cpu().numpy(),
        total=values.sum(0).float().cpu().numpy(),
        logit=_difference(logits).float().cpu().numpy(),
        vocabulary=dict(zip(tokens, words, strict=True)),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Written:
    """What was written at some positions, in float64."""

    names: tuple[str, ...]
    parts: Float[Tensor, "part pos d_model"]
    final: Float[Tensor, "pos d_model"]
    logits: Float[Tensor, "pos vocab"]
    positions: tuple[int, ...]


def _read(
    model: LanguageModel,
    ids: tuple[int, ...],
    positions: PositionSpec,
    *,
    device: torch.device,
) -> _Written:
    last = f"resid_post.{model.n_layers - 1}"
    points = model.architecture.points(["resid_pre.0", "attn_out.*", "mlp_out.*"])
    sites = tuple(point.site for point in points)
    acts = capture(
        model,
        [ids],
        sites=[*sites, last, "logits"],
        positions=positions,
        device=device,
    )
    places = acts.resolved.index[0]
    parts = torch.stack([acts[s].reshape(len(places), -1).double() for s in sites])
    final = acts[last].reshape(len(places), -1).double()
    names = ("embed", *(site.short for site in sites[1:]))
    rest = final - parts.sum(0)
    if is_followed(model.hf):
        # Nothing else tells what an edit of the stream itself has added.
        parts, names = torch.cat([parts, rest[None]]), (*names, "edits")
    else:
        _require_sum(model, rest, _size(final), "residual stream")
    return _Written(
        names=names,
        parts=parts,
        final=final,
        logits=acts["logits"].reshape(len(places), -1),
        positions=tuple(places),
    )


def _parts(head: Head, written: _Written, token: int) -> Float[Tensor, "part pos"]:
    """What each part adds to a token's logit; the last one is the biases."""
    norm = head.output.final_norm
    row = head.output.head.rows(token, token + 1)[0].double()
    vector = norm.folded(row) / norm.scale(written.final)[:, None]
    values = (written.parts * vector).sum(-1)
    bias = head.constant[token].expand(1, values.shape[1])
    return torch.cat([values, bias])


def _finished(head: Head, logits: Float[Tensor, " pos"]) -> Float[Tensor, " pos"]:
    """With the architecture's factor and soft cap, as the model gives them."""
    logits, cap = logits * head.output.logit_scale, head.output.softcap
    return logits if cap is None else cap * torch.tanh(logits / cap)


def _difference(values: Sequence[Tensor]) -> Tensor:
    return values[0] - values[1] if len(values) > 1 else values[0]


def _size(right: Tensor) -> Tensor:
    """How large right values are, to compare errors with."""
    return right.double().square().mean().sqrt().clamp_min(1e-12)


def _require_sum(model: LanguageModel, rest: Tensor, size: Tensor, what: str) -> None:
    error = float(rest.abs().max() / size)
    if not error <= TOLERANCE.get(model.dtype, ROUGH):
        raise SelfCheckError(
            f"What the embedding, attention and MLPs of {model.name or 'the model'}"
            f" write adds up to another {what} than its own: {error:.2g} of its size"
            " apart.",
            expected="Direct attribution rests on the two being equal.",
            remedy="`interp doctor MODEL` tells what does not hold; use the logit lens"
            " or patching instead.",
        )
