"""The command tree: one function of one module per sub-command."""

from importlib.metadata import version
from typing import Annotated

import typer

from probes.cli.capture import capture
from probes.cli.compare import compare
from probes.cli.demo import demo
from probes.cli.doctor import doctor
from probes.cli.explore import explore
from probes.cli.export import export
from probes.cli.plan import plan
from probes.cli.show import show
from probes.cli.study import study
from probes.cli.track import track
from probes.cli.train import train


app = typer.Typer(
    name="interp",
    help="Mechanistic interpretability of causal language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(version("interp"))
        raise typer.Exit
    return wanted


@app.callback()
def _root(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version.",
            callback=_print_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    del show_version


app.command()(demo)
app.command()(compare)
app.command()(study)
app.command()(capture)
app.command()(track)
app.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)(plan)
app.add_typer(train, name="train")
app.command()(show)
app.command()(export)
app.command()(explore)
app.command()(doctor)
