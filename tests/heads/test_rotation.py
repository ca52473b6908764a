"""Rotations by lag beside the attention that models compute, and products with them."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group
from tiny import tiny_model
from transformers import AutoConfig, AutoModelForCausalLM

import interp
from interp.errors import ConfigError, ShapeError, UnsupportedModelError
from interp.heads import composition, head_weights, lag_matrices, prefix_match_trace
from interp.heads.composition import pair_composition


# Half-split and partial; interleaved and partial; interleaved; none.
OTHERS = {
    "gptj": {
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 2,
        "rotary_dim": 8,
        "n_positions": 64,
    },
    "cohere": {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
}
ROTARY = [
    *("gpt_neox", "llama", "mistral", "qwen2", "qwen3", "gemma2", "olmo2", "phi"),
    *("mixtral", "falcon", "falcon_new", "stablelm", "gptj", "cohere"),
]
NOT_ROTARY = ["gpt2", "opt"]


def model_of(architecture):
    if architecture not in OTHERS:
        return tiny_model(architecture)
    config = AutoConfig.for_model(
        architecture,
        vocab_size=64,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        **OTHERS[architecture],
    )
    hf = AutoModelForCausalLM.from_config(config).float().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in hf.parameters():
            if parameter.ndim > 1:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(0.2 * noise)
    return hf


def queries_and_keys(model, row, layer):
    """As projected, or as normed where the model norms them; `[pos, head, d_head]`."""
    acts = interp.capture(
        model, [row], sites=[f"q.{layer}", f"k.{layer}"], positions="all"
    )
    q, k = (acts[f"{name}.{layer}"][0].double() for name in "qk")
    attn: Any = getattr(model.architecture.blocks[layer], "self_attn", None)
    if not hasattr(attn, "q_norm"):
        return q, k
    whole = attn.q_norm.weight.numel() > q.shape[-1]
    with torch.no_grad():
        q, k = (
            norm((x.flatten(1) if whole else x).float()).reshape(x.shape).double()
            for norm, x in ((attn.q_norm, q), (attn.k_norm, k))
        )
    return q, k


def attentions(model, row):
    """The pattern of each layer; of Falcon's those under the right masks."""
    if model.hf.config.model_type == "falcon":
        acts = interp.capture(model, [row], sites="pattern.*", positions="all")
        return [
            acts[f"pattern.{layer}"][0].transpose(0, 1)
            for layer in range(model.n_layers)
        ]
    model.hf.set_attn_implementation("eager")
    with torch.no_grad():
        out = model.hf(torch.tensor([row]), output_attentions=True, use_cache=False)
    return [pattern[0] for pattern in out.attentions]


@pytest.mark.parametrize("architecture", [*ROTARY, *NOT_ROTARY])
def test_scores_with_the_lag_matrix_are_those_behind_the_models_attention(architecture):
    hf = model_of(architecture)
    model = interp.load(hf)
    row = [7, 9, 12, 5, 30, 9, 7]  # shorter than any sliding window
    found = lag_matrices(model, range(len(row)))
    for layer, pattern in enumerate(attentions(model, row)):
        q, k = queries_and_keys(model, row, layer)
        k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
        scale = q.shape[-1] ** -0.5
        cap = getattr(hf.config, "attn_logit_softcapping", None)
        for query in range(1, len(row)):
            lags = found[layer, query - torch.arange(query + 1)]
            scores = (
                torch.einsum("he,ked,khd->hk", q[query], lags, k[: query + 1]) * scale
            )
            scores = scores if cap is None else cap * torch.tanh(scores / cap)
            want = pattern[:, query, : query + 1].double()
            assert scores.softmax(-1).numpy() == pytest.approx(want.numpy(), abs=1e-5)
    rotates = (found[:, 1] - found[:, 0]).abs().max() > 0.1
    assert rotates == (architecture in ROTARY)
    if architecture in ("gpt_neox", "phi", "stablelm", "gptj"):
        # Half of the axes are left as they are.
        fixed = (found[0, 5].diagonal() - 1).abs() < 1e-6
        assert int(fixed.sum()) == found.shape[-1] // 2


def test_rotations_that_cannot_be_found_are_no_silent_identity():
    hf: Any = tiny_model("llama")
    model = interp.load(hf)
    for layer in hf.model.layers:
        # As if keys were rotated only after they had been cached.
        layer.self_attn.forward = unrotated(layer.self_attn)
    with pytest.raises(UnsupportedModelError, match=r"not rotated yet.*Leave lags out"):
        lag_matrices(model, [1])
    with pytest.raises(UnsupportedModelError, match="not rotated yet"):
        composition(model, through="key", lags=[3])


def unrotated(attention):
    forward = type(attention).forward

    def run(hidden_states, position_embeddings, **rest):
        cos, sin = position_embeddings
        still = (torch.ones_like(cos), torch.zeros_like(sin))
        return forward(attention, hidden_states, position_embeddings=still, **rest)

    return run


def test_what_is_no_rotation_is_refused():
    hf: Any = tiny_model("llama")
    hf.model.rotary_emb.attention_scaling = 1.0
    whole = hf.model.rotary_emb.forward

    def stretched(x, position_ids):
        cos, sin = whole(x, position_ids)
        return cos * (1 + position_ids[..., None]), sin

    hf.model.rotary_emb.forward = stretched
    with pytest.raises(UnsupportedModelError, match="is no rotation"):
        lag_matrices(interp.load(hf), [2])


