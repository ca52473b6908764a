"""The first token of an answer, and whether directions can be ablated in a model."""

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from jaxtyping import Float

from interp.activations import capture
from interp.edits import ablate
from interp.errors import SelfCheckError
from interp.models.language_model import LanguageModel
from probes.studies.refusal.chat import Ids


def first_tokens(
    model: LanguageModel,
    prompts: Ids,
    edit: AbstractContextManager[None] | None = None,
) -> Float[np.ndarray, "example vocab"]:
    """The distribution of the first token of each answer."""
    with edit or nullcontext():
        acts = capture(
            model, prompts, sites="logits", positions="last", dtype="float32"
        )
    return torch.softmax(acts["logits"].double(), dim=-1).numpy()


def can_ablate(model: LanguageModel) -> str:
    """Why directions cannot be ablated in a model, or nothing if they can."""
    try:
        with ablate(model, torch.ones(model.d_model)):
            return ""
    except SelfCheckError as error:
        return str(error)
