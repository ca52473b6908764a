"""Direct attribution: parts add up to the logit, and each is what a head wrote."""

from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_model

import interp
from interp.errors import SelfCheckError, UnsupportedModelError
from interp.heads import ablate_heads, attribute_heads, repeated_tokens


MANY = [
    *("gpt2", "gpt_neox", "gpt_neox_sequential", "llama", "qwen3", "gemma2", "olmo2"),
    *("opt", "bloom", "falcon", "falcon_new", "phi", "mixtral", "stablelm"),
]
WITHOUT_BIASES = ("llama", "qwen3", "gemma2", "olmo2", "mixtral")
ROWS = [[7, 9, 12, 5, 30, 9], [11, 6, 5, 41], [8, 8, 20, 33]]


def own_logits(hf, row):
    """The right token's logit after each token but the last, and the mean logit."""
    with torch.no_grad():
        logits = hf(torch.tensor([row])).logits[0, :-1].double()
    cap = getattr(hf.config, "final_logit_softcapping", None)
    if cap:
        logits = cap * torch.atanh(logits / cap)
    return logits.gather(1, torch.tensor(row[1:])[:, None])[:, 0], logits.mean(dim=-1)


@pytest.mark.parametrize("architecture", MANY)
def test_the_parts_add_up_to_the_logit(architecture):
    hf = tiny_model(architecture)
    model = interp.load(hf)
    found = attribute_heads(model, ROWS, resamples=5)
    above = attribute_heads(model, ROWS, against="mean", resamples=5)
    for parts, takes_mean in ((found, False), (above, True)):
        whole = parts.heads.sum(axis=(0, 1)) + parts.mlps.sum(axis=0)
        whole = whole + parts.embedding + parts.biases
        assert whole == pytest.approx(parts.total, abs=1e-4)
        for i, row in enumerate(ROWS):
            right, mean = own_logits(hf, row)
            own = float((right - mean * takes_mean).mean())
            assert parts.total[i] == pytest.approx(own, abs=1e-4)
    if architecture in WITHOUT_BIASES:
        # Nothing is left over: the heads are all that attention writes.
        assert abs(found.biases).max() < 1e-4


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_a_head_adds_what_its_output_gives_through_the_final_norm(architecture):
    hf: Any = tiny_model(architecture)
    found = attribute_heads(interp.load(hf), ROWS, resamples=5)
    gpt2 = architecture == "gpt2"
    blocks = hf.transformer.h if gpt2 else hf.model.layers
    norm = hf.transformer.ln_f if gpt2 else hf.model.norm
    for i, row in enumerate(ROWS):
        seen, final = [], []
        handles = [
            (b.attn.c_proj if gpt2 else b.self_attn.o_proj).register_forward_pre_hook(
                lambda module, args, seen=seen: seen.append(args[0][0])
            )
            for b in blocks
        ]
        handles.append(
            norm.register_forward_pre_hook(
                lambda module, args, final=final: final.append(args[0][0])
            )
        )
        with torch.no_grad():
            hf(torch.tensor([row]))
        for handle in handles:
            handle.remove()
        x = final[0]
        spread = x.var(dim=-1, correction=0) if gpt2 else x.square().mean(dim=-1)
        scale = (spread + (norm.eps if gpt2 else norm.variance_epsilon)).sqrt()
        for layer, block in enumerate(blocks):
            weight = (
                block.attn.c_proj.weight if gpt2 else block.self_attn.o_proj.weight.T
            )
            for head in range(4):
                part = slice(head * 8, head * 8 + 8)
                written = (seen[layer][:, part] @ weight[part]).detach()
                if gpt2:
                    written = written - written.mean(dim=-1, keepdim=True)
                normed = written * norm.weight / scale[:, None]
                logits = (normed @ hf.lm_head.weight.T)[:-1]
                right = logits.detach().gather(1, torch.tensor(row[1:])[:, None])
                got = found.heads[layer, head, i]
                assert got == pytest.approx(float(right.mean()), abs=1e-5)


