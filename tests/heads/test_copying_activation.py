"""Copying by activation beside a plain loop, and on planted heads."""

from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_model

import interp
from interp.heads import copying_by_activation


ROWS = [[7, 9, 12, 5, 30, 9, 7], [11, 6, 5, 41], [8, 8, 20, 33]]
LAYOUT = {
    "gpt2": ("transformer.h.{}.attn.c_proj", "transformer.ln_f"),
    "gpt_neox": ("gpt_neox.layers.{}.attention.dense", "gpt_neox.final_layer_norm"),
    "llama": ("model.layers.{}.self_attn.o_proj", "model.norm"),
    "opt": (
        "model.decoder.layers.{}.self_attn.out_proj",
        "model.decoder.final_layer_norm",
    ),
    "gemma2": ("model.layers.{}.self_attn.o_proj", "model.norm"),
    "bloom": ("transformer.h.{}.self_attention.dense", "transformer.ln_f"),
}


def plain_score(written, pattern, unembed, ids):
    """The score of one head, one position and one token at a time."""
    shares = []
    for query in range(1, len(ids)):
        logits = unembed @ written[query]
        raised = {t: max(float(logits[t] - logits.mean()), 0.0) for t in set(ids)}
        total = sum(raised.values())
        if total == 0:
            continue
        looked = sum(
            float(pattern[query, k]) * raised[ids[k]] for k in range(query + 1)
        )
        shares.append(looked / total)
    return 2 * np.mean(shares) - 1 if shares else np.nan


@pytest.mark.parametrize("architecture", LAYOUT)
def test_the_score_equals_a_plain_loop(architecture):
    hf: Any = tiny_model(architecture)
    found = copying_by_activation(interp.load(hf), ROWS, resamples=5)
    hf.set_attn_implementation("eager")
    projection, last_norm = LAYOUT[architecture]
    centres = architecture in ("gpt2", "gpt_neox", "opt", "bloom")
    one_more = 1.0 if architecture == "gemma2" else 0.0
    gain = hf.get_submodule(last_norm).weight.detach().double() + one_more
    for i, row in enumerate(ROWS):
        seen, handles = [], []
        for layer in range(len(found.samples)):
            module = hf.get_submodule(projection.format(layer))
            hook = lambda m, args, seen=seen: seen.append(args[0][0].double())  # noqa: E731
            handles.append(module.register_forward_pre_hook(hook))
        with torch.no_grad():
            out = hf(torch.tensor([row]), output_attentions=True, use_cache=False)
        for handle in handles:
            handle.remove()
        for layer, pattern in enumerate(out.attentions):
            module = hf.get_submodule(projection.format(layer))
            weight = module.weight.detach().double()
            weight = weight if architecture == "gpt2" else weight.T
            n_heads = pattern.shape[1]
            for head in range(n_heads):
                width = len(weight) // n_heads
                part = slice(head * width, (head + 1) * width)
                written = seen[layer][:, part] @ weight[part]
                if architecture == "gemma2":
                    block = hf.model.layers[layer]
                    written = written * (1 + block.post_attention_layernorm.weight)
                if centres:
                    written = written - written.mean(dim=-1, keepdim=True)
                unembed = hf.get_output_embeddings().weight.detach().double() * gain
                want = plain_score(written.detach(), pattern[0, head], unembed, row)
                got = found.samples[layer, head, i]
                assert got == pytest.approx(want, abs=1e-5, nan_ok=True)
        assert found.even[i] == pytest.approx(2 / len(set(row)) - 1)


def test_the_hand_built_induction_head_raises_only_what_it_looks_at(repeats_by_hand):
    model, given = repeats_by_hand
    found = copying_by_activation(model, given, resamples=50)
    assert found.mean.low[1, 0] > 0.5
    # The other heads of this circuit write nothing towards any token's logit.
    assert np.isnan(found.samples[0, 1]).all()
    assert np.isnan(found.samples[1, 1]).all()


def test_batches_and_padding_change_nothing():
    model = interp.load(tiny_model("llama"))
    whole = copying_by_activation(model, ROWS, resamples=5)
    for i, row in enumerate(ROWS):
        alone = copying_by_activation(model, [row], resamples=5)
        assert whole.samples[..., i] == pytest.approx(
            alone.samples[..., 0], abs=1e-5, nan_ok=True
        )
