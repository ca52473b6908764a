import numpy as np
import psutil
import pytest
import torch
from store.samples import SITES, filled, sample_rows, sample_spec, values_of

from interp.errors import DataError, MissingSiteError, StoreError, UnknownSiteError
from interp.store import StoreSpec, fill, open as open_store, padding_mask, plan_shards


def whole(spec: StoreSpec, site: str) -> torch.Tensor:
    plan = spec.plan
    shards = [plan.shard(index).rows for index in range(plan.n_shards)]
    return torch.cat([values_of(spec, rows)[site] for rows in shards])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_what_was_written_is_read(tmp_path, dtype):
    spec = sample_spec(dtype=dtype)
    store = open_store(filled(tmp_path / "store", spec), verify=True)
    assert store.sites == tuple(spec.sites)
    for site in SITES:
        assert store[site].shape == (20, *SITES[site])
        assert torch.equal(store[site][:], whole(spec, site))
        assert store[site][:].dtype == store[site].dtype == getattr(torch, dtype)


@pytest.mark.parametrize(
    "rows",
    [
        slice(None),
        slice(4, 9),
        slice(None, None, -3),
        [3],
        [19, 0, 7, 7, -1],
        [],
        range(5, 8),
        np.array([6, 5, 4]),
        torch.tensor([0, 13, 12]),
        np.arange(20) % 3 == 0,
        torch.arange(20) > 15,
        [True] * 3 + [False] * 17,
    ],
)
def test_rows_are_chosen_as_from_an_array(tmp_path, rows):
    spec = sample_spec()
    store = open_store(filled(tmp_path / "store", spec))
    chosen = np.asarray(rows) if not isinstance(rows, slice) else rows
    if not isinstance(chosen, slice) and chosen.size == 0:
        chosen = chosen.astype(int)
    wanted = whole(spec, "z.1").numpy()[chosen]
    assert np.array_equal(store.read("z.1", rows=rows).numpy(), wanted)


def test_one_row_has_no_row_axis(tmp_path):
    spec = sample_spec()
    store = open_store(filled(tmp_path / "store", spec))
    assert torch.equal(store["resid_post.2"][-2], whole(spec, "resid_post.2")[-2])
    assert store["resid_post"][4].shape == (3, 6)


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("resid_post", (0, 1, 2)),
        ("resid_post.*", (0, 1, 2)),
        ("blocks.*.hook_resid_post", (0, 1, 2)),
        ("resid_post.{1..2}", (1, 2)),
        ("z.*", (1,)),
    ],
)
def test_several_layers_are_stacked(tmp_path, name, layers):
    spec = sample_spec()
    store = open_store(filled(tmp_path / "store", spec))
    component = "z" if name.startswith("z") else "resid_post"
    wanted = [whole(spec, f"{component}.{layer}") for layer in layers]
    assert store[name].layers == layers
    assert store[name].shape == (20, len(layers), *SITES[f"{component}.1"])
    assert torch.equal(store[name][[9, 2]], torch.stack(wanted, dim=1)[[9, 2]])


def test_long_names_mean_the_same(tmp_path):
    store = open_store(filled(tmp_path / "store", sample_spec()))
    assert store["blocks.1.attn.hook_z"].sites == ("z.1",)
    assert "resid_post.1" in store
    assert "resid_post.7" not in store
    assert "nonsense" not in store


def test_blocks_of_rows_cover_all(tmp_path):
    spec = sample_spec()
    view = open_store(filled(tmp_path / "store", spec))["resid_post.0"]
    assert torch.equal(torch.cat(list(view.batches(7))), whole(spec, "resid_post.0"))
    assert torch.equal(torch.stack(list(view)), view[:])


