"""`capture`: the activations of prompts at chosen sites and positions."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch

from interp.activations.activations import Activations
from interp.activations.budget import default_token_budget
from interp.activations.forward import run
from interp.activations.job import Job
from interp.activations.points import Sites as Sites, hook_points
from interp.activations.resolving import resolve_positions
from interp.activations.rows import Rows
from interp.errors import ConfigError
from interp.models.language_model import LanguageModel
from interp.models.tokens import Prompts
from interp.positions import PositionSpec, Span
from interp.provenance import ModelRecord


def capture(
    model: LanguageModel,
    prompts: Prompts,
    *,
    sites: Sites = "resid_post.*",
    positions: PositionSpec = "last",
    dtype: torch.dtype | str | None = None,
    device: torch.device | str = "cpu",
    chat: bool = False,
    spans: Mapping[str, Sequence[Span]] | None = None,
    token_budget: int | None = None,
    shared_prefix: Literal["auto", False] = "auto",
) -> Activations:
    """The activations of every prompt at the sites and positions asked for.

    The model is run in batches of prompts of similar length and stopped after the last
    site that is needed; a beginning that all prompts share is computed once. Which
    prompts share a batch changes no value beyond rounding. Inside `interp.steer` and
    the like the edited values are captured.

    Args:
        model: The model; it is left as it was.
        prompts: Texts, or rows of token ids; one text stands for a list of one.
        sites: Which activations; see `interp.sites`.
        positions: Which tokens of each prompt; see `interp.positions`.
        dtype: How the rows are kept; as the model computes them by default.
        device: Where the rows end.
        chat: Whether each text is a user message to be put into the chat template.
        spans: Named spans of characters of each prompt, for positions such as
            `"subject_last"`; of tokens where the prompts are token ids.
        token_budget: The most tokens in a batch; chosen by default.
        shared_prefix: False to compute every prompt in full.

    Returns:
        The rows, in the order of the prompts.

    Raises:
        PromptError: If a prompt cannot be run.
        PositionError: If a prompt lacks a position.
        UnknownSiteError: If a name is no site or a layer is not in the model.
        MissingSiteError: If the architecture has no such site.
        OutOfMemoryError: If the rows or a single prompt do not fit into memory.

    Example:
        >>> from tiny import tiny_model, tiny_tokenizer
        >>> import interp
        >>> model = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())
        >>> acts = interp.capture(model, ["Paris is", "the city of Paris"])
        >>> acts["resid_post"].shape, acts.tokens(0)
        (torch.Size([2, 3, 32]), (' is',))
    """
    points = hook_points(model, sites)
    resolved = resolve_positions(
        model, prompts, positions=positions, chat=chat, spans=spans
    )
    if shared_prefix not in ("auto", False):
        raise ConfigError(
            f"shared_prefix is {shared_prefix!r}.", expected="'auto' or False."
        )
    tokenized = resolved.tokenized
    computed = model.dtype
    rows = Rows(
        points,
        resolved.positions,
        dtype=computed if dtype is None else storage_dtype(dtype, model),
        device=_device(device),
        longest=max(tokenized.lengths),
    )
    job = Job(
        ids=tokenized.ids,
        points=points,
        positions=resolved.positions,
        token_budget=checked_budget(token_budget, model),
        may_share_prefix=shared_prefix == "auto",
    )
    run(model, job, rows)
    return Activations(
        sites=tuple(point.site for point in points),
        values=rows.finish(),
        token_ids=tokenized.ids,
        texts=tokenized.texts,
        resolved=resolved.positions,
        tokenizer=model.tokenizer,
        provenance=_record(model, computed),
    )


def _record(model: LanguageModel, dtype: torch.dtype) -> ModelRecord:
    """Which model it was, without the hashes: those can take longer than a capture."""
    return ModelRecord(
        name=model.name,
        revision=model.commit or "",
        dtype=str(dtype).removeprefix("torch."),
        attention=str(model.hf.config._attn_implementation),
        device=model.device.type,
    )


def storage_dtype(dtype: torch.dtype | str | None, model: LanguageModel) -> torch.dtype:
    """The dtype in which rows are kept.

    Raises:
        ConfigError: If there is no such floating-point dtype.
    """
    if dtype is None:
        return model.dtype
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ConfigError(
            f"The dtype of the rows is {dtype!r}.",
            expected="A floating-point dtype such as 'float32' or 'bfloat16'.",
        )
    return found


def checked_budget(token_budget: int | None, model: LanguageModel) -> int:
    """The token budget that was given, or a sensible one.

    Raises:
        ConfigError: If it is not a positive number.
    """
    if token_budget is None:
        return default_token_budget(model)
    if token_budget < 1:
        raise ConfigError(
            f"token_budget is {token_budget}.",
            expected="The most tokens in a batch, at least 1.",
        )
    return token_budget


def _device(device: torch.device | str) -> torch.device:
    try:
        # A tensor knows its full device name ("cuda" becomes "cuda:0").
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"The device {str(device)!r} cannot be used.",
            expected=str(error).splitlines()[0],
            remedy="Use device='cpu'.",
        ) from error
