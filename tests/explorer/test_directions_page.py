"""The page Directions: every saved direction, cosines, and files for other programs."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from sample_results import truthfulness

from interp.directions import Direction, Subspace, save
from interp.interchange import read_vector
from interp.results import find
from interp_explorer.saved import saved_directions
from interp_explorer.widgets.exports import gguf, neuronpedia
from interp_explorer.widgets.library import lab_label, labels, python_code


pytestmark = pytest.mark.xdist_group("explorer")
HOSTILE = "<img src=x onerror=hacked()> ![x](http://outside.invalid/a)"


def direction(seed: int, *, width: int = 16, site: str = "resid_post.3") -> Direction:
    vector = np.random.default_rng(seed).normal(size=width)
    return replace(
        Direction.from_vector(vector, site=site, position="last"),
        negative_mean=-1.0,
        positive_mean=2.5,
        n_negative=40,
        n_positive=41,
        model="owner/model",
        weights="ab" * 32,
        rule="mean of true minus mean of false",
    )


@pytest.fixture
def library(tmp_path):
    """Directions of a run, one of own making of another width, and other files."""
    kept = tmp_path / "truthfulness" / "m" / "run" / "directions"
    kept.mkdir(parents=True)
    for name in ("spec.toml", "provenance.json"):
        (kept.parent / name).write_text("{}" if name[0] == "p" else "")
    save(direction(0), kept / "truth-base.safetensors")
    save(direction(1), kept / "truth-post.safetensors")
    own = direction(2, width=8, site="resid_post.0")
    save(replace(own, model="", negative_mean=None), tmp_path / "own.safetensors")
    basis = np.eye(2, 8, dtype=np.float32)
    save(Subspace(basis=basis), tmp_path / "plane.safetensors")
    truthfulness().save(tmp_path / "result")
    return tmp_path


def texts(app) -> str:
    shown = [*app.markdown, *app.caption, *app.warning, *app.code]
    return "\n".join(str(item.value) for item in shown).replace("\\", "")


def test_every_saved_direction_is_found_and_nothing_else(library):
    found = saved_directions(library)
    assert [saved.name for saved in found.found] == [
        "own.safetensors",
        "truthfulness/m/run/directions/truth-base.safetensors",
        "truthfulness/m/run/directions/truth-post.safetensors",
    ]
    assert [saved.run for saved in found.found] == ["", *["truthfulness/m/run"] * 2]
    assert (found.problems, found.complete) == ((), True)


def test_links_that_lead_out_and_damaged_files_are_named_and_not_read(
    library, tmp_path_factory
):
    outside = tmp_path_factory.mktemp("outside")
    secret = save(direction(5), outside / "secret.safetensors")
    (library / "link.safetensors").symlink_to(secret)
    (library / "folder").symlink_to(outside)
    broken = library / "broken.safetensors"
    content = (library / "own.safetensors").read_bytes()
    broken.write_bytes(content[:-4])
    (library / "junk.safetensors").write_bytes(b"no")
    found = saved_directions(library)
    assert len(found.found) == 3
    assert any("leads out" in problem for problem in found.problems)
    assert not any("secret" in saved.name for saved in found.found)


def test_a_changed_file_is_read_again(library):
    path = library / "own.safetensors"
    before = saved_directions(library).found[0].direction
    save(direction(9), path)
    os.utime(path, ns=(1, 1))
    after = saved_directions(library).found[0].direction
    assert len(before.unit) != len(after.unit)


def test_the_table_tells_site_layer_model_norm_gap_and_run(library, open_page):
    app = open_page(library, "directions")
    assert not app.exception
    rows = next(f.value for f in app.dataframe if "class gap" in f.value)
    row = rows[rows["name"].str.endswith("truth-post.safetensors")].iloc[0]
    assert (row["site"], row["layer"], row["model"]) == (
        "resid_post.3",
        3,
        "owner/model",
    )
    assert row["norm"] == pytest.approx(direction(1).scale)
    assert (row["class gap"], row["examples"]) == (3.5, 81)
    assert row["run"] == "truthfulness/m/run"
    assert rows["class gap"].isna().sum() == 1


def test_cosines_are_of_those_with_as_many_dimensions(library, open_page):
    app = open_page(library, "directions")
    (chart,) = app.get("plotly_chart")
    figure = json.loads(chart.proto.spec)
    expected = float(direction(0).unit @ direction(1).unit)
    shown = [note["text"] for note in figure["layout"]["annotations"]]
    assert shown == ["1.00", f"{expected:.2f}", f"{expected:.2f}", "1.00"]
    names = app.multiselect(key="d_names")
    mixed = names.set_value([*names.options]).run()
    assert "have not 8 dimensions" in mixed.warning[0].value
    assert not names.set_value([]).run().get("plotly_chart")


def test_the_address_names_one_direction_and_words(library, open_page):
    name = "truthfulness/m/run/directions/truth-post.safetensors"
    app = open_page(library, "directions", d_one=name)
    assert app.selectbox(key="d_one").value == name
    assert "40 negative" in texts(app)
    app = open_page(library, "directions", d_words="OWN.safe")
    assert "1 directions" in texts(app)
    assert (
        "Nothing here fits"
        in open_page(library, "directions", d_words="q").info[0].value
    )


def test_what_cannot_be_exported_says_why(library, open_page):
    pytest.importorskip("gguf")
    app = open_page(library, "directions", d_one="own.safetensors")
    said = texts(app)
    assert "refuses a file with 'direction.0'" in said
    assert "Neuronpedia needs the name of one" in said
    named = open_page(
        library, "directions", d_one="own.safetensors", d_model_id="gpt2-small"
    )
    assert "Neuronpedia needs" not in texts(named)


def test_files_for_other_programs_hold_the_direction(tmp_path):
    pytest.importorskip("gguf")
    one = direction(1)
    assert gguf(one).content.startswith(b"GGUF")
    path = tmp_path / "v.json"
    path.write_bytes(neuronpedia(one, label="up").content)
    back = read_vector(path)
    np.testing.assert_allclose(back.vector, one.vector, rtol=1e-5)
    assert back.rule == "up"
    assert "attn_out" in neuronpedia(direction(1, site="attn_out.2")).reason


def test_the_python_draws_the_cosines_again(library, monkeypatch):
    found = saved_directions(library).found[1:]
    shown = []
    monkeypatch.setattr(
        "plotly.graph_objects.Figure.show", lambda figure: shown.append(figure)
    )
    exec(python_code(found), {})
    expected = float(direction(0).unit @ direction(1).unit)
    assert shown[0].data[0].z[0, 1] == pytest.approx(expected, abs=1e-6)


def test_names_are_short_where_that_is_enough(library):
    found = saved_directions(library).found
    assert labels(found)[1] == "truth-base · resid_post.3"
    again = (*found, replace(found[1], run="other/run2"))
    assert labels(again)[1] == "truth-base · resid_post.3 · run"
    assert lab_label(found[1], again).endswith("truth-base.safetensors")
    assert lab_label(found[1], found) == "truth-base · resid_post.3"


def test_a_direction_of_the_hub_comes_by_a_command_and_not_by_the_page(
    library, open_page
):
    app = open_page(library, "directions", d_words="own")
    assert "hf download" not in texts(app)
    app.session_state["d_hub"] = True
    said = texts(app.run())
    assert "--revision COMMIT" in said
    # Below the folder, where this page looks.
    assert f"--local-dir {library / 'hub'}" in said


def test_hostile_names_stay_texts(tmp_path, open_page):
    bad = replace(direction(0), model=HOSTILE, rule=HOSTILE, position=HOSTILE)
    save(bad, tmp_path / "![x](outside.invalid) $x$ :red[z].safetensors")
    app = open_page(tmp_path, "directions")
    assert not app.exception
    for item in (*app.markdown, *app.caption, *app.warning, *app.subheader):
        assert "<img" not in item.value.replace("\\<img", "")
        assert "![" not in item.value.replace("\\!\\[", "")


def test_a_folder_without_directions_says_how_to_keep_some(tmp_path, open_page):
    truthfulness().save(tmp_path / "r")
    app = open_page(tmp_path, "directions")
    assert "interp.directions.save" in app.info[0].value
    assert find(tmp_path) == ()
