"""`interp capture`: activations of a file of prompts into a store."""

from pathlib import Path
from typing import Annotated

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
)
from probes.cli.output import emit, say
from probes.cli.sharing import share


def capture(
    model: Annotated[str, typer.Argument(help="Hub id or folder of the model.")],
    data: Annotated[
        str,
        typer.Argument(
            help="CSV, TSV, JSON, JSONL, Parquet or text file, or a data set's hub id."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the store.")],
    sites: Annotated[
        list[str] | None,
        typer.Option(help="For example 'resid_post.*' or 'z.{8..15}'; repeatable."),
    ] = None,
    positions: Annotated[
        str, typer.Option(help="last, all, mean, an index, or template[-1].")
    ] = "last",
    column: Annotated[
        str | None, typer.Option(help="The column that holds the prompts.")
    ] = None,
    store_dtype: Annotated[
        str | None, typer.Option(help="How rows are kept; the model's by default.")
    ] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="Put each prompt into the chat template.")
    ] = False,
    rows_per_shard: Annotated[
        int | None, typer.Option(help="Rows of a shard; chosen by size by default.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Only the first N prompts.", min=1)
    ] = None,
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
    from interp.data import prompts
    from interp.models.loading import load
    from interp.store.capturing import capture_to, plan_capture

    table = prompts(data, column=column)
    loaded = load(
        model,
        revision=revision,
        device=device,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
    )
    plan = plan_capture(
        loaded,
        table.texts[:limit],
        sites=sites or ["resid_post.*"],
        positions=positions,
        dtype=store_dtype,
        chat=chat,
        columns=[
            {name: value for name, value in row.items() if name != "prompt"}
            for row in table.rows[:limit]
        ],
        rows_per_shard=rows_per_shard,
    )
    store = capture_to(out, loaded, plan)
    n_bytes = sum(
        path.stat().st_size for path in Path(out).rglob("*") if path.is_file()
    )
    if as_json:
        emit(
            {
                "ok": True,
                "out": str(out),
                "examples": len(store),
                "sites": list(store.sites),
                "shards": plan.spec.plan.n_shards,
                "bytes": n_bytes,
                "hash": plan.spec.hash,
            }
        )
    else:
        size = f"{n_bytes / 2**20:.1f} MiB"
        say(f"{len(store)} examples x {len(store.sites)} sites in {out} ({size}).")
        say(f"Read it: interp.store.open({str(out)!r})['{store.sites[0]}'][:8]")
    return 0
