"""The refusal study on the embedded family: what it finds, and that it holds."""

from typing import Any

import numpy as np
import pytest
import torch

from interp.directions import select
from probes.studies.refusal import summary
from probes.studies.refusal.chat import templates
from probes.studies.refusal.completions import Condition, Vector, answer
from probes.studies.refusal.direction import can_ablate


@pytest.fixture
def result(refusal_result):
    return refusal_result


def test_post_refuses_what_is_harmful_and_base_nothing(result):
    assert result.condition("post", "harmful").rate > 0.8
    assert result.condition("post", "harmless").rate < 0.2
    assert result.condition("base", "harmful").rate < 0.2


def test_the_direction_of_post_flips_its_answers_both_ways(result):
    """The published finding; intervals, not rates, have to be apart."""
    assert result.directions[1].layer is not None, result.headline()
    harmful = result.condition("post", "harmful")
    ablated = result.condition(
        "post", "harmful", intervention="ablate", direction="post"
    )
    harmless = result.condition("post", "harmless")
    added = result.condition("post", "harmless", intervention="add", direction="post")
    assert ablated.high < harmful.low
    assert added.low > harmless.high
    assert ablated.rate < 0.5 < added.rate


@pytest.mark.parametrize("source", ["base", "random"])
def test_the_direction_of_base_and_a_random_one_do_much_less_in_post(result, source):
    for kind, how in (("harmful", "ablate"), ("harmless", "add")):
        before = result.condition("post", kind).rate
        own, other = (
            result.condition("post", kind, intervention=how, direction=direction)
            for direction in ("post", source)
        )
        assert abs(other.rate - before) < 0.5 * abs(own.rate - before)
        is_apart = other.low > own.high if how == "ablate" else other.high < own.low
        assert is_apart


def test_the_chosen_direction_follows_the_published_rule(result):
    scored = result.candidates_dataframe()
    again = select(scored, n_layers=len(result.layers))
    (chosen,) = scored.index[scored["fate"] == "chosen"]
    assert again.chosen == chosen
    assert scored["rank"][chosen] == 1
    assert result.selection.startswith("Layer")
    assert "kl <= 0.1" in result.rule
    assert scored["share"].sum() + result.none_share == pytest.approx(1)
    for row in result.chosen_scores:
        assert row.estimate == pytest.approx(scored[row.name][chosen])
        assert row.low <= row.estimate <= row.high


def test_every_position_of_the_template_was_a_candidate(result):
    scored = result.candidates_dataframe()
    assert sorted(set(scored["position"])) == [-2, -1]
    assert set(scored["token"]) == {"<|end|>", "<|assistant|>"}
    assert len(scored) == 2 * len(result.layers)
    dead = scored["fate"] == "the classes do not differ there"
    assert scored["layer"][dead].tolist() == [0, 0]
    assert scored["norm"][~dead].min() > 0
    assert any("-2 '<|end|>', -1 '<|assistant|>'" in note for note in result.notes)


def test_doses_rise_with_the_coefficient_and_agree_with_the_answers(result):
    doses = result.doses_dataframe()
    own = doses.query("model == 'post' and direction == 'post'")
    up = own.query("instructions == 'harmless' and coefficient <= 1")
    assert up.sort_values("coefficient")["score"].is_monotonic_increasing
    assert own.query("instructions == 'harmful'")["coefficient"].max() < 0
    one = up.query("coefficient == 1").iloc[0]
    added = result.condition("post", "harmless", intervention="add", direction="post")
    assert one["score"] == pytest.approx(added.score, abs=1e-4)
    assert one["refused"] == added.refused_metric
    assert one["score_low"] < one["score"] < one["score_high"]
    assert doses.query("direction == 'random'")["draw"].nunique() == 3


def test_cosines_are_those_of_the_directions_at_each_place(result):
    rows = result.cosines_dataframe()
    at = result.directions[1].position
    own = rows.query(f"template == 'own' and position == {at}")["cosine"]
    np.testing.assert_allclose(own, result.cosine, atol=1e-6)
    # Both models have one template, so nothing changes with it.
    common = rows.query("template == 'common'")["cosine"].to_numpy()
    np.testing.assert_allclose(rows.query("template == 'own'")["cosine"], common)
    assert np.isnan(rows.query("layer == 0")["cosine"]).all()


def test_the_three_ways_of_judging_are_kept_side_by_side(result):
    row = result.condition("post", "harmful")
    assert row.share("substring").successes == row.refused
    assert row.share("prefix").successes == row.refused_prefix
    answers = result.completions_dataframe().query(
        "model == 'post' and instructions == 'harmful' and intervention == 'none'"
    )
    assert row.share("metric").successes == (answers["score"] > 0).sum()


def test_ablation_has_its_side_effects_beside_it(result):
    rows = {row.direction: row for row in result.side_effects}
    assert set(rows) == {"post", "random"}
    assert rows["post"].divergence > rows["random"].divergence > 0
    assert rows["post"].loss_change_low <= rows["post"].loss_change
    answered = result.condition(
        "post", "harmless", intervention="ablate", direction="post"
    )
    assert rows["post"].false_refusals == answered.rate
    assert rows["post"].n_answers == answered.n


