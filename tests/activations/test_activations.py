import numpy as np
import pytest
import torch
from activations.oracle import PROMPTS, assert_close, few_shot, load
from tiny import PAD

import interp
from interp.activations import resolve_positions
from interp.errors import MissingSiteError, PositionError, ShapeError
from interp.positions import Spans


SUBJECT = "Paris"
WITH_SUBJECT = ["The city of Paris is", "Paris is not in the city", "in Paris"]
CHARACTERS = [(text.index(SUBJECT), text.index(SUBJECT) + 5) for text in WITH_SUBJECT]


@pytest.fixture(scope="module")
def model():
    return load("llama")


@pytest.fixture(scope="module")
def every(model):
    return interp.capture(
        model, PROMPTS, sites=["resid_post.*", "z.1"], positions="all"
    )


def test_the_mask_and_the_index_tell_which_slots_are_real(every):
    lengths = torch.tensor(every.lengths)
    slots = torch.arange(int(lengths.max()))
    assert torch.equal(every.mask, slots < lengths[:, None])
    assert [list(p) for p in every.resolved.index] == [
        list(range(n)) for n in every.lengths
    ]
    padding = every["resid_post"].transpose(1, 2)[~every.mask]
    assert not padding.any()
    assert every["resid_post"].shape == (5, 3, len(slots), 32)
    assert every["z"].shape == (5, 1, len(slots), 4, 8)


def test_one_site_is_a_view_of_its_component(every):
    assert torch.equal(every["resid_post.1"], every["resid_post"][:, 1])
    assert torch.equal(every["blocks.1.hook_resid_post"], every["resid_post.1"])
    assert every["resid_post.1"].untyped_storage().data_ptr() == (
        every["resid_post"].untyped_storage().data_ptr()
    )
    assert every.layers("resid_post") == (0, 1, 2)
    assert every.layers("z") == (1,)
    assert list(every.by_site()) == [
        "resid_post.0",
        "z.1",
        "resid_post.1",
        "resid_post.2",
    ]


def test_only_the_layers_that_were_asked_for_are_stacked(model):
    acts = interp.capture(model, PROMPTS, sites=["resid_post.2", "resid_post.0"])
    every = interp.capture(model, PROMPTS)
    assert acts.layers("resid_post") == (0, 2)
    assert_close(acts["resid_post"], every["resid_post"][:, [0, 2]])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resid_post.3", "'resid_post.3' was not captured.*Did you mean"),
        ("q.0", "'q.0' was not captured.*resid_post.0"),
        ("mlp_out", "'mlp_out' was not captured. Captured are: .*resid_post.0"),
    ],
)
def test_a_site_that_was_not_captured_is_named(every, name, says):
    with pytest.raises(MissingSiteError, match=says):
        every[name]


def test_rows_are_selected_by_mask_and_by_index(every):
    mask = torch.tensor([True, False, False, True, False])
    for chosen in (
        *(mask, [0, 3], torch.tensor([0, -2])),
        *(mask.numpy(), np.flatnonzero(mask), list(np.array([0, 3]))),
        *(np.array([3, 0])[::-1], mask.tolist()),
    ):
        part = every.select(chosen)
        assert torch.equal(part["resid_post"], every["resid_post"][[0, 3]])
        assert part.token_ids == (every.token_ids[0], every.token_ids[3])
        assert part.texts == (PROMPTS[0], PROMPTS[3])
        assert part.tokens(1) == every.tokens(3)
    assert len(every.select([])) == 0
    for wrong in ([5], mask[:4]):
        with pytest.raises(ShapeError):
            every.select(wrong)


def test_rows_move_to_another_dtype(every):
    assert every.to(torch.float16)["z.1"].dtype == torch.float16
    assert every.to("cpu")["z.1"].device.type == "cpu"


