"""`interp train`: the embedded model families and the formation lab."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from probes.cli.options import Json, Seed, at_home
from probes.cli.output import emit, say


if TYPE_CHECKING:
    from interp.formation.presets import PresetName
    from interp.organism import Family
    from interp.results import FormationRun


train = typer.Typer(
    help="Train small models from scratch.", no_args_is_help=True, rich_markup_mode=None
)


@train.command()
def organism(
    out: Annotated[Path, typer.Option(help="Folder for the family.", callback=at_home)],
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


Out = Annotated[
    Path,
    typer.Option(help="Folder for checkpoints, result and report.", callback=at_home),
]
Size = Annotated[
    Literal["full", "small"],
    typer.Option(help="small is for trying out; its findings may well not hold."),
]


@train.command()
def induction(
    out: Out,
    preset: Annotated[
        Literal["induction-lm-tiny", "toy"],
        typer.Option(help="Repeated tokens in small transformers, or closed forms."),
    ] = "induction-lm-tiny",
    size: Size = "full",
    seed: Seed = 0,
    as_json: Json = False,
) -> int:
    """Train many small networks in which induction heads form, and say what is found.

    A second call with the same folder resumes, and gives the same numbers.
    """
    return _lab(preset, out=out, size=size, seed=seed, as_json=as_json)


@train.command()
def icl(
    out: Out,
    preset: Annotated[
        Literal["fewshot-clamp", "fewshot-data", "reddy"],
        typer.Option(
            help="Parts of the circuit held; what data does; weights or context."
        ),
    ] = "fewshot-clamp",
    size: Size = "full",
    seed: Seed = 0,
    as_json: Json = False,
) -> int:
    """Train many small networks that learn labels from their context.

    A second call with the same folder resumes, and gives the same numbers.
    """
    return _lab(preset, out=out, size=size, seed=seed, as_json=as_json)


def _lab(
    preset: "PresetName",
    *,
    out: Path,
    size: Literal["full", "small"],
    seed: int,
    as_json: bool,
) -> int:
    from interp.formation.presets import run_preset

    found = run_preset(preset, size=size, seed=seed, out=out / "checkpoints")
    found.save(out / "result")
    report = _write_report(found, out)
    if as_json:
        findings = found.findings_dataframe().astype(object)
        emit(
            {
                "ok": True,
                "report": str(report),
                "findings": findings.where(findings.notna(), None).to_dict("records"),
            }
        )
        return 0
    for row in found.times:
        say(
            f"{row.condition}: {row.crossed}/{row.runs} runs cross {found.level:.3g}; "
            f"median step {row.step:.0f} [{row.low:.0f}, {row.high:.0f}]"
        )
    for finding in found.findings:
        say(f"{'ok ' if finding.held else 'NO '} {finding}")
    say(f"\nReport: {report}")
    return 0


def _write_report(found: "FormationRun", out: Path) -> Path:
    from interp import atomic
    from interp.figures import report_html, report_section
    from probes.studies.report import REPORT

    page = report_html(
        f"Formation: {found.name}",
        [report_section(found)],
        found.provenance,
        lead="How circuits form in small networks, with parts of them held. Curves are "
        "medians over seeds with the span of all runs; bounds are 95% intervals over "
        "seeds of training.",
    )
    path = out / REPORT
    atomic.write_text(path, page)
    return path


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
