from collections.abc import Callable, Iterator
from functools import cache

import pytest
from tiny import tiny_model, tiny_tokenizer

import interp
from interp.models.language_model import LanguageModel
from interp.models.reading import is_followed


@cache
def _model(architecture: str) -> LanguageModel:
    return interp.load(tiny_model(architecture), tokenizer=tiny_tokenizer())


def is_clean(model: LanguageModel) -> bool:
    """Whether no hook is planted, nobody edits, and the lock can be had."""
    if not model.lock.acquire(blocking=False):
        return False
    model.lock.release()
    modules = list(model.hf.modules())
    hooks = any(m._forward_hooks or m._forward_pre_hooks for m in modules)
    return not hooks and not is_followed(model.hf)


@pytest.fixture
def model_of() -> Callable[[str], LanguageModel]:
    """The tiny model of an architecture, one for all tests."""
    return _model


@pytest.fixture
def llama() -> Iterator[LanguageModel]:
    """A tiny Llama, checked afterwards to be as it was."""
    model = _model("llama")
    yield model
    assert is_clean(model)
