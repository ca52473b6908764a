"""A trace checks itself, resumes, stops cleanly, backs off, and says how it went."""

import os
import signal

import numpy as np
import pytest
import tiny
import torch
from forked import forked
from naive_patching import PLACES, Places, made_pairs, naive_grid
from tiny import tiny_model, tiny_tokenizer
from torch import nn

import interp
from interp import stopping
from interp.errors import (
    ConfigError,
    IncompatibleError,
    OutOfMemoryError,
    PositionError,
    PromptError,
    SelfCheckError,
    UnknownSiteError,
    UnwritableError,
)
from interp.patching import PromptPairs, shards, trace
from interp.patching.block_call import BlockCall
from interp.stopping import StoppedError


def model_of(architecture="llama"):
    return interp.load(tiny_model(architecture))


def equal(a, b):
    return np.array_equal(a, b, equal_nan=True)


def test_only_the_roles_asked_for_are_patched():
    model, pairs = model_of(), made_pairs()
    whole = trace(model, pairs)
    some = trace(model, pairs, positions=["subject[0]", "last"])
    for i, row in enumerate(whole.roles):
        for t, name in enumerate(row):
            asked = name in ("subject[0]", "last")
            expected = whole.ld[:, i, :, t] if asked else np.nan
            close = np.isclose(some.ld[:, i, :, t], expected, atol=1e-5, equal_nan=True)
            assert close.all()


def test_counts_tell_what_was_saved():
    pairs = made_pairs().subset([0, 1])
    found = trace(model_of(), pairs)
    cells = 3 * (4 + 3)
    assert found.naive_token_layers == 3 * (3 * 4 * 13 + 3 * 3 * 12 + 2 * 13 + 2 * 12)
    # Prefix once, two runs of each tail, and the rows behind each patch; the check
    # on one pair comes on top and is less than a pass for every fourth cell.
    first = 9 * 3 + 2 * (4 + 3) * 3 + (2 + 1) * (6 + 6)
    assert found.token_layers > first
    assert found.token_layers < found.naive_token_layers / 3
    assert cells * 13 * 3 > found.token_layers


def test_tokens_are_those_of_the_clean_prompt():
    model = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())
    ids = model.tokenize(["the city of Paris is", "the city of is Paris"]).ids
    pairs = PromptPairs(
        clean_ids=ids[:1],
        corrupted_ids=ids[1:],
        positive=(5,),
        negative=(6,),
        start=(len(ids[0]) - 2,),
        roles=(("subject", "last"),),
        groups=("Paris",),
    )
    assert trace(model, pairs).tokens == ((" Paris", " is"),)


@pytest.mark.parametrize("architecture", ["gpt2", "gemma2"])
def test_whole_passes_serve_where_blocks_cannot_be_entered(architecture, monkeypatch):
    hf, pairs = tiny_model(architecture), made_pairs()
    right = naive_grid(hf, architecture, pairs, units=("resid_post", "z.h1"))
    known = frozenset({"attention_mask"})
    monkeypatch.setattr("interp.patching.block_call._REORDERED", known)
    found = trace(interp.load(hf), pairs, sites=("resid_post", "z.h1"))
    assert "one pass of all blocks per cell behind a cached prefix" in found.notes[0]
    assert "it takes position_" in found.notes[0]
    assert np.nanmax(np.abs(found.ld - right)) < 1e-4
    no_prefix = "interp.patching.group_grid.compute_prefix"
    monkeypatch.setattr(no_prefix, lambda model, ids: None)
    found = trace(interp.load(hf), pairs, sites=("resid_post", "z.h1"))
    assert "one whole forward pass per cell, because its blocks" in found.notes[0]
    assert "its state is no cache of keys and values" in found.notes[0]
    assert np.nanmax(np.abs(found.ld - right)) < 1e-4


def test_blocks_that_give_something_else_from_the_middle_are_not_entered(monkeypatch):
    run = BlockCall.run

    def slightly_wrong(self, hidden, packing, cache):
        output = run(self, hidden, packing, cache)
        return output + 0.05 * torch.linspace(-1, 1, output.shape[-1])

    monkeypatch.setattr(BlockCall, "run", slightly_wrong)
    hf, pairs = tiny_model("llama"), made_pairs()
    found = trace(interp.load(hf), pairs)
    assert "entering its blocks in the middle changes its logits" in found.notes[0]
    right = naive_grid(hf, "llama", pairs, units=("resid_post",))
    assert np.nanmax(np.abs(found.ld - right)) < 1e-4


