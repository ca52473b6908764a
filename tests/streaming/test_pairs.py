"""Two texts side by side: what each model writes alone, and the KL between them."""

from types import GeneratorType
from typing import cast

import numpy as np
import pytest
import torch

from interp.edits import Add, edit
from interp.edits.where import When
from interp.errors import ResultError
from interp.streaming import (
    Sampling,
    TokenReader,
    compare,
    pairs,
    side_by_side,
    stream_pair,
    token_scores,
)


PROMPT = "the city of Paris"
VECTOR = 3 * torch.linspace(-1, 1, 32).roll(7)
READER = TokenReader(
    name="ramp", site="resid_post.1", weights=np.linspace(-1, 1, 32, dtype=np.float32)
)
SAMPLING = Sampling(max_new_tokens=9, temperature=0.8, seed=2)


def push(when: When = "both") -> Add:
    return Add(site="resid_post.{0..1}", vector=VECTOR, when=when)


def predicted(model, ids, edited):
    """Log-probabilities at every token, with a plain hook at the edited places."""

    def add(module, args, output):
        value = (output[0] if isinstance(output, tuple) else output).clone()
        value[:, list(edited)] += VECTOR
        return (value, *output[1:]) if isinstance(output, tuple) else value

    blocks = model.architecture.blocks[:2]
    handles = [block.register_forward_hook(add) for block in blocks]
    with torch.no_grad():
        logits = model.hf(torch.tensor([ids]), use_cache=False).logits[0]
    for handle in handles:
        handle.remove()
    return logits.double().log_softmax(-1)


@pytest.mark.parametrize("when", ["both", "prompt", "generated"])
@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2"])
def test_kl_is_that_of_two_whole_passes_over_the_steered_text(
    model_of, architecture, when
):
    model = model_of(architecture)
    found = side_by_side(model, PROMPT, edits=push(when), sampling=SAMPLING)
    ids = list(model.tokenize(PROMPT).ids[0])
    whole = [*ids, *found.steered.token_ids]
    places = {
        "both": range(len(whole)),
        "prompt": range(len(ids)),
        "generated": range(len(ids), len(whole)),
    }[when]
    steered, plain = predicted(model, whole, places), predicted(model, whole, [])
    for n, token in enumerate(found.steered.token_ids):
        at = len(ids) + n - 1
        right = float((steered[at].exp() * (steered[at] - plain[at])).sum())
        assert float(found.kl[n]) == pytest.approx(right, abs=2e-5)
        assert float(found.unchanged_log_probability[n]) == pytest.approx(
            float(plain[at, token]), abs=2e-5
        )
        assert float(found.steered.log_probability[n]) == pytest.approx(
            float(steered[at, token]), abs=2e-5
        )
    if when == "generated":
        # The first token is predicted from the prompt, which nothing has changed.
        assert found.kl[0] == pytest.approx(0, abs=1e-6)
    assert found.kl.max() > 0.01


def test_the_texts_are_those_of_generate_with_the_same_seed(llama):
    found = side_by_side(
        llama, PROMPT, edits=push(), readers=[READER], sampling=SAMPLING
    )
    numbers = {"max_new_tokens": 9, "temperature": 0.8, "seed": 2}
    assert [found.unchanged.text] == llama.generate(PROMPT, **numbers)
    with edit(llama, push()):
        assert [found.steered.text] == llama.generate(PROMPT, **numbers)
    assert found.unchanged.token_ids != found.steered.token_ids


def test_an_edit_that_does_nothing_leaves_equal_texts_and_no_divergence(llama):
    nothing = Add(site="resid_post.*", vector=VECTOR, strength=0.0)
    found = side_by_side(llama, PROMPT, edits=nothing, sampling=SAMPLING)
    assert found.steered.token_ids == found.unchanged.token_ids
    assert found.kl.max() == 0
    assert found.n_shared == len(found.steered.token_ids) == 9
    assert "equal" in found.headline()


def test_scores_and_probabilities_are_those_of_the_steps(llama):
    steps = list(
        stream_pair(llama, PROMPT, edits=push(), readers=[READER], sampling=SAMPLING)
    )
    texts = (
        [step.unchanged.token_id for step in steps if step.unchanged],
        [step.steered.token_id for step in steps if step.steered],
    )
    found = compare(llama, PROMPT, texts, edits=push(), readers=[READER])
    for side in ("unchanged", "steered"):
        written, own = getattr(found, side), [getattr(s, side) for s in steps]
        own = [step for step in own if step is not None]
        scores = [step.scores[0] for step in own]
        np.testing.assert_allclose(written.scores[0], scores, atol=1e-4)
        said = [step.log_probability for step in own]
        np.testing.assert_allclose(written.log_probability, said, atol=2e-5)
    prompt = token_scores(llama, PROMPT, [READER])
    np.testing.assert_allclose(found.prompt.scores, prompt.scores, atol=1e-5)


def test_the_text_that_ends_first_is_followed_by_nothing(llama):
    def stop(value):
        logits = value.clone()
        logits[..., 1] = 1e4
        return logits

    from interp.edits import Clamp

    ending = Clamp(site="logits", value=stop, when="generated")
    steps = list(stream_pair(llama, PROMPT, edits=ending, sampling=SAMPLING))
    assert [step.steered is None for step in steps] == [False] + [True] * 8
    assert all(step.unchanged is not None for step in steps)
    at_once = Clamp(site="logits", value=stop)
    found = side_by_side(llama, PROMPT, edits=at_once, readers=[READER])
    assert found.steered.text == ""
    assert len(found.kl) == 0
    assert found.steered.scores.shape == (1, 0)
    assert len(found.to_dataframe()) == 0


def test_leaving_a_pair_closes_both_streams(llama):
    writing = stream_pair(llama, PROMPT, edits=push())
    next(writing)
    # The frames tell whether a generator has ended.
    frame = cast(GeneratorType, writing).gi_frame
    assert frame is not None
    streams = frame.f_locals
    both = [streams["unchanged"], streams["steered"]]
    writing.close()
    assert [one.gi_frame for one in both] == [None, None]


def test_few_positions_at_a_time_give_the_same(llama, monkeypatch):
    whole = side_by_side(llama, PROMPT, edits=push(), sampling=SAMPLING)
    monkeypatch.setattr(pairs, "ENTRIES", 2 * llama.d_vocab)
    pieces = side_by_side(llama, PROMPT, edits=push(), sampling=SAMPLING)
    np.testing.assert_allclose(pieces.kl, whole.kl, atol=1e-7)
    np.testing.assert_array_equal(
        pieces.unchanged_log_probability, whole.unchanged_log_probability
    )


def test_the_frame_has_a_row_for_every_steered_token(llama):
    found = side_by_side(
        llama, PROMPT, edits=push(), readers=[READER], sampling=SAMPLING
    )
    frame = found.to_dataframe()
    assert tuple(frame["token"]) == found.steered.tokens
    np.testing.assert_array_equal(frame["kl"], found.kl)
    np.testing.assert_array_equal(frame["score: ramp"], found.steered.scores[0])
    assert f"token {found.n_shared}" in found.headline()
    with pytest.raises(ResultError, match="no reader 'other'"):
        found.prompt.of("other")
