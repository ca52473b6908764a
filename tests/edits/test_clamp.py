import pytest
import torch

from interp.edits import Clamp, Scale, clamp, edit
from interp.errors import ConfigError, MissingSiteError, ShapeError


IDS = torch.tensor([[5, 6, 7, 8, 9, 10], [11, 12, 13, 14, 15, 16]])


def run(model, values_at, site, *edits):
    plain = values_at(model, site, input_ids=IDS)[site]
    with edit(model, edits):
        edited = values_at(model, site, input_ids=IDS)[site]
    return plain, edited


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox", "gemma2", "opt"])
def test_a_silenced_head_equals_zeroed_columns_of_its_output_matrix(
    model_of, architecture
):
    model = model_of(architecture)
    with clamp(model, {"z.1": (2, 0.0)}):
        logits = model.hf(IDS).logits
    projection = model.architecture.point("z.1").module
    saved = projection.weight.clone()
    width = model.d_head
    columns = slice(2 * width, 3 * width)
    if architecture == "gpt2":  # its projections are stored transposed
        projection.weight[columns] = 0
    else:
        projection.weight[:, columns] = 0
    expected = model.hf(IDS).logits
    projection.weight.copy_(saved)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("index", "part"),
    [
        (7, (..., slice(7, 8))),
        ([7, 9], (..., [7, 9])),
        (slice(3, 6), (..., slice(3, 6))),
        (-1, (..., slice(47, 48))),
    ],
)
def test_only_the_named_neurons_change(llama, values_at, index, part):
    plain, edited = run(
        llama, values_at, "mlp_post.1", Clamp(site="mlp_post.1", index=index, value=3.0)
    )
    plain[part] = 3.0
    assert torch.equal(edited, plain)


def test_a_single_coordinate_of_a_head_can_be_set(llama, values_at):
    plain, edited = run(
        llama, values_at, "q.1", Clamp(site="q.1", index=(3, 5), value=-2.0)
    )
    plain[:, :, 3, 5] = -2.0
    assert torch.equal(edited, plain)


def test_a_part_of_a_fused_projection_leaves_the_other_parts_alone(model_of, values_at):
    model = model_of("gpt_neox")
    sites = ["q.1", "k.1", "v.1"]
    plain = values_at(model, sites, input_ids=IDS)
    with clamp(model, {"k.1": (2, 0.0)}):
        edited = values_at(model, sites, input_ids=IDS)
    plain["k.1"][:, :, 2] = 0
    assert all(torch.equal(plain[site], edited[site]) for site in sites)


def test_a_function_gets_the_part_and_gives_its_new_value(llama, values_at):
    plain, edited = run(
        llama,
        values_at,
        "mlp_post.1",
        Clamp(site="mlp_post.1", index=[1, 2], value=lambda part: part.flip(-1)),
    )
    plain[..., [1, 2]] = plain[..., [2, 1]]
    assert torch.equal(edited, plain)


def test_bounds_hold(llama, values_at):
    plain, edited = run(
        llama, values_at, "resid_post.1", Clamp(site="resid_post.1", min=-0.5, max=1.0)
    )
    assert torch.equal(edited, plain.clamp(-0.5, 1.0))
    assert not torch.equal(edited, plain)


def test_scaling_a_head_and_each_prompt_by_its_own_factor(llama, values_at):
    plain, edited = run(
        llama,
        values_at,
        "z.1",
        Scale(site="z.1", index=2, factor=torch.tensor([0.5, 2.0])),
    )
    plain[0, :, 2] *= 0.5
    plain[1, :, 2] *= 2.0
    assert torch.equal(edited, plain)


def test_a_head_that_is_made_to_attend_to_the_first_token_copies_its_value(
    llama, values_at
):
    def to_first(part):  # [batch, query, key]
        new = torch.zeros_like(part)
        new[..., 0] = 1
        return new

    with clamp(llama, {"pattern.1": (3, to_first)}):
        values = values_at(llama, ["z.1", "v.1"], input_ids=IDS)
    # Four query heads share two key-value heads: head 3 reads the second.
    expected = values["v.1"][:, :1, 1].expand(2, 6, 8)
    torch.testing.assert_close(values["z.1"][:, :, 3], expected)
    assert llama.hf.config._attn_implementation == "sdpa"


def test_patterns_are_edited_at_their_queries(llama, values_at):
    uniform = Clamp(site="pattern.1", value=lambda part: part * 0, positions=3)
    with edit(llama, uniform):
        z = values_at(llama, "z.1", input_ids=IDS)["z.1"]
    assert torch.equal(z.abs().amax((2, 3)) == 0, torch.arange(6).expand(2, 6) == 3)


def test_patterns_that_cannot_be_edited_are_refused(model_of):
    model = model_of("bloom")
    with (
        pytest.raises(MissingSiteError, match=r"cannot|not edited.*Edit 'z'"),
        clamp(model, {"pattern.0": 0.0}),
    ):
        pytest.fail("the block was entered")


def test_clamped_logits_decide_what_is_generated(model_of):
    """`generate` computes the logits of the last token only; the edit follows."""
    for architecture in ("llama", "gpt2"):
        model = model_of(architecture)
        with clamp(model, {"logits": (33, 1e4)}):
            ids = model.hf.generate(IDS, max_new_tokens=3, do_sample=False)
        assert (ids[:, 6:] == 33).all()
        with clamp(model, {"logits": (33, 1e4)}, positions="last"):
            ids = model.hf.generate(IDS, max_new_tokens=3, do_sample=False)
        assert (ids[:, 6] == 33).all()
        assert not (ids[:, 7:] == 33).any()


@pytest.mark.parametrize(
    ("index", "value", "words"),
    [
        (4, 0.0, r"'z.1' has no part 4\. It has the shape \[4, 8\]"),
        ((0, 0, 0), 0.0, "has no part"),
        (0, torch.ones(7), r"shape \[7\]\. The part has \[8\]"),
        (None, torch.ones(6, 4, 8), r"shape \[6, 4, 8\]"),
        (0, lambda part: part[..., :3], r"\[2, 6, 3\]\. The part has \[8\]"),
    ],
)
def test_parts_that_do_not_fit_are_one_clear_line(llama, index, value, words):
    with (
        clamp(llama, {"z.1": (index, value)}),
        pytest.raises(ShapeError, match=words),
    ):
        llama.hf(IDS)


@pytest.mark.parametrize("given", [{}, {"value": 1.0, "min": 0.0}])
def test_a_clamp_needs_a_value_or_bounds(given):
    with pytest.raises(ConfigError, match="needs a value or bounds, and not both"):
        Clamp(site="z.1", **given)
