"""`interp.capture` inside edits: it sees edited values, whatever it does for speed."""

import pytest
import torch

import interp
from interp.edits import ablate, patch, steer


PREFIX = list(range(30, 60))
PROMPTS = [[*PREFIX, *rest] for rest in ([5, 6, 7, 8, 9], [10], [11, 12, 13], [14, 15])]
VECTOR = 3 * torch.linspace(-1, 1, 32).roll(5)


def one_at_a_time(model, row, slots):
    seen = []

    def add(module, args, output):
        output = output.clone()
        output[:, slots] += VECTOR
        return output

    handles = [
        model.architecture.blocks[1].register_forward_hook(add),
        model.architecture.blocks[2].register_forward_hook(
            lambda module, args, output: seen.append(output[0, -1])
        ),
    ]
    model.hf(torch.tensor([row]), use_cache=False)
    for handle in handles:
        handle.remove()
    return seen[0]


@pytest.mark.parametrize(
    ("options", "slots"),
    [
        ({}, lambda n: slice(None)),
        ({"positions": "last"}, lambda n: [n - 1]),
        ({"positions": -4}, lambda n: [n - 4]),
        ({"positions": [2, 30]}, lambda n: [2, 30]),
        (
            {"positions": [[0], [1], [2, 31], []]},
            lambda n: {35: [0], 31: [1], 33: [2, 31], 32: []}[n],
        ),
    ],
)
def test_ragged_prompts_with_one_prefix_are_captured_as_edited(llama, options, slots):
    with steer(llama, VECTOR, site="resid_post.1", **options):
        acts = interp.capture(llama, PROMPTS, sites="resid_post.2", positions="last")
    for number, row in enumerate(PROMPTS):
        expected = one_at_a_time(llama, row, slots(len(row)))
        torch.testing.assert_close(
            acts["resid_post.2"][number], expected, rtol=1e-4, atol=1e-4
        )


def test_each_prompt_keeps_its_own_strength_in_length_buckets(llama):
    strengths = torch.tensor([1.0, -1.0, 0.5, 0.0])
    with steer(llama, VECTOR, strengths, site="resid_post.1"):
        acts = interp.capture(llama, PROMPTS, sites="resid_post.1", positions="last")
    plain = interp.capture(llama, PROMPTS, sites="resid_post.1", positions="last")
    step = acts["resid_post.1"] - plain["resid_post.1"]
    torch.testing.assert_close(step, strengths[:, None] * VECTOR, rtol=1e-3, atol=1e-4)


def test_captured_activations_patched_back_change_nothing(llama):
    before = interp.capture(llama, PROMPTS, sites=["resid_post.1"], positions="all")
    clean = interp.capture(llama, PROMPTS, sites=["logits"], positions="last")
    with patch(llama, {"resid_post.1": before["resid_post.1"]}):
        again = interp.capture(llama, PROMPTS, sites=["logits"], positions="last")
    torch.testing.assert_close(again["logits"], clean["logits"], rtol=1e-4, atol=1e-4)


def test_an_ablated_direction_is_in_no_captured_row(llama):
    with ablate(llama, VECTOR):
        acts = interp.capture(llama, PROMPTS, sites="resid_post.*", positions="all")
    values = acts["resid_post"]
    assert (values @ (VECTOR / VECTOR.norm())).abs().max() < 1e-4
