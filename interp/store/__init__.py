"""Activations on disk: resumable, checksummed, read by memory mapping.

A store is a folder: `manifest.json` says what it holds, `rows.parquet` is a table with
one row for each example, and `shards/` has safetensors files with one tensor for each
site. See `spec` for what makes two stores the same capture and `layout` for the bytes.
"""

from typing import TYPE_CHECKING

from interp.lazy import lazy_names


if TYPE_CHECKING:
    from interp.store.capturing import (
        CapturePlan as CapturePlan,
        capture_to as capture_to,
        plan_capture as plan_capture,
    )
    from interp.store.manifest import fingerprint as fingerprint
    from interp.store.reader import (
        SiteView as SiteView,
        Store as Store,
        open as open,
        padding_mask as padding_mask,
    )
    from interp.store.spec import (
        Shard as Shard,
        ShardPlan as ShardPlan,
        StoreSpec as StoreSpec,
        plan_shards as plan_shards,
    )
    from interp.store.writer import StoreWriter as StoreWriter, fill as fill


# Specs are made and compared without torch, which takes seconds to import.
_WHERE = {
    "CapturePlan": "interp.store.capturing",
    "capture_to": "interp.store.capturing",
    "plan_capture": "interp.store.capturing",
    "fingerprint": "interp.store.manifest",
    "SiteView": "interp.store.reader",
    "Store": "interp.store.reader",
    "open": "interp.store.reader",
    "padding_mask": "interp.store.reader",
    "Shard": "interp.store.spec",
    "ShardPlan": "interp.store.spec",
    "StoreSpec": "interp.store.spec",
    "plan_shards": "interp.store.spec",
    "StoreWriter": "interp.store.writer",
    "fill": "interp.store.writer",
}

__getattr__, __dir__ = lazy_names(__name__, _WHERE)
