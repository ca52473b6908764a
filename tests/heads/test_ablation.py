"""Ablated heads beside plain hooks, a model written out, and planted circuits."""

import numpy as np
import pytest
import torch
from tiny import tiny_model
from torch.nn.functional import cross_entropy
from written_out import forward

import interp
from interp.errors import ConfigError, MissingSiteError, PositionError, PromptError
from interp.heads import ablate_heads, ablation, repeated_tokens
from interp.results import HeadAblations
from probes.studies.summary import brief_table, numbers, sentences


# Where each architecture's heads are put together, in Hugging Face's own words.
PROJECTION = {
    "gpt2": "transformer.h.{}.attn.c_proj",
    "gpt_neox": "gpt_neox.layers.{}.attention.dense",
    "llama": "model.layers.{}.self_attn.o_proj",
    "qwen3": "model.layers.{}.self_attn.o_proj",
    "gemma2": "model.layers.{}.self_attn.o_proj",
    "opt": "model.decoder.layers.{}.self_attn.out_proj",
    "bloom": "transformer.h.{}.self_attention.dense",
}


def some_rows(*lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(5, 60, size=n).tolist() for n in lengths]


def plain_logits(hf, row, module=None, change=None):
    """The logits of one sequence, with a hook on the input of one module."""
    handles = []
    if module is not None and change is not None:
        hook = lambda _, args: (change(args[0].clone()), *args[1:])  # noqa: E731
        handles.append(module.register_forward_pre_hook(hook))
    with torch.no_grad():
        logits = hf(torch.tensor([row]), use_cache=False).logits[0].float()
    for handle in handles:
        handle.remove()
    return logits


def outcome(logits, row):
    """Loss and right logit, averaged over all tokens but the first."""
    after = torch.tensor(row[1:])
    loss = cross_entropy(logits[:-1], after)
    return np.array([float(loss), float(logits[:-1].gather(1, after[:, None]).mean())])


@pytest.mark.parametrize("architecture", PROJECTION)
def test_ablations_equal_one_head_at_a_time_with_plain_hooks(architecture):
    hf = tiny_model(architecture)
    model = interp.load(hf)
    rows = some_rows(9, 6, 9, 6)  # two of each length, so that each has one donor
    kinds = ("zero", "mean", "resample")
    found = ablate_heads(model, rows, kinds=kinds, resamples=5)
    donor = {0: 2, 2: 0, 1: 3, 3: 1}
    for layer in range(model.n_layers):
        module = hf.get_submodule(PROJECTION[architecture].format(layer))
        seen = []
        for row in rows:
            plain_logits(hf, row, module, lambda z, seen=seen: seen.append(z[0]) or z)
        mean = torch.cat(seen).mean(dim=0)
        for head in range(model.n_heads):
            width = seen[0].shape[-1] // model.n_heads
            part = slice(head * width, (head + 1) * width)
            for i, row in enumerate(rows):
                before = outcome(plain_logits(hf, row), row)
                instead = (torch.tensor(0.0), mean[part], seen[donor[i]][:, part])
                for number, new in enumerate(instead):

                    def change(z, part=part, new=new):
                        z[..., part] = new
                        return z

                    after = outcome(plain_logits(hf, row, module, change), row)
                    at = (number, layer, head, i)
                    got = [found.loss_samples[at], found.logit_samples[at]]
                    assert got == pytest.approx(after - before, abs=1e-5)
                assert found.clean_loss[i] == pytest.approx(before[0], abs=1e-5)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_preserving_ablations_equal_a_model_written_out(architecture):
    hf = tiny_model(architecture)
    model = interp.load(hf)
    rows = some_rows(10, 7)
    found = ablate_heads(
        model, rows, kinds=("pattern_preserving", "value_preserving"), resamples=5
    )
    for i, row in enumerate(rows):
        clean, patterns, values = forward(hf, row)
        assert clean.numpy() == pytest.approx(plain_logits(hf, row).numpy(), abs=1e-4)
        for layer in range(model.n_layers):
            for head in range(model.n_heads):
                kept = ({"patterns": patterns}, {"values": values})
                for number, given in enumerate(kept):
                    logits = forward(hf, row, silent=(layer, head), **given)[0]
                    change = outcome(logits, row) - outcome(clean, row)
                    at = (number, layer, head, i)
                    got = [found.loss_samples[at], found.logit_samples[at]]
                    assert got == pytest.approx(change, abs=1e-5)


