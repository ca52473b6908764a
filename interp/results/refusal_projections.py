"""Where prompts and answers lie along a refusal direction, as parts of a result."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from interp.results.files import Number
from interp.results.refusal_rows import Instructions
from interp.results.truthfulness import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalProjection:
    """Where test prompts of a class lie along a direction before one block.

    The projection is that of the residual stream at the token where the direction was
    read, on the direction of length 1.

    Attributes:
        model: The model that reads the prompts, unchanged.
        direction: Whose direction it is.
        instructions: Which class of prompts.
        layer: The layer of `resid_pre`.
        n: How many prompts.
        mean: Their mean projection.
        mean_low: Lower end of its 95 % bootstrap interval over prompts.
        mean_high: Upper end.
        low: Below this lie a tenth of the prompts.
        high: Above this lie a tenth of them.
    """

    model: Role
    direction: Literal["base", "post"]
    instructions: Instructions
    layer: int
    n: int
    mean: Number
    mean_low: Number
    mean_high: Number
    low: Number
    high: Number


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadAnswer:
    """An answer, and how far along the direction the unchanged model is at each token.

    Attributes:
        tokens: The tokens of the answer, decoded.
        projections: In lengths of the model's own direction, from the mean of harmless
            prompts at the token where it was read: there 1 is the mean of harmful ones.
    """

    tokens: tuple[str, ...]
    projections: Float[np.ndarray, " token"]
