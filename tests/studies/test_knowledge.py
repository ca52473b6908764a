"""The knowledge study on models that learned facts, and on what cannot be studied."""

import importlib
from dataclasses import replace

import numpy as np
import pytest
from pairing_samples import written
from sample_results import truthfulness as sample_truthfulness
from tiny import tiny_tokenizer

import interp
from interp import results
from interp.errors import ConfigError, DataError, IncompatibleError
from interp.figures import report_section
from interp.models.language_model import LanguageModel
from interp.provenance import record
from interp.results.knowledge import MAX_LISTED
from probes.studies import comparing
from probes.studies.kinds import default_spec
from probes.studies.knowledge.spec import KnowledgeSpec
from probes.studies.knowledge.study import knowledge
from probes.studies.knowledge.summary import numbers, sentences


def studied(models, statements, spec, run=None):
    base, post = models
    origin = record("knowledge")
    return knowledge(base, post, statements, spec=spec, provenance=origin, run=run)


@pytest.fixture(scope="module")
def spec(facts_family):
    return KnowledgeSpec(
        base=str(facts_family.base),
        post=str(facts_family.post),
        statements=(str(facts_family.statements),),
        n_pairs=32,
        resamples=200,
        permutations=40,
    )


@pytest.fixture(scope="module")
def statements(facts_family):
    # Enough for a few dozen pairs, and quicker to cut into tokens than all.
    return interp.data.statements(facts_family.statements).take(range(240))


@pytest.fixture(scope="module")
def found(models, statements, spec):
    return studied(models, statements, spec)


def test_facts_go_from_the_subject_over_the_object_to_the_last_token(found):
    for model in ("base", "post"):
        subject, target, last = (
            next(r for r in found.staircase if (r.model, r.step) == (model, step))
            for step in ("subject", "object", "last")
        )
        # The intervals of the three steps do not touch.
        assert subject.high < target.low
        assert target.high < last.low


def test_the_first_layer_holds_the_fact_at_the_subject_and_the_last_one_at_the_end(
    found,
):
    subject, last = found.columns.index("subject last"), found.columns.index("last")
    for run in range(2):
        assert found.restoration_low[run, 0, 0, subject] > 0.5
        assert found.restoration[run, 0, -1, last] == pytest.approx(1, abs=1e-4)
        before = [i for i, name in enumerate(found.columns) if "before" in name]
        np.testing.assert_allclose(found.restoration[run][:, :, before], 0, atol=1e-4)
        inner = [i for i, name in enumerate(found.columns) if name != "last"]
        np.testing.assert_allclose(found.restoration[run, 0, -1, inner], 0, atol=1e-4)


def test_the_maps_of_base_and_post_are_alike_beyond_floor_and_nulls(found):
    own = found.likeness_of()
    assert own is not None
    r = own.find("pearson")
    assert r.low > 0.9
    for side in ("b one layer up", "b one layer down", "columns of b permuted"):
        assert own.find("pearson", side).value < r.low
    assert own.find("pearson", "columns of b permuted").p < 0.05
    assert own.find("pearson", "halves of a").value > 0.9


def test_every_statement_is_accounted_for(found, statements):
    assert found.statements == len(statements)
    lost = sum(row.statements for row in found.dropped)
    assert lost + 2 * len(found.true) == len(statements)
    listed = found.left_out_dataframe()
    assert len(listed) == lost <= MAX_LISTED
    named = {*listed["statement"], *found.true, *found.false}
    assert named == {*statements.prompts}
    assert "' TRUE'" in found.read


def test_a_model_patched_into_itself_is_its_own_map(models, statements, spec):
    base = models[0]
    few = replace(spec, n_pairs=6, resamples=20, permutations=5)
    twin = LanguageModel(hf=base.hf, tokenizer=base.tokenizer, name="twin")
    result = studied((base, twin), statements, few)
    assert result.runs == ("base", "post", "base into post", "post into base")
    for run in range(1, 4):
        np.testing.assert_allclose(result.ld[run], result.ld[0], atol=1e-3)
    np.testing.assert_allclose(result.difference, 0, atol=1e-4)
    own = result.likeness_of()
    assert own is not None
    assert own.equivalence[0].shown


def test_the_result_is_kept_told_and_drawn(found, tmp_path):
    folder = results.save(found, tmp_path / "result")
    again = results.load(folder)
    assert isinstance(again, results.KnowledgeComparison)
    np.testing.assert_array_equal(again.pair_ld, found.pair_ld)
    assert again.likeness_dataframe().equals(found.likeness_dataframe())
    assert again.staircase == found.staircase
    assert len(found.to_dataframe()) == found.restoration.size
    assert len(found.pairs_dataframe()) == len(found.true) == 32
    told = " ".join(sentences(found))
    assert "In base the effect sits at layer: subject" in told
    assert "Base into post" in told
    assert numbers(found)["pairs"] == 32
    section = report_section(found)
    assert len(section.panels) == 5
    assert again.pair_tokens == found.pair_tokens
    assert section.title == "Knowledge"


