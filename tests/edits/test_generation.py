"""Edits in `generate` with a cache, against a recompute that knows no cache.

The oracle reads each prompt alone, unpadded, the whole text anew for every token, with
a hand-written hook at fixed slots. Nothing of it is shared with the code under test.
"""

from typing import Any

import pytest
import torch

from interp.edits import Add, Scale, edit, patch, steer
from interp.errors import PositionError, ShapeError
from interp.models.generation import generate
from interp.models.reading import is_followed, stated_batch


ROWS = [[5, 6, 7, 8, 9, 40, 41, 42, 43, 44], [10, 11, 12], [20, 21, 22, 23, 24, 25]]
N_NEW = 5
VECTOR = 3 * torch.linspace(-1, 1, 32).roll(7)
# Rotary, absolute, ALiBi; sliding windows; parallel; post-norm; fused experts.
ARCHITECTURES = [
    "gpt2",
    "llama",
    "mistral",
    "gemma2",
    "olmo2",
    "gpt_neox",
    "falcon",
    "opt",
    "bloom",
    "qwen3_moe",
]
# For each case the slots of the text that are edited, by prompt length.
CASES = {
    "both": ({}, lambda n: range(1000)),
    "prompt": ({"when": "prompt"}, lambda n: range(n)),
    "generated": ({"when": "generated"}, lambda n: range(n, 1000)),
    "second": ({"positions": 1}, lambda n: [1]),
    "last": ({"positions": "last"}, lambda n: [n - 1]),
    "negative": ({"positions": [-3, 0]}, lambda n: [n - 3, 0]),
    "last of prompt": (
        {"positions": -1, "when": "prompt"},
        lambda n: [n - 1],
    ),
    "by row": (
        {"positions": [[9, 4], [2], [0, -1]]},
        lambda n: {10: [9, 4], 3: [2], 6: [0, 5]}[n],
    ),
}


