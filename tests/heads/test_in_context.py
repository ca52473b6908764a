"""Losses by position, windows and copies beside plain computations."""

import numpy as np
import pytest
import torch
from tiny import tiny_model
from torch.nn.functional import cross_entropy

import interp
from interp.errors import ConfigError, PromptError
from interp.heads import (
    RepeatedTokens,
    copy_gain,
    in_context_score,
    repeated_tokens,
    token_losses,
)
from interp.heads.in_context import default_window


def plain_losses(hf, row):
    with torch.no_grad():
        logits = hf(torch.tensor([row])).logits[0, :-1].float()
    target = torch.tensor(row[1:])
    loss = cross_entropy(logits, target, reduction="none")
    return loss.numpy(), (logits.argmax(-1) == target).numpy()


def test_losses_and_windows_equal_a_plain_loop():
    hf = tiny_model("llama")
    rng = np.random.default_rng(0)
    rows = [rng.integers(5, 90, size=n).tolist() for n in (30, 30, 22)]
    found = in_context_score(
        interp.load(hf), rows, early=(3, 6), late=(25, 30), token_budget=60
    )
    for i, row in enumerate(rows):
        loss, correct = plain_losses(hf, row)
        n = len(loss)
        assert found.losses.loss[i, :n] == pytest.approx(loss, abs=1e-4)
        assert (found.losses.correct[i, :n] == correct).all()
        assert np.isnan(found.losses.loss[i, n:]).all()
        # Token t has its loss in place t - 1.
        want = loss[24:29].mean() - loss[2:5].mean() if len(row) == 30 else np.nan
        assert found.samples[i] == pytest.approx(want, abs=1e-4, nan_ok=True)
    assert found.score.estimate == pytest.approx(found.samples[:2].mean(), abs=1e-6)
    assert found.score.low <= found.score.estimate <= found.score.high
    curve = np.nanmean(found.losses.loss, axis=0)
    assert found.curve.estimate == pytest.approx(curve, abs=1e-5)
    assert (found.curve.low <= found.curve.high).all()


def test_default_windows_are_those_of_the_paper_and_shrink_with_the_context():
    assert default_window(512, 50) == (45, 55)
    assert default_window(512, 500) == default_window(4096, 500) == (495, 505)
    for n in (8, 16, 48, 100, 511):
        early, late = default_window(n, 50), default_window(n, 500)
        assert 1 <= early[0] < early[1] <= late[1] <= n
        assert late[1] > late[0] >= early[0]
        assert np.mean(late) / n == pytest.approx(500 / 512, abs=1 / n)


def test_an_edited_model_is_measured_as_it_runs():
    model = interp.load(tiny_model("gpt2"))
    rows = [[5, 6, 7, 8], [9, 10, 11]]
    vectors = torch.randn(2, model.d_model, generator=torch.Generator().manual_seed(1))
    with interp.edit(model, interp.edits.Add(site="resid_pre.1", vector=vectors)):
        inside = token_losses(model, rows)
    for i, row in enumerate(rows):
        one = interp.edits.Add(site="resid_pre.1", vector=vectors[i])
        with interp.edit(model, one):
            alone = token_losses(model, [row])
        n = len(row) - 1
        assert inside.loss[i, :n] == pytest.approx(alone.loss[0], abs=1e-5)


def test_copies_are_compared_without_their_first_tokens(by_hand):
    model = by_hand(n_tokens=12, n_positions=37)
    given = repeated_tokens(
        model,
        n_sequences=6,
        n_tokens=37,
        periods=(5, 11),
        bos="always",
        pool=np.arange(11),
    )
    found = copy_gain(model, given)
    for i, (row, period) in enumerate(
        zip(given.ids.tolist(), given.periods, strict=True)
    ):
        loss, correct = plain_losses(model.hf, row)
        # Tokens 2..period, and those of the second copy behind its first one.
        assert found.first[i] == pytest.approx(loss[1:period].mean(), abs=1e-4)
        second = slice(1 + period, 2 * period)
        assert found.second[i] == pytest.approx(loss[second].mean(), abs=1e-4)
        assert found.correct[i] == correct[second].mean()
    assert found.gain.low > 0


def test_the_trained_family_gains_by_copying(induction_family):
    given_by = {"n_sequences": 24, "n_tokens": 48, "periods": (6, 16), "bos": "never"}
    model = interp.load(induction_family.base)
    found = copy_gain(model, repeated_tokens(model, **given_by))
    assert found.gain.low > 2.0
    assert found.accuracy.low > 0.8
    untrained = interp.load(induction_family.checkpoints[0])
    before = copy_gain(untrained, repeated_tokens(untrained, **given_by))
    assert before.gain.high < 0.5


@pytest.mark.parametrize(
    "windows", [{"early": (0, 3)}, {"late": (9, 9)}, {"late": (5, 40)}]
)
def test_a_window_outside_of_the_documents_is_refused(windows):
    with pytest.raises(ConfigError, match="window is"):
        in_context_score(
            interp.load(tiny_model("llama")), [list(range(5, 35))], **windows
        )


def test_sequences_that_do_not_repeat_have_no_copies():
    ids, periods = np.array([[5, 6, 7]]), np.array([0])
    given = RepeatedTokens(ids=ids, periods=periods, bos=None)
    with pytest.raises(PromptError, match="Not all of the sequences repeat"):
        copy_gain(interp.load(tiny_model("llama")), given)
