"""Attention scores beside a plain computation from eager attentions."""

import weakref

import numpy as np
import pytest
import torch
from tiny import tiny_model, tiny_tokenizer

import interp
from interp.errors import ConfigError, PromptError
from interp.heads import RepeatedTokens, repeated_tokens, score, scoring
from interp.heads.targets import PATTERN_METRICS
from interp.models.words import token_words
from interp.results import HeadScores


NINE = [
    "gpt2",
    "gpt_neox",
    "llama",
    "mistral",
    "qwen3",
    "gemma2",
    "opt",
    "bloom",
    "mixtral",
]


def wanted(metric, ids, query, key):
    """Whether a key counts for a query, straight from the definition."""
    match metric:
        case "prefix_matching":
            return key >= 1 and key <= query and ids[key - 1] == ids[query]
        case "previous_token" | "previous_token_corrected":
            return key == query - 1
        case "duplicate_token":
            return key < query and ids[key] == ids[query]
        case "first_token":
            return key == 0 < query
        case "current_token":
            return key == query


def plain_score(metric, pattern, ids):
    """The score of one head on one sequence, query by query, and of even attention."""
    found, even = [], []
    for query in range(len(ids)):
        keys = [k for k in range(query + 1) if wanted(metric, ids, query, k)]
        if not keys:
            continue
        mass = sum(float(pattern[query, k]) for k in keys)
        share = len(keys) / (query + 1)
        if metric == "previous_token_corrected":
            mass -= (1 - mass) / query
            share -= (1 - share) / query
        found.append(mass)
        even.append(share)
    return (np.mean(found), np.mean(even)) if found else (np.nan, np.nan)


@pytest.mark.parametrize("architecture", NINE)
def test_scores_equal_a_plain_computation_from_eager_attentions(architecture):
    hf = tiny_model(architecture)
    model = interp.load(hf)
    rng = np.random.default_rng(3)
    # Few different tokens, so that they repeat; three lengths, so that some are padded.
    rows = [rng.integers(5, 11, size=n).tolist() for n in (14, 9, 12)]
    scores = score(model, rows, resamples=10)
    hf.set_attn_implementation("eager")
    for i, row in enumerate(rows):
        with torch.no_grad():
            out = hf(torch.tensor([row]), output_attentions=True, use_cache=False)
        for number, metric in enumerate(PATTERN_METRICS):
            for layer, attention in enumerate(out.attentions):
                for head in range(attention.shape[1]):
                    value, even = plain_score(metric, attention[0, head], row)
                    got = scores.samples[number, layer, head, i]
                    assert got == pytest.approx(value, abs=1e-5, nan_ok=True)
                    assert scores.uniform[number, i] == pytest.approx(even, abs=1e-6)
        target = torch.tensor(row[1:])
        loss = torch.nn.functional.cross_entropy(
            out.logits[0, :-1].float(), target, reduction="none"
        )
        n = len(row) - 1
        assert scores.loss[i, :n] == pytest.approx(loss.numpy(), abs=1e-4)
        right = (out.logits[0, :-1].argmax(-1) == target).float().numpy()
        assert (scores.correct[i, :n] == right).all()
        assert np.isnan(scores.loss[i, n:]).all()


def test_a_hand_built_induction_head_scores_one_and_the_others_nothing(repeats_by_hand):
    model, given = repeats_by_hand
    scores = score(model, given)
    prefix, previous = (scores.value(m) for m in ("prefix_matching", "previous_token"))
    assert prefix[1, 0] > 0.999
    assert np.delete(prefix.ravel(), 2).max() < 1e-3
    assert previous[0, 0] > 0.999
    assert scores.value("previous_token_corrected")[0, 0] > 0.999
    assert scores.value("first_token")[1, 1] > 0.999
    assert scores.value("current_token")[0, 1] > 0.999
    assert scores.top("prefix_matching", k=1) == ("L1H0",)


def test_patterns_of_the_highest_heads_are_those_of_eager_attention():
    hf = tiny_model("gpt_neox")
    model = interp.load(hf, tokenizer=tiny_tokenizer())
    rng = np.random.default_rng(3)
    # The second row is longer: what is kept is the first row's without padding.
    rows = [rng.integers(5, 60, size=n).tolist() for n in (70, 90)]
    scores = score(model, rows, resamples=10)
    assert len(scores.pattern_tokens) == 64
    assert scores.pattern_tokens == token_words(model.tokenizer, rows[0][:64])
    assert {*scores.top("prefix_matching", k=3)} <= {*scores.pattern_heads}
    hf.set_attn_implementation("eager")
    with torch.no_grad():
        out = hf(torch.tensor(rows[:1]), output_attentions=True, use_cache=False)
    for name, pattern in zip(scores.pattern_heads, scores.patterns, strict=True):
        layer, head = (int(part) for part in name[1:].split("H"))
        expected = out.attentions[layer][0, head, :64, :64].numpy()
        np.testing.assert_allclose(pattern, expected, atol=1e-5)
        assert scores.pattern(name) is not None
    assert scores.pattern("L99H0") is None


def test_every_earlier_copy_counts(by_hand):
    # With three copies behind it a head that spreads over all of them still scores 1.
    model = by_hand(n_tokens=7, n_positions=25)
    given = repeated_tokens(
        model,
        n_sequences=4,
        n_tokens=25,
        periods=(6, 6),
        bos="always",
        pool=np.arange(6),
    )
    assert score(model, given).value("prefix_matching")[1, 0] > 0.999