def test_the_punctuation_confound_is_reported_for_every_candidate(result):
    rows = result.punctuation_dataframe()
    assert len(rows) == 2 * 2 * (len(result.layers) - 1)
    assert (rows["cosine"].abs() <= 1).all()
    assert any("that of a mark at the end" in note for note in result.notes)


def test_projections_are_those_of_hugging_faces_own_states(result, models, asked):
    chosen = result.directions[1]
    own, of_post = templates(*models)
    base, post = models
    units = {}
    for source, model, template in (("base", base, own), ("post", post, of_post)):
        kept = asked.harmful.train, asked.harmless.train
        means = [
            mean_state(model, template, texts, chosen.layer, chosen.position)
            for texts in kept
        ]
        units[source] = torch.nn.functional.normalize(means[0] - means[1], dim=0)
    rows = result.projections_dataframe()
    assert len(rows) == 2 * 2 * 2 * len(result.layers)
    assert (rows["low"] <= rows["high"]).all()
    assert (rows["mean_low"] <= rows["mean"]).all()
    for layer in (1, 3):
        for source in ("base", "post"):
            mean = mean_state(post, of_post, asked.harmful.test, layer, chosen.position)
            row = rows.query(
                f"model == 'post' and direction == '{source}' and layer == {layer}"
                " and instructions == 'harmful'"
            ).iloc[0]
            assert row["mean"] == pytest.approx(float(mean @ units[source]), abs=1e-4)
    at = rows.query(
        f"model == 'post' and direction == 'post' and layer == {chosen.layer}"
    ).set_index("instructions")
    assert at["low"]["harmful"] > at["high"]["harmless"]


def mean_state(model, template, texts, layer, position):
    states = []
    for ids in template.ids(model, texts):
        with torch.no_grad():
            held = model.hf(torch.tensor([ids]), output_hidden_states=True)
        states.append(held.hidden_states[layer][0, position].double())
    return torch.stack(states).mean(0)


def test_every_token_of_an_answer_has_its_place_along_the_direction(
    result, models, asked
):
    chosen = result.directions[1]
    _, post = models
    _, of_post = templates(*models)
    scored = result.candidates_dataframe().query("fate == 'chosen'").iloc[0]
    means = [
        mean_state(post, of_post, texts, chosen.layer, chosen.position)
        for texts in (asked.harmful.train, asked.harmless.train)
    ]
    vector = means[0] - means[1]
    unit = vector / vector.norm()
    assert scored["norm"] == pytest.approx(float(vector.norm()), rel=1e-4)
    tried = 0
    for at, row in enumerate(result.completions):
        read = result.read_answer(at)
        assert len(read.tokens) == len(read.projections)
        assert "".join(read.tokens).replace("<|end|>", "") == row.completion
        if row.model == "post" and row.intervention == "add" and tried < 3:
            tried += 1
            (prompt,) = of_post.ids(post, [row.prompt])
            words = [post.tokenizer.decode([i]) for i in range(post.d_vocab)]
            ids = [*prompt, *(words.index(token) for token in read.tokens)]
            with torch.no_grad():
                held = post.hf(torch.tensor([ids]), output_hidden_states=True)
            states = held.hidden_states[chosen.layer][0, len(prompt) :].double()
            right = ((states - means[1]) @ unit) / vector.norm()
            np.testing.assert_allclose(read.projections, right, atol=1e-4)
    assert tried == 3


def test_the_summary_says_what_was_found_with_intervals(result):
    said = " ".join(summary.sentences(result))
    assert "False refusals of the unchanged model" in said
    assert "resamples of the validation prompts" in said
    assert "Added in the base model" in said
    found: Any = summary.numbers(result)
    assert found["chosen_scores"]["kl"][0] < 0.1
    assert found["share_of_resamples"] > 0
    assert {row["direction"] for row in found["doses"]} == {"base", "post", "random"}
    assert {"prefix", "metric"} <= set(summary.rate_table(result))


def test_every_answer_is_kept_and_counted(result, asked):
    n = len(asked.harmful.test)
    assert all(row.n == n for row in result.conditions)
    assert len(result.completions) == n * len(result.conditions)
    assert {row.prompt for row in result.completions} == {
        *asked.harmful.test,
        *asked.harmless.test,
    }


def test_the_first_tokens_of_refusals_are_those_of_the_answers(result):
    refusals = [
        row.completion
        for row in result.completions
        if row.model == "post" and row.intervention == "none" and row.refused
    ]
    starts = tuple(token.strip() for token in result.directions[1].refusal_tokens)
    assert refusals[0].startswith(starts)


def test_an_answer_is_judged_and_hooks_are_gone_afterwards(models, asked):
    _, post = models
    own, _ = templates(post, post)
    texts = asked.harmful.test[:4]
    condition = Condition(
        model="post", instructions="harmful", intervention="add", direction="random"
    )
    answers = answer(
        post,
        condition,
        texts,
        own.ids(post, texts),
        vector=Vector(vector=torch.zeros(post.d_model), layer=1, position=-1, level=0),
        tokens=(5,),
        max_new_tokens=8,
        batch_size=4,
    )
    plain = post.generate(own.ids(post, texts), max_new_tokens=8)
    assert [row.completion for row in answers.rows] == plain
    assert [row.prompt for row in answers.rows] == list(texts)
    decode = post.tokenizer.decode
    assert [decode(row, skip_special_tokens=True) for row in answers.ids] == plain
    assert can_ablate(post) == ""
