"""Steering in class gaps: what an operation does to the score, and how large it is."""

import numpy as np
import pytest
import torch
from tiny import tiny_model, tiny_tokenizer

import interp
from interp.directions import Direction
from interp.edits import Add, edit
from interp.errors import ConfigError, ShapeError
from interp.streaming import edit_sizes, reader_of, steering_edits, token_scores


IDS = [7, 9, 12, 5, 30, 41]
UNIT = np.random.default_rng(3).normal(size=32)
DIRECTION = Direction(
    unit=UNIT / np.linalg.norm(UNIT),
    scale=2.5,
    site="resid_post.1",
    negative_mean=-0.75,
    positive_mean=1.75,
)
ARCHITECTURES = ["gpt2", "llama", "gemma2", "olmo2", "gpt_neox", "falcon"]


def scores(model, **options):
    edits = steering_edits(model, DIRECTION, **options) if options else ()
    return token_scores(model, IDS, [reader_of(DIRECTION)], edits=edits).scores[0]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_operation_does_to_the_score_what_it_says(architecture):
    model = interp.load(tiny_model(architecture))
    plain = scores(model)
    added = scores(model, operation="add", strength=-1.5)
    np.testing.assert_allclose(added, plain - 1.5, atol=2e-5)
    level = float(np.median(plain))
    most = scores(model, operation="at_most", strength=level)
    np.testing.assert_allclose(most, np.minimum(plain, level), atol=2e-5)
    least = scores(model, operation="at_least", strength=level)
    np.testing.assert_allclose(least, np.maximum(plain, level), atol=2e-5)
    # A projection of 0 lies half a unit below the midpoint of -0.75 and 1.75.
    gone = scores(model, operation="project_out")
    np.testing.assert_allclose(gone, np.full(len(IDS), -0.2), atol=2e-5)


def test_a_bound_changes_nothing_across_the_direction():
    model = interp.load(tiny_model("llama"))
    acts = [interp.capture(model, [IDS], sites="resid_post.1", positions="all")]
    edits = steering_edits(model, DIRECTION, operation="at_most", strength=-3.0)
    with edit(model, edits):
        acts.append(interp.capture(model, [IDS], sites="resid_post.1", positions="all"))
    moved = (acts[1]["resid_post.1"] - acts[0]["resid_post.1"])[0].numpy()
    along = moved @ DIRECTION.unit
    assert along.min() < -1
    np.testing.assert_allclose(moved, np.outer(along, DIRECTION.unit), atol=1e-5)


@pytest.mark.parametrize(
    ("layers", "sites"),
    [
        ("own", ["resid_post.1"]),
        ((0, 1), ["resid_post.0", "resid_post.1"]),
        ((2, 2), ["resid_post.2"]),
        ("all", ["resid_post.0", "resid_post.1", "resid_post.2"]),
    ],
)
def test_layers_name_the_sites(layers, sites):
    model = interp.load(tiny_model("llama"))
    found = steering_edits(model, DIRECTION, layers=layers, when="generated")
    assert [one.site for one in found] == sites
    assert {one.when for one in found} == {"generated"}


def test_strength_one_is_the_vector_that_interp_steer_adds():
    model = interp.load(tiny_model("gpt2"))
    ids = torch.tensor([IDS])
    with torch.no_grad(), edit(model, steering_edits(model, DIRECTION, strength=-2.0)):
        found = model.hf(ids).logits
    with torch.no_grad(), interp.steer(model, DIRECTION, -2.0):
        torch.testing.assert_close(found, model.hf(ids).logits)


def test_sizes_are_lengths_beside_usual_lengths():
    model = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())
    edits = steering_edits(model, DIRECTION, strength=-2.0, layers="all", when="prompt")
    sizes = edit_sizes(model, "the city of Paris", edits)
    acts = interp.capture(
        model, ["the city of Paris"], sites="resid_post.*", positions="all"
    )
    lengths = acts["resid_post"][0, :, 1:].norm(dim=-1)
    assert [size.site for size in sizes] == [f"resid_post.{n}" for n in range(3)]
    for layer, size in enumerate(sizes):
        assert size.change == pytest.approx(5.0, rel=1e-5)
        assert size.norm == pytest.approx(float(lengths[layer].median()), rel=1e-5)
        assert size.ratio == pytest.approx(size.change / size.norm)
    small = steering_edits(model, DIRECTION, strength=0.5)
    large = steering_edits(model, DIRECTION, strength=40.0)
    assert not edit_sizes(model, "the city of Paris", small)[0].is_large
    assert edit_sizes(model, "the city of Paris", large)[0].is_large


def test_sizes_count_all_edits_of_a_site_and_what_a_projection_takes():
    model = interp.load(tiny_model("gemma2"))
    twice = [Add(site="resid_post.1", vector=torch.eye(32)[0])] * 2
    (size,) = edit_sizes(model, IDS, twice)
    assert size.change == pytest.approx(2.0, rel=1e-5)
    (gone,) = edit_sizes(
        model, IDS, steering_edits(model, DIRECTION, operation="project_out")
    )
    acts = interp.capture(model, [IDS], sites="resid_post.1", positions="all")
    along = abs(acts["resid_post.1"][0, 1:].numpy() @ DIRECTION.unit)
    middle = np.sort(along)[(len(along) - 1) // 2]
    assert gone.change == pytest.approx(float(middle), rel=1e-4)
    assert not any(m._forward_hooks for m in model.hf.modules())


def test_sizes_of_one_token_are_those_of_that_token():
    model = interp.load(tiny_model("llama"))
    push = Add(site="resid_post.0", vector=torch.eye(32)[0], strength=3.0)
    (size,) = edit_sizes(model, [7], push)
    assert size.change == pytest.approx(3.0, rel=1e-5)


def test_what_cannot_be_steered_is_refused_in_one_line():
    model = interp.load(tiny_model("llama"))
    with pytest.raises(ConfigError, match="has no site"):
        steering_edits(model, Direction(unit=np.eye(32)[0]))
    with pytest.raises(ShapeError, match="has 8 entries"):
        steering_edits(model, Direction(unit=np.eye(8)[0], site="resid_post.1"))
    with pytest.raises(ConfigError, match=r"layers=\(2, 1\) is no range"):
        steering_edits(model, DIRECTION, layers=(2, 1))
    with pytest.raises(ConfigError, match=r"layers=\(0, 3\) is no range"):
        steering_edits(model, DIRECTION, layers=(0, 3))
