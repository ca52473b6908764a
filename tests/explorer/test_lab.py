"""The Lab on the embedded POST model: what it shows is what the library says."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sample_results import truthfulness

import interp
from interp import directions, streaming
from interp.directions import Probe
from interp.lens import logit_lens
from interp_explorer.lab import models
from interp_explorer.lab.held import Held, directions_for
from interp_explorer.saved import saved_directions
from interp_explorer.widgets.sides import strip_of
from interp_explorer.widgets.text import escaped


# The worker that trains the family.
pytestmark = pytest.mark.xdist_group("facts_family")
APP = Path(__file__).parents[2] / "apps" / "interp_explorer" / "app.py"
HOSTILE = '<img src=x onerror="window.hacked=1">![x](http://outside.invalid/a) $x$'


def said(app) -> str:
    items = (*app.caption, *app.markdown, *app.subheader, *app.info, *app.error)
    return "\n".join(item.value for item in (*items, *app.warning))


def written(app) -> list[str]:
    """The unchanged and the steered text, as the page has them."""
    pages = [one.proto.body for one in app.get("html")]
    return [page.partition(">")[2].removesuffix("</div>") for page in pages]


def test_without_a_model_it_says_how_to_get_one(open_lab, monkeypatch, tmp_path):
    monkeypatch.setenv("INTERP_HOME", str(tmp_path / "empty"))
    app = open_lab(options=())
    assert not app.exception
    assert "interp demo --out" in app.code[0].value
    assert "--model" in app.code[1].value


def test_the_embedded_model_is_there_at_once(open_lab, monkeypatch, facts_family):
    # The home of the tests holds it, as that of a reader holds the demo's.
    monkeypatch.setenv("INTERP_HOME", str(facts_family.folder.parents[1]))
    app = open_lab(options=())
    assert not app.exception
    assert app.selectbox(key="l_model").options == ["embedded post", "embedded base"]
    assert "refusal" in app.selectbox(key="l_direction").value


def test_the_family_of_the_results_is_preferred(monkeypatch, tmp_path, facts_family):
    home = tmp_path / "organism"
    home.mkdir()
    for name in ("facts-one", "facts-two"):
        (home / name).symlink_to(facts_family.folder)
    monkeypatch.setenv("INTERP_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["app", str(tmp_path)])
    from interp_explorer.catalog import catalog

    for name in ("facts-one", "facts-two"):
        folder = tmp_path / f"results-{name}"
        found = truthfulness()
        own = (f"/home/{name}/base", f"/home/{name}/post")
        records = tuple(
            replace(record, name=path)
            for record, path in zip(found.provenance.models, own, strict=True)
        )
        origin = replace(found.provenance, models=records)
        replace(found, provenance=origin).save(folder / "r")
        offered = models.offers(catalog(folder))
        assert Path(offered[0].source).parts[-2:] == (name, "post")


def test_strength_changes_the_text_as_the_library_would(
    open_lab, model, fitted, examples
):
    prompt = examples.harmful[0]
    app = open_lab(l_prompt=prompt, l_strength="-1.5", l_length="12")
    assert not app.exception
    sampling = streaming.Sampling(max_new_tokens=12)
    edits = streaming.steering_edits(model, fitted["refusal"], strength=-1.5)
    expected = streaming.side_by_side(
        model, prompt, edits=edits, sampling=sampling, chat=True
    )
    assert written(app) == [expected.unchanged.text, expected.steered.text]
    assert expected.unchanged.text != expected.steered.text
    app.button(key="lab_reset").click().run()
    assert app.slider(key="l_strength").value == 0.0
    unchanged, steered = written(app)
    assert unchanged == steered == expected.unchanged.text


def test_a_saved_direction_is_found_and_used(open_lab, results, fitted, model):
    held = replace(fitted["refusal"], model=model.name)
    (results / "run" / "directions").mkdir(parents=True)
    directions.save(held, results / "run" / "directions" / "mine.safetensors")
    wide = directions.Direction.from_vector(np.ones(7), site="resid_post.0")
    directions.save(wide, results / "run" / "directions" / "other.safetensors")
    hostile = "![x](outside.invalid) <b> $x$"
    directions.save(
        replace(held, model=HOSTILE), results / "run" / f"{hostile}.safetensors"
    )
    app = open_lab()
    own, foreign = f"mine · {held.site}", f"{hostile} · {held.site}"
    assert app.selectbox(key="l_direction").options == [own, foreign]
    assert "directions.load(" in app.code[1].value
    assert "found in" not in said(app)
    app.selectbox(key="l_direction").set_value(foreign).run()
    assert not app.exception
    assert escaped(hostile) in said(app)
    assert f"found in {escaped(HOSTILE)}" in said(app)
    assert "![" not in said(app).replace("\\!\\[", "")


def test_saved_probes_score_tokens_by_their_logit_and_steer_if_they_can(
    open_lab, results, model, fitted, examples
):
    own = fitted["truth"]
    probe = Probe(
        weights=3 * own.unit,
        intercept=-0.5,
        threshold=0.25,
        site=own.site,
        model=model.name,
        negative_mean=-2.0,
        positive_mean=4.0,
    )
    probe.save(results / "mine.safetensors")
    replace(probe, negative_mean=None).save(results / "blind.safetensors")
    app = open_lab()
    assert not app.exception
    blind, mine = (f"{name} · probe at {own.site}" for name in ("blind", "mine"))
    assert app.multiselect(key="l_readers").options == [blind, mine]
    # Without the means of its classes there is no class gap to steer by.
    assert app.selectbox(key="l_direction").options == [mine]
    app.selectbox(key="l_colour").set_value(mine).run()
    assert not app.exception
    assert ".direction\n" in app.code[1].value
    assert app.code[1].value.count("load_probe(") == 3
    saved = saved_directions(results)
    offer = models.Offer(label="post", source=model.name)
    held = directions_for(model, offer, saved)
    prompt = examples.true[0]
    scores = streaming.token_scores(model, prompt, [one.reader() for one in held])
    rows = interp.capture(model, [prompt], sites=[own.site], positions="all")
    expected = probe.logits(rows[own.site][0].numpy()) - probe.threshold
    np.testing.assert_allclose(scores.of(mine), expected, atol=1e-4)
    moved = next(one for one in held if one.label == mine).direction
    assert moved.scale == pytest.approx(6 / 3)


def test_the_strip_has_the_scores_of_the_readers(model, fitted, examples):
    readers = [Held(label=n, direction=d).reader() for n, d in fitted.items()]
    scores = streaming.token_scores(model, examples.harmful[0], readers, chat=True)
    second = strip_of(scores, colour=1, mask=True)
    assert second.colour == 1
    assert second.limit <= np.nanmax(np.abs(scores.masked[1]))
    strip = strip_of(scores, mask=True)
    assert [one.name for one in strip.scores] == ["refusal", "truth"]
    np.testing.assert_array_equal(strip.scores[1].values, scores.of("truth"))
    assert strip.masked is not None
    assert strip.masked[0]
    coloured = np.abs(scores.masked[0])
    assert strip.limit <= np.nanmax(coloured)
    assert strip_of(scores, mask=False).masked is None


def test_a_token_of_the_address_opens_its_lens(open_lab, model, examples):
    prompt = examples.harmless[0]
    app = open_lab(l_token="3", l_prompt=prompt, l_target="Sure", l_distractor="I")
    assert not app.exception
    assert any("Token 3" in heading.value for heading in app.subheader)
    reading = logit_lens(
        model, prompt, target="Sure", distractor="I", positions=[3], chat=True
    )
    table = app.dataframe[0].value
    assert tuple(table["layer"]) == reading.layers
    np.testing.assert_allclose(
        table["entropy (nats)"], reading.entropy[:, 0], rtol=1e-5
    )
    np.testing.assert_array_equal(
        table["target − distractor"], reading.difference[:, 0]
    )
    assert table["1."].iloc[-1].startswith(reading.top(-1, 0)[0][0].replace(" ", "·"))


@pytest.mark.parametrize("look", ["Scores by layer", "What adds to a logit"])
def test_the_other_looks_draw_and_say_what(look, open_lab):
    app = open_lab(l_token="3", l_look=look)
    assert not app.exception
    assert not app.error
    alts = [chart.proto.alt for chart in app.get("plotly_chart")]
    assert len(alts) == 2
    assert all(len(alt) > 20 for alt in alts)


def test_what_cannot_be_done_is_one_line_and_the_page_stands(open_lab):
    app = open_lab(l_token="3", l_target="no such single token here")
    assert not app.exception
    assert any("tokens" in error.value for error in app.error)
    assert len(written(app)) == 2


def test_a_prompt_too_long_for_the_model_is_one_line(open_lab, model):
    app = open_lab(l_prompt="the " * (model.context_length + 5))
    assert not app.exception
    assert "reads at most" in app.error[0].value


@pytest.mark.parametrize(
    "parameters",
    [
        {"l_token": "99999", "l_strength": "1e9", "s": "a" * 32},
        {"l_token": "-1", "l_layers": "a range", "l_between": "7,2", "s": HOSTILE},
        {f"l_{name}": HOSTILE for name in ("direction", "readers", "model", "dtype")},
        {f"l_{name}": HOSTILE for name in ("mode", "look", "prompt", "target")},
    ],
)
def test_any_address_opens_the_page(parameters, open_lab):
    app = open_lab(**parameters)
    assert not app.exception
    assert len(written(app)) == 2
    for item in (*app.markdown, *app.caption, *app.subheader, *app.warning, *app.error):
        assert "<img" not in item.value.replace("\\<img", "")
        assert "![" not in item.value.replace("\\!\\[", "")
    assert "<img" not in "".join(written(app))


def test_a_shared_link_opens_the_same_view(open_lab, examples):
    prompt = "A long prompt. " * 40
    first = open_lab(l_prompt=prompt, l_strength="-2", l_token="4", l_mode="Text")
    # Too long for an address.
    assert "l_prompt" not in first.query_params
    first.button(key="lab_share").click().run()
    link = next(code.value for code in first.code if "?s=" in code.value)
    name = link.partition("?s=")[2]
    again = open_lab(s=name)
    assert again.text_area(key="l_prompt").value == prompt
    assert again.slider(key="l_strength").value == -2.0
    assert any("Token 4" in heading.value for heading in again.subheader)
    assert written(again) == written(first)
    # It stays in the address until something else is shown.
    assert "s" in again.query_params
    again.slider(key="l_strength").set_value(1.0).run()
    assert "s" not in again.query_params


def test_harmful_instructions_are_not_sent_before_they_are_asked_for(
    open_lab, examples
):
    app = open_lab()
    labels = [button.label for button in app.button]
    assert escaped(examples.harmless[0]) in labels
    assert escaped(examples.harmful[0]) not in labels
    app.toggle(key="lab_harmful").set_value(True).run()
    assert escaped(examples.harmful[0]) in [button.label for button in app.button]


def test_the_python_writes_the_same_texts(open_lab, capsys, monkeypatch):
    app = open_lab(l_strength="2", l_length="10")
    monkeypatch.setattr("plotly.graph_objects.Figure.show", lambda figure: None)
    exec(app.code[1].value, {})
    assert capsys.readouterr().out.splitlines() == "\n".join(written(app)).splitlines()


def test_other_pages_do_not_import_torch_with_a_model_named(results, facts_family):
    code = (
        "import sys\n"
        "from streamlit.testing.v1 import AppTest\n"
        "sys.argv = sys.argv[1:]\n"
        "app = AppTest.from_file(sys.argv[0], default_timeout=60).run()\n"
        "assert not app.exception, app.exception\n"
        "print('torch' in sys.modules)\n"
    )
    model = f"--model={facts_family.post}"
    done = subprocess.run(
        [sys.executable, "-c", code, str(APP), str(results), model],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "False", done.stderr


def test_a_full_device_is_one_line(open_lab, monkeypatch):
    import torch

    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("interp.streaming.compare", full)
    app = open_lab(l_seed="5")
    assert not app.exception
    assert "no memory left" in app.error[0].value
