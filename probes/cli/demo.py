"""`interp demo`: the main job on models that are trained here, from nothing."""

import shlex
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, assert_never

import typer

from probes.cli.compare import report
from probes.cli.options import Json, Out, Seed
from probes.cli.output import say


if TYPE_CHECKING:
    from probes.studies.kinds import StudySpec

# Answers of the embedded models are one short sentence.
ANSWER_TOKENS = 20


def demo(
    out: Out = Path("demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="A smaller family and fewer examples.")
    ] = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> int:
    """Train a tiny BASE and POST from scratch and compare them.

    The models learn invented facts and, POST, to refuse. Training takes two to four
    minutes once; the models are then kept under INTERP_HOME.
    """
    from interp import atomic
    from interp.organism import OrganismWarning, train
    from probes.studies.comparing import compare
    from probes.studies.kinds import Sources
    from probes.studies.specs import specs_for

    # Minutes of training come first, and would be in vain.
    with atomic.clear_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    say("Models: trained here from scratch, or taken from the last time.")
    with warnings.catch_warnings():
        # What a family does less well than hoped is in its notes, said below.
        warnings.simplefilter("ignore", OrganismWarning)
        family = train("facts", seed=seed, size="small" if quick else "full")
    for note in family.notes:
        say(f"note: {note}")
    specs = specs_for(
        str(family.base),
        str(family.post),
        Sources(
            statements=(str(family.statements),),
            harmful=(str(family.harmful),),
            harmless=(str(family.harmless),),
        ),
        seed=seed,
    )
    words = ["interp", "demo", "--out", str(out)]
    words += ["--quick"] * quick + (["--seed", str(seed)] if seed else [])
    done = compare(
        [_smaller(spec, quick) for spec in specs],
        out=out,
        command=shlex.join(words),
        tell=say,
    )
    report(done, as_json=as_json)
    return 0


def _smaller(spec: "StudySpec", quick: bool) -> "StudySpec":
    """The settings with sizes that suit models of half a million parameters."""
    from probes.studies.confidence.spec import ConfidenceSpec
    from probes.studies.knowledge.spec import KnowledgeSpec
    from probes.studies.refusal.spec import RefusalSpec
    from probes.studies.truthfulness.spec import TruthfulnessSpec

    match spec:
        case TruthfulnessSpec():
            # The statements are of four topics in one file.
            spec = replace(spec, dataset_column="topic")
            if quick:
                return replace(
                    spec,
                    limit=240,
                    asked_test=40,
                    controls=1,
                    doses=(0.5, 2.0),
                    dose_statements=16,
                )
            return replace(spec, asked_test=80, controls=2, dose_statements=24)
        case RefusalSpec():
            n_train, n_val, n_test = (32, 8, 12) if quick else (80, 24, 50)
            return replace(
                spec,
                n_train=n_train,
                n_val=n_val,
                n_test=n_test,
                max_new_tokens=ANSWER_TOKENS,
            )
        case KnowledgeSpec():
            return replace(spec, n_pairs=48 if quick else 128)
        case ConfidenceSpec():
            return spec
        case _:
            assert_never(spec)
