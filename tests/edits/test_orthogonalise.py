"""Orthogonalised weights against the hooks of `ablate`, for every architecture."""

import copy
import logging
import sys
from functools import cache
from typing import Any

import pytest
import torch
from tiny import ARCHITECTURES, tiny_config, tiny_model, tiny_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

import interp
from interp.directions import Direction
from interp.edits import ablate, logit_error, orthogonalise, steer
from interp.edits.weights import take_out, writes_of
from interp.errors import (
    ConfigError,
    DataError,
    IncompatibleError,
    SelfCheckError,
    ShapeError,
)
from interp.models.language_model import LanguageModel


IDS = torch.tensor([[5, 6, 7, 8, 9, 10], [11, 12, 13, 2, 2, 2]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])
WIDENED = ("gemma2", "olmo2")
SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "pad_token_id",
)
# A LayerNorm behind its embedding: see the tests below.
EXACT = [name for name in ARCHITECTURES if name != "bloom"]


def random_vectors(n: int = 1, *, seed: int = 11) -> torch.Tensor:
    return torch.randn(n, 32, generator=torch.Generator().manual_seed(seed))


VECTOR = random_vectors()[0]


def assert_equals_hooks(
    edited: LanguageModel, model: LanguageModel, directions: torch.Tensor
) -> None:
    with ablate(model, directions):
        right = model.hf(IDS, attention_mask=MASK).logits[MASK.bool()]
    found = edited.hf(IDS, attention_mask=MASK).logits[MASK.bool()]
    torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-5)
    plain = model.hf(IDS, attention_mask=MASK).logits[MASK.bool()]
    assert (plain - right).abs().max() > 1e-2


@cache
def edited_of(architecture: str) -> LanguageModel:
    """A tiny model without the first random direction, one for all tests."""
    return orthogonalise(LanguageModel(hf=tiny_model(architecture)), VECTOR)


@pytest.mark.parametrize("architecture", EXACT)
def test_logits_are_those_under_ablation(model_of, architecture):
    assert_equals_hooks(edited_of(architecture), model_of(architecture), VECTOR)


@pytest.mark.parametrize("architecture", ["gpt2", "gemma2", "mixtral"])
def test_the_given_model_stays_as_it_is(model_of, architecture):
    model = model_of(architecture)
    before = copy.deepcopy(model.hf.state_dict())
    edited = orthogonalise(model, 3 * VECTOR)
    assert_equals_hooks(edited, model, VECTOR)
    # The given model is as it was, and still tied if it was.
    after = model.hf.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert type(edited.hf) is type(model.hf)


@pytest.mark.parametrize("architecture", EXACT)
def test_no_residual_site_holds_the_direction(values_at, architecture):
    edited = edited_of(architecture)
    wide = torch.nn.functional.pad(VECTOR, (0, edited.d_model - 32))
    sites = [s for s in edited.architecture.sites if s.component.startswith("resid")]
    values = values_at(edited, sites, input_ids=IDS, attention_mask=MASK)
    for site, value in values.items():
        share = (value @ wide).abs() / value.norm(dim=-1) / wide.norm()
        assert share.max() < 1e-5, site


@pytest.mark.parametrize("architecture", ["gpt2", "gemma2", "olmo2", "mixtral"])
def test_it_writes_what_the_model_writes_under_hooks(model_of, architecture):
    model, edited = (
        LanguageModel(hf=one.hf, tokenizer=tiny_tokenizer())
        for one in (model_of(architecture), edited_of(architecture))
    )
    prompts = ["The city of Paris is", "not"]
    with ablate(model, VECTOR):
        right = model.generate(prompts, max_new_tokens=12)
    assert edited.generate(prompts, max_new_tokens=12) == right
    assert model.generate(prompts, max_new_tokens=12) != right


@pytest.mark.parametrize("architecture", ["qwen3_moe", "gemma2", "opt"])
def test_a_span_is_removed_whole(model_of, architecture):
    model, vectors = model_of(architecture), random_vectors(3)
    assert_equals_hooks(orthogonalise(model, vectors), model, vectors)


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        ("llama", {"tie_word_embeddings": True}),
        ("llama", {"attention_bias": True, "mlp_bias": True}),
        ("gemma2", {"tie_word_embeddings": False}),
        ("olmo2", {"tie_word_embeddings": True, "attention_bias": True}),
        ("opt", {"word_embed_proj_dim": 16}),
        ("qwen3_moe", {"decoder_sparse_step": 2}),
        ("qwen3_moe", {"moe_intermediate_size": 32}),
        ("gpt_neox", {"tie_word_embeddings": True}),
    ],
    ids=str,
)
def test_variants_of_an_architecture_are_exact_too(architecture, changes):
    model = LanguageModel(hf=tiny_model(architecture, **changes))
    edited = orthogonalise(model, VECTOR)
    assert_equals_hooks(edited, model, VECTOR)


