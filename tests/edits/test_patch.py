import pytest
import torch
from tiny import ARCHITECTURES

from interp.edits import Replace, edit, patch
from interp.edits.where import read_places
from interp.errors import ConfigError, PositionError, ShapeError
from interp.positions import Spans, resolve


IDS = torch.tensor([[5, 6, 7, 8, 9, 10], [11, 12, 13, 14, 15, 16]])
OTHER = torch.tensor([[20, 6, 7, 30, 9, 10], [21, 12, 50, 14, 15, 16]])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_patching_all_positions_reproduces_the_other_run(
    model_of, values_at, architecture
):
    model = model_of(architecture)
    expected = model.hf(OTHER).logits
    values = values_at(model, "resid_post.*", input_ids=OTHER)
    for name in values:
        with patch(model, {name: ("all", values[name])}):
            assert torch.equal(model.hf(IDS).logits, expected), name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_patching_every_site_with_its_own_value_changes_nothing(
    model_of, values_at, architecture
):
    model = model_of(architecture)
    sites = [s for s in model.architecture.sites if s.component != "pattern"]
    values = values_at(model, sites, input_ids=IDS)
    with patch(model, values):
        assert torch.equal(model.hf(IDS).logits, model.hf(IDS).logits)
    expected = model.hf(IDS).logits
    with patch(model, values):
        assert torch.equal(model.hf(IDS).logits, expected)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2", "mixtral"])
def test_a_patched_position_has_the_value_and_others_keep_theirs(
    model_of, values_at, architecture
):
    model = model_of(architecture)
    other = values_at(model, "resid_post.1", input_ids=OTHER)["resid_post.1"]
    plain = values_at(model, "resid_post.1", input_ids=IDS)["resid_post.1"]
    with patch(model, {"resid_post.1": (3, other[:, 3])}):
        edited = values_at(model, "resid_post.1", input_ids=IDS)["resid_post.1"]
    plain[:, 3] = other[:, 3]
    assert torch.equal(edited, plain)


def test_values_follow_the_order_of_the_positions(llama, values_at):
    values = torch.arange(2 * 3 * 32.0).reshape(2, 3, 32)
    plain = values_at(llama, "resid_post.1", input_ids=IDS)["resid_post.1"]
    with patch(llama, {"resid_post.1": ([4, 0, -1], values)}):
        edited = values_at(llama, "resid_post.1", input_ids=IDS)["resid_post.1"]
    assert torch.equal(edited[:, [4, 0, 5]], values)
    assert torch.equal(edited[:, 1:4], plain[:, 1:4])


@pytest.mark.parametrize("side", ["left", "right"])
def test_positions_are_relative_to_real_tokens(llama, values_at, side):
    rows = [[5, 6, 7, 8, 9], [10, 11, 12]]
    pads = [[2] * (5 - len(row)) for row in rows]
    left = side == "left"
    ids = torch.tensor(
        [pad + row if left else row + pad for row, pad in zip(rows, pads, strict=True)]
    )
    mask = (ids != 2).long()
    starts = [len(pad) if left else 0 for pad in pads]
    inputs = {"input_ids": ids, "attention_mask": mask}
    value = torch.arange(32.0)
    cases = {
        0: (0, 0),
        -1: (4, 2),
        "last": (4, 2),
        2: (2, 2),
        ((4,), (0,)): (4, 0),
    }
    plain = values_at(llama, "resid_pre.1", **inputs)["resid_pre.1"]
    for positions, tokens in cases.items():
        with patch(llama, {"resid_pre.1": (positions, value)}):
            edited = values_at(llama, "resid_pre.1", **inputs)["resid_pre.1"]
        changed = (edited != plain).any(-1).nonzero().tolist()
        expected = [[row, starts[row] + token] for row, token in enumerate(tokens)]
        assert changed == expected, positions


def test_rows_may_name_different_numbers_of_positions(llama, values_at):
    plain = values_at(llama, "resid_post.1", input_ids=IDS)["resid_post.1"]
    places = ((0, 3), ())
    with patch(llama, {"resid_post.1": (places, torch.zeros(32))}):
        edited = values_at(llama, "resid_post.1", input_ids=IDS)["resid_post.1"]
    changed = (edited != plain).any(-1).nonzero().tolist()
    assert changed == [[0, 0], [0, 3]]


