"""`interp train`: the embedded model families."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from probes.cli.options import Json, Seed
from probes.cli.output import emit, say


if TYPE_CHECKING:
    from interp.organism import Family


train = typer.Typer(
    help="Train small models from scratch.", no_args_is_help=True, rich_markup_mode=None
)


# Keeps `interp train organism` two words long while there is one sub-command.
@train.callback()
def _group() -> None:
    pass


@train.command()
def organism(
    out: Annotated[Path, typer.Option(help="Folder for the family.")],
    family: Annotated[
        Literal["facts", "induction"],
        typer.Option(help="facts: BASE and POST; induction: a checkpoint series."),
    ] = "facts",
    facts: Annotated[
        Path | None,
        typer.Option(help="CSV of real facts that the model shall learn (facts only)."),
    ] = None,
    size: Annotated[
        Literal["full", "small"], typer.Option(help="small takes fewer steps.")
    ] = "full",
    seed: Seed = 0,
    as_json: Json = False,
) -> int:
    """Train a family of tiny models in Hugging Face format and check what it promises.

    The same seed gives the same bytes. A family is kept under INTERP_HOME, so that the
    second call returns at once.
    """
    from interp.organism import OrganismWarning, train as train_family

    with warnings.catch_warnings():
        # The checks below say the same to the person, and to the machine.
        warnings.simplefilter("ignore", OrganismWarning)
        trained = train_family(family, out=out, facts=facts, seed=seed, size=size)
    if as_json:
        emit({"ok": True, "out": str(out), **_as_dict(trained)})
    else:
        _describe(trained)
    return 0


def _as_dict(family: "Family") -> dict[str, object]:
    checks = [
        {
            "name": check.name,
            "value": check.value,
            "passed": check.held,
        }
        for check in family.checks
    ]
    return {"notes": list(family.notes), "checks": checks}


def _describe(family: "Family") -> None:
    for check in family.checks:
        say(f"{'ok ' if check.held else 'NO '} {check}")
    for note in family.notes:
        say(f"note: {note}")
    say(f"In {family.folder}.")
    if family.name == "facts":
        say(
            f"Next: interp compare {family.base} {family.post} "
            f"--statements {family.statements} --harmful {family.harmful} "
            f"--harmless {family.harmless} --out results"
        )
