"""The grid equals one whole forward pass per cell, cell by cell, in every model."""

import numpy as np
import pytest
from naive_patching import PLACES, made_pairs, naive_grid, unpatched
from tiny import ARCHITECTURES, tiny_model

import interp
from interp.patching import trace


TOLERANCE = 1e-4
SITES = ("resid_post", "attn_out", "mlp_out", "z.h3")
FAST = "Computed by entering the model's blocks behind each patch."


def largest_difference(found, right):
    assert np.array_equal(np.isnan(found), np.isnan(right))
    return np.nanmax(np.abs(found - right))


def test_every_tiny_architecture_has_an_oracle():
    assert set(PLACES) == set(ARCHITECTURES)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_cell_of_every_site_equals_its_own_forward_pass(architecture):
    hf, pairs = tiny_model(architecture), made_pairs()
    found = trace(interp.load(hf), pairs, sites=SITES)
    right = naive_grid(hf, architecture, pairs, units=SITES)
    assert largest_difference(found.ld, right) < TOLERANCE
    # The fast way, not a fallback that any model would take.
    assert (
        found.notes[0] == "Computed by entering the model's blocks behind each patch."
    )
    clean, corrupted = unpatched(hf, pairs)
    # The patches do something: what is equal is not always the unpatched LD.
    moved = np.abs(right - np.array(corrupted)[:, None, None])
    assert np.nanmax(moved[:, :, 0], axis=(1, 2)).min() > 20 * TOLERANCE
    assert np.allclose(found.clean_ld, clean, atol=TOLERANCE)
    assert np.allclose(found.corrupted_ld, corrupted, atol=TOLERANCE)


@pytest.mark.parametrize("architecture", ["gpt_neox", "mixtral"])
def test_noising_equals_its_own_forward_passes(architecture):
    hf, pairs = tiny_model(architecture), made_pairs()
    units = ("resid_post", "z.h1")
    found = trace(interp.load(hf), pairs, sites=units, direction="noise")
    right = naive_grid(hf, architecture, pairs, units=units, direction="noise")
    assert largest_difference(found.ld, right) < TOLERANCE


@pytest.mark.parametrize("architecture", ["mistral", "opt"])
def test_windows_patch_several_layers_at_once(architecture):
    hf, pairs = tiny_model(architecture), made_pairs()
    units = ("resid_post", "attn_out", "z.h2")
    found = trace(interp.load(hf), pairs, sites=units, window=2)
    right = naive_grid(hf, architecture, pairs, units=units, window=2)
    single = naive_grid(hf, architecture, pairs, units=units)
    assert largest_difference(found.ld, right) < TOLERANCE
    # The second layer of the window changes what one layer gives.
    assert np.nanmax(np.abs(right - single)[1]) > 20 * TOLERANCE


@pytest.mark.parametrize("architecture", ["gpt2", "gemma2"])
def test_values_of_another_model_are_put_in(architecture):
    hf, other = tiny_model(architecture), tiny_model(architecture, seed=1)
    pairs, units = made_pairs(), ("resid_post", "z.h1")
    found = trace(interp.load(hf), pairs, sites=units, source=interp.load(other))
    right = naive_grid(hf, architecture, pairs, units=units, source=other)
    assert largest_difference(found.ld, right) < TOLERANCE
    # Unlike within one model, cells before the first token that differs have an effect.
    assert np.abs(found.ld[0, 0, 0, 0] - found.corrupted_ld[0]) > 20 * TOLERANCE


def test_rows_of_a_long_grid_run_in_pieces(monkeypatch):
    monkeypatch.setattr("interp.patching.packing.MAX_PACKED", 6)
    hf, pairs = tiny_model("llama"), made_pairs()
    found = trace(interp.load(hf), pairs, sites=("resid_post", "attn_out"))
    right = naive_grid(hf, "llama", pairs, units=("resid_post", "attn_out"))
    assert largest_difference(found.ld, right) < TOLERANCE


def test_a_tiny_budget_changes_nothing():
    model, pairs = interp.load(tiny_model("gemma2")), made_pairs()
    large = trace(model, pairs, sites=("resid_post", "z"))
    small = trace(model, pairs, sites=("resid_post", "z"), token_budget=1)
    assert np.allclose(large.ld, small.ld, atol=1e-5, equal_nan=True)


def test_float64_agrees_to_rounding():
    hf, pairs = tiny_model("mistral").double(), made_pairs()
    found = trace(interp.load(hf), pairs, sites=("resid_post", "attn_out"))
    right = naive_grid(hf, "mistral", pairs, units=("resid_post", "attn_out"))
    # The result is float32: half a unit in its last place.
    assert largest_difference(found.ld, right) < 1e-6


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_both_kinds_of_masks_are_repacked(attention):
    hf, pairs = tiny_model("mistral"), made_pairs()
    hf.set_attn_implementation(attention)
    found = trace(interp.load(hf), pairs)
    right = naive_grid(hf, "mistral", pairs, units=("resid_post",))
    assert largest_difference(found.ld, right) < TOLERANCE
    assert found.notes[0] == FAST


def test_a_model_of_one_layer_has_a_grid():
    hf, pairs = tiny_model("llama", num_hidden_layers=1), made_pairs()
    found = trace(interp.load(hf), pairs, sites=SITES)
    right = naive_grid(hf, "llama", pairs, units=SITES)
    assert largest_difference(found.ld, right) < TOLERANCE


def test_half_precision_is_entered_too_and_stays_near():
    pairs = made_pairs()
    right = trace(interp.load(tiny_model("llama")), pairs).ld
    found = trace(interp.load(tiny_model("llama").bfloat16()), pairs)
    assert found.notes[0] == FAST
    # Rounding to 8 bits in each of a dozen steps, beside effects of about one.
    assert largest_difference(found.ld, right) < 0.15