def test_in_the_last_layer_there_is_nothing_to_preserve():
    model = interp.load(tiny_model("llama"))
    found = ablate_heads(model, some_rows(12, 12), resamples=5)
    zero = found.loss_samples[found.number("zero"), -1]
    for kind in ("pattern_preserving", "value_preserving"):
        assert found.loss_samples[found.number(kind), -1] == pytest.approx(
            zero, abs=1e-6
        )
        earlier = found.loss_samples[found.number(kind), 0]
        assert abs(earlier - found.loss_samples[found.number("zero"), 0]).max() > 1e-3


def test_batches_and_chosen_heads_change_nothing(monkeypatch):
    model = interp.load(tiny_model("gpt2"))
    rows = some_rows(12, 8, 12, 8, 12)
    whole = ablate_heads(model, rows, resamples=5)
    monkeypatch.setattr(ablation, "AT_A_TIME", 3)
    cut = ablate_heads(model, rows, resamples=5, token_budget=24)
    assert cut.loss_samples == pytest.approx(whole.loss_samples, abs=1e-5)
    some = ablate_heads(model, rows, resamples=5, heads=["L2H1", (0, 3)])
    there = np.isfinite(some.loss[0])
    assert there.sum() == 2
    assert there[2, 1]
    assert there[0, 3]
    assert some.loss_samples[:, there] == pytest.approx(
        whole.loss_samples[:, there], abs=1e-5
    )
    assert len(some.to_dataframe()) == 2 * len(some.kinds)


def test_only_the_targets_count():
    hf = tiny_model("llama")
    rows = some_rows(10, 10)
    found = ablate_heads(
        interp.load(hf), rows, kinds=["zero"], targets=[[4], [2, 9]], resamples=5
    )
    logits = plain_logits(hf, rows[1])
    losses = [
        float(cross_entropy(logits[p - 1], torch.tensor(rows[1][p]))) for p in (2, 9)
    ]
    assert found.clean_loss[1] == pytest.approx(np.mean(losses), abs=1e-5)
    right = [float(logits[p - 1, rows[1][p]]) for p in (2, 9)]
    assert found.clean_logit[1] == pytest.approx(np.mean(right), abs=1e-5)


def test_an_edited_model_is_ablated_as_it_runs():
    model = interp.load(tiny_model("llama"))
    rows = some_rows(9, 6, 9)
    vectors = torch.randn(3, model.d_model, generator=torch.Generator().manual_seed(1))
    options = {"kinds": ["zero", "value_preserving"], "resamples": 5}
    with interp.edit(model, interp.edits.Add(site="resid_pre.1", vector=vectors)):
        inside = ablate_heads(model, rows, **options)
    for i, row in enumerate(rows):
        alone = interp.edits.Add(site="resid_pre.1", vector=vectors[i])
        with interp.edit(model, alone):
            one = ablate_heads(model, [row], **options)
        assert inside.loss_samples[..., i] == pytest.approx(
            one.loss_samples[..., 0], abs=1e-5
        )


