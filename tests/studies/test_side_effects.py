"""Losses and divergences under edits, against Hugging Face's loss and plain loops."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_model, tiny_tokenizer

from interp.edits import Add, ablate, edit, orthogonalise, steer
from interp.errors import DataError, IncompatibleError
from interp.models.language_model import LanguageModel
from probes.studies.refusal import token_effects as forward
from probes.studies.refusal.repetition import distinct_n
from probes.studies.refusal.side_effects import (
    false_refusals,
    harmless_answers,
    side_effects,
    side_effects_table,
)
from probes.studies.refusal.token_effects import token_effects


VECTOR = torch.randn(32, generator=torch.Generator().manual_seed(11))
TEXTS = (
    "the city of Paris is in the north",
    "not the city",
    "The",
    "Paris is the city and the city is not in the west of Paris",
)


def model_of(architecture: str = "llama", **changes: Any) -> LanguageModel:
    hf: Any = tiny_model(architecture, **changes)
    return LanguageModel(hf=hf, tokenizer=tiny_tokenizer(), name=architecture)


def alone(model: LanguageModel, block: Callable, ids: tuple[int, ...]) -> torch.Tensor:
    """Log-probabilities of the next token, one text at a time, from plain logits."""
    with torch.no_grad(), block():
        logits = model.hf(torch.tensor([ids]), use_cache=False).logits[0, :-1]
    return torch.log_softmax(logits.double(), dim=-1)


@pytest.mark.parametrize("architecture", ["gpt2", "gemma2", "qwen3_moe", "opt"])
def test_values_are_those_of_a_loop_over_texts(architecture):
    model = model_of(architecture)
    edits = {
        "ablate": lambda: ablate(model, VECTOR),
        "steer": lambda: steer(model, VECTOR, 2.0, site="resid_post.1"),
    }
    found = token_effects(model, TEXTS, edits, token_budget=24)
    for name, block in edits.items():
        losses, clean_losses, divergences, texts = [], [], [], []
        for number, ids in enumerate(model.tokenize(TEXTS).ids):
            clean, edited = (alone(model, one, ids) for one in (nullcontext, block))
            wanted = torch.tensor(ids[1:])[:, None]
            losses += (-edited.gather(1, wanted)[:, 0]).tolist()
            clean_losses += (-clean.gather(1, wanted)[:, 0]).tolist()
            divergences += (clean.exp() * (clean - edited)).sum(-1).tolist()
            texts += [number] * (len(ids) - 1)
        one = found[name]
        assert one.text.tolist() == texts
        for values, right in (
            (one.loss, losses),
            (one.loss_clean, clean_losses),
            (one.divergence, divergences),
        ):
            np.testing.assert_allclose(values, right, rtol=0, atol=2e-5)
        assert one.divergence.min() >= 0
        assert one.divergence.max() > 1e-2


def test_the_mean_loss_is_that_of_hugging_face():
    model = model_of("gemma2")
    found = token_effects(model, TEXTS, {"ablate": lambda: ablate(model, VECTOR)})
    for number, ids in enumerate(model.tokenize(TEXTS).ids):
        if len(ids) < 2:
            continue
        tokens = torch.tensor([ids])
        with torch.no_grad():
            clean = model.hf(tokens, labels=tokens).loss.item()
            with ablate(model, VECTOR):
                edited = model.hf(tokens, labels=tokens).loss.item()
        here = found["ablate"].text == number
        assert found["ablate"].loss_clean[here].mean() == pytest.approx(clean, abs=1e-5)
        assert found["ablate"].loss[here].mean() == pytest.approx(edited, abs=1e-5)


def test_logits_are_made_a_few_positions_at_a_time(monkeypatch):
    model = model_of()
    edits = {"ablate": lambda: ablate(model, VECTOR)}
    whole = token_effects(model, TEXTS, edits)
    monkeypatch.setattr(forward, "PIECE", 3 * model.d_vocab)
    shapes: list[tuple[int, ...]] = []
    handle = model.hf.lm_head.register_forward_hook(
        lambda module, args, output: shapes.append(tuple(output.shape))
    )
    pieces = token_effects(model, TEXTS, edits)
    handle.remove()
    assert max(math.prod(shape[:-1]) for shape in shapes) <= len(TEXTS)
    for name in ("loss", "loss_clean", "divergence"):
        np.testing.assert_allclose(
            getattr(pieces["ablate"], name), getattr(whole["ablate"], name), atol=1e-6
        )


def test_an_edit_of_the_logits_themselves_is_seen():
    model = model_of()
    shift = torch.zeros(model.d_vocab)
    shift[7] = 3.0
    edits = {"logits": lambda: edit(model, Add(site="logits", vector=shift))}
    found = token_effects(model, TEXTS, edits)["logits"]
    at = 0
    for ids in model.tokenize(TEXTS).ids:
        clean = alone(model, nullcontext, ids)
        edited = torch.log_softmax(clean + shift, dim=-1)
        divergence = (clean.exp() * (clean - edited)).sum(-1)
        part = found.divergence[at : at + len(divergence)]
        np.testing.assert_allclose(part, divergence.numpy(), atol=1e-5)
        at += len(divergence)


def test_edits_that_differ_between_texts_reach_their_texts():
    model = model_of()
    strengths = torch.tensor([0.0, 1.0, 2.0, 0.0])
    edits = {"own": lambda: steer(model, VECTOR, strengths, site="resid_post.0")}
    found = token_effects(model, TEXTS, edits, token_budget=24)["own"]
    for number, strength in enumerate(strengths.tolist()):
        here = found.divergence[found.text == number]
        assert (here > 1e-4).all() if strength else (here < 1e-9).all()


def test_a_model_without_changes_has_no_side_effects_and_another_model_has_its_own():
    model = model_of()
    edited = orthogonalise(model, VECTOR)
    found = token_effects(
        model,
        TEXTS,
        {"same": model, "weights": edited, "hooks": lambda: ablate(model, VECTOR)},
    )
    assert np.abs(found["same"].divergence).max() < 1e-12
    assert np.array_equal(found["same"].loss, found["same"].loss_clean)
    weights, hooks = found["weights"], found["hooks"]
    np.testing.assert_allclose(weights.divergence, hooks.divergence, atol=1e-5)
    np.testing.assert_allclose(weights.loss, hooks.loss, atol=1e-5)


def test_means_are_over_tokens_and_intervals_over_texts():
    model = model_of()
    edits = {"ablate": lambda: ablate(model, VECTOR)}
    tokens = token_effects(model, TEXTS, edits)["ablate"]
    (found,) = side_effects(model, TEXTS, edits, resamples=400)
    assert found.n_tokens == tokens.loss.size
    assert found.n_texts == 4
    assert float(found.loss.estimate) == pytest.approx(tokens.loss.mean())
    assert float(found.divergence.estimate) == pytest.approx(tokens.divergence.mean())
    change = tokens.loss.mean() - tokens.loss_clean.mean()
    assert float(found.loss_change.estimate) == pytest.approx(change)
    # Four texts say little: Student's t reaches beyond the extreme means of one text.
    means = [tokens.divergence[tokens.text == n].mean() for n in range(4)]
    low, high = float(found.divergence.low), float(found.divergence.high)
    assert low < float(found.divergence.estimate) < high
    assert low < min(means)
    assert high > max(means)
    (again,) = side_effects(model, TEXTS, edits, resamples=400)
    assert float(again.divergence.low) == low


def test_answers_are_counted_and_become_a_table():
    model = model_of()
    edits = {"ablate": lambda: ablate(model, VECTOR)}
    answers = {"ablate": ["I cannot.", "Sure, here.", "I cannot " * 20, "Yes."]}
    (found,) = side_effects(model, TEXTS, edits, answers=answers)
    assert found.false_refusals == false_refusals(answers["ablate"])
    assert found.false_refusals is not None
    assert found.false_refusals.successes == 1
    assert found.repetition is not None
    assert found.repetition.looping.successes == 1
    table = side_effects_table([found])
    (row,) = table.to_dict("records")
    assert row["condition"] == "ablate"
    assert row["false_refusals"] == 0.25
    assert row["looping"] == 0.25
    right = np.mean([distinct_n(text, n=2) for text in answers["ablate"]])
    assert row["distinct_2"] == pytest.approx(right)
    assert row["divergence_low"] <= row["divergence"] <= row["divergence_high"]
    (bare,) = side_effects(model, TEXTS, edits)
    assert bare.false_refusals is None
    assert side_effects_table([bare])["false_refusals"].tolist() == [None]


def test_harmless_answers_are_those_of_generate():
    model = model_of()
    edited = orthogonalise(model, VECTOR)
    edits = {"hooks": lambda: ablate(model, VECTOR), "weights": edited}
    found = harmless_answers(model, TEXTS[:2], edits, max_new_tokens=6)
    assert list(found) == ["none", "hooks", "weights"]
    assert found["none"] == model.generate(TEXTS[:2], max_new_tokens=6)
    with ablate(model, VECTOR):
        assert found["hooks"] == model.generate(TEXTS[:2], max_new_tokens=6)
    assert found["weights"] == found["hooks"] != found["none"]


def test_what_cannot_be_measured_is_refused_in_one_line():
    model = model_of()
    with pytest.raises(DataError, match="No text has a second token"):
        token_effects(model, [[5], [6]], {})
    other = LanguageModel(hf=tiny_model("llama", vocab_size=300))
    with pytest.raises(IncompatibleError, match=r"'other' has 300 tokens.*320"):
        token_effects(model, TEXTS, {"other": other})
    with pytest.raises(DataError, match=r"'abalte'.*Did you mean 'ablate'"):
        side_effects(model, TEXTS, {"ablate": model}, answers={"abalte": ["Sure."]})
