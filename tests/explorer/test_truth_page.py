"""The truthfulness page: from a map's cell down to the statement, by link and box."""

import json
from dataclasses import fields, replace
from urllib.parse import quote

import numpy as np
import pytest
from probe_samples import sweep, transferred
from sample_results import truthfulness
from truth_samples import DATASETS

from interp.figures import report_section
from interp.results import TruthfulnessComparison
from interp_explorer.widgets.panel import heading


pytestmark = pytest.mark.xdist_group("explorer")


def title(name: str, result=None) -> str:
    """How the page calls a figure."""
    panels = report_section(result or truthfulness()).panels
    at = next(i for i, panel in enumerate(panels) if panel.name == name)
    return f"{at + 1}. {heading(panels[at])}"


def metrics(app) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def frame(app, column: str):
    return next(f.value for f in app.dataframe if column in f.value.columns)


def test_a_link_opens_a_probe_and_a_statement_which_leads_into_the_lab(
    folder, open_page
):
    result = truthfulness()
    row = next(
        row
        for row in result.probes
        if (row.model, row.probe, row.layer) == ("post", "ccs", 4)
    )
    number = int(result.shown[11])
    app = open_page(
        folder,
        "truthfulness",
        t_figure=title("probe_map"),
        t_probe="post · ccs",
        t_layer="4",
        t_statement=f"{number} · {result.statements[number][:60]}",
    )
    assert not app.exception
    assert metrics(app)["AUROC"] == f"{row.auroc:.3f}"
    assert metrics(app)["Accuracy"] == f"{row.accuracy:.1%}"
    assert app.text[0].value == result.statements[number]
    (link,) = app.get("link_button")
    address = "/lab?l_prompt=" + quote(result.statements[number])
    assert link.proto.url == address
    expected = result.scores_dataframe("post", "ccs", 4)
    shown = frame(app, "wrongness")
    assert shown["statement"].tolist() == expected["statement"].tolist()
    assert shown["wrongness"].is_monotonic_decreasing


def test_without_a_link_the_best_probe_on_validation_statements_is_open(
    folder, open_page
):
    best = max(truthfulness().probes, key=lambda row: row.validation_auroc)
    app = open_page(folder, "truthfulness", t_figure=title("probe_map"))
    assert app.selectbox(key="t_probe").value == f"{best.model} · {best.probe}"
    assert app.selectbox(key="t_layer").value == str(best.layer)
    wrong = truthfulness().scores_dataframe(best.model, best.probe, best.layer)
    assert app.text[0].value == wrong["statement"].iloc[0]


def test_a_click_which_writes_into_the_state_moves_everything_below(folder, open_page):
    app = open_page(folder, "truthfulness", t_figure=title("probe_map"))
    result = truthfulness()
    app.session_state["t_probe"] = "base · ttpd"
    app.session_state["t_layer"] = "1"
    app.run()
    row = next(
        row
        for row in result.probes
        if (row.model, row.probe, row.layer) == ("base", "ttpd", 1)
    )
    assert metrics(app)["AUROC"] == f"{row.auroc:.3f}"
    expected = result.scores_dataframe("base", "ttpd", 1)["score"]
    np.testing.assert_array_equal(frame(app, "wrongness")["score"], expected)


def test_a_link_to_what_is_not_there_warns_and_falls_back(folder, open_page):
    app = open_page(
        folder,
        "truthfulness",
        t_figure=title("probe_map"),
        t_layer="99",
        t_statement="<img src=x>",
    )
    assert not app.exception
    assert [("99" in w.value, "<img" in w.value) for w in app.warning] == [
        (True, False),
        (False, True),
    ]
    assert app.selectbox(key="t_layer").value != "99"


def test_only_wrong_statements_are_listed_when_asked_for(folder, open_page):
    app = open_page(folder, "truthfulness", t_figure=title("probe_map"), t_kind="wrong")
    shown = frame(app, "wrongness")
    assert len(shown) > 0
    assert ((shown["score"] > 0) != shown["label"]).all()


def test_pairs_of_directions_data_sets_and_layers_show_their_numbers(folder, open_page):
    result = truthfulness()
    app = open_page(
        folder,
        "truthfulness",
        t_figure=title("transfer_matrix"),
        t_direction="post",
        t_activations="base",
    )
    shown = frame(app, "score")
    np.testing.assert_array_equal(shown["score"], np.sort(result.scores[1, 0]))
    app = open_page(
        folder,
        "truthfulness",
        t_figure=title("dataset_matrix"),
        t_train="all others",
        t_test=DATASETS[1],
    )
    shown = frame(app, "train")
    assert {*shown["train"]} == {"all others"}
    assert {*shown["test"]} == {DATASETS[1]}
    assert len(shown) == 2 * len(result.layers)
    app = open_page(
        folder,
        "truthfulness",
        t_figure=title("direction_cosines"),
        t_row="2",
        t_column="5",
    )
    assert metrics(app)["Base with post"] == f"{result.layer_cosines[0, 1, 2, 5]:.3f}"


def test_the_data_sets_follow_the_layer_that_is_chosen_in_the_map(folder, open_page):
    app = open_page(folder, "truthfulness", t_layer="2")
    assert not app.exception
    said = "At layer 2, as chosen in the map of probes."
    assert said in [caption.value for caption in app.caption]
    app.session_state["t_layer"] = "5"
    app.run()
    assert not app.exception
    said = [caption.value for caption in app.caption]
    assert "At layer 5, as chosen in the map of probes." in said


