"""The page of saved texts, and saving what the Lab shows."""

import pytest
from steered_samples import steered

from interp.results import SteeredText, load
from interp_explorer.widgets.sides import as_html


pytestmark = pytest.mark.xdist_group("facts_family")


@pytest.fixture
def saved(tmp_path):
    steered(word="dynamite").save(tmp_path / "lab" / "one")
    return tmp_path


def test_texts_are_not_sent_before_they_are_asked_for(saved, open_page):
    app = open_page(saved, "texts")
    assert not app.exception
    frames = "\n".join(frame.value.to_csv() for frame in app.dataframe)
    shown = [*app.markdown, *app.caption, *app.text, *app.get("html")]
    assert "dynamite" not in frames + "".join(str(item.proto) for item in shown)
    assert not app.get("plotly_chart")
    app = app.toggle(key="s_texts").set_value(True).run()
    bodies = [one.proto.body for one in app.get("html")]
    assert bodies == [as_html(text) for text in steered(word="dynamite").texts]
    assert app.text[0].value == "dynamite how"
    assert len(app.get("plotly_chart")) == 1


def test_a_card_of_the_overview_leads_to_it(saved, open_page):
    app = open_page(saved)
    assert any("Saved texts" in item.value for item in app.markdown)
    assert any("\\-1\\.5" in item.value for item in app.markdown)


def test_what_the_lab_saves_opens_without_a_model_and_leads_back(
    open_lab, open_page, results, facts_family
):
    lab = open_lab(l_strength="-2", l_length="8")
    lab.button(key="lab_save").click().run()
    assert not lab.exception
    (place,) = (results / "lab").iterdir()
    kept = load(place)
    assert isinstance(kept, SteeredText)
    assert (kept.asked.strength, kept.asked.max_new_tokens) == (-2.0, 8)
    assert kept.provenance.models[0].name == str(facts_family.post)
    assert kept.provenance.models[0].weights_hash
    page = open_page(results, "texts").toggle(key="s_texts").set_value(True).run()
    assert [one.proto.body for one in page.get("html")] == written(lab)
    again = open_lab(s=kept.link)
    assert again.slider(key="l_strength").value == -2.0
    assert written(again) == written(lab)
    # Saved again it replaces itself.
    again.button(key="lab_save").click().run()
    assert [*(results / "lab").iterdir()] == [place]


def test_saving_outside_of_the_folder_is_refused(open_lab, results, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (results / "lab").symlink_to(outside)
    lab = open_lab(l_length="4")
    lab.button(key="lab_save").click().run()
    assert any("leads out" in error.value for error in lab.error)
    assert not any(outside.iterdir())


def written(app) -> list[str]:
    return [one.proto.body for one in app.get("html")]
