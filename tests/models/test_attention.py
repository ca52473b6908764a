"""The model's own attention kernel runs, unless somebody asks for patterns."""

import pytest
import torch
from tiny import tiny_model

import interp
from interp.activations.moments import moments
from interp.directions import Direction
from interp.heads import score
from interp.lens import logit_lens


IDS = [[5, 9, 6, 8, 5, 9], [7, 6, 5, 8]]
UP = Direction.from_vector(torch.linspace(-1, 1, 32).numpy(), site="resid_post.1")


def edited(context):
    def run(model):
        with context, torch.no_grad():
            model.hf(torch.tensor(IDS[:1]))

    return run


@pytest.fixture
def kernel_calls(monkeypatch):
    """How often the fast kernel was called."""
    calls = []
    kernel = torch.nn.functional.scaled_dot_product_attention

    def counted(*args, **kwargs):
        calls.append(1)
        return kernel(*args, **kwargs)

    name = "scaled_dot_product_attention"
    monkeypatch.setattr(torch.nn.functional, name, counted)
    return calls


@pytest.mark.parametrize(
    "work",
    [
        lambda m: interp.capture(m, IDS, sites=["resid_post.*", "z.*", "q.*"]),
        lambda m: moments(m, IDS, labels=[0, 1]),
        lambda m: edited(interp.steer(m, UP, 1.0))(m),
        lambda m: edited(interp.ablate(m, UP))(m),
        lambda m: logit_lens(m, IDS[0]),
    ],
    ids=["capture", "moments", "steer", "ablate", "lens"],
)
def test_the_fast_kernel_is_kept(kernel_calls, work):
    model = interp.load(tiny_model("llama"))
    assert model.hf.config._attn_implementation == "sdpa"
    work(model)
    assert len(kernel_calls) >= model.n_layers
    assert model.hf.config._attn_implementation == "sdpa"


def test_patterns_are_formed_instead_and_the_kernel_comes_back(kernel_calls):
    model = interp.load(tiny_model("llama"))
    score(model, IDS, resamples=5)
    assert not kernel_calls
    interp.capture(model, IDS)
    assert kernel_calls
