"""The refusal page: a candidate's scores and fate, carried directions, answers."""

from dataclasses import replace

import pytest
from sample_results import refusal

from interp.figures import report_section
from interp.results import RefusalLimits
from interp_explorer.widgets.answers import judgements, matching
from interp_explorer.widgets.panel import heading


pytestmark = pytest.mark.xdist_group("explorer")


def title(name: str) -> str:
    """How the page calls a figure."""
    panels = report_section(refusal()).panels
    at = next(i for i, panel in enumerate(panels) if panel.name == name)
    return f"{at + 1}. {heading(panels[at])}"


def metrics(app) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def frame(app, column: str):
    return next(f.value for f in app.dataframe if column in f.value.columns)


def said(app) -> str:
    return "\n".join(str(item.value) for item in (*app.markdown, *app.caption))


@pytest.mark.parametrize("view", ["curves", "maps"])
def test_a_link_opens_a_candidate_with_its_scores_and_what_it_misses(
    folder, open_page, view
):
    app = open_page(
        folder,
        "refusal",
        r_figure=title("candidate_curves"),
        r_view=view,
        r_position="-1 <b>&",
        r_layer="7",
    )
    assert not app.exception
    assert not app.warning
    assert metrics(app)["Bypass"] == "3"
    assert metrics(app)["Induce"] == "6.6"
    assert metrics(app)["KL"] == "0.07"
    assert metrics(app)["Bootstrap share"] == "0%"
    assert "layer 7 is not below 6" in said(app)


def test_the_chosen_candidate_is_open_at_first(folder, open_page):
    app = open_page(folder, "refusal", r_figure=title("candidate_curves"))
    assert app.selectbox(key="r_position").value == "-2 <end>"
    assert app.selectbox(key="r_layer").value == "5"
    assert metrics(app)["Bootstrap share"] == "93%"
    assert "Chosen, rank 1" in said(app).replace("\\", "")


def test_where_none_passed_the_nearest_failures_come_with_reasons(tmp_path, open_page):
    whole = refusal()
    limits = RefusalLimits(
        first_late_layer=6, max_bypass=5.0, min_induce=0.0, max_kl=0.001
    )
    fallen = tuple(
        replace(one, fate="changes harmless answers", rank=None)
        for one in whole.candidates
    )
    none = replace(refusal(usable=False), candidates=fallen, limits=limits)
    none.save(tmp_path / "r")
    app = open_page(tmp_path, "refusal", r_figure=title("candidate_curves"))
    assert "No candidate passed" in said(app)
    nearest = frame(app, "what it misses")
    # Layers 4 and 5 miss the limit of KL alone; of these ablation at 5 does most.
    assert nearest[["position", "layer"]].iloc[0].tolist() == [-2, 5]
    assert nearest["what it misses"].iloc[0] == "KL 0.05 is above 0.001"


def test_a_cell_of_carried_directions_lists_all_that_was_run_of_it(folder, open_page):
    app = open_page(
        folder,
        "refusal",
        r_figure=title("refusal_transfer"),
        r_direction="base direction",
        r_model="post",
    )
    # The names of directions are our own.
    assert "base direction" in app.warning[0].value.replace("\\", "")
    app = open_page(
        folder,
        "refusal",
        r_figure=title("refusal_transfer"),
        r_direction="base",
        r_model="post",
    )
    shown = frame(app, "intervention")
    assert {*shown["direction"]} == {"base"}
    assert {*shown["model"]} == {"post"}
    assert {*shown["intervention"]} == {"ablate", "add"}


def test_no_link_opens_answers(folder, open_page):
    app = open_page(folder, "refusal", r_kind="harmful", r_answers="changed")
    answers = {row.completion for row in refusal().completions}
    assert not any(text.value in answers for text in app.text)


def test_a_candidate_without_some_scores_says_which_are_missing(tmp_path, open_page):
    whole = refusal()
    fate = "does not induce refusal when added; bypass, KL not computed"
    nan = float("nan")
    some = tuple(
        replace(one, bypass=nan, kl=nan, fate=fate) if one.layer == 2 else one
        for one in whole.candidates
    )
    replace(whole, candidates=some).save(tmp_path / "r")
    app = open_page(
        tmp_path, "refusal", r_figure=title("candidate_curves"), r_layer="2"
    )
    assert not app.exception
    assert metrics(app)["Bypass"] == metrics(app)["KL"] == "–"
    assert metrics(app)["Induce"] == "-2.4"
    assert "KL not computed" in said(app).replace("\\", "")


@pytest.mark.parametrize(
    ("direction", "told"), [("base", "direction of base"), ("post", "At layer 5")]
)
def test_a_link_shows_prompts_along_the_direction_of_a_model(
    folder, open_page, direction, told
):
    app = open_page(
        folder, "refusal", r_figure=title("refusal_projections"), r_along=direction
    )
    assert not app.exception
    (chart,) = app.get("plotly_chart")
    assert told in chart.proto.alt


def test_answers_are_strips_of_tokens_once_they_are_asked_for(folder, open_page):
    app = open_page(folder, "refusal", r_figure=title("refusal_rates"))
    assert not app.get("bidi_component")
    switch = next(one for one in app.toggle if "may be harmful" in one.label)
    app = switch.set_value(True).run()
    assert not app.exception
    strips = app.get("bidi_component")
    n = len([r for r in refusal().completions if r.instructions == "harmful"])
    assert len(strips) == len({*range(n)}) / 40
    app = app.toggle(key="r_coloured").set_value(False).run()
    assert not app.get("bidi_component")
    answers = {row.completion for row in refusal().completions}
    assert any(text.value in answers for text in app.text)


def test_filters_find_changed_disagreeing_and_looping_answers():
    rows = [
        row
        for row in refusal().completions
        if (row.instructions, row.model) == ("harmful", "post")
    ]
    prompts = list(dict.fromkeys(row.prompt for row in rows))
    assert matching(rows, "all") == prompts
    # 38 are refused unchanged, 2 with its own direction ablated.
    assert matching(rows, "changed") == prompts[2:38]
    assert matching(rows, "disagree") == matching(rows, "looping") == []
    odd = [replace(rows[0], looping=True, score=-1.0), *rows[1:]]
    assert matching(odd, "disagree") == matching(odd, "looping") == prompts[:1]
    table = judgements(rows, prompts[:3])
    assert table["instruction"].tolist() == prompts[:3]
    assert table["post · unchanged"].tolist() == [True, True, True]
    assert table["post · post direction ablated"].tolist() == [True, True, False]