def test_right_padded_values_are_patched_into_left_padded_prompts(llama, values_at):
    ids = torch.tensor([[5, 6, 7, 8], [2, 2, 9, 10]])
    mask = (ids != 2).long()
    values = torch.randn(2, 4, 32, generator=torch.Generator().manual_seed(0))
    with patch(llama, {"resid_post.0": ("all", values)}):
        edited = values_at(llama, "resid_post.0", input_ids=ids, attention_mask=mask)
    assert torch.equal(edited["resid_post.0"][0], values[0])
    assert torch.equal(edited["resid_post.0"][1, 2:], values[1, :2])


@pytest.mark.parametrize(
    ("positions", "values", "error", "words"),
    [
        (6, torch.ones(32), PositionError, "Prompt 0 has no position 6.*0 to 5"),
        (-7, torch.ones(32), PositionError, "Prompt 0 has no position -7"),
        (((1,), (9,)), torch.ones(32), PositionError, "Prompt 1 has no position 9"),
        (((1,),), torch.ones(32), PositionError, "for 1 prompts.*2 prompts"),
        ("all", torch.ones(2, 4, 32), ShapeError, "at 4 positions.*meets 6"),
        ([1, 2, 3], torch.ones(2, 2, 32), ShapeError, "at 2 positions.*meets 3"),
        ("all", torch.ones(3, 6, 32), ShapeError, r"\[3, 6, 32\].*for 2 prompts"),
    ],
)
def test_what_does_not_fit_the_prompts_is_one_clear_line(
    llama, positions, values, error, words
):
    with (
        patch(llama, {"resid_post.1": (positions, values)}),
        pytest.raises(error, match=words),
    ):
        llama.hf(IDS)


@pytest.mark.parametrize("positions", ["first", "mean", 1.5, [], [[]], ["last"], None])
def test_unknown_positions_are_refused_at_once(positions):
    with pytest.raises(PositionError, match="Cannot edit at positions="):
        read_places(positions, "both")


def test_an_edit_refuses_its_positions_when_it_is_made():
    with pytest.raises(PositionError, match="Cannot edit at positions='first'"):
        Replace(site="resid_post.1", values=torch.ones(32), positions="first")


def test_patched_values_do_not_reach_generated_tokens(llama):
    """A patch of all positions speaks of the prompt, also while text is generated."""
    values = torch.zeros(1, 6, 32)
    seen = []
    with patch(llama, {"resid_post.2": ("all", values)}):
        handle = llama.architecture.blocks[2].register_forward_hook(
            lambda module, args, output: seen.append(output)
        )
        llama.hf.generate(IDS[:1], max_new_tokens=3, do_sample=False, eos_token_id=None)
        handle.remove()
    assert [bool((value == 0).all()) for value in seen] == [True, False, False]


def test_several_sites_are_patched_in_one_block(llama, values_at):
    other = values_at(llama, ["attn_out.1", "mlp_out.1"], input_ids=OTHER)
    edits = [Replace(site=name, values=value) for name, value in other.items()]
    with edit(llama, edits):
        values = values_at(llama, ["attn_out.1", "mlp_out.1"], input_ids=IDS)
    assert all(torch.equal(values[name], other[name]) for name in other)


def test_positions_of_interp_positions_name_a_place_in_each_prompt(llama, values_at):
    plain = values_at(llama, "resid_post.1", input_ids=IDS)["resid_post.1"]
    spans = Spans([(1, 3), (4, 5)])
    for positions in (spans, resolve(spans, IDS.tolist()), [[1, 2], [4]]):
        with patch(llama, {"resid_post.1": (positions, torch.zeros(32))}):
            edited = values_at(llama, "resid_post.1", input_ids=IDS)["resid_post.1"]
        changed = (edited != plain).any(-1).nonzero().tolist()
        assert changed == [[0, 1], [0, 2], [1, 4]]


@pytest.mark.parametrize(
    ("positions", "when", "error", "words"),
    [
        (
            resolve("mean", [[5, 6]]),
            "both",
            PositionError,
            "can be read but not edited",
        ),
        (3, "generated", ConfigError, "Positions are places in the prompt"),
        ("all", "later", ConfigError, "when='later' is unknown.*'generated'"),
    ],
)
def test_places_that_make_no_sense_are_refused_at_once(positions, when, error, words):
    with pytest.raises(error, match=words):
        read_places(positions, when)