def test_batches_and_padding_change_nothing():
    model = interp.load(tiny_model("llama"))
    rng = np.random.default_rng(0)
    rows = [rng.integers(5, 12, size=n).tolist() for n in (20, 7, 13, 20)]
    together = score(model, rows, resamples=10)
    for i, row in enumerate(rows):
        alone = score(model, [row], resamples=10)
        assert together.samples[..., i] == pytest.approx(
            alone.samples[..., 0], abs=1e-5, nan_ok=True
        )
    cut = score(model, rows, resamples=10, token_budget=20)
    assert cut.samples == pytest.approx(together.samples, abs=1e-5, nan_ok=True)


@pytest.mark.parametrize("token_budget", [None, 20])
def test_what_is_put_into_each_sequence_goes_into_that_one(token_budget):
    model = interp.load(tiny_model("llama"))
    rng = np.random.default_rng(0)
    # The longest first: batches are put together in another order.
    rows = [rng.integers(5, 12, size=n).tolist() for n in (20, 7, 13)]
    values = torch.randn(3, model.d_model, generator=torch.Generator().manual_seed(0))

    def inside(some: list[list[int]], put: torch.Tensor, budget: int | None):
        with interp.patch(model, {"resid_pre.1": ("last", put)}):
            return score(model, some, resamples=10, token_budget=budget).samples

    together = inside(rows, values, token_budget)
    for i, row in enumerate(rows):
        alone = inside([row], values[i : i + 1], None)[..., 0]
        assert together[..., i] == pytest.approx(alone, abs=1e-5, nan_ok=True)


def test_an_ablated_model_is_scored_as_it_runs():
    model = interp.load(tiny_model("llama"))
    given = repeated_tokens(model, n_sequences=3, n_tokens=24)
    before = score(model, given, resamples=10)
    vector = torch.randn(model.d_model, generator=torch.Generator().manual_seed(0))
    with interp.steer(model, vector, strength=3.0, site="resid_pre.1"):
        inside = score(model, given, resamples=10)
    after = score(model, given, resamples=10)
    assert (inside.samples[:, 0] == before.samples[:, 0]).all()
    assert abs(inside.samples[:, 1] - before.samples[:, 1]).max() > 1e-3
    assert (after.samples == before.samples).all()


def test_intervals_come_from_whole_sequences():
    model = interp.load(tiny_model("gpt2"))
    given = repeated_tokens(model, n_sequences=24, n_tokens=30)
    scores = score(model, given, resamples=4000)
    spread = scores.samples.std(axis=-1, ddof=1) / np.sqrt(24)
    width = (scores.high - scores.low) / (2 * 1.96)
    # A bootstrap of 24 is a little narrower than the t interval it stands for.
    assert np.nanmedian(width / spread) == pytest.approx(1.0, abs=0.08)
    assert (scores.low <= scores.mean).all()
    assert (scores.mean <= scores.high).all()


def test_no_pattern_is_held_while_the_next_layer_runs(monkeypatch):
    seen: list[weakref.ref[torch.Tensor]] = []
    still_there: list[int] = []
    whole = scoring.head_scores

    def watched(metric, pattern, targets):
        still_there.append(sum(ref() is not None for ref in seen))
        seen.append(weakref.ref(pattern))
        return whole(metric, pattern, targets)

    monkeypatch.setattr(scoring, "head_scores", watched)
    model = interp.load(tiny_model("llama"))
    score(model, [list(range(5, 30))], metrics=["previous_token"], resamples=5)
    assert still_there == [0, 0, 0]


def test_the_result_is_saved_and_opened(tmp_path):
    model = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())
    scores = score(model, resamples=20)
    scores.save(tmp_path / "heads")
    back = interp.results.load(tmp_path / "heads")
    assert isinstance(back, HeadScores)
    assert (back.samples == scores.samples).all()
    assert back.headline() == scores.headline()
    frame = back.to_dataframe()
    assert len(frame) == len(PATTERN_METRICS) * 3 * 4
    copies = back.by_copy()
    assert len(copies) == 64
    assert np.isfinite(copies.to_numpy()).all()


@pytest.mark.parametrize(
    ("given", "options", "error", "message"),
    [
        ([[5]], {}, PromptError, "one token predicts nothing"),
        ([[5, 6]], {"metrics": ["prefix"]}, ConfigError, "no attention score 'prefix'"),
        ([[5, 6]], {"metrics": []}, ConfigError, "No attention score"),
        ([[5, 99999]], {}, PromptError, "99999"),
    ],
)
def test_what_cannot_be_scored_is_said(given, options, error, message):
    with pytest.raises(error, match=message):
        score(interp.load(tiny_model("llama")), given, **options)


def test_the_embedded_family_has_its_induction_head(induction_family):
    model = interp.load(induction_family.base)
    given = repeated_tokens(
        model, n_sequences=32, n_tokens=48, periods=(6, 16), bos="never"
    )
    scores = score(model, given, resamples=200)
    assert isinstance(given, RepeatedTokens)
    best = scores.value("prefix_matching").max()
    assert best > 0.6
    assert scores.lift("prefix_matching").max() > 0.4
    assert scores.value("previous_token")[0].max() > 0.4
    copies = scores.by_copy()
    mean = {name: np.mean(copies[name].to_numpy()) for name in copies}
    assert mean["accuracy_later"] > 0.9
    assert mean["loss_later"] < mean["loss_first"] - 1.0
