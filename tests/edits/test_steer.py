import pytest
import torch
from tiny import ARCHITECTURES, tiny_model

from interp.directions import Direction
from interp.edits import steer
from interp.errors import ConfigError, DataError, MissingSiteError, ShapeError
from interp.models.language_model import LanguageModel


IDS = torch.tensor([[5, 6, 7, 8, 9, 10], [11, 12, 13, 14, 15, 16]])
VECTOR = torch.linspace(-1, 1, 32)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_steering_equals_a_hook_on_the_block(model_of, architecture):
    model = model_of(architecture)

    def add(module, args, output):
        if isinstance(output, tuple):
            return (output[0] + 0.5 * VECTOR, *output[1:])
        return output + 0.5 * VECTOR

    handle = model.architecture.blocks[1].register_forward_hook(add)
    expected = model.hf(IDS).logits
    handle.remove()
    with steer(model, VECTOR, 0.5, site="resid_post.1"):
        assert torch.equal(model.hf(IDS).logits, expected)
    assert not torch.equal(model.hf(IDS).logits, expected)


@pytest.mark.parametrize(
    "architecture", ["gpt2", "llama", "gemma2", "opt", "qwen3_moe"]
)
def test_a_step_at_resid_mid_reaches_the_mlp_and_goes_past_it(
    model_of, values_at, architecture
):
    model = model_of(architecture)
    sites = ["resid_mid.1", "mlp_out.1", "resid_post.1"]
    plain = values_at(model, sites, input_ids=IDS)
    with steer(model, VECTOR, site="resid_mid.1"):
        edited = values_at(model, sites, input_ids=IDS)
    step = {name: edited[name] - plain[name] for name in sites}
    torch.testing.assert_close(step["resid_mid.1"], VECTOR.expand(2, 6, 32))
    assert step["mlp_out.1"].abs().max() > 1e-3
    torch.testing.assert_close(
        step["resid_post.1"], VECTOR + step["mlp_out.1"], rtol=1e-4, atol=1e-4
    )


def test_strength_one_moves_by_the_distance_of_the_class_means(llama, values_at):
    direction = Direction(unit=_unit(), scale=3.0, site="resid_post.1")
    plain = values_at(llama, "resid_post.1", input_ids=IDS)["resid_post.1"]
    with steer(llama, direction):
        edited = values_at(llama, "resid_post.1", input_ids=IDS)["resid_post.1"]
    moved = (edited - plain) @ torch.from_numpy(_unit())
    torch.testing.assert_close(moved, torch.full((2, 6), 3.0), rtol=1e-4, atol=1e-4)


def test_layers_replace_the_layer_of_the_site(llama):
    with steer(llama, VECTOR, site=["resid_post.0", "resid_post.2"]):
        expected = llama.hf(IDS).logits
    with steer(llama, VECTOR, site="resid_post.1", layers=[0, 2]):
        assert torch.equal(llama.hf(IDS).logits, expected)
    direction = Direction(unit=_unit(), site="resid_post.0")
    with steer(llama, direction, layers=2):
        at_two = llama.hf(IDS).logits
    with steer(llama, direction, site="resid_post.2"):
        assert torch.equal(llama.hf(IDS).logits, at_two)


def test_prompts_can_have_their_own_vector_and_strength(llama):
    vectors = torch.stack([VECTOR, VECTOR.flip(0)])
    strengths = torch.tensor([0.5, -2.0])
    with steer(llama, vectors, strengths, site="resid_post.1"):
        together = llama.hf(IDS).logits
    for row in range(2):
        with steer(llama, vectors[row], float(strengths[row]), site="resid_post.1"):
            alone = llama.hf(IDS[row][None]).logits[0]
        torch.testing.assert_close(together[row], alone)


def test_heads_are_steered_in_their_own_shape(llama, values_at):
    vector = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    plain = values_at(llama, "z.1", input_ids=IDS)["z.1"]
    with steer(llama, vector, site="z.1"):
        edited = values_at(llama, "z.1", input_ids=IDS)["z.1"]
    torch.testing.assert_close(edited - plain, vector.expand(2, 6, 4, 8))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32_and_keeps_its_type(dtype):
    model = LanguageModel(hf=tiny_model("llama").to(dtype))
    seen = {}

    def note(module, args, output):
        seen["out"] = output

    # In half precision 1 + 1/1024 - 1 would round on the way.
    with steer(model, VECTOR / 3, 3.0, site="resid_post.1"):
        handle = model.architecture.blocks[1].register_forward_hook(note)
        model.hf(IDS)
        handle.remove()
    edited = seen["out"]
    handle = model.architecture.blocks[1].register_forward_hook(note)
    model.hf(IDS)
    handle.remove()
    expected = (seen["out"].float() + VECTOR / 3 * 3.0).to(dtype)
    assert edited.dtype == dtype
    assert torch.equal(edited, expected)


def test_a_steering_vector_can_be_learned(llama):
    vector = torch.zeros(32, requires_grad=True)
    with torch.enable_grad(), steer(llama, vector, site="resid_post.1"):
        llama.hf(IDS).logits[:, -1, 7].sum().backward()
    assert vector.grad is not None
    assert vector.grad.abs().max() > 0


def test_a_vector_changed_afterwards_does_not_change_the_edit(llama):
    vector = VECTOR.clone()
    with steer(llama, vector, site="resid_post.1"):
        before = llama.hf(IDS).logits
        vector += 5
        assert torch.equal(llama.hf(IDS).logits, before)


@pytest.mark.parametrize(
    ("vector", "site", "error", "words"),
    [
        (VECTOR, None, ConfigError, "No site.*site='resid_post.12'"),
        (torch.ones(31), "resid_post.1", ShapeError, "31 entries.*d_model 32"),
        (VECTOR * float("inf"), "resid_post.1", DataError, "not finite"),
        (VECTOR, "router.1", MissingSiteError, "LlamaForCausalLM has no site"),
    ],
)
def test_what_cannot_be_steered_is_refused_before_the_model_runs(
    llama, vector, site, error, words
):
    with pytest.raises(error, match=words), steer(llama, vector, site=site):
        pytest.fail("the block was entered")


@pytest.mark.parametrize(
    ("vector", "strength", "site", "words"),
    [
        (
            torch.ones(3, 32),
            1.0,
            "resid_post.1",
            r"'resid_post.1' has the shape \[3, 32",
        ),
        (torch.ones(5, 8), 1.0, "z.1", r"\[5, 8\]\. The site has \[4, 8\]"),
        (VECTOR, torch.ones(3), "resid_post.1", r"strength.*\[3\].*each of 2 prompts"),
    ],
)
def test_what_does_not_fit_the_batch_is_one_clear_line(
    llama, vector, strength, site, words
):
    with (
        steer(llama, vector, strength, site=site),
        pytest.raises(ShapeError, match=words),
    ):
        llama.hf(IDS)


def _unit():
    return (VECTOR / VECTOR.norm()).numpy()