def test_a_head_behind_a_norm_adds_what_vanishes_with_it():
    """Where the norm's scale is held, removing a head removes just its own part."""
    hf: Any = tiny_model("gemma2")
    model = interp.load(hf)
    row = ROWS[0]
    found = attribute_heads(model, [row], resamples=5)
    last, head = model.n_layers - 1, 2
    block = hf.model.layers[last]
    scales = {}

    def held(name):
        # Divides by what it divided by in the clean run.
        norm = block.post_attention_layernorm if name == "write" else hf.model.norm

        def hook(module, args, output):
            x = args[0]
            if name not in scales:
                scales[name] = (x.square().mean(-1, keepdim=True) + norm.eps).sqrt()
            return x / scales[name] * (1 + norm.weight)

        return norm.register_forward_hook(hook)

    def silence(module, args):
        z = args[0].clone()
        z[..., head * 12 : head * 12 + 12] = 0.0
        return (z,)

    handles = [held("write"), held("final")]
    # What the MLP makes of the head's output is no part of the direct path.
    mlp = []
    handles.append(
        block.post_feedforward_layernorm.register_forward_hook(
            lambda module, args, output: mlp.append(output) or mlp[0]
        )
    )
    before, _ = own_logits(hf, row)
    handles.append(block.self_attn.o_proj.register_forward_pre_hook(silence))
    after, _ = own_logits(hf, row)
    for handle in handles:
        handle.remove()
    change = float((before - after).mean())
    assert found.heads[last, head, 0] == pytest.approx(change, abs=1e-4)


def test_the_hand_built_induction_head_does_the_copying(repeats_by_hand):
    model, given = repeats_by_hand
    found = attribute_heads(model, given, against="mean", resamples=50)
    assert found.top(k=1) == ("L1H0",)
    assert found.mean.low[1, 0] > 1.0
    others = np.delete(found.mean.estimate.ravel(), 2)
    assert others.max() < 0.01
    # All of the logit: without the head nothing of it is left.
    assert found.heads[1, 0] == pytest.approx(
        found.total - found.embedding - found.heads[0, 0], abs=1e-4
    )


def test_in_the_trained_family_the_head_that_writes_most_is_an_induction_head(
    induction_family,
):
    model = interp.load(induction_family.base)
    given = repeated_tokens(
        model, n_sequences=16, n_tokens=48, periods=(6, 16), bos="never"
    )
    found = attribute_heads(model, given, against="mean", resamples=200)
    scores = interp.heads.score(model, given, resamples=50)
    name = found.top(k=1)[0]
    layer, head = (int(part) for part in name[1:].split("H"))
    assert found.mean.low[layer, head] > 0.25 * found.total.mean()
    assert scores.value("prefix_matching")[layer, head] > 0.4
    ablated = ablate_heads(model, given, kinds=["zero"], heads=[name], resamples=200)
    assert ablated.loss_low[0, layer, head] > 0


def test_batches_and_targets_change_nothing_else():
    model = interp.load(tiny_model("gpt_neox"))
    whole = attribute_heads(model, ROWS, resamples=5)
    cut = attribute_heads(model, ROWS, resamples=5, token_budget=6)
    assert cut.heads == pytest.approx(whole.heads, abs=1e-5)
    one = [
        attribute_heads(model, ROWS, resamples=5, targets=[[p], [1], [1]])
        for p in range(1, 6)
    ]
    mean = np.mean([found.heads[..., 0] for found in one], axis=0)
    assert mean == pytest.approx(whole.heads[..., 0], abs=1e-5)


def test_a_model_whose_writes_do_not_add_up_is_refused():
    hf: Any = tiny_model("llama")
    model = interp.load(hf)
    handle = hf.model.layers[1].register_forward_hook(
        lambda module, args, out: out * 1.5
    )
    with pytest.raises(SelfCheckError, match="adds up to another logit"):
        attribute_heads(model, ROWS)
    handle.remove()


def test_a_head_that_cannot_be_read_is_refused():
    hf = tiny_model("opt", word_embed_proj_dim=16)
    with pytest.raises(UnsupportedModelError):
        attribute_heads(interp.load(hf), ROWS)
