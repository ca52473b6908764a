"""Options that several sub-commands share."""

from typing import Annotated

import typer


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
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
StatementColumn = Annotated[str, typer.Option(help="Column of the statements.")]
LabelColumn = Annotated[str, typer.Option(help="Column of their labels.")]
