"""Attribution patching is the gradient written down plainly, and knows its worth."""

import numpy as np
import pytest
import torch
from naive_patching import columns, made_pairs, module_of, naive_grid
from scipy.stats import rankdata
from tiny import tiny_model

import interp
from interp.errors import ConfigError
from interp.patching import attribute, screen, trace


SITES = ("resid_post", "mlp_out", "z.h2")


def plain_estimate(hf, architecture, pairs, i, unit, *, source=None):
    """Whole prompts, plain hooks, one gradient by layer: `[layer, position]`."""
    n_layers = hf.config.num_hidden_layers
    kept = {}

    def run(model, ids, *, graph):
        hooks = []
        for layer in range(n_layers):
            module, is_input = module_of(model, architecture, unit, layer)

            def keep(module, args, output=None, layer=layer, is_input=is_input):
                value = args[0] if is_input else output
                kept[layer] = value[0] if isinstance(value, tuple) else value

            plant = module.register_forward_pre_hook if is_input else None
            hooks.append((plant or module.register_forward_hook)(keep))
        with torch.set_grad_enabled(graph):
            logits = model(torch.tensor([ids]), use_cache=False).logits[0, -1]
        for hook in hooks:
            hook.remove()
        return logits, dict(kept)

    _, clean = run(source or hf, pairs.clean_ids[i], graph=False)
    logits, own = run(hf, pairs.corrupted_ids[i], graph=True)
    ld = logits[pairs.positive[i]] - logits[pairs.negative[i]]
    slopes = torch.autograd.grad(ld, [own[layer] for layer in range(n_layers)])
    rows = []
    for layer, slope in enumerate(slopes):
        effect = slope * (clean[layer] - own[layer])
        effect = effect.reshape(len(pairs.clean_ids[i]), -1)
        part = columns(unit, effect.shape[-1])
        rows.append(ld.item() + effect[pairs.start[i] :, part].sum(-1).detach())
    return torch.stack(rows).numpy()


@pytest.mark.parametrize("architecture", ["gpt2", "gemma2", "gpt_neox", "mixtral"])
@pytest.mark.parametrize("frozen", [False, True])
def test_the_estimate_is_gradient_times_change(architecture, frozen):
    hf, pairs = tiny_model(architecture), made_pairs()
    right = {
        (u, i): plain_estimate(hf, architecture, pairs, i, unit)
        for u, unit in enumerate(SITES)
        for i in range(len(pairs))
    }
    hf.requires_grad_(not frozen)
    found = attribute(interp.load(hf), pairs, sites=SITES)
    assert found.method == "attribution"
    for (u, i), values in right.items():
        length = values.shape[1]
        assert np.allclose(found.ld[u, i, :, :length], values, atol=1e-4)
        assert np.isnan(found.ld[u, i, :, length:]).all()
    assert all(parameter.grad is None for parameter in hf.parameters())


def test_the_estimate_takes_values_of_another_model():
    hf, other, pairs = tiny_model("llama"), tiny_model("llama", seed=1), made_pairs()
    right = plain_estimate(hf, "llama", pairs, 1, "mlp_out", source=other)
    found = attribute(
        interp.load(hf), pairs, sites="mlp_out", source=interp.load(other)
    )
    assert np.allclose(found.ld[0, 1, :, : right.shape[1]], right, atol=1e-4)


def test_it_costs_a_few_passes_whatever_the_grid():
    model, pairs = interp.load(tiny_model("llama")), made_pairs()
    one = attribute(model, pairs, sites="resid_post")
    all_of_them = attribute(model, pairs, sites=("resid_post", "mlp_out", "z"))
    assert one.token_layers == all_of_them.token_layers
    assert one.token_layers == 3 * (9 + 4 * sum(pairs.lengths))


def test_screening_says_how_well_the_estimate_follows_the_exact_grid():
    hf, pairs = tiny_model("gpt_neox"), made_pairs()
    model = interp.load(hf)
    found = screen(model, pairs, sites=("resid_post", "mlp_out"), sample=3)
    assert found.sample == (0, 1, 2)
    exact = naive_grid(hf, "gpt_neox", pairs, units=("resid_post", "mlp_out"))
    x, y = [], []
    for i, first in enumerate((1, 0, 0)):
        for layer in range(2):
            for t in range(first, pairs.lengths[i]):
                x.append(exact[1, i, layer, t] - found.exact.corrupted_ld[i])
                y.append(
                    found.estimate.ld[1, i, layer, t] - found.exact.corrupted_ld[i]
                )
    assert found.pearson[1] == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-3)
    ranks = np.corrcoef(rankdata(x), rankdata(y))[0, 1]
    assert found.spearman[1] == pytest.approx(ranks, abs=1e-3)
    assert "Pearson and Spearman" in found.estimate.notes[-1]
    assert np.array_equal(
        found.exact.ld,
        trace(model, pairs, sites=("resid_post", "mlp_out")).ld,
        equal_nan=True,
    )


def test_screening_draws_the_same_sample_for_a_seed():
    model, pairs = interp.load(tiny_model("llama")), made_pairs()
    first = screen(model, pairs, sample=2, seed=3)
    again = screen(model, pairs, sample=2, seed=3)
    assert first.sample == again.sample
    assert len(first.exact.ld[0]) == 2
    with pytest.raises(ConfigError, match="sample is 0"):
        screen(model, pairs, sample=0)
