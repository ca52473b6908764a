import pytest
import torch

from interp.organism.network import (
    Shape,
    build_model,
    document_mask,
    initialise,
    logits_at,
)
from interp.organism.tokenizer import build_tokenizer


SHAPE = Shape(n_layers=3, d_model=32, n_heads=4, d_mlp=48)


@pytest.fixture
def model():
    built = build_model(SHAPE, build_tokenizer("a b c"))
    generator = torch.Generator().manual_seed(0)
    initialise(
        built,
        generator,
        embedding_std=0.3,
        head_scale=None,
        out_scale=1.0,
        down_scale=1.0,
    )
    return built


def test_packed_documents_have_the_logits_of_hugging_face_one_at_a_time(model):
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(5, 200, (2, 12), generator=generator)
    documents = torch.tensor([[0] * 5 + [1] * 7, [0] * 3 + [1] * 4 + [-1] * 5])
    kept = torch.arange(tokens.numel())
    ours = logits_at(model, tokens, document_mask(documents), kept).view(2, 12, -1)
    for row, start, stop in ((0, 0, 5), (0, 5, 12), (1, 0, 3), (1, 3, 7)):
        with torch.no_grad():
            theirs = model(input_ids=tokens[row : row + 1, start:stop]).logits[0]
        torch.testing.assert_close(ours[row, start:stop], theirs, atol=1e-5, rtol=1e-5)


def test_keeping_fewer_positions_changes_no_logit(model):
    tokens = torch.randint(5, 200, (3, 8), generator=torch.Generator().manual_seed(2))
    mask = document_mask(torch.zeros(3, 8, dtype=torch.long))
    every = logits_at(model, tokens, mask, torch.arange(24))
    some = torch.tensor([1, 7, 8, 23])
    torch.testing.assert_close(logits_at(model, tokens, mask, some), every[some])


def test_weights_depend_on_the_generator_alone():
    tokenizer = build_tokenizer("a b c")
    drawn = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        built = build_model(SHAPE, tokenizer)
        initialise(
            built,
            torch.Generator().manual_seed(5),
            embedding_std=0.3,
            head_scale=0.5,
            out_scale=1.0,
            down_scale=1.0,
        )
        assert torch.equal(torch.get_rng_state(), before)
        drawn.append(built.state_dict())
    for name, weight in drawn[0].items():
        assert torch.equal(weight, drawn[1][name]), name
    torch.testing.assert_close(
        drawn[0]["lm_head.weight"], 0.5 * drawn[0]["model.embed_tokens.weight"]
    )