def test_pairs_keep_their_tokens_beside_the_columns_of_the_maps(found):
    assert len(found.pair_tokens) == len(found.true)
    last = found.columns.index("last")
    for pair, true, false in zip(
        found.pair_tokens, found.true, found.false, strict=True
    ):
        assert true in "".join(pair.clean)
        assert false in "".join(pair.corrupted)
        assert len(pair.clean) == len(pair.corrupted) == len(pair.columns)
        assert pair.columns[-1] == last
        assert pair.answers == ((" TRUE", " FALSE"),) * 2
        # The prompts differ at tokens of the subject alone.
        differing = {
            found.columns[column]
            for a, b, column in zip(
                pair.clean, pair.corrupted, pair.columns, strict=True
            )
            if a != b
        }
        assert differing <= {"subject first", "subject middle", "subject last"}


def test_screened_cells_are_those_that_the_exact_map_has(models, statements, spec):
    few = replace(
        spec, n_pairs=8, resamples=20, permutations=5, cross=False, screen=True
    )
    result = studied(models, statements, few)
    # All 8 pairs are screened, so that exact means are those of the result.
    for role, check in enumerate(result.screening):
        assert check.pairs == 8
        for cell in check.cells:
            column = result.columns.index(cell.column)
            exact = result.restoration[role, 0, cell.layer, column]
            assert cell.exact == pytest.approx(float(exact), abs=1e-4)
        assert {cell.layer for cell in check.cells} == {*range(len(result.layers) - 1)}
        assert np.isfinite([cell.estimate for cell in check.cells]).all()


def test_what_was_traced_is_not_traced_again(
    models, statements, spec, tmp_path, monkeypatch
):
    few = replace(spec, n_pairs=6, resamples=20, permutations=5, cross=False)
    first = studied(models, statements, few, tmp_path)

    def refuse(*_):
        raise AssertionError("this group was finished before")

    # The package's `trace` is the function, so the module is found by its name.
    module = importlib.import_module("interp.patching.trace")
    monkeypatch.setattr(module, "grid_of", refuse)
    again = studied(models, statements, few, tmp_path)
    np.testing.assert_array_equal(first.pair_ld, again.pair_ld)
    with pytest.raises(AssertionError, match="finished before"):
        studied(models, statements, replace(few, seed=1), tmp_path)


def test_without_a_question_the_models_own_answers_are_read(models, statements, spec):
    few = replace(spec, question=False, n_pairs=24, resamples=20, permutations=5)
    result = studied(models, statements, few)
    assert not any("object" in name for name in result.columns)
    assert "says after the true statement" in result.read
    # By construction each model prefers its own answer to each prompt.
    assert (result.clean_ld > 0).all()
    assert (result.corrupted_ld < 0).all()
    lost = sum(row.statements for row in result.dropped)
    assert lost + 2 * len(result.true) == result.statements


def test_models_that_cut_words_differently_are_refused(models, statements, spec):
    base, post = models
    other = LanguageModel(hf=post.hf, tokenizer=tiny_tokenizer(), name="other")
    with pytest.raises(IncompatibleError, match="different tokens"):
        studied((base, other), statements, spec)


def test_a_comparison_leaves_knowledge_out_unless_it_was_asked_for(
    facts_family, tmp_path, monkeypatch
):
    rows = [f"Rain{i} is wet.,{i % 2}" for i in range(12)]
    written(tmp_path, "rain.csv", rows)
    sources = comparing.Sources(statements=(str(tmp_path / "rain.csv"),))
    both = [
        default_spec(name, str(facts_family.base), str(facts_family.post), sources)
        for name in ("truthfulness", "knowledge")
    ]
    real = comparing.run_study

    def others_are_made_up(spec, data, setting):
        if isinstance(spec, KnowledgeSpec):
            return real(spec, data, setting)
        return sample_truthfulness()

    monkeypatch.setattr(comparing, "run_study", others_are_made_up)
    said: list[str] = []
    done = comparing.compare(
        both, out=tmp_path / "out", may_leave_out=("knowledge",), tell=said.append
    )
    assert list(done.results) == ["truthfulness"]
    assert any(line.startswith("knowledge: left out.") for line in said)
    with pytest.raises(DataError, match="none of 12 statements can be paired"):
        comparing.compare(both, out=tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"templates": ("{subject} is.",)}, "has no {object}"),
        ({"delta": 0.0}, "delta is 0.0"),
        ({"n_pairs": 0}, "n_pairs is 0"),
    ],
)
def test_settings_that_cannot_be_are_told_before_a_model_is_loaded(settings, message):
    with pytest.raises(ConfigError, match=message):
        KnowledgeSpec(base="a", post="b", statements=("s.csv",), **settings)
