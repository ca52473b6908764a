"""Scores from weights beside activations, full-size products and planted circuits."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group
from tiny import tiny_model

import interp
from interp.heads import composition, copying, head_weights
from interp.heads.composition import pair_composition, rotation_moments
from interp.heads.weights import HeadWeights, _norm_path
from interp.models.norms import norm_of


READABLE = [
    *("gpt2", "gpt_neox", "llama", "qwen3", "gemma2", "olmo2"),
    *("opt", "bloom", "falcon", "falcon_new", "phi", "mixtral"),
]


@pytest.mark.parametrize("architecture", READABLE)
def test_the_matrices_give_the_values_that_the_model_computes(architecture):
    """Differences of two inputs, so that biases fall out, before the division."""
    hf = tiny_model(architecture)
    model = interp.load(hf)
    sites = ["resid_pre.1", "q.1", "k.1", "v.1"]
    acts = interp.capture(model, [[7], [11]], sites=sites, positions="last")
    stream = acts["resid_pre.1"].double()
    weights = head_weights(model)[1]
    repeats = model.n_heads // model.n_kv_heads
    norm = norm_size(model, stream)
    read = stream / norm[:, None]
    for name, matrix in (
        ("q", weights.query),
        ("v", weights.value),
        ("k", weights.key),
    ):
        ours = torch.einsum("nd,hde->nhe", read, matrix.double())
        theirs = acts[f"{name}.1"].double()
        if theirs.shape[1] != ours.shape[1]:
            theirs = theirs.repeat_interleave(repeats, dim=1)
        difference = (ours[0] - ours[1]) - (theirs[0] - theirs[1])
        assert difference.abs().max() < 1e-4 * theirs.abs().max()


def norm_size(model, stream):
    """What the layer's norm divides by; 1 where attention reads the stream itself."""
    path = _norm_path(model)
    if path is None:
        return torch.ones(len(stream), dtype=torch.float64)
    module = model.architecture.blocks[1].get_submodule(path)
    norm = norm_of(
        module, dict(module.named_parameters()), width=model.d_model, name="norm"
    )
    return norm.scale(stream)


@pytest.mark.parametrize("architecture", READABLE)
def test_what_heads_write_adds_up_to_the_attention_output(architecture):
    model = interp.load(tiny_model(architecture))
    acts = interp.capture(
        model, [[7, 9, 12], [11, 6, 5]], sites=["z.1", "attn_out.1"], positions="last"
    )
    output = head_weights(model)[1].output
    written = torch.einsum("nhe,hed->nd", acts["z.1"], output)
    theirs = acts["attn_out.1"]
    if model.architecture.map.attn_post_norm is not None:
        pytest.skip("what is written passes another norm")
    difference = (written[0] - written[1]) - (theirs[0] - theirs[1])
    assert difference.abs().max() < 1e-4 * theirs.abs().max()


def drawn_heads(seed, n_heads=2, d=12, d_head=3):
    generator = torch.Generator().manual_seed(seed)

    def one(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return HeadWeights(
        query=one(n_heads, d, d_head).float(),
        key=one(n_heads, d, d_head).float(),
        value=one(n_heads, d, d_head).float(),
        output=one(n_heads, d_head, d).float(),
    )


@pytest.mark.parametrize("through", ["query", "key", "value"])
def test_composition_equals_the_full_products(through):
    first, second = drawn_heads(0), drawn_heads(1)
    score, z = pair_composition(first, second, through=through)
    for a in range(2):
        for b in range(2):
            ov = (first.value[a] @ first.output[a]).double().numpy()
            qk = (second.query[b] @ second.key[b].T).double().numpy()
            other = {
                "query": qk,
                "key": qk.T,
                "value": (second.value[b] @ second.output[b]).double().numpy(),
            }[through]
            norm = np.linalg.norm
            whole = norm(ov @ other) / (norm(ov) * norm(other))
            assert float(score[a, b]) == pytest.approx(whole, rel=1e-5)
            turned = [
                norm(ov @ turn @ other) ** 2
                for turn in ortho_group.rvs(12, size=4000, random_state=5)
            ]
            drawn = float((norm(ov @ other) ** 2 - np.mean(turned)) / np.std(turned))
            assert float(z[a, b]) == pytest.approx(drawn, abs=0.12 + 0.05 * abs(drawn))


def test_moments_of_rotations_are_those_of_drawn_ones():
    rng = np.random.default_rng(0)
    p, s = (x @ x.T for x in rng.normal(size=(2, 6, 2)))
    drawn = [
        np.trace(p @ turn @ s @ turn.T)
        for turn in ortho_group.rvs(6, size=20_000, random_state=1)
    ]

    def traces(matrix):
        first, second = np.trace(matrix), np.trace(matrix @ matrix)
        return torch.tensor(float(first)), torch.tensor(float(second))

    mean, variance = rotation_moments(traces(p), traces(s), d=6)
    assert float(mean) == pytest.approx(np.mean(drawn), rel=0.02)
    assert float(variance) == pytest.approx(np.var(drawn), rel=0.05)


def test_a_planted_composition_stands_out_and_nothing_else():
    first, second = drawn_heads(0, d=48, d_head=4), drawn_heads(1, d=48, d_head=4)
    key = second.key.clone()
    key[1] = first.output[0].T  # the second layer's head 1 reads what head 0 writes
    planted = HeadWeights(
        query=second.query, key=key, value=second.value, output=second.output
    )
    _, z = pair_composition(first, planted, through="key")
    assert z[0, 1] > 10
    others = [float(z[a, b]) for a in range(2) for b in range(2) if (a, b) != (0, 1)]
    assert max(map(abs, others)) < 5
    _, by_value = pair_composition(first, planted, through="value")
    assert by_value.abs().max() < 5


def test_the_hand_built_circuit_composes_through_its_keys(by_hand):
    model = by_hand(n_tokens=10, n_positions=24)
    keys = composition(model, through="key")
    assert keys.z[0, 0, 1, 0] > 10
    assert np.isnan(keys.z[0, 0, 1, 1])  # its queries are a bias, so W_QK is nothing
    assert keys.score[0, 0, 1, 0] > 2 * keys.expected
    queries = composition(model, through="query")
    assert queries.z[0, 0, 1, 0] < 0  # they read tokens, and it writes elsewhere


def test_copying_equals_the_eigenvalues_of_the_whole_map():
    model = interp.load(tiny_model("llama"))
    found = copying(model, tokens=np.arange(model.d_vocab))
    hf = model.hf
    embedding = hf.get_input_embeddings().weight.detach().double()
    head = (hf.lm_head.weight * hf.model.norm.weight).detach().double()
    for layer, weights in enumerate(head_weights(model)):
        for i in range(model.n_heads):
            ov = weights.value[i].double() @ weights.output[i].double()
            whole = embedding @ ov @ head.T
            values = torch.linalg.eigvals(whole)
            share = values.real.sum() / values.abs().sum()
            assert found.eigenvalues[layer, i] == pytest.approx(float(share), abs=1e-6)
            own = (whole.argmax(-1) == torch.arange(len(whole))).double().mean()
            assert found.top[layer, i] == pytest.approx(float(own), abs=1e-9)


def test_the_hand_built_induction_head_copies(by_hand):
    found = copying(by_hand(n_tokens=10, n_positions=24))
    assert found.eigenvalues[1, 0] > 0.9
    assert found.top[1, 0] == 1.0
    assert not math.isfinite(found.eigenvalues[0, 1]) or found.top[0, 1] < 1.0