def test_rows_of_several_positions_are_padded_to_the_longest(tmp_path):
    spec = sample_spec(ragged=True)
    store = open_store(filled(tmp_path / "store", spec), verify=True)
    assert len(set(spec.plan.lengths)) > 1
    width = max(spec.plan.lengths)
    pattern, mask = store["pattern.0"][:], padding_mask(store)
    assert pattern.shape == store["pattern.0"].shape == (20, 2, width, width)
    assert mask.sum(1).tolist() == [row["n_tokens"] for row in sample_rows()]
    for index in range(spec.plan.n_shards):
        shard = spec.plan.shard(index)
        wanted = values_of(spec, shard.rows)["pattern.0"]
        kept = pattern[shard.rows.start : shard.rows.stop]
        length = shard.n_positions
        assert torch.equal(kept[..., :length, :length], wanted)
    outside = ~(mask[:, None, :, None] & mask[:, None, None, :]).expand_as(pattern)
    assert not pattern[outside].any()


def test_a_store_of_one_position_has_no_mask(tmp_path):
    with pytest.raises(DataError, match="no column"):
        padding_mask(open_store(filled(tmp_path / "store", sample_spec())))


def test_rows_say_where_they_are_and_what_they_were(tmp_path):
    rows = open_store(filled(tmp_path / "store", sample_spec())).rows
    assert list(rows.columns) == [
        *("row", "shard", "shard_row"),
        *("prompt", "label", "n_tokens"),
    ]
    assert rows.prompt.tolist() == [row["prompt"] for row in sample_rows()]
    assert (rows.shard * 6 + rows.shard_row).tolist() == rows.row.tolist()


def test_a_column_of_the_rows_chooses_rows(tmp_path):
    spec = sample_spec()
    store = open_store(filled(tmp_path / "store", spec))
    chosen = store["resid_post.0"][store.rows.label]
    assert torch.equal(chosen, whole(spec, "resid_post.0")[::3])


def test_what_is_not_stored_is_said(tmp_path):
    store = open_store(filled(tmp_path / "store", sample_spec()))
    with pytest.raises(MissingSiteError, match=r"no site 'resid_post.9'.*resid_post.0"):
        store["resid_post.9"]
    with pytest.raises(MissingSiteError, match="no site 'q'"):
        store["q"]
    with pytest.raises(MissingSiteError, match=r"no site 'resid_post.3'"):
        store["resid_post.{2..4}"]
    with pytest.raises(UnknownSiteError, match="Did you mean 'resid_post'"):
        store["resid_pst"]
    with pytest.raises(DataError, match="no row 20 in a store of 20 rows"):
        store["z.1"][[0, 20]]
    with pytest.raises(DataError, match=r"mask of the shape \(3,\)"):
        store["z.1"][[True, False, True]]
    with pytest.raises(DataError, match="Cannot choose rows"):
        store["z.1"][np.array([0.5])]


def test_changing_what_was_read_changes_no_store(tmp_path):
    spec = sample_spec()
    store = open_store(filled(tmp_path / "store", spec))
    store["z.1"][:6].zero_()
    store["z.1"][:].zero_()
    assert torch.equal(store["z.1"][:], whole(spec, "z.1"))
    open_store(tmp_path / "store", verify=True)


def test_an_absent_store_is_said(tmp_path):
    with pytest.raises(StoreError, match=r"no store in.*interp capture"):
        open_store(tmp_path / "nothing")


def test_reading_a_few_rows_maps_the_file_and_reads_only_them(tmp_path):
    n, width = 4096, 4096
    sites = {"resid_post.0": (width,), "resid_post.1": (width,)}
    plan = plan_shards(sites, dtype="float32", n_examples=n, rows_per_shard=n)
    texts = dict.fromkeys(("model", "revision", "tokenizer", "positions", "data"), "x")
    spec = StoreSpec(**texts, sites=sites, dtype="float32", plan=plan)
    values = {site: torch.arange(n).float()[:, None].repeat(1, width) for site in sites}
    rows = [{"row_name": str(row)} for row in range(n)]
    fill(tmp_path / "store", spec, rows, compute=lambda _: values)
    store, process = open_store(tmp_path / "store"), psutil.Process()
    before = process.memory_info().rss
    picked = store["resid_post.1"][[7, 4000, 12]]
    grown = process.memory_info().rss - before
    assert picked[:, 0].tolist() == [7, 4000, 12]
    assert spec.shard_bytes(plan.shard(0)) == 128 << 20
    assert grown < 16 << 20
