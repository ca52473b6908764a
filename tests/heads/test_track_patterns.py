"""Patterns along a series: those of each checkpoint alone, resumed, within limits."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from tiny import saved_tiny_model
from transformers import AutoModelForCausalLM

import interp
from interp import heads
from interp.figures import marked_attention
from interp.heads import track_patterns
from interp.heads.metrics import Measured, MetricContext
from interp.heads.series import CheckpointRef
from interp.heads.track_patterns import heads_to_show, kept_tokens
from interp.heads.track_shards import Shards
from interp.results import HeadTimeline
from interp.sharding import OthersMissingError, Shard, restricted


SPEC = heads.SequenceSpec(n_sequences=3, n_tokens=24)
USUAL = (heads.AttentionScores(), heads.Losses())
# Half of the distance between neighbours of half precision just below 1.
HALF_PRECISION = 2.0**-12


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> Path:
    """Three checkpoints of one architecture, each from another seed."""
    place = tmp_path_factory.mktemp("series")
    for number in range(3):
        folder = saved_tiny_model(place, seed=number)
        folder.rename(place / f"step-{number * 100}")
    return place


@pytest.fixture(scope="module")
def found(series) -> HeadTimeline:
    return heads.track(series, metrics=USUAL, sequences=SPEC)


def test_patterns_are_those_of_eager_attention_at_every_checkpoint(series, found):
    n_layers, n_heads = found.heads.shape[2:]
    assert len(found.pattern_heads) == n_layers * n_heads
    ids = torch.from_numpy(found.pattern_ids)[None]
    for place, name in enumerate(found.checkpoints):
        alone = AutoModelForCausalLM.from_pretrained(
            series / name, attn_implementation="eager"
        )
        with torch.no_grad():
            seen = alone(ids, output_attentions=True, use_cache=False).attentions
        for head in found.pattern_heads:
            layer, number = (int(part) for part in head[1:].split("H"))
            np.testing.assert_allclose(
                found.pattern(head, checkpoint=place),
                seen[layer][0, number].numpy(),
                rtol=0,
                atol=HALF_PRECISION + 1e-5,
            )


def test_the_sequence_is_that_with_the_shortest_period_and_its_tokens(series, found):
    given = heads.repeated_tokens(
        interp.load(series / "step-0"), n_sequences=3, n_tokens=24
    )
    shortest = int(np.argmin(given.periods))
    np.testing.assert_array_equal(found.pattern_ids, given.ids[shortest])
    assert found.pattern_period == given.periods[shortest]
    assert found.pattern_start == int(given.bos is not None)
    assert len(found.pattern_tokens) == 24


def test_a_planted_induction_head_attends_along_the_marks_and_nowhere_else(
    repeats_by_hand,
):
    model, given = repeats_by_hand
    context = MetricContext(
        model=model,
        checkpoint=CheckpointRef(name="step0", step=0, tokens=0.0),
        sequences=given,
        patterns=("prefix_matching",),
        seed=0,
    )
    kept = heads.AttentionScores(names=("prefix_matching",))(model, context).patterns
    assert kept is not None
    shown = kept.shown
    values = kept.values[shown.heads.index("L1H0")].astype(np.float32)
    ids = shown.ids
    # Of random tokens, a key is marked if the token before it is the query's own.
    marked = np.array(
        [[0 < k <= q and ids[k - 1] == ids[q] for k in range(37)] for q in range(37)]
    )
    has = marked.any(axis=1)
    assert has.sum() == 36 - shown.period
    # Many halves are summed, each off by as much.
    off = marked.sum(axis=1).max() * HALF_PRECISION
    np.testing.assert_allclose((values * marked)[has].sum(axis=1), 1.0, atol=1e-3 + off)
    assert (values * ~marked)[has].max() < 1e-3
    scores = heads.score(model, given, metrics=["prefix_matching"], resamples=5)
    assert marked_attention(scores, 1, 0) == pytest.approx(1.0, abs=1e-3)
    assert marked_attention(scores, 0, 0) < 1e-3


def test_a_resumed_and_a_shared_run_write_the_bytes_of_one_run(series, tmp_path):
    heads.track(series, metrics=USUAL, sequences=SPEC, out=tmp_path / "one")
    heads.track(series, metrics=USUAL, sequences=SPEC, out=tmp_path / "two")
    parts = sorted((tmp_path / "two").rglob("shards/*"))
    for part in parts[1:]:
        part.unlink()
    heads.track(series, metrics=USUAL, sequences=SPEC, out=tmp_path / "two")
    with restricted(Shard(index=0, count=2)), pytest.raises(OthersMissingError):
        heads.track(series, metrics=USUAL, sequences=SPEC, out=tmp_path / "three")
    with restricted(Shard(index=1, count=2)):
        heads.track(series, metrics=USUAL, sequences=SPEC, out=tmp_path / "three")
    one, two, three = (
        {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.safe*")}
        for name in ("one", "two", "three")
    )
    assert len(one) == 4
    assert one == two == three


def test_parts_of_an_older_version_are_used_and_the_result_says_what_lacks(
    series, tmp_path, found
):
    heads.track(series, metrics=USUAL, sequences=SPEC, out=tmp_path)
    shards = Shards(next(tmp_path.rglob("shards")))
    ref = heads.find_series(series).checkpoints[1]
    as_before_patterns(next(tmp_path.rglob("*100.safetensors")))
    assert shards.shown(ref) is None
    again = heads.track(series, metrics=USUAL, sequences=SPEC, out=tmp_path)
    assert again.pattern_heads == ()
    assert any("Attention patterns are left out" in note for note in again.notes)
    np.testing.assert_array_equal(again.heads, found.heads)
    loaded = HeadTimeline.load(next(tmp_path.rglob("result")))
    assert loaded.pattern("L0H0") is None


def test_damaged_patterns_are_measured_again(series, tmp_path, found):
    heads.track(series, metrics=USUAL, sequences=SPEC, out=tmp_path)
    shards = Shards(next(tmp_path.rglob("shards")))
    ref = heads.find_series(series).checkpoints[1]
    held, shown = shards.read(ref), shards.shown(ref)
    assert held is not None
    assert shown is not None
    values = np.zeros((1, 24, 24), dtype=np.float16)
    wrong = track_patterns.KeptPatterns(shown=shown, values=values)
    shards.write(ref, replace(held, patterns=wrong))
    assert shards.read(ref) is None
    again = heads.track(series, metrics=USUAL, sequences=SPEC, out=tmp_path)
    np.testing.assert_array_equal(again.patterns, found.patterns)


def test_metrics_without_attention_keep_no_patterns(series):
    def one(model, context):
        return Measured(values={"one": np.ones(1)})

    bare = heads.track(series, metrics=[one], sequences=SPEC)
    assert bare.pattern_heads == ()
    assert not any("patterns" in note for note in bare.notes)


def test_where_room_is_short_the_heads_that_end_or_ever_are_highest_stay(
    series, found, monkeypatch
):
    room = 3 * found.patterns[0].nbytes
    monkeypatch.setattr(track_patterns, "RESULT_BYTES", room)
    few = heads.track(series, metrics=USUAL, sequences=SPEC)
    assert len(few.pattern_heads) == 3
    # By turns: the highest at the end, the highest ever, of the next score the same.
    wanted: list[str] = []
    for values in found.heads:
        flat = values.reshape(3, -1)
        for one in (flat[-1], flat.max(axis=0)):
            wanted.append(f"L{one.argmax() // 4}H{one.argmax() % 4}")
    assert {*few.pattern_heads} >= {*list(dict.fromkeys(wanted))[:3]}
    for head in few.pattern_heads:
        np.testing.assert_array_equal(few.pattern(head), found.pattern(head))


def test_one_head_is_kept_however_little_room_there_is(monkeypatch):
    monkeypatch.setattr(track_patterns, "RESULT_BYTES", 1)
    mean = np.array([[[[0.1, 0.9]]]])
    assert heads_to_show(mean, ["L0H0", "L0H1"], n_tokens=64) == ("L0H1",)
    # Of what was not kept nothing can be shown.
    assert heads_to_show(mean, ["L0H0"], n_tokens=64) == ("L0H0",)
    assert heads_to_show(mean[:0], ["L0H0"], n_tokens=64) == ()


def test_the_part_of_a_checkpoint_stays_within_four_mebibytes():
    for n_heads in (1, 48, 384, 1024, 5120):
        size = kept_tokens(n_heads, 128)
        assert 20 <= size <= 64
        assert n_heads * size**2 * 2 <= 4 * 2**20


def as_before_patterns(part: Path) -> None:
    """Write the part of a checkpoint as it was before patterns were kept."""
    with safe_open(part, framework="numpy") as file:
        facts = json.loads(file.metadata()["facts"])
        arrays = {name: file.get_tensor(name) for name in facts["order"]}
    texts = {"checkpoint": facts["checkpoint"], "order": json.dumps(facts["order"])}
    save_file(arrays, part, metadata=texts)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
