import os
import signal
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sample_results
import torch
from fault_work import content
from planted_neurons import (
    ENTROPY_NEURON,
    FREQUENCY_NEURON,
    planted_model,
    unigram_counts,
)
from tiny import saved_tiny_model, tiny_model, tiny_tokenizer

import interp
from interp import figures, results, stopping
from interp.errors import ConfigError, DataError, IncompatibleError
from interp.neurons import swapped_neurons
from interp.provenance import record
from probes.cli.run import run
from probes.studies import comparing as compare_module, summary
from probes.studies.confidence import study, swapping
from probes.studies.confidence.spec import ConfidenceSpec
from probes.studies.confidence.study import confidence
from probes.studies.confidence.texts import Texts, texts_of
from probes.studies.kinds import Sources, study_name
from probes.studies.specs import LEFT_OUT_IF_UNSUITABLE, specs_for


WORDS = "the city of Paris is not in the and"


def ordinary_texts(n=40):
    rng = np.random.default_rng(0)
    words = WORDS.split()
    return tuple(" ".join(rng.choice(words, size=9)) for _ in range(n))


TEXTS = Texts(texts=ordinary_texts(), sources=("texts.txt",), fingerprint="ab")
SPEC = ConfidenceSpec(
    base="base", post="post", texts=("texts.txt",), resamples=200, effect_texts=12
)


def compared(base, post, spec=SPEC):
    models = [interp.load(hf, tokenizer=tiny_tokenizer()) for hf in (base, post)]
    origin = record("confidence", command="test")
    return confidence(models[0], models[1], TEXTS, spec=spec, provenance=origin)


@pytest.fixture(scope="module")
def shortened():
    """POST is BASE with the entropy neuron's vector shortened."""
    return compared(planted_model(length=12.0), planted_model(length=3.0))


def test_a_planted_entropy_neuron_is_found_in_both_models(shortened):
    for role, candidates in zip(("base", "post"), shortened.candidates, strict=True):
        assert candidates[0] == ENTROPY_NEURON
        assert ENTROPY_NEURON in shortened.through_norm(role)
        first = shortened.effects_of(role, "entropy")[0]
        assert first.mediated == pytest.approx(1.0, abs=1e-4)
        assert first.null_fraction == pytest.approx(1.0, abs=1e-5)
        assert first.argmax_changed == 0
    assert shortened.side_by_side()["norm_ratio"].min() == pytest.approx(1 / 4)


def test_tested_neurons_keep_the_tokens_that_they_raise(shortened):
    tested = {row.neuron for row in shortened.effects}
    for role in ("base", "post"):
        rows = [shortened.tokens_of(role, neuron) for neuron in tested]
        assert all(len(row.up) == len(row.down_weights) == 10 for row in rows)
        # The head does not read what the planted neuron writes.
        silent = shortened.tokens_of(role, ENTROPY_NEURON)
        assert np.abs(silent.up_weights).max() < 1e-6
    assert shortened.tokens_of("base", -1) is None


def test_swapping_the_planted_neuron_closes_the_gap_and_random_ones_do_not(shortened):
    assert shortened.has_gap
    assert shortened.gap < -0.02
    for role in ("base", "post"):
        (swap,) = shortened.row(role, "entropy neurons")
        assert swap.share == pytest.approx(1.0, abs=1e-4)
        assert swap.share_low == pytest.approx(1.0, abs=1e-4)
        assert len(shortened.row(role, "random neurons")) == SPEC.controls
        for other in ("random neurons", "final gain"):
            for row in shortened.row(role, other):
                assert row.share == pytest.approx(0.0, abs=1e-6)
    assert shortened.mlp_moved > 0
    assert shortened.gain_moved == 0


def test_a_changed_gain_alone_is_found_by_swapping_the_gain():
    base, post = planted_model(), planted_model()
    with torch.no_grad():
        post.model.norm.weight *= 1.3
    found = compared(base, post)
    for role in ("base", "post"):
        assert found.row(role, "final gain")[0].share == pytest.approx(1.0, abs=1e-4)
        assert found.row(role, "entropy neurons")[0].share == pytest.approx(0, abs=1e-6)
    assert found.gap < 0
    assert "surer than the base model" in found.headline()


def test_a_planted_frequency_neuron_is_tested_for_its_cosine(monkeypatch):
    hf = planted_model()
    counts = unigram_counts(hf)
    monkeypatch.setattr(study, "token_counts", lambda model, texts: counts)
    found = compared(hf, planted_model())
    rows = found.effects_of("base", "frequency")
    assert rows[0].neuron == FREQUENCY_NEURON
    assert rows[0].frequency_cosine == pytest.approx(1.0, abs=1e-3)
    assert rows[0].frequency_mediated > 0.5