def left_padded(rows):
    width = max(map(len, rows))
    ids = torch.tensor([[2] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}


def greedy(model, rows=ROWS, **options):
    """New ids and the scores behind them, by `generate` with a cache."""
    inputs = left_padded(rows)
    output = model.hf.generate(
        **inputs,
        max_new_tokens=N_NEW,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=2,
        return_dict_in_generate=True,
        output_logits=True,
        **options,
    )
    width = inputs["input_ids"].shape[1]
    return output.sequences[:, width:], torch.stack(output.logits, dim=1)


def recomputed(model, row, slots, change):
    """One prompt, the whole text anew for every token, edited by a plain hook."""

    def on_output(module, args, output):
        value = output[0] if isinstance(output, tuple) else output
        value = value.clone()
        here = [slot for slot in slots if slot < value.shape[1]]
        value[:, here] = change(value[:, here])
        return (value, *output[1:]) if isinstance(output, tuple) else value

    handle = model.architecture.blocks[1].register_forward_hook(on_output)
    text, logits = list(row), []
    for _ in range(N_NEW):
        scores = model.hf(torch.tensor([text]), use_cache=False).logits[0, -1]
        logits.append(scores)
        text.append(int(scores.argmax()))
    handle.remove()
    return torch.tensor(text[len(row) :]), torch.stack(logits)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_positions_stay_right_behind_the_prefill(model_of, architecture):
    model = model_of(architecture)
    _, plain = greedy(model)
    for case, (options, slots) in CASES.items():
        with steer(model, VECTOR, site="resid_post.1", **options):
            ids, logits = greedy(model)
        for number, row in enumerate(ROWS):
            expected, scores = recomputed(
                model, row, slots(len(row)), lambda value: value + VECTOR
            )
            assert torch.equal(ids[number], expected), (case, number)
            torch.testing.assert_close(
                logits[number], scores, rtol=1e-4, atol=2e-4, msg=case
            )
        # If neither edit did anything the comparison would hold too.
        assert (logits - plain).abs().amax() > 1e-2, case


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_a_patch_at_last_holds_for_the_prompts_only(model_of, architecture):
    model = model_of(architecture)
    with patch(model, {"resid_post.1": ("last", VECTOR)}):
        ids, _ = greedy(model)
    for number, row in enumerate(ROWS):
        expected, _ = recomputed(
            model, row, [len(row) - 1], lambda value: VECTOR.expand_as(value)
        )
        assert torch.equal(ids[number], expected)


@pytest.mark.parametrize(
    "where", [{}, {"when": "generated"}, {"positions": [[9], [0], [-2]]}]
)
def test_beams_and_samples_are_edited_like_their_prompt(llama, where):
    vectors = torch.stack([VECTOR, 0 * VECTOR, -VECTOR])
    inputs = left_padded(ROWS)
    options = {
        "max_new_tokens": N_NEW,
        "num_beams": 3,
        "do_sample": False,
        "eos_token_id": None,
        "pad_token_id": 2,
    }
    lengths = [len(row) for row in ROWS]
    with (
        steer(llama, vectors, site="resid_post.1", **where),
        stated_batch(llama.hf, prompt_lengths=lengths),
    ):
        together = llama.hf.generate(**inputs, **options)
    for number, row in enumerate(ROWS):
        options_here: dict[str, Any] = dict(where)
        if "positions" in where:
            options_here["positions"] = where["positions"][number]
        with steer(llama, vectors[number], site="resid_post.1", **options_here):
            alone = llama.hf.generate(torch.tensor([row]), **options)
        assert torch.equal(together[number, -N_NEW:], alone[0, -N_NEW:])


def test_beams_that_nobody_stated_are_refused_where_rows_differ(llama):
    vectors = torch.stack([VECTOR, 0 * VECTOR, -VECTOR])
    with (
        steer(llama, vectors, site="resid_post.1"),
        pytest.raises(ShapeError, match="for 6 prompts"),
    ):
        llama.hf.generate(**left_padded(ROWS), num_beams=2, max_new_tokens=2)


def test_generation_without_a_cache_is_right_once_the_prompts_are_stated(llama):
    lengths = [len(row) for row in ROWS]
    for options, slots in CASES.values():
        with (
            steer(llama, VECTOR, site="resid_post.1", **options),
            stated_batch(llama.hf, prompt_lengths=lengths),
        ):
            ids, _ = greedy(llama, use_cache=False)
        for number, row in enumerate(ROWS):
            expected, _ = recomputed(
                llama, row, slots(len(row)), lambda value: value + VECTOR
            )
            assert torch.equal(ids[number], expected)


def test_stated_rows_say_whose_vector_each_row_gets(llama):
    vectors = torch.stack([VECTOR, 0 * VECTOR, -VECTOR])
    order = [2, 0]
    inputs = left_padded([ROWS[row] for row in order])
    with (
        steer(llama, vectors, site="resid_post.1", positions=[[0], [1], [-2]]),
        stated_batch(
            llama.hf,
            prompt_lengths=[len(ROWS[row]) for row in order],
            rows=order,
            n_rows=3,
        ),
    ):
        logits = llama.hf(**inputs).logits[:, -1]
    for number, (row, slot) in enumerate(zip(order, [4, 0], strict=True)):
        _, expected = recomputed(
            llama, ROWS[row], [slot], lambda value, row=row: value + vectors[row]
        )
        torch.testing.assert_close(logits[number], expected[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_model_generate_says_whose_edit_each_row_gets(llama, batch_size):
    """It reads the long prompts first, in batches: the rows are not in order."""
    rows = [ROWS[1], ROWS[0], ROWS[2]]
    strengths = torch.tensor([1.0, -1.0, 0.5])
    places = [[2], [9, 0], [-2]]
    with steer(llama, VECTOR, strengths, site="resid_post.1", positions=places):
        written = generate(llama, rows, max_new_tokens=N_NEW, batch_size=batch_size)
    slots = [[2], [9, 0], [4]]
    for number, row in enumerate(rows):
        step = strengths[number] * VECTOR
        expected, _ = recomputed(
            llama, row, slots[number], lambda value, step=step: value + step
        )
        new = written.ids[number]
        stop = [llama.hf.config.eos_token_id] if written.stopped[number] else []
        assert len(new) > 0
        assert [*new, *stop] == expected[: len(new) + len(stop)].tolist()


def test_a_prompt_in_two_pieces_is_refused_unless_stated(llama):
    text = torch.tensor([ROWS[0]])
    first, second = text[:, :6], text[:, 6:]
    cases: list[Any] = [
        {"positions": "last"},
        {"when": "prompt"},
        {"when": "generated"},
    ]
    for options in cases:
        with steer(llama, VECTOR, site="resid_post.1", **options):
            cache = llama.hf(first, use_cache=True).past_key_values
            with pytest.raises(
                PositionError, match=r"where the prompt ends.*stated_ba"
            ):
                llama.hf(second, past_key_values=cache)
    with (
        steer(llama, VECTOR, site="resid_post.1", positions=-6),
        stated_batch(llama.hf, prompt_lengths=[10]),
    ):
        cache = llama.hf(first, use_cache=True).past_key_values
        logits = llama.hf(second, past_key_values=cache).logits[0, -1]
    _, expected = recomputed(llama, ROWS[0], [4], lambda value: value + VECTOR)
    torch.testing.assert_close(logits, expected[0], rtol=1e-4, atol=1e-4)


def test_a_prefix_cache_from_outside_counts_as_part_of_the_prompt(llama):
    text = torch.tensor([ROWS[0]])
    cache = llama.hf(text[:, :6], use_cache=True).past_key_values
    with steer(llama, VECTOR, site="resid_post.1", positions=7):
        logits = llama.hf(text[:, 6:], past_key_values=cache).logits[0, -1]
    _, expected = recomputed(llama, ROWS[0], [7], lambda value: value + VECTOR)
    torch.testing.assert_close(logits, expected[0], rtol=1e-4, atol=1e-4)
    cache = llama.hf(text[:, :6], use_cache=True).past_key_values
    with steer(llama, VECTOR, site="resid_post.1", positions="last"):
        logits = llama.hf(text[:, 6:], past_key_values=cache).logits[0, -1]
    _, expected = recomputed(llama, ROWS[0], [9], lambda value: value + VECTOR)
    torch.testing.assert_close(logits, expected[0], rtol=1e-4, atol=1e-4)


def test_a_second_generation_in_one_block_starts_anew(llama):
    with steer(llama, VECTOR, site="resid_post.1", positions="last"):
        first, _ = greedy(llama)
        greedy(llama, rows=[[5, 6], [7, 8]])
        again, _ = greedy(llama)
    assert torch.equal(first, again)


def test_several_edits_with_their_own_positions_generate_together(llama):
    edits = [
        Add(site="resid_post.1", vector=VECTOR, positions="last"),
        Scale(site="resid_post.1", factor=0.5, when="generated"),
    ]
    with edit(llama, edits):
        ids, _ = greedy(llama)

    for number, row in enumerate(ROWS):
        n = len(row)

        def change(value, n=n):
            new = value.clone()
            new[:, n - 1 : n] += VECTOR
            new[:, n:] *= 0.5
            return new

        expected, _ = recomputed(llama, row, range(1000), change)
        assert torch.equal(ids[number], expected)


def test_a_mask_of_another_shape_is_refused(llama):
    mask = torch.zeros(1, 1, 3, 3)
    with (
        steer(llama, VECTOR, site="resid_post.1"),
        pytest.raises(PositionError, match="not one row per prompt"),
    ):
        llama.hf(torch.tensor([[5, 6, 7]]), attention_mask=mask)


def test_a_model_is_followed_only_while_it_is_edited(llama):
    assert not is_followed(llama.hf)
    with steer(llama, VECTOR, site="resid_post.1"):
        assert is_followed(llama.hf)
    assert not is_followed(llama.hf)