# Architectures beyond those of `tiny`: experts with the axes swapped and with biases,
# a shared expert, post-norms beside norms of queries and keys.
OTHERS = {
    "gpt_oss": {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8},
    "qwen2_moe": {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 24,
        "shared_expert_intermediate_size": 24,
    },
    "gemma3_text": {"head_dim": 12, "query_pre_attn_scalar": 12, "sliding_window": 8},
}


@pytest.mark.parametrize("model_type", OTHERS)
def test_other_kinds_of_experts_and_norms_are_exact_too(model_type):
    fields = {name: getattr(tiny_config("llama"), name) for name in SIZES}
    config = AutoConfig.for_model(model_type, **fields, **OTHERS[model_type])
    with torch.random.fork_rng(devices=[]):
        hf: Any = AutoModelForCausalLM.from_config(config).float().eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in hf.parameters():
        noise = 0.2 * torch.randn(parameter.shape, generator=generator)
        parameter.copy_(parameter + noise if parameter.ndim == 1 else noise)
    model = LanguageModel(hf=hf)
    assert_equals_hooks(orthogonalise(model, VECTOR), model, VECTOR)


def test_a_tied_head_is_untied_and_keeps_its_weights(model_of):
    model, edited = model_of("gpt2"), edited_of("gpt2")
    head, table = (
        edited.hf.get_output_embeddings().weight,
        edited.hf.get_input_embeddings().weight,
    )
    assert edited.hf.config.tie_word_embeddings is False
    assert model.hf.config.tie_word_embeddings is True
    assert torch.equal(head, model.hf.lm_head.weight)
    assert not torch.equal(head, table)


@pytest.mark.parametrize("architecture", WIDENED)
def test_a_widened_model_says_so_and_is_refused_or_approximated_on_request(
    model_of, values_at, caplog, architecture
):
    model, vector = model_of(architecture), VECTOR
    with caplog.at_level(logging.WARNING, "interp.edits"):
        edited = orthogonalise(model, vector)
    assert edited.d_model == 64
    assert "d_model 64 for 32" in caplog.text
    with pytest.raises(IncompatibleError, match=r"pass a norm.*post_norm='widen'"):
        orthogonalise(model, vector, post_norm="refuse")
    near = orthogonalise(model, vector, post_norm="approximate")
    assert near.d_model == 32
    values = values_at(near, "resid_post.*", input_ids=IDS)
    for value in values.values():
        assert ((value @ vector).abs() / value.norm(dim=-1)).max() < 1e-4
    # Not exact, and much nearer to the ablated model than the plain one.
    error = logit_error(near, model, vector)
    assert 1e-3 < error < 0.3 * logit_error(model, model, vector)


def test_the_approximation_is_better_in_wider_models():
    errors = []
    for width in (32, 128):
        changes = {"hidden_size": width, "intermediate_size": width}
        model = LanguageModel(hf=tiny_model("olmo2", **changes))
        vector = torch.randn(width, generator=torch.Generator().manual_seed(0))
        edited = orthogonalise(model, vector, post_norm="approximate")
        errors.append(logit_error(edited, model, vector))
    assert errors[1] < errors[0]


def test_extreme_gains_are_widened_exactly_and_zero_gains_approximated(values_at):
    # In double precision, since large gains make large rounding.
    model = LanguageModel(hf=tiny_model("olmo2").double())
    for block in model.architecture.blocks:
        norm: Any = block.get_submodule("post_attention_layernorm")
        with torch.no_grad():
            norm.weight[3] = 0.0
            norm.weight[4] = -20.0
    vector = VECTOR
    assert_equals_hooks(orthogonalise(model, vector), model, vector)
    near = orthogonalise(model, vector, post_norm="approximate")
    for value in values_at(near, "attn_out.*", input_ids=IDS).values():
        assert ((value.float() @ vector).abs() / value.norm(dim=-1)).max() < 1e-4


def test_a_layer_norm_behind_the_embedding_is_refused_or_approximated(
    model_of, values_at
):
    model, vector = model_of("bloom"), VECTOR
    with pytest.raises(IncompatibleError, match=r"word_embeddings_layernorm.*mean"):
        orthogonalise(model, vector)
    near = orthogonalise(model, vector, post_norm="approximate")
    values = values_at(near, ["resid_pre.0", "resid_post.*"], input_ids=IDS)
    for value in values.values():
        assert ((value @ vector).abs() / value.norm(dim=-1)).max() < 1e-5
    assert logit_error(near, model, vector) < 0.3 * logit_error(model, model, vector)


