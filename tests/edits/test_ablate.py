import copy
from typing import Any

import pytest
import torch
from tiny import ARCHITECTURES, tiny_model
from torch import nn

from interp.directions import Direction
from interp.edits import ablate, steer
from interp.errors import ConfigError, DataError, SelfCheckError, ShapeError
from interp.models.language_model import LanguageModel


IDS = torch.tensor([[5, 6, 7, 8, 9, 10], [11, 12, 13, 2, 2, 2]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])


def random_unit(seed: int = 0) -> torch.Tensor:
    vector = torch.randn(32, generator=torch.Generator().manual_seed(seed))
    return vector / vector.norm()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_layer_holds_the_ablated_direction(model_of, values_at, architecture):
    model, unit = model_of(architecture), random_unit()
    states = [s for s in model.architecture.sites if s.component.startswith("resid")]
    with ablate(model, 3 * unit):
        values = values_at(model, states, input_ids=IDS, attention_mask=MASK)
    for site, value in values.items():
        share = (value @ unit).abs() / value.norm(dim=-1)
        assert share.max() < 1e-5, site
    if "resid_mid" not in {s.component for s in states}:
        assert model.architecture.map.parallel


@pytest.mark.parametrize("architecture", ["gpt2", "gemma2", "mistral", "falcon"])
def test_generated_tokens_are_ablated_too(model_of, architecture):
    model, unit = model_of(architecture), random_unit()
    seen = []
    block = model.architecture.blocks[-1]
    with ablate(model, unit):
        handle = block.register_forward_hook(
            lambda module, args, out: seen.append(out[0] if type(out) is tuple else out)
        )
        model.hf.generate(IDS[:1], max_new_tokens=5, do_sample=False, eos_token_id=None)
        handle.remove()
    assert [value.shape[1] for value in seen] == [6, 1, 1, 1, 1]
    assert all((v @ unit).abs().max() < 1e-5 * v.norm() for v in seen)


def orthogonalised(hf: Any, unit: torch.Tensor) -> Any:
    """A copy in whose weights the direction cannot be written."""
    hf = copy.deepcopy(hf)
    head = hf.get_output_embeddings()
    head.weight = nn.Parameter(head.weight.clone())  # untie
    keep_off = torch.eye(32) - torch.outer(unit, unit)
    ends = ("o_proj", "down_proj", "out_proj", "fc2", "attention.dense", "4h_to_h")
    rows_are_written = ("c_proj", "wte", "wpe", "embed_in", "tokens", "positions")
    for name, module in hf.named_modules():
        if name.endswith(rows_are_written):
            module.weight.copy_(module.weight @ keep_off)
        elif name.endswith(ends):
            module.weight.copy_(keep_off @ module.weight)
        else:
            continue
        if getattr(module, "bias", None) is not None:
            module.bias.copy_(keep_off @ module.bias)
    return hf


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox", "opt", "qwen3"])
def test_ablation_equals_orthogonalised_weights(model_of, architecture):
    model, unit = model_of(architecture), random_unit()
    expected = orthogonalised(model.hf, unit)(IDS, attention_mask=MASK).logits
    plain = model.hf(IDS, attention_mask=MASK).logits
    with ablate(model, unit):
        logits = model.hf(IDS, attention_mask=MASK).logits
    real = MASK.bool()
    torch.testing.assert_close(logits[real], expected[real], rtol=1e-5, atol=1e-5)
    assert (logits - plain).abs().max() > 1e-2


@pytest.mark.parametrize("architecture", ["llama", "gemma2", "gpt_neox"])
def test_affine_ablation_keeps_the_projection_at_the_given_value(
    model_of, values_at, architecture
):
    model, unit = model_of(architecture), random_unit()
    with ablate(model, unit, to=0.7):
        values = values_at(model, "resid_post.*", input_ids=IDS)
    for value in values.values():
        projection = value @ unit
        torch.testing.assert_close(
            projection, torch.full_like(projection, 0.7), rtol=0, atol=1e-4
        )


