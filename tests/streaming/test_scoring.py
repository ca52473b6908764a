"""Scores of tokens: what a direction or probe says, with template tokens marked."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import ARCHITECTURES, tiny_model, tiny_tokenizer

import interp
import probes
from interp.directions import Direction, mean_difference
from interp.edits import Add
from interp.errors import ConfigError, DataError, ShapeError
from interp.models.one_prompt import template_mask
from interp.models.words import token_words
from interp.streaming import TokenReader, reader_of, token_scores


PROMPTS = ["the city", "Paris is not", "The city of Paris", "a", "b is", "in the"]
LABELS = torch.tensor([1, 0, 1, 0, 1, 0])


@pytest.fixture(scope="module")
def model():
    return interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())


def test_class_means_score_half_a_gap_on_either_side(model):
    acts = interp.capture(model, PROMPTS, sites="resid_post.1", positions="last")
    direction = mean_difference(acts, LABELS)
    reader = reader_of(direction, name="words")
    last = [token_scores(model, text, [reader]).scores[0, -1] for text in PROMPTS]
    means = [np.mean(np.array(last)[LABELS.numpy() == k]) for k in (0, 1)]
    assert means == pytest.approx([-0.5, 0.5], abs=1e-4)
    assert reader.unit == "class gaps from the midpoint"
    plain = replace(direction, negative_mean=None, positive_mean=None)
    assert reader_of(plain).unit == "lengths of the direction"


def test_a_probe_scores_its_logits(model):
    acts = interp.capture(model, PROMPTS, sites="resid_post.1", positions="last")
    probe = probes.fit_ridge(acts["resid_post.1"], LABELS.bool())
    reader = reader_of(probe, site="resid_post.1")
    last = [token_scores(model, text, [reader]).scores[0, -1] for text in PROMPTS]
    assert last == pytest.approx(probe.logits(acts["resid_post.1"]).tolist(), abs=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scores_are_projections_of_captured_values(architecture):
    model = interp.load(tiny_model(architecture))
    rng = np.random.default_rng(0)
    readers = [
        TokenReader(name=site, site=site, weights=rng.normal(size=32), offset=n)
        for n, site in enumerate(["resid_pre.0", "resid_post.2", "attn_out.1"])
    ]
    ids = [7, 9, 12, 5, 30]
    found = token_scores(model, ids, readers)
    acts = interp.capture(
        model, [ids], sites=[r.site for r in readers], positions="all"
    )
    for row, reader in zip(found.scores, readers, strict=True):
        values = acts[reader.site][0].double().numpy()
        right = values @ reader.weights + reader.offset
        np.testing.assert_allclose(row, right, atol=2e-5, rtol=2e-5)
    assert found.first.tolist() == [True, False, False, False, False]


def test_heads_are_read_one_after_the_other(model):
    weights = np.random.default_rng(1).normal(size=32)
    reader = TokenReader(name="z", site="z.1", weights=weights)
    found = token_scores(model, [7, 9, 12], [reader])
    acts = interp.capture(model, [[7, 9, 12]], sites="z.1", positions="all")
    right = acts["z.1"][0].flatten(1).numpy() @ reader.weights
    np.testing.assert_allclose(found.scores[0], right, atol=1e-5)


def test_an_edited_prompt_is_scored_as_edited(model):
    reader = TokenReader(name="x", site="resid_post.1", weights=np.eye(32)[3])
    push = Add(site="resid_post.1", vector=torch.eye(32)[3], strength=2.0)
    plain = token_scores(model, "Paris is", [reader]).scores
    edited = token_scores(model, "Paris is", [reader], edits=push).scores
    np.testing.assert_allclose(edited, plain + 2, atol=1e-5)


@pytest.mark.parametrize("message", ["Paris is", "user", "  the city ", "<|end|>", "a"])
def test_what_the_user_wrote_is_not_template(model, message):
    mask = template_mask(model, message, chat=True)
    ids = model.tokenize(message, chat=True).ids[0]
    own = [i for i, hidden in zip(ids, mask, strict=True) if not hidden]
    if message == "<|end|>":
        # A special token stays one, whoever wrote it.
        assert own == []
    else:
        assert model.tokenizer.decode(own) == message
    assert mask[0]
    assert mask[-1]


def test_special_tokens_of_a_raw_prompt_are_marked(model):
    found = token_scores(model, "Paris<eos> is", [])
    marked = [t for t, m in zip(found.tokens, found.template, strict=True) if m]
    assert marked == ["<bos>", "<eos>"]
    reader = TokenReader(name="x", site="resid_post.1", weights=np.ones(32))
    scored = token_scores(model, "Paris<eos> is", [reader])
    assert np.isnan(scored.masked[0, scored.template]).all()
    assert np.isfinite(scored.masked[0, ~scored.template]).all()
    frame = scored.to_dataframe()
    np.testing.assert_array_equal(frame["score"], scored.of("x"))
    assert frame["template"].tolist() == scored.template.tolist()


def test_parts_of_characters_are_shown_as_bytes(model):
    ids = model.tokenizer("aé🙂")["input_ids"]
    words = token_words(model.tokenizer, ids)
    assert words[:2] == ("<bos>", "a")
    raw = b"".join(bytes.fromhex(word[2:]) for word in words[2:])
    assert raw.decode() == "é🙂"
    plain = model.tokenizer("the city")["input_ids"]
    assert "".join(token_words(model.tokenizer, plain)) == "<bos>the city"


def test_what_is_no_reader_is_refused_in_one_line(model):
    unit = np.eye(32)[0]
    with pytest.raises(ConfigError, match="No site was given for the reader 'truth'"):
        reader_of(Direction(unit=unit), name="truth")
    with pytest.raises(DataError, match="0 apart"):
        reader_of(Direction(unit=unit, scale=0.0, site="resid_post.1"))
    acts = interp.capture(model, PROMPTS, sites="resid_post.*", positions="last")
    many = probes.fit_ridge(acts["resid_post"].transpose(0, 1), LABELS.bool())
    with pytest.raises(ShapeError, match=r"weights of shape \[3, 32\]"):
        reader_of(many, site="resid_post.1")
    with pytest.raises(DataError, match="not finite"):
        TokenReader(name="x", site="resid_post.1", weights=np.array([np.nan]))
    narrow = TokenReader(name="x", site="resid_post.1", weights=np.ones(8))
    with pytest.raises(ShapeError, match="'x' has 8 weights"):
        token_scores(model, "Paris", [narrow])
