"""Knowledge, Confidence and Induction: what a choice shows, by link and by box."""

import json
from dataclasses import replace

import numpy as np
import pytest
from confidence_samples import confidence
from knowledge_samples import knowledge
from map_samples import (
    ablations,
    figure_title,
    formation,
    save_all,
    save_hostile,
    scores,
)
from timeline_samples import timeline

from interp import results
from interp.figures import cell_pairs, first_above, shared_neurons
from interp_explorer.widgets.pairs import pair_names


pytestmark = pytest.mark.xdist_group("explorer")
MARKUP = (
    '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
    "![x](http://outside.invalid/a.png) [y](javascript:window.hacked=1) $x$ :red[z]"
)
RESULTS = (
    ("knowledge", "k_run", "knowledge"),
    ("knowledge", "k_run", "patched"),
    ("confidence", "c_run", "confidence"),
    ("induction", "i_run", "timeline"),
    ("induction", "i_run", "scores"),
    ("induction", "i_run", "ablations"),
    ("induction", "i_run", "formation"),
)


def alone(key: str, name: str, result: results.Result, figure: str) -> dict[str, str]:
    """The parameters of a link that shows one figure of a result."""
    return {f"{key}_run": name, f"{key}_figure": figure_title(result, figure)}


SERIES = timeline(n_layers=2, n_heads=3)
CELLS = alone("k", "knowledge", knowledge(), "knowledge_maps")
NEURONS = alone("c", "confidence", confidence(), "neuron_scatter")
OVERLAP = alone("c", "confidence", confidence(), "overlap_curve")
CALIBRATION = alone("c", "confidence", confidence(), "calibration_curve")
HEADS = alone("i", "timeline", SERIES, "timeline_map")
SCATTER = alone("i", "timeline", SERIES, "timeline_scatter")


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    return save_all(tmp_path_factory.mktemp("maps"))


@pytest.fixture(scope="module")
def hostile_maps(tmp_path_factory):
    return save_hostile(tmp_path_factory.mktemp("hostile_maps"), MARKUP)


def texts(app) -> str:
    return "\n".join(str(item.value) for item in (*app.markdown, *app.caption))


def frame(app, column: str):
    return next(f.value for f in app.dataframe if column in f.value.columns)


def test_a_cell_shows_the_pairs_behind_it_and_the_tokens_of_one(maps, open_page):
    result = knowledge()
    app = open_page(
        maps,
        "knowledge",
        **CELLS,
        k_map="post",
        k_layer="2",
        k_column="object last",
        k_pair=pair_names(result)[4],
    )
    assert not app.exception
    expected = cell_pairs(result, "post", unit=0, layer=2, column=3)
    shown = frame(app, "patched LD")
    assert shown["pair"].tolist() == expected["pair"].tolist()
    assert f"mean {result.restoration[1, 0, 2, 3]:.3f}" in texts(app)
    (strip,) = [h.proto.body for h in app.get("html")]
    assert strip.count("data-pos") == 5
    # The two tokens that differ are bold, and post's own answers are read.
    assert "font-weight:700" in strip
    assert "yes" in texts(app)
    assert "TRUE" not in texts(app)


def test_a_click_that_writes_the_boxes_moves_the_pairs(maps, open_page):
    app = open_page(maps, "knowledge", **CELLS)
    app.selectbox(key="k_layer").set_value("5")
    app.selectbox(key="k_column").set_value("last").run()
    expected = cell_pairs(knowledge(), "base", unit=0, layer=5, column=4)
    np.testing.assert_allclose(
        frame(app, "patched LD")["restoration"], expected["restoration"]
    )


def test_a_map_of_one_pair_is_a_toggle_away(maps, open_page):
    app = open_page(maps, "knowledge", **CELLS, k_over="One pair", k_map="difference")
    assert "post \\- base\\, pair 0" in texts(app)
    assert {"difference", "base", "post"} <= {*frame(app, "difference").columns}


def test_a_pair_without_tokens_shows_its_statements(maps, open_page):
    result = knowledge()
    last = pair_names(result)[-1]
    app = open_page(maps, "knowledge", **CELLS, k_pair=last)
    assert not app.get("html")
    assert any(result.true[-1] in text.value for text in app.text)


def test_statements_without_a_partner_are_counted_by_rule_and_listed(maps, open_page):
    app = open_page(maps, "knowledge", **CELLS, k_rule="no partner left")
    assert frame(app, "rule")["statements"].tolist() == [35, 1]
    assert "24 of 60 statements make 12 pairs" in texts(app)
    assert [*frame(app, "statement")["statement"]] == [
        "Alone is in Land.",
        "Lonely is in Land.",
    ]
    assert any("2 of 36" in box.label for box in app.expander)


def test_a_patch_map_shows_the_values_behind_a_cell(maps, open_page):
    app = open_page(
        maps, "knowledge", k_run="patched", k_layer="3", k_column="object[0]"
    )
    shown = frame(app, "share of gap")
    assert len(shown) == 12
    assert shown["share of gap"].mean() == pytest.approx(0.9, abs=0.05)


def test_a_neuron_has_a_card_with_effects_and_tokens(maps, open_page):
    app = open_page(maps, "confidence", **NEURONS, c_neuron="5")
    assert not app.exception
    assert "Neuron L3N5" in texts(app)
    weights = frame(app, "frequency_cosine").set_index("model")
    own = confidence().null_fraction[:, 5]
    np.testing.assert_allclose(weights.loc[["base", "post"], "null_fraction"], own)
    assert frame(app, "raises")["raises"].tolist() == ["' the'", "' a'"]
    assert frame(app, "mediated")["loss_total"].tolist() == [0.04, 0.04]


