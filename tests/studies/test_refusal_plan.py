"""What is planned of a refusal study, against the tokens that enter its models."""

import interp
from interp.data import contrast, instructions
from interp.models.outline import outline
from interp.provenance import record
from probes.planning.refusal_costs import refusal_cost
from probes.studies.refusal.spec import RefusalSpec
from probes.studies.refusal.study import refusal


def test_the_plan_counts_about_the_tokens_that_enter_the_models(facts_family):
    files = facts_family.harmful, facts_family.harmless
    harmful, harmless = map(instructions, files)
    asked = contrast(harmful, harmless, n_train=12, n_val=6, n_test=6)
    spec = RefusalSpec(
        base=str(facts_family.base),
        post=str(facts_family.post),
        harmful=(str(files[0]),),
        harmless=(str(files[1]),),
        max_new_tokens=6,
        coefficients=(0.5, 1.0),
        resamples=10,
        n_train=12,
        n_val=6,
        n_test=6,
    )
    models = interp.load(facts_family.base), interp.load(facts_family.post)
    entered = []
    for model in models:
        model.hf.register_forward_pre_hook(
            lambda module, args, given: entered.append(given["input_ids"].numel()),
            with_kwargs=True,
        )
    refusal(*models, asked, spec=spec, provenance=record("refusal"))
    pair = outline(facts_family.base), outline(facts_family.post)
    planned = refusal_cost(spec, asked, pair).tokens.computed
    # Above it: answers may end sooner, and some candidates have no length. Below it:
    # trials of trees and of ablation, which weigh in a study as small as this.
    assert 0.85 < planned / sum(entered) < 1.25