@pytest.mark.parametrize("through", ["query", "key"])
@pytest.mark.parametrize("architecture", ["llama", "gpt_neox"])
def test_composition_over_lags_equals_the_full_products(architecture, through):
    model = interp.load(tiny_model(architecture))
    lags = (1, 4, 9)
    turns = lag_matrices(model, lags)
    found = composition(model, through=through, lags=lags)
    assert found.lags == lags
    layers = head_weights(model)
    norm = np.linalg.norm
    for a, b in ((0, 0), (2, 3)):
        ov = (layers[0].value[a] @ layers[0].output[a]).double().numpy()
        squares = []
        for turn in turns[2]:
            qk = (
                layers[2].query[b].double() @ turn @ layers[2].key[b].double().T
            ).numpy()
            qk = qk if through == "query" else qk.T
            squares.append((norm(ov @ qk) / (norm(ov) * norm(qk))) ** 2)
        got = found.score[0, a, 2, b]
        assert got == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-6)
    plain = composition(model, through=through)
    zero = composition(model, through=through, lags=[0])
    assert zero.score == pytest.approx(plain.score, rel=1e-4, nan_ok=True)
    assert zero.z == pytest.approx(plain.z, rel=1e-3, abs=1e-3, nan_ok=True)
    assert np.nanmax(abs(found.score - plain.score)) > 1e-3


def test_the_null_of_composition_over_lags_is_that_of_drawn_rotations():
    model = interp.load(tiny_model("llama"))
    turns = lag_matrices(model, [1, 6])[1]
    first, second = head_weights(model)[:2]
    _, z = pair_composition(first, second, through="key", turns=turns)
    ov = (first.value[1] @ first.output[1]).double().numpy()
    products = [
        (second.query[2].double() @ turn @ second.key[2].double().T).T.numpy()
        for turn in turns
    ]
    norm = np.linalg.norm

    def squared(turn):
        parts = [norm(ov @ turn @ p) / (norm(ov) * norm(p)) for p in products]
        return np.mean(np.square(parts))

    drawn = [
        squared(t) for t in ortho_group.rvs(model.d_model, size=1500, random_state=2)
    ]
    want = float((squared(np.eye(model.d_model)) - np.mean(drawn)) / np.std(drawn))
    assert float(z[1, 2]) == pytest.approx(want, abs=0.2 + 0.05 * abs(want))


def test_the_prefix_trace_equals_full_products_and_drawn_permutations():
    model = interp.load(tiny_model("llama"))
    rng = np.random.default_rng(0)
    previous = rng.random((3, 4))
    tokens, lags = np.arange(40, 80), (1, 5)
    found = prefix_match_trace(model, previous, lags=lags, tokens=tokens)
    embedding = model.hf.model.embed_tokens.weight[tokens].detach().double()
    turns = lag_matrices(model, lags)
    layers = head_weights(model)
    for layer, head in ((1, 0), (2, 3)):
        weights = layers[layer]
        scores = torch.zeros(len(tokens), len(tokens), dtype=torch.float64)
        for turn in turns[layer]:
            qk = weights.query[head].double() @ turn @ weights.key[head].double().T
            for earlier in range(layer):
                for e in range(4):
                    ov = (
                        layers[earlier].value[e].double()
                        @ layers[earlier].output[e].double()
                    )
                    part = embedding @ qk @ ov.T @ embedding.T
                    scores += previous[earlier, e] * part / len(lags)
        table = scores.numpy()
        assert found.trace[layer, head] == pytest.approx(np.trace(table) / 40, rel=1e-4)
        drawn = [np.trace(table[:, rng.permutation(40)]) for _ in range(4000)]
        want = (np.trace(table) - np.mean(drawn)) / np.std(drawn)
        assert found.z[layer, head] == pytest.approx(want, abs=0.05 + 0.05 * abs(want))
    assert np.isnan(found.trace[0]).all()


def test_the_hand_built_induction_head_matches_prefixes_by_its_weights(by_hand):
    model = by_hand(n_tokens=12, n_positions=37)
    previous = np.array([[1.0, 0.0], [0.0, 0.0]])
    found = prefix_match_trace(model, previous, tokens=np.arange(11))
    assert found.lags == (1, 2, 4, 8, 16, 32)
    assert (
        found.z[1, 0] > 3.0
    )  # the most that eleven tokens can give is the root of ten
    without = prefix_match_trace(model, np.zeros((2, 2)), tokens=np.arange(11))
    assert without.trace[1, 0] == 0.0


def test_the_trained_induction_heads_match_prefixes_by_their_weights(induction_family):
    model = interp.load(induction_family.base)
    given = interp.heads.repeated_tokens(
        model, n_sequences=16, n_tokens=48, periods=(6, 16), bos="never"
    )
    scores = interp.heads.score(model, given, resamples=20)
    previous = scores.value("previous_token")
    lags = range(5, 16)
    found = prefix_match_trace(model, previous, lags=lags, n_tokens=128)
    matching = scores.value("prefix_matching")
    layer, head = np.unravel_index(matching.argmax(), matching.shape)
    assert found.z[layer, head] > 5.0
    untrained = interp.load(induction_family.checkpoints[0])
    before = prefix_match_trace(untrained, previous, lags=lags, n_tokens=128)
    assert found.z[layer, head] > 3 * abs(before.z[layer, head])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: lag_matrices(m, []), ConfigError, "No lag"),
        (lambda m: lag_matrices(m, [-1]), ConfigError, "lag -1 makes no sense"),
        (lambda m: lag_matrices(m, [128]), ConfigError, "below the context of 128"),
        (
            lambda m: composition(m, through="value", lags=[1]),
            ConfigError,
            "through the value",
        ),
        (
            lambda m: prefix_match_trace(m, np.ones((2, 4))),
            ShapeError,
            "3 layers with 4",
        ),
    ],
)
def test_what_makes_no_sense_is_said(call, error, message):
    with pytest.raises(error, match=message):
        call(interp.load(tiny_model("llama")))
