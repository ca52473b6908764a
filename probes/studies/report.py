"""The report of some results: what was found, with figures, in one file."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from interp import atomic
from interp.provenance import record
from interp.results import Result
from probes.studies.kinds import StudyName
from probes.studies.summary import sentences


REPORT = "report.html"


def write_report(
    out: Path, results: Mapping[StudyName, Result], *, command: str
) -> Path:
    """Write `report.html` about some results, and return where it is."""
    # Plotly is slow to import and not needed before there is something to draw.
    from interp.figures import report_html, report_section

    origins = [result.provenance for result in results.values()]
    names = next(iter(results.values())).models
    provenance = record(
        "compare",
        models=origins[0].models,
        datasets=[data for origin in origins for data in origin.datasets],
        spec_hash=", ".join(origin.spec_hash for origin in origins),
        seed=origins[0].seed,
        command=command,
    )
    page = report_html(
        " and ".join(short_name(name) for name in names),
        [
            replace(report_section(result), summary=" ".join(sentences(result)))
            for result in results.values()
        ],
        provenance,
        lead="What changed between a base model and the model that was post-trained "
        "from it. Bounds are 95% intervals; every number comes from test data that "
        "nothing was fitted or chosen on.",
    )
    path = out / REPORT
    atomic.write_text(path, page)
    return path


def short_name(model: str) -> str:
    """A model's name for a heading: the last part of a path or hub id."""
    return model.rstrip("/").rsplit("/", 1)[-1] or model
