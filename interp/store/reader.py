"""Reading a store: memory-mapped, by site, layer and row."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from safetensors import SafetensorError, safe_open
from torch import Tensor

from interp.errors import DataError, MissingSiteError, ShapeError, StoreError, closest
from interp.progress import progress_bar
from interp.sites import COMPONENTS, GLOBAL_COMPONENTS, Site, expand, parse
from interp.store.choice import RowChoice, compact, row_numbers
from interp.store.layout import (
    ROWS,
    check_content,
    check_header,
    checked_shards,
    hashing_pool,
    refuse,
)
from interp.store.manifest import Manifest, read_manifest, read_rows, rows_are_whole
from interp.store.spec import StoreSpec


_ROWS_AT_ONCE = 1024
# So that a layer outside the store is reported as absent from it, not from the model.
_MANY_LAYERS = 1 << 20


class Store:
    """A finished store, open for reading.

    Nothing is read until it is asked for: `store["resid_post.3"]` and
    `store["resid_post"]` are views whose rows are gathered from the mapped files.

    Example:
        >>> store = interp.store.open(folder)                  # doctest: +SKIP
        >>> store["resid_post.3"][:100].shape                  # doctest: +SKIP
        torch.Size([100, 768])
        >>> store["resid_post"][store.rows.label == 1].shape   # doctest: +SKIP
        torch.Size([512, 12, 768])
    """

    def __init__(self, folder: Path, manifest: Manifest, files: list[Path]) -> None:
        self.folder = folder
        self._manifest = manifest
        self._files = files
        self._mapped: dict[int, dict[str, Float[Tensor, "row ..."]]] = {}

    @property
    def spec(self) -> StoreSpec:
        """What the store holds and what it was made from."""
        return self._manifest.spec

    @property
    def sites(self) -> tuple[str, ...]:
        """The short names of the sites, in the order of a forward pass."""
        return tuple(self.spec.sites)

    def __len__(self) -> int:
        return self.spec.plan.n_examples

    def __contains__(self, site: object) -> bool:
        try:
            return isinstance(site, str | Site) and bool(self._names(site))
        except LookupError:
            return False

    def __getitem__(self, site: "str | Site") -> "SiteView":
        names = self._names(site)
        shapes = {self.spec.sites[name] for name in names}
        if len(shapes) > 1:
            raise ShapeError(
                f"The layers of {str(site)!r} have different shapes.",
                remedy=f"Read them one by one, for example {names[0]!r}.",
            )
        return SiteView(store=self, sites=names, stacked=_is_several(site))

    def __repr__(self) -> str:
        return (
            f"Store({str(self.folder)!r}, {len(self)} rows, {len(self.sites)} sites, "
            f"{self.spec.dtype}, model={self.spec.model!r})"
        )

    @cached_property
    def rows(self) -> pd.DataFrame:
        """One row for each example: `row`, `shard`, `shard_row`, and the data's own."""
        return read_rows(self.folder, n_rows=len(self))

    @cached_property
    def n_positions(self) -> int | None:
        """To how many positions rows are padded; None if each has a single one."""
        return max(self.spec.plan.lengths, default=None)

    def read(
        self, site: "str | Site", *, rows: RowChoice = slice(None)
    ) -> Float[Tensor, "..."]:
        """The values of a site, or of all layers of a component, at some rows.

        The same as `store[site][rows]`.
        """
        return self[site][rows]

    def verify(self) -> None:
        """Read every byte and compare it with the checksums.

        Raises:
            StoreError: That names the first file that is damaged.
        """
        plan = self.spec.plan
        if not rows_are_whole(self.folder, self._manifest):
            raise StoreError(
                f"The file {ROWS!r} of the store {str(self.folder)!r} is damaged.",
                remedy="Capture again with the same command: it is rewritten.",
            )
        shown = progress_bar("verify", plan.n_shards, "shards")
        with shown as bar, hashing_pool() as pool:
            for index, path in enumerate(self._files):
                check_content(path, self.spec, plan.shard(index), pool)
                bar.advance()

    def shard_values(self, index: int, site: str) -> Float[Tensor, "row ..."]:
        """The mapped values of one site in one shard; do not write to them."""
        if index not in self._mapped:
            path = self._files[index]
            # Once more: the file may have been exchanged since the store was opened.
            check_header(path, self.spec, self.spec.plan.shard(index))
            try:
                with safe_open(path, framework="pt") as file:
                    values = {name: file.get_tensor(name) for name in self.sites}
            except (SafetensorError, OSError) as error:
                refuse(path, f"cannot be read: {error}")
            self._mapped[index] = values
        return self._mapped[index][site]

    def _names(self, site: "str | Site") -> tuple[str, ...]:
        text = site.short if isinstance(site, Site) else site
        present = [parse(name) for name in self.sites]
        n_layers = 1 + max((known.layer or 0 for known in present), default=0)
        if text in COMPONENTS and _is_several(text):
            text = f"{text}.*"
        if "*" in text:
            # All layers that are stored, which need not be all of the model.
            wanted = [known for known in expand(text, n_layers) if known in present]
        elif "{" in text:
            wanted = list(expand(text, _MANY_LAYERS))
        else:
            wanted = [parse(text)]
        absent = [known.short for known in wanted if known not in present]
        if absent or not wanted:
            raise MissingSiteError(
                f"The store {str(self.folder)!r} has no site "
                f"{(absent or [str(site)])[0]!r}.",
                expected=f"It holds {_listed(self.sites)}.",
                remedy=closest(text, self.sites) or "Capture that site too.",
            )
        return tuple(known.short for known in wanted)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SiteView:
    """The rows of one site, or of one component at several layers, not yet read.

    Index it like an array along the rows. One site gives `example ...`, several give
    `example layer ...`. Rows of several positions are padded with zeros on the right to
    the longest row of the store.

    Attributes:
        store: Where the values are.
        sites: The short names of the sites, in the order of the layer axis.
        stacked: Whether there is a layer axis.
    """

    store: Store
    sites: tuple[str, ...]
    stacked: bool

    @property
    def layers(self) -> tuple[int | None, ...]:
        """The layers along the layer axis."""
        return tuple(parse(name).layer for name in self.sites)

    @property
    def shape(self) -> tuple[int, ...]:
        width = self.store.n_positions or 0
        row = self.store.spec.sites[self.sites[0]]
        sizes = tuple(width if size == "pos" else size for size in row)
        return (len(self.store), *([len(self.sites)] if self.stacked else []), *sizes)

    @property
    def dtype(self) -> torch.dtype:
        return getattr(torch, self.store.spec.dtype)

    def __len__(self) -> int:
        return len(self.store)

    def __iter__(self) -> Iterator[Float[Tensor, "..."]]:
        for block in self.batches():
            yield from block

    def batches(self, size: int = _ROWS_AT_ONCE) -> Iterator[Float[Tensor, "row ..."]]:
        """All rows in blocks, for statistics over stores larger than the memory."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def __getitem__(self, rows: RowChoice) -> Float[Tensor, "..."]:
        index = row_numbers(rows, len(self))
        values = self._gather(index)
        if not self.stacked:
            values = values[:, 0]
        return values[0] if isinstance(rows, int | np.integer) else values

    def _gather(self, index: Int[np.ndarray, " row"]) -> Float[Tensor, "row site ..."]:
        sizes = self.shape[2:] if self.stacked else self.shape[1:]
        shape = (len(index), len(self.sites), *sizes)
        values = _allocated(
            shape, self.dtype, zeroed=self.store.n_positions is not None
        )
        per_shard = self.store.spec.plan.rows_per_shard
        shard_of = index // per_shard
        for shard in np.unique(shard_of):
            at = np.flatnonzero(shard_of == shard)
            local = index[at] - shard * per_shard
            target, source = compact(at), compact(local)
            for layer, name in enumerate(self.sites):
                stored = self.store.shard_values(int(shard), name)
                part = values[(slice(None), layer, *map(slice, stored.shape[1:]))]
                part[target] = stored[source]
        return values


def open(folder: str | PurePath, *, verify: bool = False) -> Store:
    """Open a finished store for reading.

    Args:
        folder: The store.
        verify: Also read every byte and compare the checksums. Without it, the names,
            sizes and headers of all shards are checked, which is quick.

    Raises:
        StoreError: If it is absent or unfinished, or if a shard is missing, truncated,
            damaged or foreign: it is named.
    """
    folder = Path(folder).expanduser()
    manifest = read_manifest(folder)
    found = checked_shards(folder, manifest.spec)
    n_shards = manifest.spec.plan.n_shards
    absent = next((index for index in range(n_shards) if index not in found), None)
    if absent is not None:
        raise StoreError(
            f"The store {str(folder)!r} is not complete: shard {absent} is missing "
            f"({len(found)} of {n_shards} are there).",
            remedy="Run the same `interp capture` again: it goes on where it stopped.",
        )
    if not (folder / ROWS).is_file():
        raise StoreError(
            f"The store {str(folder)!r} has lost its table {ROWS!r}.",
            remedy="Run the same `interp capture` again: only the rows are rewritten.",
        )
    store = Store(folder, manifest, [found[index] for index in range(n_shards)])
    if verify:
        store.verify()
    return store


def padding_mask(store: Store, *, column: str = "n_tokens") -> Bool[Tensor, "row pos"]:
    """Which positions of each row are real, for sites that keep several.

    Args:
        store: A store with such a site.
        column: Where the rows say how many positions they have.

    Raises:
        DataError: If the rows do not say it.
    """
    if store.n_positions is None or column not in store.rows.columns:
        raise DataError(
            f"The store {str(store.folder)!r} has no column {column!r} of lengths.",
            expected="Only a store of several positions for each row has a mask.",
        )
    lengths = torch.from_numpy(store.rows[column].to_numpy(np.int64, copy=True))
    return torch.arange(store.n_positions) < lengths[:, None]


def _allocated(
    shape: tuple[int, ...], dtype: torch.dtype, *, zeroed: bool
) -> Float[Tensor, "..."]:
    # NumPy asks for huge pages where torch does not: without them most of the time of
    # reading a layer went into the page faults of new memory (40 of 47 ms for 36 MB).
    n_bytes = math.prod(shape) * dtype.itemsize
    if n_bytes == 0:
        return torch.empty(shape, dtype=dtype)
    memory = (np.zeros if zeroed else np.empty)(n_bytes, dtype=np.uint8)
    return torch.from_numpy(memory).view(dtype).reshape(shape)


def _is_several(site: "str | Site") -> bool:
    if isinstance(site, Site):
        return False
    of_all_layers = site in COMPONENTS and site not in GLOBAL_COMPONENTS
    return of_all_layers or "*" in site or "{" in site


def _listed(sites: Sequence[str]) -> str:
    if len(sites) <= 6:
        return ", ".join(sites)
    return f"{', '.join(sites[:4])} ... {sites[-1]} ({len(sites)} in all)"