@pytest.mark.parametrize("architecture", ["qwen2", "gemma2", "gpt2"])
def test_half_precision_stays_and_is_as_good_as_its_rounding(architecture):
    hf: Any = tiny_model(architecture)
    model = LanguageModel(hf=hf.to(torch.bfloat16))
    vector = VECTOR
    edited = orthogonalise(model, vector)
    assert {p.dtype for p in edited.hf.parameters()} == {torch.bfloat16}
    assert edited.dtype == torch.bfloat16
    exact = LanguageModel(hf=copy.deepcopy(model.hf).float())
    with ablate(exact, vector):
        right = exact.hf(IDS).logits
    # The rounding of bfloat16 on 32 dimensions, as the plain model has it too.
    rounding = (model.hf(IDS).logits.float() - exact.hf(IDS).logits).abs().max()
    error = (edited.hf(IDS).logits.float() - right).abs().max()
    assert error < 3 * rounding


def test_a_direction_value_is_removed_by_its_unit(model_of):
    model, vector = model_of("llama"), VECTOR
    direction = Direction.from_vector(5 * vector.numpy(), site="resid_post.1")
    by_value, by_vector = (orthogonalise(model, one) for one in (direction, vector))
    for name, tensor in by_value.hf.state_dict().items():
        torch.testing.assert_close(tensor, by_vector.hf.state_dict()[name])


def test_it_is_one_of_the_first_names(model_of):
    edited = interp.orthogonalise(model_of("llama"), VECTOR)
    assert edited.name == "llama, orthogonalised"
    assert edited.folder is None
    assert interp.edits.orthogonalise is interp.orthogonalise


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_taking_out_in_blocks_is_the_projection(monkeypatch, axis):
    monkeypatch.setattr("interp.edits.weights.BLOCK", 40)
    tensor = torch.randn(8, 8, 8, generator=torch.Generator().manual_seed(0))
    basis = torch.linalg.qr(random_vectors(2)[:, :8].double().T).Q.T
    keep = (torch.eye(8, dtype=torch.float64) - basis.T @ basis).float()
    right = torch.tensordot(tensor.movedim(axis, -1), keep, dims=1).movedim(-1, axis)
    take_out(tensor, basis, axis=axis)
    torch.testing.assert_close(tensor, right)


def test_every_write_is_listed_once(model_of):
    paths = [write.path for write in writes_of(model_of("gpt2"))]
    assert paths[:2] == ["transformer.wte.weight", "transformer.wpe.weight"]
    assert len(paths) == len(set(paths)) == 2 + 3 * 4
    fused = [write.path for write in writes_of(model_of("mixtral"))]
    assert "model.layers.2.mlp.experts.down_proj" in fused


@pytest.mark.parametrize(
    ("vectors", "error", "words"),
    [
        (torch.zeros(32), DataError, "is zero"),
        (torch.full((32,), float("nan")), DataError, "not finite"),
        (torch.ones(2, 32), DataError, "linearly dependent"),
        (torch.ones(31), ShapeError, r"\[1, 31\].*32"),
        (torch.ones(1, 2, 32), ShapeError, r"\[1, 2, 32\]"),
        ([], ConfigError, "No direction"),
    ],
)
def test_unusable_directions_are_refused(model_of, vectors, error, words):
    with pytest.raises(error, match=words):
        orthogonalise(model_of("llama"), vectors)


def test_weights_that_cannot_be_edited_are_refused(model_of):
    vector = VECTOR
    offloaded = LanguageModel(hf=tiny_model("llama"), name="far")
    offloaded.hf.model.norm.to("meta")
    with pytest.raises(IncompatibleError, match="far are offloaded or spread"):
        orthogonalise(offloaded, vector)
    quantised = LanguageModel(hf=tiny_model("llama"), name="small")
    layer = quantised.hf.model.layers[0].mlp.down_proj
    layer.weight = torch.nn.Parameter(layer.weight.to(torch.int8), requires_grad=False)
    with pytest.raises(IncompatibleError, match=r"small are quantised.*interp\.ablate"):
        orthogonalise(quantised, vector)
    llama = model_of("llama")
    with (
        steer(llama, vector, site="resid_post.0"),
        pytest.raises(ConfigError, match="before or after the block"),
    ):
        orthogonalise(llama, vector)


def test_a_model_with_an_unknown_write_is_refused():
    model = LanguageModel(hf=tiny_model("llama"), name="odd")
    block: Any = model.architecture.blocks[1]
    handle = block.register_forward_hook(lambda module, args, output: output + 1.0)
    with pytest.raises(SelfCheckError, match="refused for odd"):
        orthogonalise(model, VECTOR)
    handle.remove()


def test_a_write_that_was_overlooked_is_noticed(model_of, monkeypatch):
    def all_but_one(model: LanguageModel) -> tuple:
        return writes_of(model)[:-1]

    module = sys.modules[orthogonalise.__module__]
    monkeypatch.setattr(module, "writes_of", all_but_one)
    with pytest.raises(SelfCheckError, match=r"resid_post\.2 still has"):
        orthogonalise(model_of("llama"), VECTOR)


def test_no_random_state_of_anybody_is_used(model_of):
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    orthogonalise(model_of("gemma2"), VECTOR)
    assert torch.equal(torch.random.get_rng_state(), before)
