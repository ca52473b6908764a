from collections.abc import Callable

import pytest
from hand_built import hand_built

from interp.models.language_model import LanguageModel


@pytest.fixture
def by_hand() -> Callable[..., LanguageModel]:
    return hand_built
