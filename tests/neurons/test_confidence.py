import numpy as np
import pytest
import torch
from tiny import tiny_model

import interp
from interp.errors import PromptError, ShapeError
from interp.neurons import (
    calibration_error,
    ratio_interval,
    reliability,
    token_confidence,
)


PROMPTS = [[7, 50, 81, 9, 200, 33, 64], [12, 13, 300, 41], [5, 6], [99, 17, 25, 160]]
# RMSNorm, LayerNorm, soft cap, head bias, and experts: they have a head too.
KINDS = ("llama", "gpt2", "gemma2", "phi", "qwen3_moe", "mixtral")


@pytest.mark.parametrize("architecture", KINDS)
def test_confidence_is_that_of_the_models_own_logits(architecture):
    model = interp.load(tiny_model(architecture))
    found = token_confidence(model, PROMPTS)
    rows = {name: [] for name in ("entropy", "top", "correct", "loss", "brier")}
    for ids in PROMPTS:
        with torch.no_grad():
            logits = model.hf(input_ids=torch.tensor([ids])).logits[0, 1:-1]
        p = logits.double().softmax(-1)
        targets = torch.tensor(ids[2:], dtype=torch.long)
        truth = torch.nn.functional.one_hot(targets, p.shape[1])
        rows["entropy"].append(torch.distributions.Categorical(p).entropy())
        rows["top"].append(p.max(-1).values)
        rows["correct"].append(p.argmax(-1) == targets)
        rows["loss"].append(-p.gather(1, targets[:, None])[:, 0].log())
        rows["brier"].append((p - truth).square().sum(-1))
    for name, parts in rows.items():
        np.testing.assert_allclose(
            getattr(found, name), torch.cat(parts), atol=2e-5, err_msg=name
        )
    assert found.groups.tolist() == [0] * 5 + [1] * 2 + [3] * 2


def test_earlier_predictions_can_be_kept_or_left_out():
    model = interp.load(tiny_model("llama"))
    assert token_confidence(model, PROMPTS, first=0).groups.size == 13
    assert token_confidence(model, PROMPTS, first=4).groups.tolist() == [0, 0]
    with pytest.raises(PromptError, match="more than 10 tokens"):
        token_confidence(model, PROMPTS, first=9)


def test_calibration_error_is_the_weighted_gap_of_bins():
    rng = np.random.default_rng(0)
    top = rng.uniform(size=500)
    correct = rng.uniform(size=500) < top**2
    gaps = 0.0
    for k in range(15):
        inside = (top >= k / 15) & (top < (k + 1) / 15)
        gaps += inside.mean() * abs(correct[inside].mean() - top[inside].mean())
    found = calibration_error(top, correct)
    assert float(found.estimate) == pytest.approx(gaps, rel=1e-9)
    assert float(found.low) < gaps < float(found.high)
    bins = reliability(top, correct)
    assert bins.n.sum() == 500
    by_hand = np.nansum(bins.n * np.abs(bins.accuracy - bins.confidence)) / 500
    assert by_hand == pytest.approx(gaps, rel=1e-6)


def test_a_calibrated_model_has_almost_no_error_and_a_certain_one_has_all():
    rng = np.random.default_rng(1)
    top = rng.uniform(size=40_000)
    calibrated = calibration_error(top, rng.uniform(size=top.size) < top, resamples=10)
    assert float(calibrated.estimate) < 0.01
    certain = calibration_error(np.ones(50), np.zeros(50) > 0, resamples=10)
    assert certain.estimate == certain.high == 1.0
    # The interval is rounded outwards, to a hundredth of what is possible.
    assert certain.low == pytest.approx(0.99)
    assert certain.p < 0.1


def test_a_ratio_has_the_interval_of_whole_texts():
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(40), 25)
    # All predictions of a text move together: there are 40 observations, not 1000.
    part = np.repeat(rng.normal(1.0, 0.5, 40), 25)
    whole = np.full(1000, 2.0)
    by_text = ratio_interval(part, whole, groups=groups)
    alone = ratio_interval(part, whole, groups=np.arange(1000))
    assert float(by_text.estimate) == pytest.approx(part.mean() / 2)
    width = float(by_text.high - by_text.low)
    expected = 2 * 1.96 * part[::25].std() / 40**0.5 / 2
    assert width == pytest.approx(expected, rel=0.2)
    assert width > 3 * float(alone.high - alone.low)


def test_ratios_of_unequal_or_empty_values_are_said():
    with pytest.raises(ShapeError, match="There are 2, 3 and 2 values"):
        ratio_interval(np.ones(2), np.ones(3), groups=np.arange(2))
    nothing = ratio_interval(np.ones(3), np.zeros(3), groups=np.arange(3))
    assert np.isnan(nothing.estimate)
    assert np.isnan(nothing.low)
