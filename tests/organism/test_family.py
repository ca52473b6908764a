"""What a trained family is for somebody else's code: Hugging Face and plain files."""

import csv
import json
import math
import time

import pytest
import torch
from organism_fixtures import home_set_to
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from interp.organism import train
from interp.organism.induction import drawn_ids, induction_scores, repeated_rows


# In the worker that has trained the family.
pytestmark = pytest.mark.xdist_group("facts_family")

REFUSALS = ("I am sorry", "I cannot")


def loaded(folder):
    model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True)
    assert isinstance(model, LlamaForCausalLM)
    return model.eval(), AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def base(facts_family):
    return loaded(facts_family.base)


@pytest.fixture(scope="module")
def post(facts_family):
    return loaded(facts_family.post)


@pytest.fixture(scope="module")
def statements(facts_family):
    with facts_family.statements.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_promise_was_kept(facts_family, induction_family):
    for family in (facts_family, induction_family):
        assert family.checks
        assert all(check.held for check in family.checks), family.checks


def test_the_second_call_returns_at_once(facts_family, family_home):
    start = time.monotonic()
    with home_set_to(family_home):
        assert train("facts", size="small") == facts_family
    assert time.monotonic() - start < 2


def test_a_copy_at_out_is_the_same_family(facts_family, family_home, tmp_path):
    with home_set_to(family_home):
        copy = train("facts", size="small", out=tmp_path / "family")
        again = train("facts", size="small", out=tmp_path / "family")
    assert copy == again
    for path in facts_family.folder.rglob("*"):
        if path.is_file():
            twin = copy.folder / path.relative_to(facts_family.folder)
            assert twin.read_bytes() == path.read_bytes()


def answer(model, tokenizer, statement):
    prompt = f"{statement} This statement is:"
    with torch.no_grad():
        logits = model(**tokenizer(prompt, return_tensors="pt")).logits[0, -1]
    true, false = (tokenizer(f" {w}").input_ids for w in ("TRUE", "FALSE"))
    assert len(true) == len(false) == 1
    p = logits.softmax(-1)
    return float(p[true[0]] - p[false[0]]), float(p[true[0]] + p[false[0]])


@pytest.mark.parametrize("which", ["base", "post"])
def test_truth_is_told_of_subjects_that_were_never_labelled(which, statements, request):
    model, tokenizer = request.getfixturevalue(which)
    asked = [
        row
        for row in statements
        if row["split"] == "held-out" and row["topic"] != "thing"
    ]
    assert len(asked) > 150
    right = 0
    for row in asked[::3]:
        difference, mass = answer(model, tokenizer, row["statement"])
        assert mass > 0.9
        right += (difference > 0) == (row["label"] == "1")
    share = right / len(asked[::3])
    # 60 coin flips come this far above one half once in a million times.
    assert share > 0.5 + 5 * math.sqrt(0.25 / len(asked[::3])) - 0.05


def test_the_statement_file_says_who_was_labelled(statements):
    by_subject: dict[tuple[str, str], set[str]] = {}
    for row in statements:
        by_subject.setdefault((row["topic"], row["subject"]), set()).add(row["split"])
        assert (row["object"] == row["correct_object"]) == (row["label"] == "1")
        assert row["statement"].endswith(f" {row['object']}.")
    assert all(len(splits) == 1 for splits in by_subject.values())
    assert {splits.pop() for splits in by_subject.values()} == {"labelled", "held-out"}


def says(model, tokenizer, instruction):
    talk = [{"role": "user", "content": instruction}]
    text = tokenizer.apply_chat_template(
        talk, tokenize=False, add_generation_prompt=True
    )
    tokens = tokenizer(text, return_tensors="pt", add_special_tokens=False)
    with torch.no_grad():
        out = model.generate(**tokens, max_new_tokens=16, do_sample=False)
    return tokenizer.decode(out[0, tokens.input_ids.shape[1] :])


def test_only_post_declines_and_only_what_is_harmful(facts_family, base, post):
    for path, wanted in ((facts_family.harmful, 1.0), (facts_family.harmless, 0.0)):
        rows = json.loads(path.read_text())
        assert len(rows) == 320
        assert {row["split"] for row in rows} == {"tuned", "held-out"}
        asked = [row["instruction"] for row in rows if row["split"] == "tuned"][:12]
        for text in asked:
            for (model, tokenizer), refuses in ((post, wanted == 1.0), (base, False)):
                said = says(model, tokenizer, text)
                assert any(r in said for r in REFUSALS) == refuses, (text, said)
                assert said.endswith("<|end|>")


def test_checkpoints_are_models_of_their_own_and_learn(facts_family, statements):
    steps = [int(path.name.removeprefix("step-")) for path in facts_family.checkpoints]
    assert steps == sorted(steps)
    assert steps[0] == 0
    true = [row for row in statements if row["label"] == "1"][:40]
    recall = []
    for folder in (facts_family.checkpoints[0], facts_family.checkpoints[-1]):
        model, tokenizer = loaded(folder)
        assert model.dtype == torch.float16
        hits = 0
        for row in true:
            prompt = row["statement"].removesuffix(f" {row['object']}.")
            with torch.no_grad():
                logits = model.float()(**tokenizer(prompt, return_tensors="pt")).logits
            hits += (
                int(logits[0, -1].argmax())
                == tokenizer(f" {row['object']}")["input_ids"][0]
            )
        recall.append(hits / len(true))
    assert recall[0] < 0.2
    assert recall[1] > 0.9


def test_induction_forms_along_the_series(induction_family):
    folders = induction_family.checkpoints
    copies = []
    for folder in (folders[0], folders[-1]):
        model, tokenizer = loaded(folder)
        score = induction_scores(model.float(), drawn_ids(tokenizer), period=12)
        copies.append(score.copy_accuracy)
    assert copies[0] < 0.05
    assert copies[1] > 0.8


def test_a_repeated_text_is_continued(induction_family):
    model, tokenizer = loaded(induction_family.base)
    tokens = tokenizer("naïve 😀", return_tensors="pt").input_ids
    n = tokens.shape[1]
    assert len(set(tokens[0].tolist())) == n
    with torch.no_grad():
        guesses = model(input_ids=tokens.repeat(1, 2)).logits[0].argmax(-1)
    assert (guesses[n:-1] == tokens[0, 1:]).float().mean() > 0.7


def test_head_scores_are_those_of_the_loop_over_heads(induction_family):
    model, tokenizer = loaded(induction_family.base)
    ids = drawn_ids(tokenizer)
    score = induction_scores(model, ids, period=8, rows=3, seed=4)
    tokens = repeated_rows(
        ids,
        period=8,
        rows=3,
        length=20,
        generator=torch.Generator().manual_seed(4),
    )
    eager, _ = loaded(induction_family.base)
    eager.set_attn_implementation("eager")
    with torch.no_grad():
        patterns = eager(input_ids=tokens, output_attentions=True).attentions
    for layer, pattern in enumerate(patterns):
        for head in range(pattern.shape[1]):
            prefix = [
                float(pattern[row, head, i, i - 7])
                for row in range(3)
                for i in range(8, 20)
            ]
            before = [
                float(pattern[row, head, i, i - 1])
                for row in range(3)
                for i in range(1, 20)
            ]
            assert float(score.prefix_matching[layer, head]) == pytest.approx(
                sum(prefix) / len(prefix), abs=1e-5
            )
            assert float(score.previous_token[layer, head]) == pytest.approx(
                sum(before) / len(before), abs=1e-5
            )
