"""Stores of synthetic values: each number tells its row, its site and its place."""

from pathlib import Path

import torch
from torch import Tensor

from interp.store import StoreSpec, fill, fingerprint, plan_shards
from interp.store.spec import Dtype, Shape


SITES: dict[str, Shape] = {f"resid_post.{layer}": (6,) for layer in range(3)}
SITES["z.1"] = (2, 4)
RAGGED: dict[str, Shape] = {"resid_post.0": ("pos", 5), "pattern.0": (2, "pos", "pos")}


def sample_rows(n: int = 20) -> list[dict[str, object]]:
    return [
        {"prompt": f"City {row}.", "label": row % 3 == 0, "n_tokens": n_tokens(row)}
        for row in range(n)
    ]


def n_tokens(row: int) -> int:
    return 1 + (row * 7) % 9


def sample_spec(
    *,
    n: int = 20,
    rows_per_shard: int = 6,
    dtype: Dtype = "float32",
    ragged: bool = False,
) -> StoreSpec:
    sites = RAGGED if ragged else SITES
    plan = plan_shards(
        sites,
        dtype=dtype,
        n_examples=n,
        n_tokens=[n_tokens(row) for row in range(n)],
        rows_per_shard=rows_per_shard,
    )
    return StoreSpec(
        model="tiny",
        revision="abc",
        tokenizer="def",
        sites=sites,
        positions="last",
        dtype=dtype,
        data=fingerprint(sample_rows(n)),
        plan=plan,
    )


def values_of(spec: StoreSpec, rows: range) -> dict[str, Tensor]:
    """A shard's values; zero beyond the length of a row where it has several."""
    shard = spec.plan.shard(rows.start // spec.plan.rows_per_shard)
    values = {}
    for number, site in enumerate(spec.sites):
        shape = spec.shape(site, shard)
        flat = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
        seen = torch.sin(flat + 1000 * rows.start + 7 * number + 1).reshape(shape)
        for local, row in enumerate(rows):
            for axis, size in enumerate(spec.sites[site]):
                if size == "pos":
                    seen[local].movedim(axis, 0)[n_tokens(row) :] = 0
        values[site] = seen.to(getattr(torch, spec.dtype))
    return values


def filled(folder: Path, spec: StoreSpec) -> Path:
    fill(
        folder,
        spec,
        sample_rows(spec.plan.n_examples),
        compute=lambda rows: values_of(spec, rows),
    )
    return folder


def files_that_count(folder: Path) -> dict[str, bytes]:
    """The bytes of every file but the provenance, also of hidden ones."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "provenance.json"
    }


def shard_file(folder: Path, index: int) -> Path:
    return next((folder / "shards").glob(f"{index:05d}-*"))
