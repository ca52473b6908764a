"""What runs on a CUDA device equals what runs on the CPU."""

import pytest
import torch
from tiny import tiny_model, tiny_tokenizer

import interp
import probes


pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
TEXTS = ["Paris is", "the city of Paris is in France", "a b c", "Paris"] * 9


@pytest.fixture(params=["llama", "gpt_neox", "gemma2"])
def both(request):
    """The same model on the CPU and on the device."""
    hf = tiny_model(request.param)
    there = tiny_model(request.param)
    there.to(torch.device("cuda"))  # pyright: ignore[reportArgumentType]
    there.load_state_dict(hf.state_dict())
    tokenizer = tiny_tokenizer()
    return interp.load(hf, tokenizer=tokenizer), interp.load(there, tokenizer=tokenizer)


@pytest.mark.parametrize("positions", ["last", "all", "mean"])
def test_capture_gives_the_rows_of_the_cpu(both, positions):
    rows = [
        interp.capture(
            model,
            TEXTS,
            sites=["resid_post.*", "attn_out.*", "z.*"],
            positions=positions,
            token_budget=20,
        )
        for model in both
    ]
    for name, value in rows[0].values.items():
        assert rows[1].values[name].device.type == "cpu"
        torch.testing.assert_close(rows[1].values[name], value, atol=1e-4, rtol=1e-4)


def test_rows_can_stay_on_the_device(both):
    _, there = both
    rows = interp.capture(there, TEXTS, device="cuda")["resid_post"]
    assert rows.is_cuda


def test_capture_leaves_no_more_on_the_device_than_it_found(both):
    _, there = both
    interp.capture(there, TEXTS)
    before = torch.cuda.memory_allocated()
    for _ in range(3):
        interp.capture(there, TEXTS, positions="all")
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() <= before + 2**20


def test_steering_and_ablation_write_the_same_text(both):
    here, there = both
    acts = interp.capture(here, TEXTS)
    direction = interp.directions.mean_difference(
        acts, [0, 1, 0, 1] * 9, site="resid_post.1"
    )
    for edit in (interp.steer, interp.ablate):
        texts = []
        for model in (here, there):
            with edit(model, direction):
                texts.append(model.generate(TEXTS[:4], max_new_tokens=6))
        assert texts[0] == texts[1]


def test_head_scores_are_those_of_the_cpu(both):
    here, there = both
    sequences = interp.heads.repeated_tokens(here, seed=0)
    on_cpu = interp.heads.score(here, sequences, resamples=20)
    on_device = interp.heads.score(there, sequences, resamples=20)
    assert abs(on_cpu.samples - on_device.samples).max() < 1e-4


def test_probes_reach_the_same_optimum():
    draw = torch.Generator().manual_seed(0)
    rows = torch.randn(3, 200, 40, generator=draw)
    labels = rows[0, :, 0] + 0.5 * torch.randn(200, generator=draw) > 0
    on_cpu = probes.fit_logistic(rows, labels)
    on_device = probes.fit_logistic(rows.cuda(), labels.cuda())
    torch.testing.assert_close(
        on_device.weights.cpu(), on_cpu.weights, atol=1e-3, rtol=1e-3
    )


def test_streaming_moments_are_those_of_the_cpu(both):
    from interp.activations.moments import moments

    labels = [0, 1, 0, 1] * 9
    found = [moments(model, TEXTS, labels=labels) for model in both]
    here, there = (each.mean("resid_post", label=1).cpu() for each in found)
    torch.testing.assert_close(there, here, atol=1e-4, rtol=1e-4)
