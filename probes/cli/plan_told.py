"""What a plan says on the terminal, for `interp plan` and `interp study --dry-run`."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from probes.cli.output import emit, say, show_table


if TYPE_CHECKING:
    from probes.planning.capturing import Planned
    from probes.studies.kinds import StudySpec

EXIT_DOES_NOT_FIT = 3


def plan_study(
    spec: "StudySpec",
    out: Path,
    device: str,
    trust_remote_code: bool,
    *,
    as_json: bool,
) -> int:
    """The plan of a study with its settings, as `interp study --dry-run` shows it.

    Args:
        spec: The settings.
        out: Where results would go.
        device: Where models would run.
        trust_remote_code: Whether code that comes with a model may run.
        as_json: Whether to print one object.
    """
    from probes.planning.studies import planned_studies

    params = {"out": out, "device": device, "trust_remote_code": trust_remote_code}
    planned = planned_studies([spec], params, command="study")
    return tell(planned, 1, as_json=as_json, spec=spec)


def tell(
    planned: "Planned", machines: int, *, as_json: bool, spec: "StudySpec | None" = None
) -> int:
    """Print a plan and return the exit code: 0 if it fits and 3 if it does not.

    Args:
        planned: The plan.
        machines: Among how many machines the work would be shared.
        as_json: Whether to print one object.
        spec: The settings of a study, which are printed, too.
    """
    from probes.planning import shown

    found = planned.plan
    if spec is not None:
        from interp.config import to_toml

        say(f"{to_toml(spec)}")
    if as_json:
        settings = {}
        if spec is not None:
            from probes.studies.inputs import record_of
            from probes.studies.kinds import data_of, study_name

            settings = {
                "study": study_name(spec),
                "rows": record_of(data_of(spec), "").rows,
                "settings": {one.name: getattr(spec, one.name) for one in fields(spec)},
            }
        emit({**shown.as_json(found, machines), **settings})
    else:
        show_table(shown.as_table(found, machines))
    for sentence in shown.sentences(found, machines):
        say(sentence)
    return EXIT_DOES_NOT_FIT if found.refusals() else 0
