"""The main job end to end on the embedded family: folder, resuming, report."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

import interp
from interp import directions, results
from interp.data import Statements
from interp.errors import ConfigError, DataError, ResultError
from interp.heads import ContrastDirection
from interp.statistics import auroc
from interp.stopping import StoppedError, listen, request_stop
from probes.series_metrics import chosen_metrics
from probes.studies import comparing as module
from probes.studies.comparing import compare
from probes.studies.confidence.spec import ConfidenceSpec
from probes.studies.confidence.texts import Texts
from probes.studies.kinds import (
    STUDIES,
    Sources,
    data_of,
    default_spec,
    needs,
    sources_of,
    spec_class,
    study_name,
)
from probes.studies.knowledge.spec import KnowledgeSpec
from probes.studies.specs import command_of, specs_for
from probes.studies.summary import brief_table, numbers, sentences
from probes.studies.truthfulness.spec import TruthfulnessSpec


def quick(spec):
    """The settings with sizes for a test."""
    if isinstance(spec, TruthfulnessSpec):
        return replace(
            spec,
            limit=320,
            permutations=40,
            resamples=200,
            asked_validation=16,
            asked_test=40,
            controls=1,
            doses=(),
        )
    if isinstance(spec, KnowledgeSpec):
        return replace(spec, n_pairs=16, resamples=50, permutations=10)
    if isinstance(spec, ConfidenceSpec):
        return replace(
            spec, max_texts=40, candidates=4, effect_texts=8, controls=1, resamples=50
        )
    return replace(spec, n_train=24, n_val=8, n_test=8, max_new_tokens=8, batch_size=64)


@pytest.fixture(scope="module")
def specs(facts_family):
    planned = specs_for(
        str(facts_family.base),
        str(facts_family.post),
        Sources(
            statements=(str(facts_family.statements),),
            harmful=(str(facts_family.harmful),),
            harmless=(str(facts_family.harmless),),
        ),
    )
    return [quick(spec) for spec in planned]


@pytest.fixture(scope="module")
def done(specs, tmp_path_factory):
    return compare(specs, out=tmp_path_factory.mktemp("out") / "results")


def test_truth_is_found_in_the_family_and_is_used(done):
    found = done.truthfulness
    best = found.best_index("base")
    assert found.auroc_low[0, 0, best] > 0.6
    assert found.auroc[0, 1, best] > 0.6
    assert found.surface_auroc_low < 0.5
    rows = {(r.direction, r.target, r.condition): r for r in found.interventions}
    own = rows["post", "post", "direction"]
    assert own.nie_gap_low > rows["post", "post", "random"].nie_gap_high
    assert own.nie_gap > 0.3
    assert own.position
    assert {c for _, _, c in rows} == {
        "none", "direction", "random", "covariance", "shuffled",
    }  # fmt: skip


def test_the_folder_is_that_of_the_contract(done):
    for study, run in done.runs.items():
        assert run.parent.parent == done.out / study
        names = {path.name for path in run.iterdir()}
        assert {"spec.toml", "provenance.json", "events.jsonl", "result"} <= names
        assert results.load(run).headline() == done.results[study].headline()
    assert {run.study for run in results.find(done.out)} == {
        "truthfulness",
        "refusal",
        "knowledge",
        "confidence",
    }


def test_directions_are_kept_and_tell_the_classes_apart(done, facts_family):
    model = interp.load(facts_family.post)
    truth = done.runs["truthfulness"] / "directions" / "truth-post.safetensors"
    direction = directions.load(truth)
    assert direction.layer == done.truthfulness.best_layers[1]
    assert direction.weights == model.identity().weights_hash
    assert direction.positive_mean is not None
    assert direction.negative_mean is not None
    apart = direction.positive_mean - direction.negative_mean
    assert apart == pytest.approx(direction.scale, rel=1e-4)
    statements = interp.data.statements(facts_family.statements)
    acts = interp.capture(
        model, statements.prompts, sites=direction.site, positions=direction.position
    )
    scores = acts[direction.site].numpy() @ direction.unit
    assert auroc(scores, statements.labels) > 0.9
    refusal = done.runs["refusal"] / "directions" / "refusal-post.safetensors"
    direction = directions.load(refusal)
    harmful, harmless = (
        interp.capture(
            model,
            [row["instruction"] for row in json.loads(path.read_text())][:24],
            sites=direction.site,
            positions=int(direction.position),
            chat=True,
        )[direction.site].numpy()
        @ direction.unit
        for path in (facts_family.harmful, facts_family.harmless)
    )
    assert direction.positive_mean is not None
    assert direction.negative_mean is not None
    middle = (direction.negative_mean + direction.positive_mean) / 2
    assert np.median(harmless) < middle < np.median(harmful)


def test_the_report_holds_what_was_found_and_needs_no_network(done):
    page = done.report.read_text()
    for result in done.results.values():
        for sentence in sentences(result):
            assert sentence.split("'")[0][:60] in page.replace("&#x27;", "'")
    assert done.truthfulness.provenance.command in page.replace("&amp;", "&")
    assert not re.search(r'<(?:script|link|img)[^>]+(?:src|href)="https?:', page)


def test_the_same_settings_load_what_is_finished(done, specs, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("a finished study was run again")

    monkeypatch.setattr(module, "run_study", never)
    told: list[str] = []
    again = compare(specs, out=done.out, tell=told.append)
    assert again.resumed == ("truthfulness", "refusal", "knowledge", "confidence")
    assert again.runs == done.runs
    assert sum("already finished" in line for line in told) == len(specs)


def test_other_settings_are_another_run(done, specs, tmp_path):
    truth = replace(specs[0], limit=80, asked_test=8, asked_validation=8)
    other = compare([truth], out=done.out)
    assert other.resumed == ()
    assert other.runs["truthfulness"] != done.runs["truthfulness"]
    assert done.runs["truthfulness"].is_dir()
    with pytest.raises(ResultError, match=r"no result of the study of refusal\."):
        _ = other.refusal


def test_each_study_is_given_as_its_own_kind(done):
    kinds = {
        "truthfulness": results.TruthfulnessComparison,
        "refusal": results.RefusalComparison,
        "knowledge": results.KnowledgeComparison,
        "confidence": results.ConfidenceComparison,
    }
    for study, kind in kinds.items():
        assert getattr(done, study) is done.results[study]
        assert isinstance(getattr(done, study), kind)


def test_a_stop_keeps_the_finished_study_and_the_next_start_goes_on(
    specs, tmp_path, monkeypatch
):
    ran: list[str] = []
    whole = module.run_study

    def run(spec, data, setting):
        ran.append(study_name(spec))
        found = whole(spec, data, setting)
        if len(ran) == 1:
            request_stop()
        return found

    monkeypatch.setattr(module, "run_study", run)
    truth = replace(specs[0], limit=80, asked_test=8, asked_validation=8)
    small = [truth, replace(specs[1], n_train=8, n_val=4, n_test=2)]
    try:
        with pytest.raises(StoppedError, match="truthfulness is finished"):
            compare(small, out=tmp_path)
    finally:
        listen()
    assert [run.state for run in results.find(tmp_path)] == ["finished"]
    done = compare(small, out=tmp_path)
    assert ran == ["truthfulness", "refusal"]
    assert done.resumed == ("truthfulness",)


def test_an_interrupt_leaves_no_half_result(specs, tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run_study", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compare([specs[1]], out=tmp_path)
    (run,) = results.find(tmp_path)
    assert run.state == "unfinished"
    assert not (tmp_path / "report.html").exists()


def test_numbers_are_json_and_tables_have_rows(done):
    for result in done.results.values():
        text = json.dumps(numbers(result), allow_nan=False)
        assert json.loads(text)["headline"] == result.headline()
        assert len(brief_table(result))


def test_the_command_names_every_setting_that_is_not_usual(specs, tmp_path):
    spec = replace(specs[0], limit=50, seed=3, dtype="float32", group="subject")
    spec = replace(spec, label_column="right")
    words = command_of([spec], tmp_path / "a b")
    parts = "--limit 50", "--seed 3", "--dtype float32", "--group subject"
    for part in (*parts, "--label-column right"):
        assert part in words
    assert "--statement-column" not in words
    assert words.startswith("interp compare ")
    assert "'" in words.split("--out ")[1]


def test_every_study_of_statements_reads_the_columns_that_are_named(tmp_path):
    path = tmp_path / "odd.csv"
    rows = "".join(f"Town{i} is in Land.,{i % 2}\n" for i in range(40))
    path.write_text("claim,right\n" + rows)
    for spec in specs_for("a", "b", Sources(statements=(str(path),))):
        named = replace(spec, statement_column="claim", label_column="right")
        given = data_of(named)
        assert isinstance(given, Statements | Texts)
        assert len(given) == (20 if isinstance(spec, ConfidenceSpec) else 40)
        with pytest.raises(DataError, match="--statement-column"):
            data_of(spec)
    (metric,) = chosen_metrics(
        ["truth"], [str(path)], [], [], layer=0, limit=None, columns=("claim", "right")
    )
    assert isinstance(metric, ContrastDirection)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "nothing to compare"),
        ({"harmful": ("a",)}, "--harmful was given without --harmless"),
        ({"harmless": ("a",)}, "--harmless was given without --harmful"),
    ],
)
def test_a_plan_without_data_is_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        specs_for("a", "b", Sources(**given))


@pytest.mark.parametrize(
    ("name", "message"),
    [("truth", "no study 'truth'"), ("refusal", "'refusal' has no data")],
)
def test_a_study_that_cannot_be_run_is_named(name, message):
    with pytest.raises(ConfigError, match=message):
        specs_for("a", "b", Sources(statements=("a",)), studies=[name])


def test_a_plan_holds_the_studies_with_data_or_those_asked():
    def names(studies):
        sources = Sources(statements=("s",), harmful=("h",), harmless=("n",))
        return [
            study_name(spec) for spec in specs_for("a", "b", sources, studies=studies)
        ]

    assert names([]) == ["truthfulness", "refusal", "knowledge", "confidence"]
    assert names(["refusal"]) == ["refusal"]


def test_studies_of_different_models_are_refused(specs, tmp_path):
    with pytest.raises(ConfigError, match="different settings of post"):
        compare([specs[0], replace(specs[1], post="other")], out=tmp_path)


def test_every_study_has_settings_data_and_a_name():
    sources = Sources(statements=("s",), harmful=("h",), harmless=("n",), texts=("t",))
    for name in STUDIES:
        spec = default_spec(name, "a", "b", sources, seed=3)
        assert isinstance(spec, spec_class(name))
        assert study_name(spec) == name
        assert (spec.base, spec.post, spec.seed) == ("a", "b", 3)
        given = sources_of(spec)
        assert all(getattr(given, need) for need in needs(name))
