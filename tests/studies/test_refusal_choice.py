"""Which direction the refusal study chooses, and what it says where it finds none."""

import math
from dataclasses import asdict, replace
from typing import Any

import pytest

from interp.data import contrast, instructions
from interp.directions import select
from interp.provenance import record
from probes.studies.refusal import study as module
from probes.studies.refusal.candidates import Prompts, candidates
from probes.studies.refusal.chat import templates
from probes.studies.refusal.choice import choose, extra_notes
from probes.studies.refusal.fitting import fitted
from probes.studies.refusal.setting import Side
from probes.studies.refusal.study import refusal


@pytest.fixture
def result(refusal_result):
    return refusal_result


@pytest.fixture
def spec(refusal_spec):
    return refusal_spec


@pytest.fixture(scope="module")
def few(facts_family):
    return contrast(
        instructions(facts_family.harmful),
        instructions(facts_family.harmless),
        n_train=12,
        n_val=4,
        n_test=2,
    )


@pytest.mark.parametrize("lenient_only", [False, True])
def test_only_needed_scores_choose_the_same_direction(
    models, asked, spec, result, lenient_only
):
    """By the published rule and, where none passes it, by the lenient one."""
    own, of_post = templates(*models)
    sides = (
        Side(role="base", model=models[0], template=own),
        Side(role="post", model=models[1], template=of_post),
    )
    if lenient_only:
        spec = replace(spec, max_divergence=0.0, min_induce=30.0)
    found = fitted(sides, asked, spec)
    whole, some = (
        choose(
            sides[1],
            found.found[1],
            found.kept["val"],
            found.tokens,
            spec=replace(spec, scores=scores),
            only_affine=False,
        )
        for scores in ("all", "needed")
    )
    if not lenient_only:
        assert whole.chosen in result.candidates
    assert some.chosen is not None
    assert whole.chosen is not None
    # Which resamples choose it depends on candidates that are not scored.
    chosen = replace(some.chosen, share=whole.chosen.share)
    assert vars_of(chosen) == pytest.approx(vars_of(whole.chosen))
    ranks = [[one.rank for one in choice.candidates] for choice in (whole, some)]
    assert ranks[0] == ranks[1]
    gaps = [one for one in some.candidates if math.isnan(one.bypass)]
    assert len(gaps) > len([one for one in whole.candidates if math.isnan(one.bypass)])
    assert all(one.fate for one in gaps)
    assert any("not computed" in one.fate for one in gaps)
    assert any("resamples choose among" in note for note in some.notes)


def vars_of(candidate) -> dict[str, Any]:
    held = asdict(candidate)
    numbers = ("bypass", "induce", "kl", "norm", "relative_norm", "share")
    return {name: float(held[name]) for name in numbers} | {
        name: hash(value) for name, value in held.items() if name not in numbers
    }


def test_a_rule_that_nothing_passes_gives_a_result_with_the_reason(models, few, spec):
    found = refusal(
        models[0],
        models[1],
        few,
        spec=replace(spec, min_induce=30.0, lenient=False, max_new_tokens=2),
        provenance=record("refusal"),
    )
    assert found.directions[1].layer is None
    assert "does not induce refusal when added" in found.directions[1].reason
    assert found.selection.startswith("No usable direction")
    assert {row.intervention for row in found.conditions} == {"none"}
    lenient = refusal(
        models[0],
        models[1],
        few,
        spec=replace(spec, min_induce=30.0, coefficients=(), max_new_tokens=2),
        provenance=record("refusal"),
    )
    assert lenient.directions[1].layer is not None
    assert any("No direction passed the strict rule" in n for n in lenient.notes)


def test_the_extra_demand_can_be_left_out_and_says_where_it_decides(models, few, spec):
    own, of_post = templates(*models)
    sides = (
        Side(role="base", model=models[0], template=own),
        Side(role="post", model=models[1], template=of_post),
    )
    found = fitted(sides, few, spec)
    asked_of, plain = (
        choose(
            sides[1],
            found.found[1],
            found.kept["val"],
            found.tokens,
            spec=replace(spec, must_lower=must_lower),
            only_affine=False,
        )
        for must_lower in (True, False)
    )
    assert "bypass <" in asked_of.rule
    assert "bypass <" not in plain.rule
    # Both choose the lowest bypass of what passes, here far below the limit.
    assert asked_of.chosen is not None
    assert vars_of(asked_of.chosen) == pytest.approx(vars_of(plain.chosen), nan_ok=True)

    table = {
        "position": [-3, -2, -1],
        "layer": [0, 0, 0],
        "bypass": [5.0, 6.0, 7.0],
        "induce": [1.0, -1.0, 1.0],
        "kl": [0.0, 0.0, 0.5],
    }
    strict = select(table, n_layers=4, max_bypass=4.0)
    assert strict.chosen is None
    assert select(table, n_layers=4).chosen == 0
    (said,) = extra_notes(strict)
    assert said.startswith("1 of the candidates fell only because")
    assert said.endswith("lets them pass.")
    assert not extra_notes(select(table, n_layers=4))
    assert not extra_notes(select(table, n_layers=4, max_bypass=5.5))


def test_a_model_that_never_refuses_gives_a_result_with_a_reason(models, asked, spec):
    base, _ = models
    found = refusal(base, base, asked, spec=spec, provenance=record("refusal"))
    assert found.directions[1].layer is None
    assert found.directions[1].reason
    assert {row.intervention for row in found.conditions} == {"none"}
    assert "no usable refusal direction" in found.headline()


def test_where_ablation_is_refused_the_rest_goes_on(models, few, spec, monkeypatch):
    monkeypatch.setattr(module, "can_ablate", lambda model: "The sum does not hold.")
    found = refusal(
        models[0],
        models[1],
        few,
        spec=replace(spec, coefficients=(), max_new_tokens=2),
        provenance=record("refusal"),
    )
    assert all(row.intervention != "ablate" for row in found.conditions)
    assert any("The sum does not hold." in note for note in found.notes)
    assert found.condition("post", "harmful") is not None


def test_named_refusal_tokens_are_used(models, few, spec):
    found = refusal(
        models[0],
        models[1],
        few,
        spec=replace(spec, refusal_tokens=("Sure",), max_new_tokens=2, coefficients=()),
        provenance=record("refusal"),
    )
    assert found.directions[1].refusal_tokens == ("Sure",)
    # No refusal begins so: the filter leaves nothing, and everything is used.
    kept = {(row.instructions, row.split): row for row in found.counts}
    row = kept["harmful", "train"]
    assert row.given == len(few.harmful.train)
    assert row.kept == 0
    said = [note for note in found.notes if "only 0 of" in note]
    assert len(said) == 2
    assert "harmful training instructions" in said[0]
    assert "all 12 were used" in said[0]


def test_a_constant_token_has_no_direction_at_the_embedding(models, asked):
    _, post = models
    own, _ = templates(post, post)
    found = candidates(
        post,
        Prompts(
            harmful=own.ids(post, asked.harmful.train),
            harmless=own.ids(post, asked.harmless.train),
        ),
    )
    assert found.degenerate[0].tolist() == [True, False, False, False]
