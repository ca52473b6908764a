"""What runs in bfloat16 and float16 is what float32 gives, up to their rounding.

Both models hold the same numbers: the float32 one is the half one, widened. So what is
worked out from weights alone has to agree as two float32 runs do, which it would not if
anything were summed in half precision; what passes through the model differs by the
rounding of its activations.
"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from test_devices import (
    IDS,
    LABELS,
    PAIRS,
    TEXTS,
    UP,
    edited,
    numbers as numbers_and_words,
)
from tiny import tiny_model, tiny_tokenizer

import interp
import probes
from interp.activations.moments import moments
from interp.edits import Add
from interp.heads import (
    ablate_heads,
    attribute_heads,
    composition,
    copying,
    induction_strength,
    score,
    token_losses,
)
from interp.lens import logit_contributions, logit_lens
from interp.neurons import effects, entropy_neurons, token_confidence
from interp.patching import attribute, trace
from interp.streaming import edit_sizes


N_LAYERS = 3
# Significant bits; a value is rounded by up to half of the last one.
BITS = {torch.bfloat16: 8, torch.float16: 11}
# In a block a value on its way is rounded about so often: behind the norm, the
# projections, the rotation, the scores, the pattern, the heads and their sum, and so on
# in the MLP. Errors add up at worst, and are relative to the size of what they are in.
ROUNDINGS = 14
# Float32 beside float32, summed in another order.
SINGLE = 1e-5


def bound(dtype: torch.dtype) -> float:
    return N_LAYERS * ROUNDINGS * 2.0 ** -BITS[dtype]


@pytest.fixture(scope="module", params=list(BITS), ids=lambda d: str(d)[6:])
def both(request):
    """A model in half precision, and the same numbers in float32."""
    half = tiny_model("llama").to(request.param)
    single = copy.deepcopy(half).float()
    tokenizer = tiny_tokenizer()
    return interp.load(half, tokenizer=tokenizer), interp.load(
        single, tokenizer=tokenizer
    )


def numbers(found: Any) -> list[np.ndarray]:
    return [each for each in numbers_and_words(found) if isinstance(each, np.ndarray)]


def logits_under(context: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def run(model):
        with context(model), torch.no_grad():
            logits = model.hf(input_ids=torch.tensor([[5, 6, 7, 8, 9]])).logits
        assert logits.dtype == model.dtype
        return logits

    return run


def orthogonalised(model):
    done = interp.orthogonalise(model, UP)
    assert {p.dtype for p in done.hf.parameters()} == {model.dtype}
    with torch.no_grad():
        return done.hf(input_ids=torch.tensor([[5, 6, 7, 8, 9]])).logits


RUNS: dict[str, Callable[[Any], Any]] = {
    "capture": lambda m: (
        interp.capture(
            m, TEXTS[:4], sites=["resid_post.*", "z.*", "mlp_post.*", "logits"]
        ).values
    ),
    "moments": lambda m: moments(m, TEXTS[:4], labels=[0, 1, 0, 1]).mean(
        "resid_post", label=1
    ),
    "steer": logits_under(lambda m: interp.steer(m, UP, 2.0)),
    "ablate": logits_under(lambda m: interp.ablate(m, UP)),
    "clamp": logits_under(lambda m: interp.clamp(m, {"resid_post.1": (3, 1.0)})),
    "patch": logits_under(
        lambda m: interp.patch(m, {"resid_post.1": ("last", torch.ones(32))})
    ),
    "orthogonalise": orthogonalised,
    "trace": lambda m: trace(m, PAIRS, sites=["resid_post", "attn_out", "z"]).ld,
    "attribute": lambda m: attribute(m, PAIRS, sites=["resid_post"]).ld,
    "head scores": lambda m: score(m, IDS, resamples=5).samples,
    "induction strength": lambda m: (
        induction_strength(
            m, [[5, 9, 6, 8, 5]], labels=[[1, 3]], right=[[True, False]]
        ).samples
    ),
    "ablate heads": lambda m: (
        ablate_heads(m, IDS, kinds=["zero", "pattern_preserving"], heads=["L1H0"]).loss
    ),
    "attribute heads": lambda m: attribute_heads(m, IDS).heads,
    "token losses": lambda m: token_losses(m, IDS).loss,
    "lens": lambda m: logit_lens(m, IDS[0]).entropy,
    "contributions": lambda m: logit_contributions(m, IDS[0], target=8).values,
    "confidence": lambda m: token_confidence(m, IDS).loss,
    "neuron effects": lambda m: effects(m, IDS, [3, 7]).loss_total,
    "edit sizes": lambda m: edit_sizes(
        m, [5, 6, 7], Add(site="resid_post.1", vector=torch.ones(32), strength=1.0)
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_runs_differ_by_the_rounding_of_activations(both, name):
    half, single = both
    found, wanted = (numbers(RUNS[name](model)) for model in both)
    assert wanted
    for mine, right in zip(found, wanted, strict=True):
        there = np.isfinite(right)
        assert np.array_equal(np.isfinite(mine), there)
        size = np.abs(right[there]).max(initial=0)
        assert np.abs(mine[there] - right[there]).max(initial=0) <= bound(
            half.dtype
        ) * max(size, 1e-3)
    # Nothing was widened, or left behind.
    assert {p.dtype for p in half.hf.parameters()} == {half.dtype}
    assert {p.dtype for p in single.hf.parameters()} == {torch.float32}


FROM_WEIGHTS: dict[str, Callable[[Any], Any]] = {
    "neurons": entropy_neurons,
    "composition": lambda m: composition(m, through="key"),
    "copying": lambda m: copying(m, n_tokens=16),
}


@pytest.mark.parametrize("name", FROM_WEIGHTS)
def test_what_comes_from_weights_alone_is_what_float32_gives(both, name):
    found, wanted = (numbers(FROM_WEIGHTS[name](model)) for model in both)
    assert wanted
    for mine, right in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mine, right, rtol=SINGLE, atol=SINGLE)


def test_statistics_of_half_rows_are_those_of_the_same_rows_widened(both):
    half, _ = both
    acts = interp.capture(half, TEXTS, sites=["resid_post.*"])
    assert acts["resid_post"].dtype == half.dtype
    wide = acts.to(torch.float32)
    one, other = (
        interp.directions.mean_difference(a, LABELS, site="resid_post.1")
        for a in (acts, wide)
    )
    assert np.array_equal(one.vector, other.vector)
    sweeps = [probes.sweep(a, LABELS, folds=2, seed=0) for a in (acts, wide)]
    for mine, right in zip(*map(numbers, sweeps), strict=True):
        np.testing.assert_allclose(mine, right, rtol=SINGLE, atol=SINGLE)


def test_generation_under_edits_keeps_the_dtype(both):
    half, _ = both
    logits, texts = edited(lambda m: interp.ablate(m, UP))(half)
    assert logits.dtype == half.dtype
    assert len(texts) == 2
