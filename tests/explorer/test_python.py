"""The Python of every page, which draws again what is shown after choices in it."""

import json
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from confidence_samples import confidence
from knowledge_samples import knowledge
from map_samples import figure_title, save_all
from probe_samples import sweep
from sample_results import refusal, truthfulness
from steered_samples import steered
from streamlit.testing.v1 import AppTest
from timeline_samples import timeline

from interp.directions import Direction, save
from interp_explorer.pages import PAGES
from interp_explorer.widgets.chart import shown


pytestmark = pytest.mark.xdist_group("explorer")
TRUTH, REFUSED, SURE = truthfulness(), refusal(), confidence()
SERIES = timeline(n_layers=2, n_heads=3)
# View, result, its name, figure, choices, and a widget that is then changed by hand.
CASES = (
    ("truthfulness", TRUTH, "truth", "layer_curve", {}, None),
    (
        "truthfulness",
        TRUTH,
        "truth",
        "probe_map",
        {"t_probe": "post · ccs"},
        ("t_layer", "4"),
    ),
    (
        "truthfulness",
        TRUTH,
        "truth",
        "transfer_matrix",
        {"t_direction": "post"},
        ("t_activations", "base"),
    ),
    (
        "truthfulness",
        TRUTH,
        "truth",
        "dataset_matrix",
        {},
        ("t_train", "all others"),
    ),
    (
        "truthfulness",
        sweep(2),
        "swept",
        "probe_heatmap",
        {"t_site": "resid_post.1"},
        ("t_position", "-1"),
    ),
    (
        "refusal",
        REFUSED,
        "refused",
        "candidate_curves",
        {"r_layer": "3"},
        ("r_view", "maps"),
    ),
    ("refusal", REFUSED, "refused", "refusal_projections", {}, ("r_along", "base")),
    (
        "knowledge",
        knowledge(),
        "knowledge",
        "knowledge_maps",
        {"k_over": "One pair", "k_layer": "2"},
        ("k_map", "difference"),
    ),
    (
        "confidence",
        SURE,
        "confidence",
        "neuron_scatter",
        {},
        ("c_neuron", "5"),
    ),
    (
        "confidence",
        SURE,
        "confidence",
        "effect_strips",
        {},
        ("c_effect", "mediated"),
    ),
    (
        "confidence",
        SURE,
        "confidence",
        "overlap_curve",
        {"c_percentile": "50"},
        ("c_candidates", 2),
    ),
    (
        "confidence",
        SURE,
        "confidence",
        "calibration_curve",
        {},
        ("c_bins", 7),
    ),
    (
        "induction",
        SERIES,
        "timeline",
        "timeline_map",
        {"i_metric": "copying", "i_order": "layer"},
        ("i_head", "L1H1"),
    ),
    ("induction", SERIES, "timeline", "timeline_scatter", {}, ("i_at", "200")),
    ("texts", steered(), "texts", "divergence_curve", {}, ("s_texts", True)),
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    root = save_all(tmp_path_factory.mktemp("python"))
    truthfulness().save(root / "truth")
    sweep(2).save(root / "swept")
    refusal().save(root / "refused")
    steered().save(root / "texts")
    return root


@pytest.fixture
def drawn_again(monkeypatch):
    """What a piece of Python shows."""

    def run(code: str) -> list[go.Figure]:
        found: list[go.Figure] = []
        monkeypatch.setattr(go.Figure, "show", lambda own: found.append(own))
        exec(code, {})
        return found

    return run


def traces(figure: go.Figure) -> list[dict[str, object]]:
    """What a figure draws, without what pointing and clicking add."""
    added = ("hoverinfo", "hovertemplate", "unselected")
    return [
        {name: value for name, value in trace.items() if name not in added}
        for trace in json.loads(figure.to_json() or "")["data"]
    ]


def in_browser(app: AppTest) -> list[list[dict[str, object]]]:
    specs = [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]
    return [traces(go.Figure(spec["data"])) for spec in specs]


def alts(app: AppTest) -> list[str]:
    return [chart.proto.alt for chart in app.get("plotly_chart")]


@pytest.mark.parametrize(
    ("view", "result", "name", "figure", "choices", "change"),
    CASES,
    ids=[f"{case[2]}-{case[3]}" for case in CASES],
)
def test_the_python_draws_what_is_shown_after_a_choice(
    view, result, name, figure, choices, change, kept, open_page, drawn_again
):
    letter = next(page.key for page in PAGES if page.name == view)
    title = figure_title(result, figure)
    number = int(title.split(".")[0]) - 1
    link = {f"{letter}_run": name, f"{letter}_figure": title, **choices}
    app = open_page(kept, view, **link)
    before = in_browser(app), alts(app)
    if change is not None:
        app.session_state[change[0]] = change[1]
    app.session_state[f"{letter}_{name}_{number}_more"] = True
    app.run()
    assert not app.exception
    (code,) = [one.value for one in app.code if "results.load" in one.value]
    again = drawn_again(code)
    now = in_browser(app)
    assert len(again) == len(now) > 0
    if change is not None:
        assert (now, alts(app)) != before
    for figure_again, there in zip(again, now, strict=True):
        # Behind these come the marks of what is chosen, and what can be clicked.
        own = traces(shown(figure_again))
        assert own == there[: len(own)]


def test_the_python_draws_two_results_beside_each_other(
    tmp_path, open_page, drawn_again
):
    for seed, name in enumerate("ab"):
        truthfulness(seed).save(tmp_path / name)
    title = figure_title(truthfulness(), "transfer_matrix")
    link = {"x_a": "a", "x_b": "b", "x_figure": title}
    app = open_page(tmp_path, "compare", **link)
    app.session_state["x_a_b_more"] = True
    app.run()
    assert not app.exception
    (code,) = [one.value for one in app.code if "results.load" in one.value]
    again = drawn_again(code)
    assert [traces(shown(figure)) for figure in again] == in_browser(app)
    assert len(again) == 3


def test_the_python_draws_the_cosines_that_are_shown(tmp_path, open_page, drawn_again):
    truthfulness().save(tmp_path / "r")
    for seed in range(3):
        vector = np.random.default_rng(seed).normal(size=8)
        one = Direction.from_vector(vector, site="resid_post.1")
        save(one, tmp_path / f"of a long name, number {seed}.safetensors")
    app = open_page(tmp_path, "directions")
    app.multiselect(key="d_names").set_value(
        [f"of a long name, number {seed}.safetensors" for seed in (0, 2)]
    )
    app.session_state["d_cosines_more"] = True
    app.run()
    assert not app.exception
    (code,) = [one.value for one in app.code if "cosine_matrix" in one.value]
    (again,) = drawn_again(code)
    (chart,) = app.get("plotly_chart")
    expected = json.loads(shown(again).to_json() or "")
    assert expected == json.loads(chart.proto.spec)
    layout = again.to_plotly_json()["layout"]
    assert tuple(layout["yaxis"]["ticktext"]) == (
        "of a long…, number 0 · 1",
        "of a long…, number 2 · 2",
    )
