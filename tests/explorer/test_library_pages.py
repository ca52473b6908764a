"""Overview and Runs: many results, numbers at a glance, how far runs are."""

import json
import logging
import shlex
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from sample_results import provenance, refusal, truthfulness

from interp.figures.brief import brief
from interp.results import open_run
from interp_explorer import catalog as catalog_module, glance as glance_module
from interp_explorer.catalog import catalog
from interp_explorer.going import duration, summary
from interp_explorer.missing import missing
from interp_explorer.widgets.text import escaped


pytestmark = pytest.mark.xdist_group("explorer")
START = datetime(2026, 1, 1, tzinfo=UTC)
MANY = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    base: str = "owner/base"
    statements: tuple[str, ...] = ("cities.csv",)
    seed: int = 0


def opened_run(root, *, seed=0, study="truthfulness"):
    return open_run(
        root,
        study=study,
        models=["owner/base", "owner/post"],
        spec=Settings(seed=seed),
        provenance=provenance(study),
    )


def event(name, at, **more):
    return {
        "event": name,
        "time": (START + timedelta(seconds=at)).isoformat(),
        **more,
    }


def progress(seconds, done, *, what="answer", of=100):
    return event(
        "progress",
        seconds,
        what=what,
        done=done,
        of=of,
        unit="prompts",
        seconds=float(seconds),
    )