def test_attention_that_counts_positions_itself_is_not_entered(monkeypatch):
    # GPT-Neo cuts its local window out of a square by the place in the sequence, where
    # packed rows stand elsewhere than in the text. One row alone would not show it.
    fields = {
        "hidden_size": 32,
        "num_layers": 4,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 2]],
        "window_size": 8,
        "max_position_embeddings": 128,
    }
    monkeypatch.setitem(tiny._CONFIGS, "gpt_neo", ("gpt_neo", fields))
    places = Places("transformer.h", "attn", "mlp", "attn.attention.out_proj")
    monkeypatch.setitem(PLACES, "gpt_neo", places)
    hf, pairs = tiny_model("gpt_neo"), made_pairs()
    found = trace(interp.load(hf), pairs)
    assert "entering its blocks in the middle changes its logits" in found.notes[0]
    right = naive_grid(hf, "gpt_neo", pairs, units=("resid_post",))
    assert np.nanmax(np.abs(found.ld - right)) < 1e-4


def test_a_site_without_axes_of_prompts_is_refused(monkeypatch):
    hf = tiny_model("llama")
    mlp = type(hf.model.layers[0].mlp)

    class Flat(mlp):
        def forward(self, x):
            return super().forward(x).flatten(0, 1)

    for block in hf.model.layers:
        block.mlp.__class__ = Flat
    pairs = made_pairs().subset([0])
    with pytest.raises(SelfCheckError, match=r"mlp_out\.0.*a batch of 2 prompts"):
        trace(interp.load(hf), pairs, sites="mlp_out")


def test_a_model_that_looks_ahead_is_refused():
    hf = tiny_model("llama")
    mlp = type(hf.model.layers[1].mlp)

    class LooksAhead(mlp):
        def forward(self, x):
            return super().forward(x) + x.mean(dim=1, keepdim=True)

    for block in hf.model.layers:
        block.mlp.__class__ = LooksAhead
    with pytest.raises(SelfCheckError, match="before the first token that differs"):
        trace(interp.load(hf), made_pairs())


def test_a_model_that_reads_more_than_its_last_block_is_refused():
    hf = tiny_model("llama")
    norm = type(hf.model.norm)

    class ReadsEverything(norm):
        def forward(self, x):
            return super().forward(x + x.cumsum(dim=1))

    hf.model.norm.__class__ = ReadsEverything
    with pytest.raises(SelfCheckError, match="in the last layer"):
        trace(interp.load(hf), made_pairs())


def test_logits_that_are_made_in_an_unknown_way_are_left_to_the_model():
    hf = tiny_model("llama")

    class Squeezed(nn.Linear):
        def forward(self, input):
            return torch.tanh(super().forward(input))

    hf.lm_head.__class__ = Squeezed
    pairs = made_pairs()
    found = trace(interp.load(hf), pairs)
    assert "no plain matrix" in found.notes[0]
    right = naive_grid(hf, "llama", pairs, units=("resid_post",))
    assert np.nanmax(np.abs(found.ld - right)) < 1e-4


def test_memory_that_runs_out_halves_the_batches(monkeypatch):
    model, pairs = model_of(), made_pairs()
    right = trace(model, pairs, sites=("resid_post", "z"))
    run, refused = BlockCall.run, []

    def small_only(self, hidden, packing, cache):
        if len(hidden) > 2:
            refused.append(len(hidden))
            raise torch.OutOfMemoryError("out of memory")
        return run(self, hidden, packing, cache)

    monkeypatch.setattr(BlockCall, "run", small_only)
    found = trace(model, pairs, sites=("resid_post", "z"))
    assert refused
    assert np.allclose(found.ld, right.ld, atol=1e-5, equal_nan=True)

    def never(self, hidden, packing, cache):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(BlockCall, "run", never)
    with pytest.raises(OutOfMemoryError, match="does not fit into memory"):
        trace(model, pairs, sites=("z",))


def killed_at_the_second_shard(sites, out):
    write = shards.Shards.write

    def write_and_die(self, index, grid):
        write(self, index, grid)
        if index == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    # Of this process, which is a fork.
    shards.Shards.write = write_and_die
    trace(model_of(), made_pairs(), sites=sites, out=out)


