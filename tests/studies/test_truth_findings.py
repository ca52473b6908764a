"""The published findings on the embedded models, with intervals, and every control."""

from dataclasses import replace

import numpy as np
import pytest

import interp
from interp.errors import ConfigError
from interp.provenance import record
from interp.results import TruthEffect
from interp.results.truthfulness import ROLES
from interp.stopping import StoppedError, listen, request_stop
from probes.studies.inputs import statements_of
from probes.studies.truthfulness import study as module
from probes.studies.truthfulness.spec import TruthfulnessSpec
from probes.studies.truthfulness.study import truthfulness


DOSES = (0.25, 1.0)


@pytest.fixture(scope="module")
def spec(facts_family) -> TruthfulnessSpec:
    return TruthfulnessSpec(
        base=str(facts_family.base),
        post=str(facts_family.post),
        statements=(str(facts_family.statements),),
        dataset_column="topic",
        limit=360,
        permutations=50,
        resamples=200,
        asked_validation=16,
        asked_test=48,
        doses=DOSES,
        dose_statements=16,
        controls=2,
    )


@pytest.fixture(scope="module")
def pair(spec):
    return interp.load(spec.base), interp.load(spec.post)


@pytest.fixture(scope="module")
def found(pair, spec):
    return _run(pair, spec)


def _run(pair, spec, run=None):
    base, post = pair
    return truthfulness(
        base,
        post,
        statements_of(spec),
        spec=spec,
        provenance=record("truthfulness"),
        run=run,
    )


def _rows(found, target, condition) -> list[TruthEffect]:
    return [
        row
        for row in found.interventions
        if row.target == target and row.condition == condition
    ]


def test_truth_is_read_in_both_models_and_the_directions_are_alike(found):
    for i, role in enumerate(ROLES):
        layer = found.best_index(role)
        assert found.auroc_low[i, i, layer] > 0.65
        assert found.permutation_p[i] < 0.01
        assert found.cosine[layer] > 0.9
        row = next(r for r in found.cosines if (r.layer, r.metric) == (layer, "plain"))
        assert row.signal_p < 0.05, "labels shuffled alike have as much in common"
        assert row.cosine == pytest.approx(float(found.cosine[layer]), abs=1e-4)


def test_each_direction_carries_over_to_the_other_model(found):
    for i, role in enumerate(ROLES):
        layer = found.best_index(role)
        assert found.auroc_low[i, 1 - i, layer] > 0.65
        row = next(r for r in found.carried if (r.direction, r.layer) == (role, layer))
        expected = found.auroc[i, 1 - i, layer] - found.auroc[1 - i, 1 - i, layer]
        assert row.difference == pytest.approx(float(expected), abs=1e-6)
        assert row.low > -0.1, "next to nothing is lost against the model's own"


def test_every_direction_moves_judgement_beyond_every_control(found):
    for target in ROLES:
        directions = _rows(found, target, "direction")
        assert {row.direction for row in directions} == set(ROLES)
        control = found.strongest_control(target)
        assert control is not None
        for row in directions:
            assert row.nie_gap_low > control.nie_gap_high, (row, control)
            assert row.nie_saturation > control.nie_saturation_high
            assert row.nie_gap_low > 0.3


def test_controls_are_of_equal_norm_and_of_every_kind(found):
    for target in ROLES:
        own = next(
            r for r in _rows(found, target, "direction") if r.direction == target
        )
        assert own.cosine == pytest.approx(1, abs=1e-5)
        for condition in ("random", "covariance", "shuffled", "dataset"):
            rows = _rows(found, target, condition)
            assert sum(not row.orthogonal for row in rows) == 2
            for row in rows:
                assert row.norm_share == pytest.approx(own.norm_share, rel=1e-4)
                assert row.coefficient == own.coefficient
                assert not row.orthogonal or abs(row.cosine) < 1e-3


def test_doses_are_in_units_of_the_residual_norm_and_of_the_class_gap(found):
    for target in ROLES:
        own = next(
            r for r in _rows(found, target, "direction") if r.direction == target
        )
        for row in (row for row in found.doses if row.target == target):
            assert row.norm_share in DOSES
            gaps = row.norm_share / own.norm_share
            assert row.coefficient == pytest.approx(gaps, rel=1e-4)
        kinds = {(r.direction, r.condition) for r in found.doses if r.target == target}
        assert len(kinds) == 6
        assert len([r for r in found.doses if r.target == target]) == 6 * len(DOSES)
    strong, weak = (
        np.mean([r.nie_gap for r in found.doses if _carried(r, dose)])
        for dose in (1.0, 0.25)
    )
    assert strong > weak