def test_a_neuron_that_was_not_tested_says_how_to_see_its_tokens(maps, open_page):
    app = open_page(maps, "confidence", **NEURONS, c_neuron="11")
    assert "not ablated" in texts(app)
    assert any("promoted_tokens" in code.value for code in app.code)


def test_sliders_decide_which_neurons_are_shared(maps, open_page):
    app = open_page(maps, "confidence", **OVERLAP, c_candidates="2", c_percentile="50")
    expected = shared_neurons(confidence(), percentile=50, n_candidates=2)
    assert expected.shared == 2
    assert "2 shared of 2" in texts(app)
    app.slider(key="c_candidates").set_value(3).run()
    assert "2 shared of 4" in texts(app)
    assert frame(app, "rank_change").set_index("neuron").loc[3, "rank_change"] == 1


def test_calibration_errors_of_both_models_are_told(maps, open_page):
    app = open_page(maps, "confidence", **CALIBRATION)
    assert [metric.value for metric in app.metric] == ["0.110", "0.220"]


def test_a_head_is_followed_and_heads_above_a_threshold_are_listed(maps, open_page):
    result = SERIES
    app = open_page(
        maps,
        "induction",
        **HEADS,
        i_metric="copying",
        i_head="L1H2",
        i_step="300",
        i_threshold="0.4",
    )
    assert not app.exception
    value = result.value("copying")[3, 1, 2]
    assert f"L1H2 at step 300:** copying {value:.3f}" in texts(app)
    expected = first_above(result, "copying", 0.4)
    assert expected["first_step"].tolist() == [400]
    assert frame(app, "first_step").equals(expected)


def test_the_best_head_is_first_until_heads_are_sorted_by_layer(maps, open_page):
    app = open_page(maps, "induction", **HEADS)
    heads = app.selectbox(key="i_head")
    assert heads.options[0] == heads.value == "L1H2"
    app = open_page(maps, "induction", **HEADS, i_order="layer")
    assert app.selectbox(key="i_head").options[0] == "L0H0"
    assert app.selectbox(key="i_head").value == "L1H2"


def test_the_scatter_of_a_step_is_a_slider_away(maps, open_page):
    app = open_page(maps, "induction", **SCATTER, i_at="200")
    assert app.select_slider(key="i_at").value == "200"
    assert not app.exception


def test_other_runs_stand_beside(maps, open_page):
    alone = open_page(maps, "induction", **HEADS)
    app = open_page(maps, "induction", **HEADS, i_beside="other")
    charts = len(app.get("plotly_chart"))
    assert charts == len(alone.get("plotly_chart")) + 1


def test_a_head_shows_its_scores_and_what_it_attends_to(maps, open_page):
    app = open_page(maps, "induction", i_run="scores")
    best = scores().top("prefix_matching", k=1)[0]
    chosen = [app.selectbox(key=key).value for key in ("i_layer", "i_number")]
    assert f"L{chosen[0]}H{chosen[1]}" == best
    with_pattern = len(app.get("plotly_chart"))
    other = open_page(maps, "induction", i_run="scores", i_layer="0")
    assert len(other.get("plotly_chart")) == with_pattern - 1
    assert "patterns were kept of: L1H2" in texts(other)


def test_what_a_result_without_models_is_of_is_told(tmp_path, open_page):
    unnamed = replace(formation().provenance, models=())
    replace(formation(), provenance=unnamed).save(tmp_path / "f")
    app = open_page(tmp_path, "induction")
    assert "transformers trained in this run" in texts(app)
    assert "arrays" not in texts(app)


def test_an_ablated_head_is_chosen_by_kind_and_place(maps, open_page):
    app = open_page(maps, "induction", i_run="ablations", i_kind="mean")
    assert app.selectbox(key="i_number").value == "1"
    assert ablations().top("mean", k=1) == ("L0H1",)
    assert not app.exception


@pytest.mark.parametrize(("view", "key", "name"), [RESULTS[0], RESULTS[2], RESULTS[3]])
def test_a_link_to_nothing_is_told_and_the_page_stands(
    view, key, name, maps, open_page
):
    wrong = {f"{key[0]}_{end}": "<gone>" for end in ("layer", "metric", "neuron")}
    app = open_page(maps, view, **{key: name}, **wrong)
    assert not app.exception
    assert not app.error


@pytest.mark.parametrize(("view", "key", "name"), RESULTS)
def test_hostile_texts_stay_texts(view, key, name, hostile_maps, open_page):
    app = open_page(hostile_maps, view, **{key: name})
    assert not app.exception
    for item in (*app.markdown, *app.caption, *app.subheader, *app.warning):
        assert "<img" not in item.value.replace("\\<img", "")
        assert "![" not in item.value.replace("\\!\\[", "")
    for html in app.get("html"):
        assert "<img" not in html.proto.body
        assert "<script" not in html.proto.body


def test_results_from_before_tokens_were_kept_open(tmp_path, open_page):
    root = save_all(tmp_path)
    for name, fields in (
        ("knowledge", ("pair_tokens",)),
        ("confidence", ("tokens",)),
        ("scores", ("pattern_heads", "pattern_tokens")),
    ):
        path = root / name / "result.json"
        description = json.loads(path.read_text())
        for field in fields:
            del description["values"][field]
        for row in description["values"].get("dropped", ()):
            del row["texts"]
        path.write_text(json.dumps(description))
    app = open_page(root, "knowledge", **CELLS)
    assert "Studies list them since: repeat the command below." in texts(app)
    assert not app.exception
    app = open_page(root, "confidence", **NEURONS, c_neuron="5")
    assert any("promoted_tokens" in code.value for code in app.code)
    app = open_page(root, "induction", i_run="scores")
    assert not app.exception
    assert "kept of: none" in texts(app)