def test_a_killed_trace_resumes_to_the_same_bytes(tmp_path):
    sites = ("resid_post", "z")
    whole = trace(model_of(), made_pairs(), sites=sites, out=tmp_path / "whole")
    child = forked(lambda: killed_at_the_second_shard(sites, tmp_path / "killed"))
    child.join()
    assert child.exitcode == -signal.SIGKILL
    folder = tmp_path / "killed" / "shards"
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(before) == 2
    again = trace(model_of(), made_pairs(), sites=sites, out=tmp_path / "killed")
    assert {n: (folder / n).stat().st_mtime_ns for n in before} == before
    written = {path.name: path.read_bytes() for path in folder.iterdir()}
    one_go = tmp_path / "whole" / "shards"
    assert written == {path.name: path.read_bytes() for path in one_go.iterdir()}
    assert len(written) == 3
    assert again.ld.tobytes() == whole.ld.tobytes()
    assert again.token_layers == whole.token_layers
    assert again.notes == whole.notes


def test_shards_of_other_settings_are_not_taken(tmp_path):
    model, pairs = model_of(), made_pairs()
    trace(model, pairs, out=tmp_path)
    noised = trace(model, pairs, direction="noise", out=tmp_path)
    assert equal(noised.ld, trace(model, pairs, direction="noise").ld)
    other = interp.load(tiny_model("llama", seed=1))
    assert equal(trace(other, pairs, out=tmp_path).ld, trace(other, pairs).ld)
    assert len(list((tmp_path / "shards").iterdir())) == 9


def test_a_damaged_shard_is_computed_again(tmp_path):
    model, pairs = model_of(), made_pairs()
    first = trace(model, pairs, out=tmp_path)
    shard = sorted((tmp_path / "shards").iterdir())[1]
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    assert equal(trace(model, pairs, out=tmp_path).ld, first.ld)
    assert shard.read_bytes() == whole


def test_a_signal_stops_after_a_whole_shard(tmp_path):
    model, pairs = model_of(), made_pairs()
    try:
        stopping.request_stop()
        with pytest.raises(StoppedError, match="1 of 3 shards are kept"):
            trace(model, pairs, out=tmp_path)
    finally:
        stopping._requested.clear()
    assert len(list((tmp_path / "shards").iterdir())) == 1
    assert equal(trace(model, pairs, out=tmp_path).ld, trace(model, pairs).ld)


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    with pytest.raises(UnwritableError, match="Cannot write"):
        trace(model_of(), made_pairs(), out=in_the_way)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"sites": "resid_pots"}, UnknownSiteError, "Did you mean 'resid_post'"),
        ({"sites": "z.h4"}, UnknownSiteError, "'z.h4' cannot be traced"),
        ({"sites": "k"}, UnknownSiteError, "Sites: resid_post, attn_out"),
        ({"sites": ()}, ConfigError, "No site was named"),
        ({"window": 4}, ConfigError, "1 to 3"),
        ({"positions": ["objekt"]}, PositionError, "No pair has a position"),
        ({"token_budget": 0}, ConfigError, "at least 1"),
    ],
)
def test_a_wrong_setting_is_one_clear_error(options, error, said):
    with pytest.raises(error, match=said):
        trace(model_of(), made_pairs(), **options)


def test_a_source_of_another_shape_is_refused():
    source = interp.load(tiny_model("llama", num_hidden_layers=2))
    with pytest.raises(IncompatibleError, match="n_layers 2"):
        trace(model_of(), made_pairs(), source=source)


def test_ids_out_of_the_vocabulary_are_refused():
    pairs = made_pairs()
    with pytest.raises(PromptError, match="token id 214"):
        trace(interp.load(tiny_model("llama", vocab_size=64)), pairs)


def test_a_model_under_edits_or_hooks_is_refused():
    model, pairs = model_of(), made_pairs()
    steered = interp.steer(model, np.ones(32, np.float32), site="resid_post.1")
    with steered, pytest.raises(ConfigError, match="being edited"):
        trace(model, pairs)
    handle = model.hf.model.norm.register_forward_hook(lambda *_: None)
    with pytest.raises(ConfigError, match="has hooks"):
        trace(model, pairs)
    handle.remove()
    assert trace(model, pairs).ld.shape == (1, 3, 3, 4)