def texts(app) -> str:
    shown = [*app.markdown, *app.caption, *app.code]
    return "\n".join(str(item.value) for item in shown).replace("\\", "")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Hundreds of runs, of which one is finished."""
    root = tmp_path_factory.mktemp("many")
    first = opened_run(root)
    for number in range(1, MANY):
        copied = first.path.with_name(f"{number:012x}")
        shutil.copytree(first.path, copied)
    first.finish(truthfulness())
    return root


def test_hundreds_of_runs_are_read_once_and_shown_by_the_page(
    many, open_page, monkeypatch
):
    read = []
    real = catalog_module.run_info
    monkeypatch.setattr(
        catalog_module, "run_info", lambda path: read.append(path) or real(path)
    )
    app = open_page(many)
    assert not app.exception
    assert f"**1** results · **{MANY - 1}** not finished · **2** models" in [
        item.value for item in app.markdown
    ]
    assert len(read) <= MANY
    app.run()
    assert len(read) <= MANY
    assert app.number_input(key="o_page").max == MANY // 12
    rows = open_page(many, "runs").dataframe[0].value
    assert len(rows) == MANY


def test_a_card_has_a_number_and_a_line_that_are_read_once(
    tmp_path, open_page, monkeypatch
):
    truthfulness().save(tmp_path / "r")
    app = open_page(tmp_path)
    found = brief(truthfulness())
    assert f"**{escaped(found.number)}**" in [item.value for item in app.markdown]
    assert found.name in texts(app)
    (picture,) = app.get("html")
    assert 'src="data:image/svg+xml;base64,' in picture.proto.body
    assert 'alt="AUROC by layer"' in picture.proto.body
    monkeypatch.setattr(glance_module, "check_inside", lambda *_: None)
    monkeypatch.setattr("interp.results.load", None)
    assert len(app.run().get("html")) == 1


def test_a_result_that_cannot_be_read_has_a_card_without_a_line(
    tmp_path, open_page, caplog
):
    truthfulness().save(tmp_path / "r")
    (tmp_path / "r" / "rows.parquet").write_bytes(b"no")
    with caplog.at_level(logging.ERROR, logger="interp.explorer"):
        app = open_page(tmp_path)
    assert not app.exception
    assert not app.get("html")
    assert truthfulness().headline() in texts(app)


def test_what_is_missing_is_named_with_a_command_that_knows_the_data(tmp_path):
    run = opened_run(tmp_path)
    run.finish(truthfulness())
    found = missing(catalog(tmp_path).entries, tmp_path)
    by_name = {hint.page.name: shlex.split(hint.command) for hint in found}
    assert set(by_name) == {"refusal", "knowledge", "confidence", "induction"}
    knowledge = by_name["knowledge"]
    assert knowledge[:4] == ["interp", "compare", "owner/base", "owner/post"]
    assert knowledge[knowledge.index("--statements") + 1] == "cities.csv"
    refused = by_name["refusal"]
    assert refused[refused.index("--harmful") + 1] == "FILE"
    refusal().save(tmp_path / "refused")
    later = missing(catalog(tmp_path).entries, tmp_path)
    assert "refusal" not in {hint.page.name for hint in later}


def test_the_overview_shows_what_is_missing(many, open_page):
    app = open_page(many, o_states="finished")
    assert truthfulness().headline() in texts(app)
    assert any("Not measured yet" in box.label for box in app.expander)
    # Commands are sent once the box is open.
    assert not app.code
    app.session_state["o_missing"] = True
    app.run()
    assert any("--studies refusal" in code.value for code in app.code)


def test_the_filter_is_sent_once_it_is_asked_for_and_links_ask(many, open_page):
    app = open_page(many)
    assert app.expander[0].label == "Filter"
    assert not app.multiselect
    app = open_page(many, o_words="no such word")
    assert app.text_input(key="o_words").value == "no such word"
    assert "Nothing here fits." in [item.value for item in app.info]
    app.text_input(key="o_words").set_value("owner").run()
    assert not app.info


def test_speed_and_time_left_are_those_since_the_last_start():
    events = [
        event("started", 0),
        progress(50, 10),
        event("resumed", 1000),
        # What was done before the start counts as done, not as fast.
        progress(1020, 40),
        progress(1080, 70),
    ]
    found = summary(events, now=START + timedelta(seconds=1090))
    (step,) = found.steps
    assert (step.done, step.of, step.per_minute) == (70, 100, 30.0)
    assert step.seconds_left == 60
    assert (found.starts, found.seconds, found.silent) == (2, 80.0, 10.0)
    assert found.seems_alive
    late = summary(events, now=START + timedelta(seconds=2000))
    assert not late.seems_alive
    assert "what answer" in late.last


def test_the_newest_step_comes_first_and_nonsense_is_passed_over():
    events = [
        event("started", 0),
        progress(20, 1, what="a"),
        progress(30, 1, what="b"),
        progress(40, 2, what="a"),
        event("progress", 45, what="c", of="many"),
        {"event": "progress", "of": 3},
    ]
    found = summary(events, now=START)
    assert [step.what for step in found.steps] == ["", "a", "b"]
    assert found.silent != found.silent
    nothing = summary([], now=START)
    assert (nothing.last, nothing.steps, nothing.starts) == ("", (), 0)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59.6, "1 min"), (3661, "1 h 1 min"), (90_000, "1 d 1 h")],
)
def test_durations_have_two_units_at_most(seconds, said):
    assert duration(seconds) == said
    assert duration(float("nan")) == "–"


def test_an_unfinished_run_shows_progress_and_the_command_that_goes_on(
    tmp_path, open_page
):
    run = opened_run(tmp_path)
    with (run.path / "events.jsonl").open("a") as file:
        for one in (progress(10, 10), progress(70, 40)):
            file.write(json.dumps(one) + "\n")
    name = run.path.relative_to(tmp_path).as_posix()
    app = open_page(tmp_path, "runs", n_run=name)
    assert not app.exception
    assert "seems to have stopped" in texts(app)
    metrics = {metric.label: metric.value for metric in app.metric}
    assert metrics["Left of this step"] == "2 min"
    codes = [code.value for code in app.code]
    assert provenance().command in codes
    again = next(code for code in codes if code.startswith("interp study"))
    assert shlex.split(again)[:3] == ["interp", "study", "truthfulness"]
    assert str(run.path / "spec.toml") in again
    rows = app.dataframe[0].value
    assert rows["done"].tolist() == ["40 of 100 prompts"]
    assert rows["per minute"].tolist() == [30.0]


def test_runs_are_narrowed_by_state(tmp_path, open_page):
    opened_run(tmp_path).finish(truthfulness())
    opened_run(tmp_path, seed=1)
    app = open_page(tmp_path, "runs", n_states="unfinished")
    assert app.dataframe[0].value["state"].tolist() == ["unfinished"]
    app = open_page(tmp_path, o_states="unfinished")
    assert truthfulness().headline() not in texts(app)


def test_every_finished_run_shows_its_settings(tmp_path, open_page):
    run = opened_run(tmp_path)
    run.finish(truthfulness())
    app = open_page(tmp_path, "truthfulness")
    settings = next(code for code in app.code if code.language == "toml")
    assert 'statements = ["cities.csv"]' in settings.value
