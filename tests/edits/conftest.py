from collections.abc import Callable, Iterator
from functools import cache

import pytest
import torch
from tiny import tiny_model
from torch import Tensor

from interp.models.hookpoints import plant
from interp.models.language_model import LanguageModel


@cache
def _model(architecture: str) -> LanguageModel:
    return LanguageModel(hf=tiny_model(architecture), name=architecture)


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture
def model_of() -> Callable[[str], LanguageModel]:
    """The tiny model of an architecture, one for all tests."""
    return _model


@pytest.fixture
def llama() -> Iterator[LanguageModel]:
    """A tiny Llama, checked afterwards to carry no hook."""
    model = _model("llama")
    yield model
    modules = model.hf.modules()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in modules)


@pytest.fixture
def values_at() -> Callable[..., dict[str, Tensor]]:
    """Run a model and return the values of sites, read behind all edits."""

    def read(
        model: LanguageModel, sites: object, **inputs: Tensor
    ) -> dict[str, Tensor]:
        values: dict[str, Tensor] = {}
        removers = []
        for point in model.architecture.points(sites):  # type: ignore[arg-type]

            def keep(value: Tensor, name: str = point.site.short) -> None:
                values[name] = value.clone()

            removers += plant(point, keep)
        try:
            model.hf(**inputs, use_cache=False)
        finally:
            for remove in reversed(removers):
                remove()
        return values

    return read
