"""Contributions add up to the logit, and each is what a component wrote."""

import copy
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from tiny import ARCHITECTURES, tiny_model, tiny_tokenizer
from transformers import AutoModelForCausalLM, GraniteConfig

import interp
from interp.edits import Add, edit
from interp.errors import PromptError, SelfCheckError
from interp.heads import attribute_heads
from interp.lens import logit_contributions


IDS = [7, 9, 12, 5, 30, 9, 41]
TARGET, DISTRACTOR = 17, 203


def uncapped(hf: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        logits = hf(torch.tensor([ids])).logits[0].double()
    cap = getattr(hf.config, "final_logit_softcapping", None)
    return cap * torch.atanh(logits / cap) if cap else logits


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_parts_add_up_to_the_models_own_logits(architecture):
    hf = tiny_model(architecture)
    found = logit_contributions(
        interp.load(hf), IDS, target=TARGET, distractor=DISTRACTOR, positions="all"
    )
    logits = uncapped(hf, IDS)
    gap = (logits[:, TARGET] - logits[:, DISTRACTOR]).numpy()
    np.testing.assert_allclose(found.values.sum(0), gap, atol=2e-4)
    np.testing.assert_allclose(found.total, gap, atol=2e-4)
    with torch.no_grad():
        own = hf(torch.tensor([IDS])).logits[0]
    shown = (own[:, TARGET] - own[:, DISTRACTOR]).numpy()
    np.testing.assert_allclose(found.logit, shown, atol=1e-5)
    assert len(found.names) == 2 * hf.config.num_hidden_layers + 2
    assert (found.names[0], found.names[-1]) == ("embed", "bias")


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2", "olmo2"])
def test_each_part_equals_what_transformer_lens_caches_through_the_scaled_head(
    architecture,
):
    pytest.importorskip("transformer_lens", reason="it is the oracle here")
    from transformer_lens.model_bridge.sources._bridge_builder import (
        build_bridge_from_module,
    )

    hf = tiny_model(architecture)
    found = logit_contributions(
        interp.load(hf), IDS, target=TARGET, distractor=DISTRACTOR, positions="all"
    )
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        bridge: Any = build_bridge_from_module(
            copy.deepcopy(hf), type(hf).__name__, hf_config=copy.deepcopy(hf.config)
        )
        _, cache = bridge.run_with_cache(torch.tensor([IDS]), prepend_bos=False)
    head: Any = hf.get_output_embeddings()
    row = (head.weight[TARGET] - head.weight[DISTRACTOR]).detach().double()
    last = hf.config.num_hidden_layers - 1
    stream = cache[f"blocks.{last}.hook_resid_post"][0].double()
    if architecture == "gpt2":
        norm: Any = hf.get_submodule("transformer.ln_f")
        towards = row * norm.weight.detach().double()
        towards, eps = towards - towards.mean(), norm.eps
        scale = (stream.var(dim=-1, correction=0) + eps).sqrt()
    else:
        norm = hf.get_submodule("model.norm")
        gain = norm.weight.detach().double() + (architecture == "gemma2")
        eps = getattr(norm, "variance_epsilon", None) or norm.eps
        towards, scale = row * gain, (stream.square().mean(-1) + eps).sqrt()
    names = ["blocks.0.hook_resid_pre"]
    for layer in range(last + 1):
        names += [f"blocks.{layer}.hook_{kind}_out" for kind in ("attn", "mlp")]
    for part, name in enumerate(names):
        right = (cache[name][0].double() @ towards) / scale
        np.testing.assert_allclose(found.values[part], right, atol=2e-4, err_msg=name)


def test_attention_is_the_sum_of_its_heads():
    model = interp.load(tiny_model("gpt2"))
    rows = [[*IDS, TARGET]]
    heads = attribute_heads(model, rows, targets=[[len(IDS)]], resamples=2)
    found = logit_contributions(model, IDS, target=TARGET)
    mlps = [found.names.index(f"mlp_out.{layer}") for layer in range(model.n_layers)]
    np.testing.assert_allclose(found.values[mlps, 0], heads.mlps[:, 0], atol=1e-5)
    np.testing.assert_allclose(found.values[0, 0], heads.embedding[0], atol=1e-5)
    np.testing.assert_allclose(found.total, heads.total, atol=1e-5)


def test_a_difference_is_the_difference_of_two_logits():
    model = interp.load(tiny_model("gemma2"))
    target = logit_contributions(model, IDS, target=TARGET)
    other = logit_contributions(model, IDS, target=DISTRACTOR)
    both = logit_contributions(model, IDS, target=TARGET, distractor=DISTRACTOR)
    np.testing.assert_allclose(both.values, target.values - other.values, atol=1e-5)
    np.testing.assert_allclose(both.logit, target.logit - other.logit, atol=1e-5)


def test_what_an_edit_adds_is_a_part_of_its_own():
    hf = tiny_model("llama")
    model = interp.load(hf)
    vector = torch.linspace(-2, 2, 32)
    with edit(model, Add(site="resid_post.1", vector=vector)):
        found = logit_contributions(model, IDS, target=TARGET, positions="all")
    assert found.names[-2:] == ("edits", "bias")
    norm: Any = hf.model.norm
    last: list[torch.Tensor] = []
    handles = [
        hf.model.layers[1].register_forward_hook(lambda m, a, out: out + vector),
        norm.register_forward_pre_hook(lambda module, args: last.append(args[0][0])),
    ]
    with torch.no_grad():
        logits = hf(torch.tensor([IDS])).logits[0, :, TARGET]
    for handle in handles:
        handle.remove()
    np.testing.assert_allclose(found.total, logits, atol=2e-5)
    scale = (last[0].square().mean(-1) + norm.variance_epsilon).sqrt()
    added = (hf.lm_head.weight[TARGET] * norm.weight * vector).sum() / scale
    np.testing.assert_allclose(found.values[-2], added.detach(), atol=2e-5)


def test_a_model_whose_writes_do_not_add_up_is_refused_in_one_line():
    config = GraniteConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=320,
        residual_multiplier=0.2,
    )
    torch.manual_seed(0)
    model = interp.load(AutoModelForCausalLM.from_config(config).eval())
    with pytest.raises(SelfCheckError, match="adds up to another residual stream"):
        logit_contributions(model, IDS, target=TARGET)


def test_frames_and_words_say_what_was_taken_apart():
    model = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())
    found = logit_contributions(
        model, "Paris is", target=" Paris", distractor=" is", positions=[1, -1]
    )
    assert found.what() == "logit of ' Paris' minus that of ' is'"
    frame = found.to_dataframe()
    added, places = np.asarray(frame["contribution"]), np.asarray(frame["pos"])
    sums = [added[places == place].sum() for place in found.positions]
    np.testing.assert_allclose(sums, found.total, atol=1e-4)
    last = frame.query(f"pos == {found.positions[-1]}").reset_index()
    best = last["component"].iloc[int(last["contribution"].argmax())]
    assert f"; {best} adds most" in found.headline()
    with pytest.raises(PromptError, match="is 2 tokens"):
        logit_contributions(model, "Paris is", target=" Paris is")
