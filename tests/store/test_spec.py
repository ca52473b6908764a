import json
import subprocess
import sys
from dataclasses import replace

import pytest
from store.samples import RAGGED, SITES, sample_spec

from interp.errors import ConfigError, IncompatibleError, StoreError
from interp.store import ShardPlan, plan_shards
from interp.store.spec import require_same, spec_from_json


def test_shards_cover_every_row_once():
    for n in (1, 5, 6, 7, 600):
        plan = ShardPlan(n_examples=n, rows_per_shard=6)
        rows = [row for i in range(plan.n_shards) for row in plan.shard(i).rows]
        assert rows == list(range(n))


def test_shards_have_about_the_asked_size():
    sites = {"resid_post.0": (1000,)}
    plan = plan_shards(sites, dtype="float16", n_examples=500, shard_bytes=100_000)
    assert plan.rows_per_shard == 50
    plan = plan_shards(sites, dtype="float16", n_examples=5, shard_bytes=1)
    assert plan.rows_per_shard == 1


def test_a_shard_is_as_wide_as_its_longest_row():
    n_tokens = [3, 9, 2, 1, 5]
    plan = plan_shards(
        RAGGED, dtype="float32", n_examples=5, n_tokens=n_tokens, rows_per_shard=2
    )
    assert plan.lengths == (9, 2, 5)
    spec = sample_spec(ragged=True)
    shard = spec.plan.shard(1)
    assert spec.shape("pattern.0", shard)[1:] == (
        2,
        shard.n_positions,
        shard.n_positions,
    )


def test_a_spec_survives_json_with_its_hash():
    for spec in (sample_spec(), sample_spec(ragged=True, dtype="bfloat16")):
        read = spec_from_json(json.loads(json.dumps(spec.to_json())), where="x")
        assert read == spec
        assert read.hash == spec.hash


def test_the_order_and_spelling_of_sites_do_not_matter():
    spec = sample_spec()
    sites = {"blocks.1.attn.hook_z": SITES["z.1"], **dict(reversed(SITES.items()))}
    del sites["z.1"]
    other = replace(spec, sites=sites)
    assert other == spec
    assert other.hash == spec.hash


@pytest.mark.parametrize("name", ["model", "revision", "tokenizer", "data"])
def test_the_field_that_differs_is_named(name):
    other = replace(sample_spec(), **{name: "x"})
    with pytest.raises(IncompatibleError, match=f"another {name}: 'x', not") as caught:
        require_same(other, sample_spec(), where="store")
    assert caught.value.exit_code == 3


def test_another_plan_or_dtype_is_named():
    with pytest.raises(IncompatibleError, match="another rows_per_shard: 5, not 6"):
        require_same(sample_spec(rows_per_shard=5), sample_spec(), where="store")
    with pytest.raises(IncompatibleError, match="another dtype: 'float16'"):
        require_same(sample_spec(dtype="float16"), sample_spec(), where="store")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["model"], 3),
        (["dtype"], "float64"),
        (["sites"], {}),
        (["sites"], {"../../etc/passwd": [3]}),
        (["sites"], {"resid_post.0": [-1]}),
        (["sites"], {"resid_post.0": ["pos"]}),
        (["plan", "n_examples"], True),
        (["plan", "n_examples"], 0),
        (["plan", "lengths"], [1]),
        (["options"], []),
        ([], None),
    ],
)
def test_a_malformed_spec_is_refused(path, value):
    text = json.loads(json.dumps(sample_spec().to_json()))
    if path:
        inner = text
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
    with pytest.raises(StoreError, match="'x' does not describe a store"):
        spec_from_json(text if path else value, where="x")


def test_several_positions_need_the_lengths():
    with pytest.raises(ConfigError, match="Pass n_tokens"):
        plan_shards(RAGGED, dtype="float32", n_examples=3)


def test_specs_need_no_torch():
    code = "import interp.store, interp.store.manifest, interp.store.layout, sys"
    run = subprocess.run(
        [sys.executable, "-c", f"{code}; sys.exit('torch' in sys.modules)"], check=False
    )
    assert run.returncode == 0
