from collections.abc import Callable

import numpy as np
import pytest
from hand_built import hand_built

from interp.heads import RepeatedTokens, repeated_tokens
from interp.models.language_model import LanguageModel


@pytest.fixture
def by_hand() -> Callable[..., LanguageModel]:
    return hand_built


@pytest.fixture
def repeats_by_hand() -> tuple[LanguageModel, RepeatedTokens]:
    """A model built by hand to copy repeated blocks, and blocks that it can copy."""
    model = hand_built(n_tokens=12, n_positions=37)
    given = repeated_tokens(
        model,
        n_sequences=8,
        n_tokens=37,
        periods=(5, 11),
        bos="always",
        pool=np.arange(11),
    )
    return model, given
