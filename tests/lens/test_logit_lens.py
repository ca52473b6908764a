"""The logit lens against Hugging Face's own norm and head, cell by cell."""

import copy
import html
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from tiny import ARCHITECTURES, tiny_model, tiny_tokenizer
from torch import nn

import interp
from interp.edits import Add, edit
from interp.errors import (
    ConfigError,
    PromptError,
    ResultError,
    SelfCheckError,
    UnsupportedModelError,
)
from interp.lens import logit_lens, reading as lens_module, token_id
from interp.models.words import token_words


IDS = [7, 9, 12, 5, 30, 9, 41]
TARGET, DISTRACTOR = 17, 203
FINAL_NORMS = (
    "transformer.ln_f",
    "model.norm",
    "gpt_neox.final_layer_norm",
    "model.decoder.final_layer_norm",
    "model.final_layernorm",
)


def module_at(hf: Any, paths: tuple[str, ...]) -> nn.Module:
    for path in paths:
        try:
            return hf.get_submodule(path)
        except AttributeError:
            continue
    raise AssertionError("no final norm")


def every_layer(hf: Any, ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities `[layer, pos, vocab]` by Hugging Face's modules; its logits."""
    norm = module_at(hf, FINAL_NORMS)
    last: list[torch.Tensor] = []
    handle = norm.register_forward_pre_hook(lambda module, args: last.append(args[0]))
    with torch.no_grad():
        output = hf(torch.tensor([ids]), output_hidden_states=True, use_cache=False)
        handle.remove()
        # The last of them is behind the final norm already.
        states = [*output.hidden_states[:-1], last[0]]
        logits = torch.stack([hf.lm_head(norm(state))[0] for state in states])
        if hf.config.model_type == "gemma2":
            cap = hf.config.final_logit_softcapping
            logits = cap * torch.tanh(logits / cap)
    return logits.double().log_softmax(-1), output.logits[0].double()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_cell_is_what_norm_and_head_make_of_that_layer(architecture):
    hf = tiny_model(architecture)
    reading = logit_lens(
        interp.load(hf), IDS, target=TARGET, distractor=DISTRACTOR, k=4
    )
    said, logits = every_layer(hf, IDS)
    own = logits.log_softmax(-1)
    said = torch.cat([said, own[None]])
    assert len(reading.layers) == len(said) == hf.config.num_hidden_layers + 2
    best = said.topk(4, dim=-1)
    close: Any = {"atol": 2e-5, "rtol": 0}
    np.testing.assert_allclose(reading.top_log_probabilities, best.values, **close)
    found = said.gather(-1, torch.from_numpy(reading.top_ids).long())
    np.testing.assert_allclose(found, best.values, **close)
    np.testing.assert_allclose(reading.entropy, -(said.exp() * said).sum(-1), **close)
    divergence = (own.exp() * (own - said)).sum(-1)
    np.testing.assert_allclose(reading.kl, divergence, **close)
    difference = said[..., TARGET] - said[..., DISTRACTOR]
    np.testing.assert_allclose(reading.difference, difference, **close)
    np.testing.assert_allclose(
        reading.target_log_probability, said[..., TARGET], **close
    )
    for pos, token in enumerate(IDS[1:]):
        np.testing.assert_allclose(
            reading.next_log_probability[:, pos], said[:, pos, token], **close
        )
        order = said[:, pos].argsort(dim=-1, descending=True)
        place = (order == token).nonzero()[:, 1] + 1
        # Two tokens as likely as each other may change places by rounding.
        assert abs(reading.next_rank[:, pos] - place.numpy()).max() <= 1
    assert np.isnan(reading.next_log_probability[:, -1]).all()
    assert (reading.next_rank[:, -1] == 0).all()


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2", "gpt_neox"])
def test_the_last_two_rows_are_hugging_faces_logits(architecture):
    hf = tiny_model(architecture)
    reading = logit_lens(interp.load(hf), IDS, target=TARGET, distractor=DISTRACTOR)
    with torch.no_grad():
        logits = hf(torch.tensor([IDS])).logits[0]
    gap = logits[:, TARGET] - logits[:, DISTRACTOR]
    np.testing.assert_allclose(reading.difference[-1], gap, atol=1e-5)
    np.testing.assert_allclose(reading.difference[-2], gap, atol=1e-5)
    assert reading.kl[-1].max() == 0
    assert reading.kl[-2].max() < 1e-9


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2"])
def test_it_equals_transformer_lens(architecture):
    pytest.importorskip("transformer_lens", reason="it is the oracle here")
    from transformer_lens.model_bridge.sources._bridge_builder import (
        build_bridge_from_module,
    )

    hf = tiny_model(architecture)
    reading = logit_lens(interp.load(hf), IDS, target=TARGET, distractor=DISTRACTOR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        bridge: Any = build_bridge_from_module(
            copy.deepcopy(hf), type(hf).__name__, hf_config=copy.deepcopy(hf.config)
        )
        _, cache = bridge.run_with_cache(torch.tensor([IDS]), prepend_bos=False)
        for layer in range(hf.config.num_hidden_layers):
            stream = cache[f"blocks.{layer}.hook_resid_post"]
            logits = bridge.unembed(bridge.ln_final(stream))[0].double()
            if architecture == "gemma2":
                # Its cap is in the model's forward, not in a module of the bridge.
                logits = 3.0 * torch.tanh(logits / 3.0)
            gap = logits[:, TARGET] - logits[:, DISTRACTOR]
            np.testing.assert_allclose(reading.difference[layer + 1], gap, atol=2e-5)


def test_chosen_positions_are_columns_of_the_whole_reading():
    model = interp.load(tiny_model("gpt2"))
    whole = logit_lens(model, IDS)
    part = logit_lens(model, IDS, positions=[-1, 2])
    columns = list(part.positions)
    assert sorted(columns) == [2, 6]
    np.testing.assert_allclose(part.entropy, whole.entropy[:, columns], atol=1e-5)
    np.testing.assert_array_equal(part.next_rank, whole.next_rank[:, columns])
    (last,) = logit_lens(model, IDS, positions="last").positions
    assert last == len(IDS) - 1


def test_small_tables_give_what_one_large_table_gives(monkeypatch):
    model = interp.load(tiny_model("llama"))
    whole = logit_lens(model, IDS, target=TARGET)
    monkeypatch.setattr(lens_module, "ENTRIES", 2 * model.d_vocab)
    pieces = logit_lens(model, IDS, target=TARGET)
    np.testing.assert_allclose(pieces.kl, whole.kl, atol=1e-6)
    np.testing.assert_array_equal(pieces.target_rank, whole.target_rank)
    np.testing.assert_array_equal(pieces.top_ids, whole.top_ids)


def test_an_edited_model_is_read_as_edited():
    hf = tiny_model("llama")
    model = interp.load(hf)
    vector = torch.linspace(-2, 2, 32)
    with edit(model, Add(site="resid_post.1", vector=vector)):
        edited = logit_lens(model, IDS, target=TARGET, distractor=DISTRACTOR)
    plain = logit_lens(model, IDS, target=TARGET, distractor=DISTRACTOR)

    def push(module: nn.Module, args: tuple, output: torch.Tensor) -> torch.Tensor:
        return output + vector

    handle = hf.model.layers[1].register_forward_hook(push)
    with torch.no_grad():
        logits = hf(torch.tensor([IDS])).logits[0]
    handle.remove()
    gap = logits[:, TARGET] - logits[:, DISTRACTOR]
    np.testing.assert_allclose(edited.difference[-1], gap, atol=1e-5)
    np.testing.assert_array_equal(edited.entropy[:2], plain.entropy[:2])
    assert abs(edited.difference[2] - plain.difference[2]).min() > 1e-3


def test_text_and_chat_are_read_as_the_model_reads_them():
    tokenizer = tiny_tokenizer()
    model = interp.load(tiny_model("llama"), tokenizer=tokenizer)
    reading = logit_lens(model, "Paris is", chat=True, target=" Paris")
    ids = model.tokenize("Paris is", chat=True).ids[0]
    assert reading.token_ids == ids
    assert "".join(reading.tokens) == tokenizer.decode(list(ids))
    assert reading.target == token_id(model, " Paris")
    best = token_words(tokenizer, [int(reading.top_ids[-1, -1, 0])])
    assert (reading.top(-1, -1)[0][0],) == best


def test_frames_have_a_row_for_every_cell():
    reading = logit_lens(
        interp.load(tiny_model("llama")), IDS, target=TARGET, distractor=3, k=3
    )
    frame = reading.to_dataframe()
    assert len(frame) == reading.entropy.size
    cell = frame[(frame["layer"] == "1") & (frame["pos"] == 4)].iloc[0]
    assert cell["entropy"] == reading.entropy[2, 4]
    assert cell["next_rank"] == reading.next_rank[2, 4]
    assert cell["difference"] == reading.difference[2, 4]
    assert reading.headline() in html.unescape(reading._repr_html_())


def test_no_table_has_layers_times_positions_times_vocabulary(monkeypatch):
    """What is made at once grows neither with layers nor with positions."""
    shapes: list[tuple[int, ...]] = []
    fill = lens_module._fill

    def noted(cells: Any, layer: int, chosen: slice, said: Any, *rest: Any) -> None:
        shapes.append(tuple(said.shape))
        fill(cells, layer, chosen, said, *rest)

    model = interp.load(tiny_model("llama"))
    monkeypatch.setattr(lens_module, "_fill", noted)
    monkeypatch.setattr(lens_module, "ENTRIES", 4 * model.d_vocab)
    logit_lens(model, list(range(5, 105)))
    assert max(np.prod(shape) for shape in shapes) <= 4 * model.d_vocab
    assert len(shapes) == 25 * 5


def test_what_cannot_be_asked_is_refused_in_one_line():
    model = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())
    with pytest.raises(PromptError, match=r"' is Paris' is 2 tokens: ' is', ' Paris'"):
        logit_lens(model, IDS, target=" is Paris")
    with pytest.raises(PromptError, match="no token 5000"):
        logit_lens(model, IDS, target=5000)
    with pytest.raises(ConfigError, match="without a target"):
        logit_lens(model, IDS, distractor=5)
    with pytest.raises(ConfigError, match="k is 0"):
        logit_lens(model, IDS, k=0)
    with pytest.raises(ResultError, match="without a target and a distractor"):
        logit_lens(model, IDS).quantity("difference")
    with pytest.raises(PromptError, match="no tokenizer"):
        token_id(interp.load(tiny_model("llama")), " Paris")


def test_a_model_that_does_more_behind_its_norm_is_refused():
    hf = tiny_model("llama")
    model = interp.load(hf)
    handle = hf.lm_head.register_forward_hook(lambda module, args, out: 2 * out)
    with pytest.raises(SelfCheckError, match=r"give other logits .*apart"):
        logit_lens(model, IDS)
    handle.remove()
    hf.model.norm = nn.Sequential(nn.Linear(32, 32))
    with pytest.raises(UnsupportedModelError, match="neither a LayerNorm"):
        logit_lens(interp.load(hf), IDS)


def test_the_model_is_left_as_it_was():
    hf = tiny_model("gemma2")
    before = {name: value.clone() for name, value in hf.state_dict().items()}
    logit_lens(interp.load(hf), IDS)
    assert all(torch.equal(hf.state_dict()[name], v) for name, v in before.items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in hf.modules())