def test_the_hand_built_circuit_falls_with_its_previous_token_head(repeats_by_hand):
    model, given = repeats_by_hand
    found = ablate_heads(model, given)
    after = {
        kind: found.clean_loss.mean() + found.loss_low[found.number(kind)]
        for kind in found.kinds
    }
    guessing = np.log(11)  # as many tokens as the sequences are made of
    assert found.clean_loss.max() < 0.5 * guessing
    # Without the previous token nothing can be matched: no better than guessing.
    for kind in ("zero", "mean", "resample", "value_preserving"):
        assert after[kind][0, 0] > guessing
    # The matching is all it does: where patterns are kept, nothing is lost. (The loss
    # even falls, as the last norm no longer divides by what the head wrote.)
    kept = found.number("pattern_preserving")
    assert found.loss_high[kept, 0, 0] <= 0
    # The induction head itself works through the logits, whatever is preserved.
    for kind in found.kinds:
        assert after[kind][1, 0] > guessing
    # The other two heads write nothing.
    assert (found.loss[:, :, 1] == 0).all()


def test_in_the_trained_family_the_previous_token_head_acts_through_patterns(
    induction_family,
):
    model = interp.load(induction_family.base)
    given = repeated_tokens(
        model, n_sequences=24, n_tokens=48, periods=(6, 16), bos="never"
    )
    scores = interp.heads.score(model, given, resamples=50)
    previous = int(scores.value("previous_token")[0].argmax())
    kinds = ["zero", "pattern_preserving", "value_preserving"]
    found = ablate_heads(model, given, kinds=kinds, heads=[(0, previous)])
    low = dict(zip(kinds, found.loss_low[:, 0, previous], strict=True))
    high = dict(zip(kinds, found.loss_high[:, 0, previous], strict=True))
    assert low["zero"] > 1.0
    assert high["pattern_preserving"] < 0.3 * low["zero"]
    assert low["value_preserving"] > 2 * high["pattern_preserving"]


def test_the_result_is_saved_and_opened(tmp_path):
    model = interp.load(tiny_model("llama"))
    found = ablate_heads(model, some_rows(8, 8), resamples=20)
    found.save(tmp_path / "ablation")
    back = interp.results.load(tmp_path / "ablation")
    assert isinstance(back, HeadAblations)
    assert (back.loss_samples == found.loss_samples).all()
    assert back.headline() == found.headline()
    assert back.top("zero", k=2)[0] in back.headline()
    first = [list(back.top("zero")), pytest.approx(back.value("zero").max())]
    assert numbers(back)["zero"] == first
    assert sentences(back) == (back.headline(),)
    table = brief_table(back)
    assert table["kind"].value_counts().to_dict() == dict.fromkeys(back.kinds, 5)


@pytest.mark.parametrize(
    ("architecture", "rows", "options", "error", "message"),
    [
        ("llama", [[5, 6]], {"kinds": ["nil"]}, ConfigError, "no ablation 'nil'"),
        ("llama", [[5, 6]], {"kinds": []}, ConfigError, "No kind"),
        ("llama", [[5, 6]], {"heads": ["L9H0"]}, ConfigError, "no head 'L9H0'"),
        ("llama", [[5, 6]], {"heads": ["x"]}, ConfigError, "from 'L0H0' to 'L2H3'"),
        ("llama", [[5, 6]], {"heads": []}, ConfigError, "No head"),
        ("llama", [[5, 6]], {}, PromptError, "the only one of 2 tokens.*'resample'"),
        ("llama", [[5]], {}, PromptError, "one token predicts nothing"),
        ("llama", [], {}, PromptError, "No sequence"),
        ("llama", [[5, 6]], {"targets": [[2]]}, PositionError, "no token 2"),
        ("llama", [[5, 6]], {"targets": [[]]}, PositionError, "No token to predict"),
        ("llama", [[5, 6]], {"targets": [[1], [1]]}, PositionError, "2 sequences"),
        ("bloom", [[5, 6]], {}, MissingSiteError, "'pattern_preserving' out of kinds"),
    ],
)
def test_what_cannot_be_ablated_is_said(architecture, rows, options, error, message):
    with pytest.raises(error, match=message):
        ablate_heads(interp.load(tiny_model(architecture)), rows, **options)
