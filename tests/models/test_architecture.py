"""Sites against two oracles that are not ours: Hugging Face and TransformerLens."""

import copy
import sys
import warnings
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

import pytest
import torch
from tiny import ARCHITECTURES, tiny_model
from transformers import AutoConfig, AutoModelForCausalLM

import interp
from interp.errors import MissingSiteError, UnknownSiteError
from interp.models import remembered
from interp.models.adapters import map_from_adapter
from interp.models.architecture import architecture_of
from interp.models.attention import watched_attention
from interp.models.hookpoints import plant
from interp.models.structure import map_from_structure
from interp.sites import Site


# TransformerLens 4.3 cannot run these: its Falcon adapter splits the fused projection
# of the new decoder as if it had one key head.
NOT_IN_TRANSFORMER_LENS = {"falcon_new"}
IDS = torch.randint(3, 300, (2, 9), generator=torch.Generator().manual_seed(1))


def values_of(hf, architecture):
    values = {}
    removers = []
    with torch.no_grad(), watched_attention(hf) as arguments:
        for site in architecture.sites:

            def keep(value, site=site):
                values[site] = value.clone()

            removers += plant(architecture.point(site), keep)
        output = hf(
            input_ids=IDS, use_cache=False, output_hidden_states=True, **arguments
        )
    for remove in reversed(removers):
        remove()
    return values, output


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_residual_sites_equal_hugging_face_hidden_states(name):
    hf = tiny_model(name)
    architecture = architecture_of(hf)
    values, output = values_of(hf, architecture)
    states = output.hidden_states
    for layer in range(architecture.n_layers):
        pre = values[Site("resid_pre", layer)]
        torch.testing.assert_close(pre, states[layer], atol=1e-5, rtol=1e-5)
        if layer + 1 < architecture.n_layers:
            post = values[Site("resid_post", layer)]
            torch.testing.assert_close(post, states[layer + 1], atol=1e-5, rtol=1e-5)
    final = values[Site("final_norm")]
    torch.testing.assert_close(final, states[-1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_patterns_equal_eager_attentions(name):
    hf = tiny_model(name)
    architecture = architecture_of(hf)
    values, _ = values_of(hf, architecture)
    # Models outside the attention interface can only be made eager from the start.
    hf.config._attn_implementation_internal = "eager"
    with torch.no_grad():
        attentions = hf(
            input_ids=IDS, use_cache=False, output_attentions=True
        ).attentions
    for layer, attention in enumerate(attentions):
        pattern = values[Site("pattern", layer)]
        torch.testing.assert_close(pattern, attention, atol=1e-5, rtol=1e-5)


BRIDGE_NAMES = {
    "router": "blocks.{}.mlp.gate.hook_out",
    "logits": None,  # compared with the model's own output below
    "embed": None,  # OPT's bridge adds positions to it; checked against Hugging Face
}


@pytest.mark.parametrize(
    "name", [a for a in ARCHITECTURES if a not in NOT_IN_TRANSFORMER_LENS]
)
def test_every_site_equals_the_transformer_lens_bridge(name):
    pytest.importorskip("transformer_lens")
    from transformer_lens.model_bridge.sources._bridge_builder import (
        build_bridge_from_module,
    )

    hf = tiny_model(name)
    architecture = architecture_of(hf)
    values, output = values_of(hf, architecture)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        twin = copy.deepcopy(hf)
        bridge = build_bridge_from_module(
            twin, type(hf).__name__, hf_config=copy.deepcopy(hf.config)
        )
        with torch.no_grad():
            _, cache = bridge.run_with_cache(IDS, prepend_bos=False)
    torch.testing.assert_close(
        values[Site("logits")], output.logits, atol=1e-5, rtol=1e-5
    )
    compared = set()
    for site, value in values.items():
        bridge_name = BRIDGE_NAMES.get(site.component, str(site))
        if bridge_name is None:
            continue
        bridge_name = bridge_name.format(site.layer)
        if bridge_name not in cache:
            continue
        theirs = cache[bridge_name]
        assert theirs.numel() == value.numel(), site
        torch.testing.assert_close(
            value, theirs.reshape(value.shape), atol=1e-5, rtol=1e-5, msg=str(site)
        )
        compared.add(site.component)
    # Only OPT's bridge has no pattern; eager attention covers it above.
    uncompared = {site.component for site in values} - compared
    assert uncompared <= {"embed", "logits"} | ({"pattern"} if name == "opt" else set())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_embed_is_the_token_embedding(name):
    hf = tiny_model(name)
    values, _ = values_of(hf, architecture_of(hf))
    with torch.no_grad():
        expected = hf.get_input_embeddings()(IDS)
    torch.testing.assert_close(values[Site("embed")], expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_structure_alone_finds_what_the_adapter_says(name):
    pytest.importorskip("transformer_lens")
    hf = tiny_model(name)
    by_structure = asdict(map_from_structure(hf))
    adapted = map_from_adapter(hf)
    assert adapted is not None
    by_adapter = asdict(adapted)
    # The path of its dense layers, of which this model has none.
    unknown = {"source", "mlp_down"} if name == "qwen3_moe" else {"source"}
    differing = {key for key in by_adapter if by_structure[key] != by_adapter[key]}
    assert differing <= unknown


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_without_transformer_lens_the_sites_are_the_same(name, monkeypatch, tmp_path):
    pytest.importorskip("transformer_lens")
    hf = tiny_model(name)
    adapted = architecture_of(hf)
    assert adapted.map.source == "TransformerLens adapter"
    monkeypatch.setenv("INTERP_HOME", str(tmp_path))
    monkeypatch.setattr(remembered, "version", _installed)
    adapters = "transformer_lens.factories.architecture_adapter_factory"
    monkeypatch.setitem(sys.modules, adapters, None)
    alone = architecture_of(hf)
    assert alone.map.source == "structure"
    assert alone.sites == adapted.sites
    assert alone.fused_attention == adapted.fused_attention
    places = [[a.point(site) for site in alone.sites] for a in (alone, adapted)]
    for mine, theirs in zip(*places, strict=True):
        assert (mine.path, mine.side, mine.n_heads, mine.bypassed) == (
            theirs.path,
            theirs.side,
            theirs.n_heads,
            theirs.bypassed,
        )


def _installed(name: str) -> str:
    if name == "transformer-lens":
        raise PackageNotFoundError(name)
    return version(name)


def test_a_site_that_the_architecture_lacks_says_why_and_what_exists():
    architecture = architecture_of(tiny_model("gpt_neox"))
    with pytest.raises(MissingSiteError, match=r"no site 'resid_mid\.1'.*in parallel"):
        architecture.point("resid_mid.1")
    with pytest.raises(MissingSiteError, match="Its sites: embed, resid_pre, q"):
        architecture.points("resid_mid.*")
    with pytest.raises(MissingSiteError, match="experts are fused"):
        architecture_of(tiny_model("mixtral")).point("mlp_post.0")
    with pytest.raises(UnknownSiteError, match="3 layers, 0 to 2"):
        architecture.point("resid_post.3")
    with pytest.raises(UnknownSiteError, match="Did you mean 'resid_post'"):
        architecture.points("resid_pst.*")


def test_a_wildcard_skips_the_layers_that_lack_the_component():
    hf = tiny_model("qwen3_moe", mlp_only_layers=[1])
    architecture = architecture_of(hf)
    assert [p.site.layer for p in architecture.points("router.*")] == [0, 2]
    assert [p.site.layer for p in architecture.points("mlp_post.*")] == [1]
    with pytest.raises(MissingSiteError, match=r"Only the layers \[0, 2\] have it"):
        architecture.point("router.1")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_editing_resid_mid_moves_the_branch_and_the_stream(name):
    hf = tiny_model(name)
    architecture = architecture_of(hf)
    if Site("resid_mid", 1) not in architecture.sites:
        pytest.skip("parallel blocks have no middle")
    shift = torch.linspace(-1, 1, 32)
    edited = run_with(hf, architecture, "resid_mid.1", lambda value: value + shift)
    # Adding to what attention writes is adding to the middle of the stream.
    expected = run_with(hf, architecture, "attn_out.1", lambda value: value + shift)
    torch.testing.assert_close(edited, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "falcon_new", "bloom", "llama"])
def test_editing_one_part_of_a_fused_projection_leaves_the_others(name):
    hf = tiny_model(name)
    architecture = architecture_of(hf)
    clean, _ = values_of(hf, architecture)
    removers = plant(architecture.point("k.1"), lambda value: value * 0 + 3)
    edited, _ = values_of(hf, architecture)
    for remove in removers:
        remove()
    assert torch.equal(edited[Site("k", 1)], torch.full_like(clean[Site("k", 1)], 3))
    assert torch.equal(edited[Site("q", 1)], clean[Site("q", 1)])
    assert torch.equal(edited[Site("v", 1)], clean[Site("v", 1)])


def run_with(hf, architecture, site, edit):
    removers = plant(architecture.point(site), edit)
    try:
        with torch.no_grad():
            return hf(input_ids=IDS, use_cache=False).logits
    finally:
        for remove in reversed(removers):
            remove()


def test_a_hybrid_has_attention_in_some_of_its_layers():
    config = AutoConfig.for_model(
        "jamba",
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        attn_layer_period=2,
        attn_layer_offset=1,
        num_experts=2,
        mamba_d_state=4,
        mamba_d_conv=2,
    )
    model = interp.load(AutoModelForCausalLM.from_config(config))
    acts = interp.capture(model, [[3, 4, 5]], sites=["attn_out.*", "mlp_out.*"])
    layers = [site.layer for site in acts.sites if site.component == "attn_out"]
    assert layers == [1, 3]
    with pytest.raises(MissingSiteError, match=r"Only the layers \[1, 3\] have it"):
        interp.capture(model, [[3, 4, 5]], sites="attn_out.0")