def test_the_tokens_that_were_read_can_be_shown(model, every):
    assert "".join(every.tokens(0)) == "<bos>" + PROMPTS[0]
    last = interp.capture(model, PROMPTS)
    assert [last.tokens(i)[0] for i in range(5)] == [
        model.tokenizer.decode([ids[-1]]) for ids in last.token_ids
    ]
    assert PAD not in {token for i in range(5) for token in every.tokens(i)}


def test_provenance_names_the_model(every):
    assert every.provenance.name == "LlamaForCausalLM"
    assert every.provenance.dtype == "float32"


def test_the_description_shows_the_shapes(every):
    assert "5 prompts at 'all'" in repr(every)
    assert "resid_post [5, 3, 21, 32]" in repr(every)


@pytest.mark.parametrize(
    "spec",
    [-2, [0, -1], ["last"], Spans([(0, 2), (1, 2), (0, 1), (0, 2), (1, 3)])],
)
def test_every_kind_of_position_reads_the_rows_of_all(model, every, spec):
    acts = interp.capture(model, PROMPTS, sites="resid_post.*", positions=spec)
    for i, places in enumerate(acts.resolved.index):
        wanted = every["resid_post"][i][:, list(places)]
        found = acts["resid_post"][i]
        if acts.resolved.kind == "one":
            found = found[:, None]
        assert_close(found[:, : len(places)], wanted)
        assert not found[:, len(places) :].any()


def test_a_span_of_characters_is_read_at_its_tokens(model):
    for name, wanted in [("subject_last", "is"), ("subject_first", "P")]:
        acts = interp.capture(
            model, WITH_SUBJECT, positions=name, spans={"subject": CHARACTERS}
        )
        for i in range(3):
            (token,) = acts.tokens(i)
            assert token.strip().startswith(wanted[0]) or token.endswith("s")
    acts = interp.capture(
        model, WITH_SUBJECT, positions="subject", spans={"subject": CHARACTERS}
    )
    assert ["".join(acts.tokens(i)).strip() for i in range(3)] == [SUBJECT] * 3


def test_spans_follow_the_message_into_the_chat_template(model):
    acts = interp.capture(
        model,
        WITH_SUBJECT,
        positions="subject",
        spans={"subject": CHARACTERS},
        chat=True,
    )
    assert ["".join(acts.tokens(i)).strip() for i in range(3)] == [SUBJECT] * 3


def test_spans_of_token_ids_are_tokens(model):
    acts = interp.capture(
        model, [[5, 6, 7], [8, 9]], positions="x_last", spans={"x": [(0, 2), (0, 1)]}
    )
    assert [list(places) for places in acts.resolved.index] == [[1], [0]]


@pytest.mark.parametrize("prompts", [["Who?", "Paris"], ["Who?", "What?"], ["Who?"]])
def test_the_tail_of_a_chat_template_is_found_whatever_the_prompts(model, prompts):
    acts = interp.capture(model, prompts, positions="template", chat=True)
    assert acts.tokens(0) == ("<|end|>", "<|assistant|>")
    assert acts["resid_post"].shape == (len(prompts), 3, 2, 32)
    end = interp.capture(model, prompts, positions="template[-2]", chat=True)
    assert_close(end["resid_post"], acts["resid_post"][:, :, 0])


def test_without_a_template_a_single_prompt_has_no_tail(model):
    with pytest.raises(PositionError, match="cannot be told"):
        interp.capture(model, PROMPTS[:1], positions="template")


def test_work_in_parts_reads_the_same_positions(model):
    prompts = few_shot(6)
    resolved = resolve_positions(model, prompts, positions=["last", -2])
    whole = interp.capture(model, prompts, positions=["last", -2])
    for rows in ([0, 1, 2], [3, 4], [5]):
        part = interp.capture(
            model,
            [resolved.tokenized.ids[row] for row in rows],
            positions=resolved.positions.select(rows),
        )
        assert_close(part["resid_post"], whole["resid_post"][rows])