def test_two_equal_models_have_no_gap_and_no_shares():
    found = compared(tiny_model("gpt2"), tiny_model("gpt2"))
    assert (found.gap, found.gap_low, found.gap_high) == (0.0, 0.0, 0.0)
    assert all(np.isnan(row.share) for row in found.confidence)
    assert (found.overlap == 1).all()
    assert "equally sure" in found.headline()
    assert "left the last MLP and the final norm" in " ".join(summary.sentences(found))
    assert "shares of that difference are not given" in " ".join(found.notes)


def test_measures_of_a_swap_are_those_of_the_swapped_model(shortened):
    base, post = planted_model(length=12.0), planted_model(length=3.0)
    models = [interp.load(hf, tokenizer=tiny_tokenizer()) for hf in (base, post)]
    chosen = sorted({*shortened.candidates[0], *shortened.candidates[1]})
    entropies = []
    with swapped_neurons(models[0], models[1], chosen), torch.no_grad():
        for text in TEXTS.texts:
            ids = torch.tensor([models[0].tokenizer(text)["input_ids"]])
            logits = base(input_ids=ids).logits[0, 1:-1].double()
            entropies.append(torch.distributions.Categorical(logits=logits).entropy())
    (row,) = shortened.row("base", "entropy neurons")
    assert row.entropy == pytest.approx(float(torch.cat(entropies).mean()), abs=1e-5)


def test_experts_keep_their_confidence_and_lose_their_neurons():
    found = compared(tiny_model("qwen3_moe", 0), tiny_model("qwen3_moe", 1))
    assert found.norm.shape == (2, 0)
    assert found.effects == ()
    assert {row.swapped for row in found.confidence} == {"none", "final gain"}
    assert "is a mixture of experts" in found.notes[0]
    assert "neurons were left out" in summary.sentences(found)[1]
    figures.report_section(found)


def test_a_result_comes_back_and_says_its_numbers(shortened, tmp_path):
    shortened.save(tmp_path / "run")
    again = results.load(tmp_path / "run")
    assert isinstance(again, results.ConfidenceComparison)
    assert again.headline() == shortened.headline()
    assert again.confidence_dataframe().equals(shortened.confidence_dataframe())
    assert len(again.to_dataframe()) == 2 * 48
    told: Any = summary.numbers(again)
    assert told["through_norm"]["base"][0] == ENTROPY_NEURON
    assert len(summary.brief_table(again)) == len(again.confidence)
    assert "act mostly through the norm" in " ".join(summary.sentences(again))


def test_every_figure_shows_the_arrays_of_the_result(shortened):
    cloud: Any = figures.neuron_scatter(shortened)
    marked = [t for t in cloud.data if t.name == "candidates"]
    assert [t.customdata[:, 0].astype(int).tolist() for t in marked] == [
        sorted(own) for own in shortened.candidates
    ]
    bars: Any = figures.swap_bars(shortened)
    (swap,) = shortened.row("base", "entropy neurons")
    assert bars.data[0].x[0] == pytest.approx(swap.entropy_change)
    curve: Any = figures.calibration_curve(shortened)
    assert sum(curve.data[1].customdata[:, 0]) == shortened.groups.size
    shared: Any = figures.overlap_curve(shortened)
    np.testing.assert_array_equal(shared.data[-1].y, shortened.overlap)
    effects: Any = figures.effect_scatter(shortened)
    drawn = sum(len(trace.x) for trace in effects.data[1:])
    assert drawn == len(shortened.effects)
    spectrum: Any = figures.singular_values(shortened)
    assert len(spectrum.data[0].y) == 32
    section = figures.report_section(shortened)
    assert (section.title, len(section.panels)) == ("Confidence", 8)


def test_texts_come_from_files_or_from_true_statements(tmp_path):
    plain = tmp_path / "texts.txt"
    plain.write_text("\n".join([*ordinary_texts(30), ordinary_texts(1)[0]]) + "\n")
    spec = replace(SPEC, texts=(str(plain),))
    assert texts_of(spec).texts == tuple(dict.fromkeys(ordinary_texts(30)))
    few = texts_of(replace(spec, max_texts=12))
    assert len(few) == 12
    assert "12 of 30 texts were drawn" in few.notes[0]
    table = tmp_path / "cities.csv"
    rows = [f"Town{i} is here.,{i % 2}" for i in range(30)]
    table.write_text("\n".join(["statement,label", *rows]) + "\n")
    truths = texts_of(replace(SPEC, texts=(), statements=(str(table),)))
    assert truths.texts == tuple(f"Town{i} is here." for i in range(1, 30, 2))
    assert "the true statements stand for them" in truths.notes[0]
    plain.write_text("one\ntwo\n")
    with pytest.raises(DataError, match="There are 2 different texts"):
        texts_of(spec)