def test_an_older_result_says_what_it_lacks_and_lists_its_statements(
    tmp_path, open_page
):
    whole = truthfulness()
    added = ("shown", "probe_scores", "components", "layer_cosines")
    kept = {
        field.name: getattr(whole, field.name)
        for field in fields(whole)
        if field.name not in added
    }
    TruthfulnessComparison(**kept).save(tmp_path / "old")
    app = open_page(tmp_path, "truthfulness", t_statements="town7 ")
    assert not app.exception
    assert "did not keep" in app.info[0].value
    assert any(caption.value.startswith("2 statements") for caption in app.caption)


def test_a_sweep_opens_at_a_site_and_lists_examples_by_number(tmp_path, open_page):
    sweep(2).save(tmp_path / "s")
    app = open_page(tmp_path, "truthfulness", t_site="resid_post.1", t_position="-1")
    assert not app.exception
    assert metrics(app)["AUROC"] == "0.800"
    shown = frame(app, "wrongness")
    assert shown["wrongness"].is_monotonic_decreasing
    assert "without texts" in "\n".join(caption.value for caption in app.caption)


def test_a_sweep_of_texts_shows_them_with_their_scores_most_wrong_first(
    tmp_path, open_page
):
    texts = tuple(f"text {i}" for i in range(20))
    given = replace(sweep(2), examples=texts)
    given.save(tmp_path / "s")
    app = open_page(tmp_path, "truthfulness", t_site="resid_post.1", t_position="-1")
    assert not app.exception
    shown = frame(app, "wrongness")
    expected = given.examples_dataframe(3)
    assert shown["text"].tolist() == expected["text"].tolist()
    np.testing.assert_array_equal(shown["score"], given.scores[3][shown["example"]])


def test_a_probe_whose_scores_were_not_kept_says_so(tmp_path, open_page):
    whole = sweep(1)
    part = replace(whole, scores=whole.scores[:2], scored=np.arange(2, dtype=np.int32))
    part.save(tmp_path / "s")
    app = open_page(tmp_path, "truthfulness", t_site="resid_post.2")
    assert not app.exception
    assert metrics(app)["AUROC"] == "0.700"
    assert "too large to keep" in app.info[0].value


def test_a_lasso_lists_what_it_encloses(folder, open_page):
    app = open_page(folder, "truthfulness", t_figure=title("probe_map"))
    inside = [int(number) for number in truthfulness().shown[:5]]
    app.session_state["t_enclosed"] = inside
    app.run()
    assert not app.exception
    shown = frame(app, "wrongness")
    assert {*shown["number"]} == {*inside}
    assert any("inside the lasso" in caption.value for caption in app.caption)


def test_a_sweep_of_one_position_opens_at_a_point_of_its_curve(tmp_path, open_page):
    sweep(1).save(tmp_path / "s")
    app = open_page(tmp_path, "truthfulness", t_site="resid_post.2")
    assert not app.exception
    assert metrics(app)["AUROC"] == "0.700"


def test_hostile_statements_and_names_stay_texts(hostile_folder, open_page):
    app = open_page(hostile_folder, "truthfulness")
    assert not app.exception
    for item in (*app.markdown, *app.caption, *app.subheader, *app.warning):
        assert "<img" not in item.value.replace("\\<img", "")
        assert "![" not in item.value.replace("\\!\\[", "")
    for chart in app.get("plotly_chart"):
        # Decoded: plotly writes every angle bracket as an escape.
        assert "<img" not in json.dumps(json.loads(chart.proto.spec))


def test_a_cell_of_data_sets_opens_the_examples_behind_it(tmp_path, open_page):
    result = transferred()
    result.save(tmp_path / "t")
    app = open_page(
        tmp_path,
        "truthfulness",
        t_place="resid_post.1 last",
        t_train="towns",
        t_test="<b>beasts",
    )
    assert not app.exception
    assert not app.warning
    assert metrics(app)["AUROC"] == f"{result.auroc[0, 1, 1]:.3f}"
    shown = frame(app, "wrongness")
    expected = result.examples_dataframe("towns", "<b>beasts", probe=1)
    assert len(shown) == 20
    np.testing.assert_array_equal(shown["score"], expected["score"])
    np.testing.assert_array_equal(
        np.sort(shown["score"]), np.sort(result.scores[0, 1, 20:])
    )
    assert shown["wrongness"].is_monotonic_decreasing
    # A click writes into the boxes.
    app.session_state["t_train"] = "<b>beasts"
    app.run()
    assert not app.exception
    assert "no probe could be fitted" in app.info[0].value
    assert len(app.get("plotly_chart")) == 1


def test_a_sweep_of_one_site_opens_its_probe_without_a_figure(tmp_path, open_page):
    whole = sweep(1)
    per_probe = [
        field.name
        for field in fields(whole)
        if isinstance(value := getattr(whole, field.name), np.ndarray)
        and len(value) == 3
    ]
    only = {name: getattr(whole, name)[:1] for name in per_probe}
    one = replace(
        whole,
        sites=whole.sites[:1],
        positions=whole.positions[:1],
        provenance=replace(whole.provenance, models=()),
        **only,
    )
    one.save(tmp_path / "s")
    app = open_page(tmp_path, "truthfulness")
    assert not app.exception
    assert metrics(app)["AUROC"] == "0.900"
    assert len(frame(app, "wrongness")) == 20
    assert "arrays of activations" in "\n".join(one.value for one in app.caption)
