"""The page Compare: what may be compared, and what is told to who looks anyway."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from knowledge_samples import knowledge
from map_samples import formation
from sample_results import provenance, refusal, truthfulness

from interp.figures import report_section
from interp.provenance import ModelRecord
from interp.results import open_run
from interp.results.comparable import differences
from interp_explorer.catalog import catalog, settings_of
from interp_explorer.widgets.panel import heading
from probes.studies.paired import PairedNumbers


pytestmark = pytest.mark.xdist_group("explorer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    base: str
    limit: int = 10


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Three truthfulness results: one of other models, one of another seed."""
    root = tmp_path_factory.mktemp("two")
    first, second = truthfulness(), truthfulness(seed=1)
    first.save(root / "a")
    models = (
        replace(provenance().models[0], name="owner/new", weights_hash="ee"),
        provenance().models[1],
    )
    origin = replace(provenance(), models=models, created="2026-02-01T00:00:00+00:00")
    replace(second, provenance=origin).save(root / "b")
    replace(second, provenance=replace(provenance(), seed=7)).save(root / "c")
    refusal().save(root / "refused")
    return root


def texts(app) -> str:
    shown = [*app.markdown, *app.caption, *app.subheader, *app.success, *app.warning]
    return "\n".join(str(item.value) for item in shown)


def test_two_results_are_shown_beside_each_other_with_their_difference(two, open_page):
    app = open_page(two, "compare", x_a="a", x_b="b")
    assert not app.exception
    assert not app.error
    charts = app.get("plotly_chart")
    assert len(charts) == 3
    assert all(len(chart.proto.alt) > 20 for chart in charts)
    numbers = next(f.value for f in app.dataframe if "second - first" in f.value)
    assert numbers["number"].str.contains("AUROC").all()
    told = next(f.value for f in app.dataframe if "field" in f.value)
    assert "owner/new" in told["second"].tolist()


def test_the_address_names_results_and_figure(two, open_page):
    title = "4. " + heading(report_section(truthfulness()).panels[3])
    app = open_page(two, "compare", x_a="b", x_b="a", x_figure=title)
    assert [app.selectbox(key=key).value for key in ("x_a", "x_b")] == ["b", "a"]
    assert app.selectbox(key="x_figure").value == title
    assert len(app.get("plotly_chart")) == 3
    # The map of all probes is the same in both of these results.
    same = "2. " + heading(report_section(truthfulness()).panels[1])
    app = app.selectbox(key="x_figure").set_value(same).run()
    assert len(app.get("plotly_chart")) == 2
    assert any("show the same values" in item.value for item in app.info)


def test_incomparable_results_are_refused_with_field_and_both_values(two, open_page):
    app = open_page(two, "compare", x_a="a", x_b="c")
    assert "differ in seed" in app.error[0].value
    rows = next(f.value for f in app.dataframe if "field" in f.value)
    assert rows.to_numpy().tolist() == [["seed", "0", "7"]]
    assert not app.get("plotly_chart")
    looked = app.toggle(key="x_anyway").set_value(True).run()
    assert "Not a fair comparison" in looked.warning[0].value
    assert len(looked.get("plotly_chart")) == 3
    again = open_page(two, "compare", x_a="a", x_b="c", x_anyway="true")
    assert len(again.get("plotly_chart")) == 3
    assert again.error


def test_the_same_result_twice_is_no_comparison(two, open_page):
    app = open_page(two, "compare", x_a="a", x_b="a")
    assert "same result twice" in app.info[0].value
    assert not app.get("plotly_chart")


def test_only_kinds_with_two_results_are_offered(two, open_page, tmp_path):
    app = open_page(two, "compare")
    assert app.selectbox(key="x_kind").options == ["truthfulness"]
    refusal().save(tmp_path / "one")
    assert "takes two results" in open_page(tmp_path, "compare").info[0].value


def test_settings_of_runs_are_told_one_by_one(tmp_path):
    for base in ("old", "new"):
        origin = replace(provenance(), spec_hash=base)
        open_run(
            tmp_path,
            study="truthfulness",
            models=[base],
            spec=Settings(base=base),
            provenance=origin,
        )

    def told() -> list[str]:
        settings = [settings_of(e, tmp_path) for e in catalog(tmp_path).entries]
        origins = (replace(provenance(), spec_hash=base) for base in ("old", "new"))
        found = differences(*origins, settings=(settings[0], settings[1]))
        return [one.field for one in found]

    # The hashes differ by the model alone, which is what is compared.
    assert told() == []
    path = next(tmp_path.glob("**/spec.toml"))
    path.write_text(path.read_text().replace("limit = 10", "limit = 99"))
    assert told() == ["settings.limit"]
    path.write_text("no = [toml")
    assert told() == ["settings (hash)"]


def test_hostile_texts_stay_texts_in_comparisons(tmp_path, open_page):
    bad = "<img src=x onerror=hacked()> ![x](http://outside.invalid/a)"
    for name, seed in (("a <b>", 1), ("![x](y)", 2)):
        origin = replace(
            provenance(), models=(ModelRecord(name=bad),) * 2, seed=seed, command=bad
        )
        replace(truthfulness(), models=(bad, bad), provenance=origin).save(
            tmp_path / name
        )
    app = open_page(tmp_path, "compare", x_anyway="true")
    assert not app.exception
    for item in (*app.markdown, *app.caption, *app.error, *app.subheader):
        assert "<img" not in item.value.replace("\\<img", "")
        assert "![" not in item.value.replace("\\!\\[", "")


def test_maps_wait_for_torch_until_they_are_asked_for(tmp_path, open_page, monkeypatch):
    for name in "ab":
        knowledge().save(tmp_path / name)
    asked = []

    def numbers(*results):
        asked.append(results)
        rows = pd.DataFrame([("r", 1.0)], columns=["number", "first"])
        return PairedNumbers(rows=rows, method="How.")

    monkeypatch.setattr("probes.studies.paired.paired_numbers", numbers)
    app = open_page(tmp_path, "compare")
    assert not asked
    toggle = next(t for t in app.toggle if "torch" in t.label)
    shown = toggle.set_value(True).run()
    assert len(asked) == 1
    assert "How" in texts(shown)


def test_a_damaged_result_is_named(two, open_page, tmp_path):
    for name in "ab":
        truthfulness().save(tmp_path / name)
    (tmp_path / "b" / "rows.parquet").write_bytes(b"no")
    app = open_page(tmp_path, "compare")
    assert not app.exception
    assert "checksum" in app.error[0].value
    assert len(catalog(tmp_path).entries) == 2


def test_formation_runs_of_unknown_settings_say_so_and_are_paired_by_seed(
    tmp_path, open_page
):
    first = formation()
    unknown = replace(first.provenance, spec_hash="")
    for name, shift in (("a", 0), ("b", 1)):
        curves = first.curves + np.float32(shift)
        replace(first, curves=curves, provenance=unknown).save(tmp_path / name)
    app = open_page(tmp_path, "compare", x_a="a", x_b="b")
    assert not app.success
    assert any("not recorded" in item.value for item in app.info)
    toggle = next(t for t in app.toggle if "torch" in t.label)
    shown = toggle.set_value(True).run()
    numbers = next(f.value for f in shown.dataframe if "second - first" in f.value)
    last = numbers[numbers["number"].str.startswith("last")]
    assert set(last["second - first"]) == {1.0}