def test_a_subspace_is_removed_whole_and_each_projection_can_be_set(llama, values_at):
    units = torch.stack([random_unit(0), random_unit(0) + 0.5 * random_unit(1)])
    units = units / units.norm(dim=-1, keepdim=True)
    with ablate(llama, [units[0], 2 * units[1]]):
        gone = values_at(llama, "resid_post.*", input_ids=IDS)
    with ablate(llama, units, to=torch.tensor([0.5, -1.0])):
        kept = values_at(llama, "resid_post.*", input_ids=IDS)
    for name in gone:
        assert (gone[name] @ units.T).abs().max() < 1e-4
        expected = torch.tensor([0.5, -1.0]).expand(2, 6, 2)
        torch.testing.assert_close(kept[name] @ units.T, expected, rtol=0, atol=1e-4)


def test_rows_of_one_batch_can_lose_different_directions(llama):
    units = torch.stack([random_unit(3), random_unit(4)])
    with ablate(llama, units, per_row=True):
        together = llama.hf(IDS, attention_mask=MASK).logits
    for row, unit in enumerate(units):
        with ablate(llama, unit):
            alone = llama.hf(IDS[row][None], attention_mask=MASK[row][None]).logits[0]
        real = MASK[row].bool()
        torch.testing.assert_close(together[row][real], alone[real])


def test_a_direction_value_is_ablated_by_its_unit(llama):
    direction = Direction.from_vector(5 * random_unit().numpy(), site="resid_post.1")
    with ablate(llama, direction):
        logits = llama.hf(IDS).logits
    with ablate(llama, random_unit()):
        torch.testing.assert_close(logits, llama.hf(IDS).logits)


def test_ablation_at_one_site_sets_that_site_only(llama, values_at):
    unit = random_unit()
    sites = ["resid_post.0", "attn_out.1", "resid_post.1"]
    plain = values_at(llama, sites, input_ids=IDS)
    with ablate(llama, unit, sites="attn_out.1", to=2.0):
        values = values_at(llama, sites, input_ids=IDS)
    assert torch.equal(values["resid_post.0"], plain["resid_post.0"])
    torch.testing.assert_close(values["attn_out.1"] @ unit, torch.full((2, 6), 2.0))
    assert (values["resid_post.1"] @ unit).abs().max() > 1e-2


def test_a_model_with_an_unknown_write_is_refused():
    model = LanguageModel(hf=tiny_model("llama"), name="odd")
    block: Any = model.architecture.blocks[1]
    handle = block.register_forward_hook(lambda module, args, output: output + 1.0)
    with (
        pytest.raises(SelfCheckError, match=r"refused for odd.*sites='resid_post\.\*'"),
        ablate(model, random_unit()),
    ):
        pass
    handle.remove()


def test_an_edit_that_is_in_force_does_not_spoil_the_self_check():
    model = LanguageModel(hf=tiny_model("llama"))
    with (
        steer(model, torch.ones(32), 9.0, site="resid_post.0"),
        ablate(model, random_unit(), sites="writes"),
    ):
        model.hf(IDS)


@pytest.mark.parametrize(
    ("vectors", "error", "words"),
    [
        (torch.zeros(32), DataError, "is zero"),
        (torch.full((32,), float("nan")), DataError, "32 values that are not finite"),
        (torch.ones(2, 32), DataError, "linearly dependent"),
        (torch.ones(31), ShapeError, r"31 entries.*d_model 32"),
        (torch.ones(2, 3, 32), ShapeError, r"\[2, 3, 32\].*\[d\] or \[k, d\]"),
        ([], ConfigError, "No direction"),
        ([torch.ones(32), torch.ones(31)], ConfigError, "different shapes"),
    ],
)
def test_unusable_directions_are_refused(llama, vectors, error, words):
    with pytest.raises(error, match=words), ablate(llama, vectors):
        pass


def test_projections_must_be_as_many_as_directions(llama):
    directions = [random_unit(0), random_unit(1)]
    with (
        pytest.raises(ShapeError, match=r"shape \[3\].*\[2\]"),
        ablate(llama, directions, to=torch.ones(3)),
    ):
        pass