def test_long_texts_are_cut_and_said():
    found = compared(
        tiny_model("llama"), tiny_model("llama"), replace(SPEC, max_tokens=6)
    )
    assert "40 texts were cut to 6 tokens" in " ".join(found.notes)
    assert found.groups.size == 40 * 4


def test_models_that_do_not_belong_together_are_refused():
    with pytest.raises(IncompatibleError, match="d_mlp"):
        compared(tiny_model("llama"), tiny_model("llama", intermediate_size=64))
    other = tiny_tokenizer()
    other.add_tokens(["the city"])
    models = (
        interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer()),
        interp.load(tiny_model("llama"), tokenizer=other),
    )
    with pytest.raises(IncompatibleError, match="text 0 as different tokens"):
        study.tokens_of(models, ["the city of Paris"], max_tokens=9)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="has no texts"):
        ConfidenceSpec(base="a", post="b")
    with pytest.raises(ConfigError, match="candidates is 0"):
        replace(SPEC, candidates=0)


def test_a_comparison_goes_on_without_it_where_the_models_do_not_suit(
    tmp_path, monkeypatch
):
    models = [
        str(saved_tiny_model(tmp_path / name, "llama", intermediate_size=width))
        for name, width in (("base", 48), ("post", 64))
    ]
    statements = tmp_path / "s.csv"
    rows = [f"Town{i} is here.,{i % 2}" for i in range(30)]
    statements.write_text("\n".join(["statement,label", *rows]) + "\n")
    specs = specs_for(models[0], models[1], Sources(statements=(str(statements),)))
    run_study = compare_module.run_study

    def only_confidence_is_real(spec, data, setting):
        if isinstance(spec, ConfidenceSpec):
            return run_study(spec, data, setting)
        return sample_results.truthfulness()

    monkeypatch.setattr(compare_module, "run_study", only_confidence_is_real)
    said = []
    done = compare_module.compare(
        [spec for spec in specs if study_name(spec) in ("truthfulness", "confidence")],
        out=tmp_path / "out",
        may_leave_out=LEFT_OUT_IF_UNSUITABLE,
        tell=said.append,
    )
    assert set(done.results) == {"truthfulness"}
    assert any("confidence: left out" in line and "d_mlp" in line for line in said)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The words of a small study, and what is in its folder where nothing happened."""
    folder = tmp_path_factory.mktemp("undisturbed")
    words = ["study", "confidence", str(written_settings(folder)), "--out"]
    assert run([*words, str(folder / "out")]) == 0
    return words, content(folder / "out")


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize(
    ("module", "name", "stops_at", "last", "times"),
    [
        (study, "ablated", 1, "effects-base.json", 2),
        (swapping, "token_confidence", 3, "base-random-neurons-0.safetensors", 8),
    ],
    ids=["while-ablating", "while-swapping"],
)
def test_a_study_stopped_by_sigterm_goes_on_to_the_same_result(
    undisturbed, module, name, stops_at, last, times, tmp_path, monkeypatch
):
    words, whole = undisturbed
    original, done = getattr(module, name), []

    def interrupted(*given, **options):
        done.append(name)
        if len(done) == stops_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*given, **options)

    monkeypatch.setattr(module, name, interrupted)
    assert run([*words, str(tmp_path)]) == stopping.StoppedError.exit_code
    parts = [*tmp_path.rglob("shards/*")]
    assert max(parts, key=lambda part: part.stat().st_mtime_ns).name == last
    assert len(done) == stops_at
    stopping.listen()
    assert run([*words, str(tmp_path)]) == 0
    assert len(done) == times, "a finished part was made again"
    assert content(tmp_path) == whole


SETTINGS = {"effect_texts": 12, "resamples": 20, "controls": 1}


def written_settings(folder):
    """A file of settings, with the two models and texts that it names."""
    for role, length in (("base", 12.0), ("post", 3.0)):
        planted_model(length=length).save_pretrained(folder / role)
        tiny_tokenizer().save_pretrained(folder / role)
    texts = folder / "texts.csv"
    texts.write_text("\n".join(["text", *ordinary_texts()]) + "\n")
    lines = [f"{name} = {value}" for name, value in SETTINGS.items()]
    lines += [f'{role} = "{folder / role}"' for role in ("base", "post")]
    path = folder / "confidence.toml"
    path.write_text("\n".join([*lines, f'texts = ["{texts}"]']) + "\n")
    return path
