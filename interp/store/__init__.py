"""Activations on disk: resumable, checksummed, read by memory mapping.

A store is a folder: `manifest.json` says what it holds, `rows.parquet` is a table with
one row for each example, and `shards/` has safetensors files with one tensor for each
site. See `spec` for what makes two stores the same capture and `layout` for the bytes.
"""

from importlib import import_module
from typing import TYPE_CHECKING, no_type_check

from interp.store.spec import (
    Shard as Shard,
    ShardPlan as ShardPlan,
    StoreSpec as StoreSpec,
    plan_shards as plan_shards,
)


if TYPE_CHECKING:
    from interp.store.manifest import fingerprint as fingerprint
    from interp.store.reader import (
        SiteView as SiteView,
        Store as Store,
        open as open,
        padding_mask as padding_mask,
    )
    from interp.store.writer import StoreWriter as StoreWriter, fill as fill

# Specs are made and compared without torch, which takes seconds to import.
_LAZY = {
    "fingerprint": "manifest",
    "SiteView": "reader",
    "Store": "reader",
    "open": "reader",
    "padding_mask": "reader",
    "StoreWriter": "writer",
    "fill": "writer",
}


# Python asks here for submodules before it imports them: too early for type checks.
@no_type_check
def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'interp.store' has no attribute {name!r}")
    return getattr(import_module(f"interp.store.{_LAZY[name]}"), name)