def _carried(row: TruthEffect, dose: float) -> bool:
    return row.condition == "direction" and row.norm_share == dose


def test_notes_say_where_vectors_were_added_and_how_that_was_chosen(found):
    (note,) = [note for note in found.notes if note.startswith("Vectors are added")]
    assert "the tokens and the layers chosen on 16 validation statements" in note
    assert "48 test statements" in note


def test_topics_are_data_sets_and_probes_carry_over_between_them(found):
    topics = set(found.datasets)
    assert len(topics) > 1
    tests = {row.test for row in found.dataset_transfer}
    assert tests == topics
    trains = {row.train for row in found.dataset_transfer}
    assert trains == topics | {"all others"}
    layers = {row.layer for row in found.dataset_transfer}
    assert layers == set(found.layers.tolist())


def test_the_probe_table_agrees_with_the_direction_on_its_own_layer(found):
    for i, role in enumerate(ROLES):
        layer = found.best_index(role)
        row = next(
            r
            for r in found.probes
            if (r.model, r.probe, r.layer) == (role, "mean_difference", layer)
        )
        assert row.auroc == pytest.approx(float(found.auroc[i, i, layer]), abs=1e-3)
        assert row.accuracy == pytest.approx(
            float(found.accuracy[i, i, layer]), abs=0.02
        )


def test_a_stopped_study_keeps_its_parts_and_goes_on_to_the_same_result(
    pair, spec, found, tmp_path, monkeypatch
):
    whole, asked = module.probe_table, []

    def stop_after(role, *args, **kwargs):
        asked.append(role)
        request_stop()
        return whole(role, *args, **kwargs)

    monkeypatch.setattr(module, "probe_table", stop_after)
    small = replace(spec, interventions=False)
    with pytest.raises(StoppedError, match="probes-base is finished and kept"):
        _run(pair, small, tmp_path)
    listen()
    shards = tmp_path / "shards"
    assert [path.name for path in shards.iterdir()] == ["probes-base.json"]
    (shards / "datasets-base.json").write_text("{")

    def second(role, *args, **kwargs):
        assert role == "post", "a finished part was made again"
        return whole(role, *args, **kwargs)

    monkeypatch.setattr(module, "probe_table", second)
    resumed = _run(pair, small, tmp_path)
    assert asked == ["base"]
    assert resumed.probes == found.probes
    assert resumed.dataset_transfer == found.dataset_transfer
    assert resumed.interventions == ()


def test_finished_interventions_are_not_asked_again(pair, spec, tmp_path, monkeypatch):
    from probes.studies.truthfulness import intervention

    small = replace(
        spec,
        probes=(),
        transfer_probe=None,
        permutations=0,
        asked_test=8,
        doses=(),
        controls=1,
        layers=(1, 2),
        tokens="final two tokens",
    )
    first = _run(pair, small, tmp_path)
    assert {row.layers for row in first.interventions} == {"", "1..2"}
    assert {row.position for row in first.interventions} == {"", "final two tokens"}
    assert first.probes == first.cosines == first.dataset_transfer == first.doses == ()
    assert np.isnan(first.cosine_null_low).all()
    assert any("as the settings say" in note for note in first.notes)

    def never(*args, **kwargs):
        raise AssertionError("a finished part was made again")

    monkeypatch.setattr(intervention, "control_vectors", never)
    monkeypatch.setattr(intervention, "best_place", never)
    again = _run(pair, small, tmp_path)
    assert again.interventions == first.interventions


def test_settings_that_do_not_fit_the_models_or_the_data_are_one_clear_line(pair, spec):
    with pytest.raises(ConfigError, match=r"layers is \[3, 99\]"):
        _run(pair, replace(spec, layers=(3, 99)))
    with pytest.raises(ConfigError, match="dataset_column is 'tpic'"):
        _run(pair, replace(spec, dataset_column="tpic"))
    with pytest.raises(ConfigError, match="The first and the last layer"):
        replace(spec, layers=(3, 1))
