"""Arguments and options that several sub-commands share, each declared once."""

from pathlib import Path
from typing import Annotated

import typer


def at_home(folder: Path) -> Path:
    """A folder with `~` resolved: shells leave it as it is in `--out=~/results`."""
    return folder.expanduser()


Files = list[str] | None
# Where results go, and what is read.
Out = Annotated[
    Path, typer.Option(help="Folder for results and report.", callback=at_home)
]
Statements = Annotated[
    Files,
    typer.Option(
        help="CSV, JSON(L) or Parquet with columns statement and label, or a data "
        "set's hub id; repeatable."
    ),
]
Harmful = Annotated[
    Files, typer.Option(help="JSON(L), CSV or text with a column instruction.")
]
Harmless = Annotated[Files, typer.Option(help="The same, harmless.")]
StatementColumn = Annotated[str, typer.Option(help="Column of the statements.")]
LabelColumn = Annotated[str, typer.Option(help="Column of their labels.")]
# How a model is loaded.
Revision = Annotated[str | None, typer.Option(help="Revision of a hub model.")]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda, cuda:1, or balanced over all GPUs.")
]
Dtype = Annotated[
    str, typer.Option(help="auto (the checkpoint's), float32, bfloat16 or float16.")
]
TrustRemoteCode = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code", help="Run Python code that comes with the model."
    ),
]
Seed = Annotated[
    int, typer.Option(help="Seed of everything random.", min=0, max=2**31 - 1)
]
# How work is shared; `probes.cli.sharing` does it.
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Do only every n-th part, counted from 0; auto reads a SLURM array or "
        "torchrun.",
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="[ADDRESS]",
        help="Share the work among a Ray cluster; on this machine without ADDRESS.",
    ),
]
Shards = Annotated[
    int | None,
    typer.Option(
        "--shards",
        help="Into how many shards --ray cuts; one for each GPU or CPU by default.",
        min=1,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
