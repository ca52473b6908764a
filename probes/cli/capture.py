"""`interp capture`: activations of a file of prompts into a store."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from probes.cli.options import (
    Device,
    Dtype,
    Json,
    Ray,
    Revision,
    Shard,
    Shards,
    TrustRemoteCode,
    at_home,
)
from probes.cli.output import emit, say
from probes.cli.sharing import share


if TYPE_CHECKING:
    from interp.store.reader import Store
    from interp.store.spec import StoreSpec

Model = Annotated[str, typer.Argument(help="Hub id or folder of the model.")]
Data = Annotated[
    str,
    typer.Argument(
        help="CSV, TSV, JSON, JSONL, Parquet or text file, or a data set's hub id."
    ),
]
OutStore = Annotated[Path, typer.Option(help="Folder of the store.", callback=at_home)]
Sites = Annotated[
    list[str] | None,
    typer.Option(help="For example 'resid_post.*' or 'z.{8..15}'; repeatable."),
]
Positions = Annotated[
    str, typer.Option(help="last, all, mean, an index, or template[-1].")
]
Column = Annotated[str | None, typer.Option(help="The column that holds the prompts.")]
StoreDtype = Annotated[
    str | None, typer.Option(help="How rows are kept; the model's by default.")
]
Chat = Annotated[
    bool, typer.Option("--chat", help="Put each prompt into the chat template.")
]
RowsPerShard = Annotated[
    int | None, typer.Option(help="Rows of a shard; chosen by size by default.")
]
Limit = Annotated[int | None, typer.Option(help="Only the first N prompts.", min=1)]


def capture(
    model: Model,
    data: Data,
    out: OutStore,
    sites: Sites = None,
    positions: Positions = "last",
    column: Column = None,
    store_dtype: StoreDtype = None,
    chat: Chat = False,
    rows_per_shard: RowsPerShard = None,
    limit: Limit = None,
    revision: Revision = None,
    shard: Shard = None,
    ray: Ray = None,
    shards: Shards = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    trust_remote_code: TrustRemoteCode = False,
    as_json: Json = False,
) -> int:
    """Capture the activations of every prompt in DATA into a store.

    The same command resumes after any interruption; a store of another capture is
    refused. Read it with `interp.store.open(OUT)`.
    """
    share(shard, ray, shards, device=device)
    from interp.models.loading import load
    from interp.store.capturing import capture_to
    from probes.planning.capture_request import CaptureRequest

    request = CaptureRequest(
        data=data,
        column=column,
        limit=limit,
        sites=sites,
        positions=positions,
        store_dtype=store_dtype,
        chat=chat,
        rows_per_shard=rows_per_shard,
    )
    table = request.table()
    loaded = load(
        model,
        revision=revision,
        device=device,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
    )
    plan = request.plan(loaded, table)
    store = capture_to(out, loaded, plan)
    _tell(out, store, plan.spec, as_json=as_json)
    return 0


def _tell(out: Path, store: "Store", spec: "StoreSpec", *, as_json: bool) -> None:
    n_bytes = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    if as_json:
        emit(
            {
                "ok": True,
                "out": str(out),
                "examples": len(store),
                "sites": list(store.sites),
                "shards": spec.plan.n_shards,
                "bytes": n_bytes,
                "hash": spec.hash,
            }
        )
        return
    size = f"{n_bytes / 2**20:.1f} MiB"
    say(f"{len(store)} examples x {len(store.sites)} sites in {out} ({size}).")
    say(f"Read it: interp.store.open({str(out)!r})['{store.sites[0]}'][:8]")
