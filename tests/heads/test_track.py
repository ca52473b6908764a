"""Tracking a series: the same numbers as one at a time, resumed, and from a hub."""

import itertools
import json
import os
import signal
import sys
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from forked import forked
from hub_stand_in import Hub, serving
from tiny import saved_tiny_model

import interp
from interp import heads, stopping
from interp.errors import ConfigError, UnknownSiteError, UnsupportedModelError
from interp.heads import downloads as downloads_module
from interp.heads.metrics import Measured
from interp.stopping import StoppedError


SMALL = heads.SequenceSpec(n_sequences=4, n_tokens=24)
USUAL = (heads.AttentionScores(), heads.Losses())


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> Path:
    """Seven checkpoints of one architecture, each from another seed."""
    place = tmp_path_factory.mktemp("series")
    for number in range(7):
        folder = saved_tiny_model(place, seed=number)
        folder.rename(place / f"step-{number * 100}")
    return place


@pytest.fixture
def broken(series, tmp_path) -> Path:
    """The same with one checkpoint cut short, and one empty."""
    for folder in series.iterdir():
        (tmp_path / "s" / folder.name).parent.mkdir(exist_ok=True)
        (tmp_path / "s" / folder.name).symlink_to(folder)
    for name in ("step-0", "step-300"):
        (tmp_path / "s" / name).unlink()
        (tmp_path / "s" / name).mkdir()
    for file in (series / "step-300").iterdir():
        (tmp_path / "s" / "step-300" / file.name).write_bytes(file.read_bytes()[:5000])
    return tmp_path / "s"


def test_every_checkpoint_has_the_scores_of_a_model_loaded_by_itself(series):
    found = heads.track(series, metrics=USUAL, sequences=SMALL)
    assert found.steps.tolist() == [0, 100, 200, 300, 400, 500, 600]
    given = heads.repeated_tokens(
        interp.load(series / "step-0"), n_sequences=4, n_tokens=24
    )
    for place, name in enumerate(found.checkpoints):
        alone = heads.score(interp.load(series / name), given, resamples=20)
        for metric in found.metrics:
            np.testing.assert_allclose(
                found.value(metric)[place], alone.value(metric), rtol=1e-6
            )
        assert found.curve("loss")[place] == pytest.approx(alone.loss.mean(), rel=1e-6)
        copies = alone.by_copy()
        for curve, column in (
            ("loss_first_copy", "loss_first"),
            ("loss_later_copies", "loss_later"),
            ("copy_accuracy", "accuracy_later"),
        ):
            wanted = copies[column].mean()
            assert found.curve(curve)[place] == pytest.approx(wanted, rel=1e-6)
        assert found.chance[0] == pytest.approx(alone.uniform[0].mean(), rel=1e-6)


def test_heads_are_counted_ranked_and_followed_as_by_a_plain_loop(series):
    found = heads.track(series, metrics=USUAL, sequences=SMALL)
    values = found.value("prefix_matching")
    highest = found.curve("prefix_matching (highest head)")
    np.testing.assert_allclose(highest, values.max(axis=(1, 2)), rtol=1e-6)
    three = np.sort(values.reshape(7, -1), axis=1)[:, -3:].mean(axis=1)
    curve = found.curve("prefix_matching (mean of 3 highest)")
    np.testing.assert_allclose(curve, three, rtol=1e-6)
    ranks = [row.argsort().argsort() for row in values.reshape(7, -1)]
    wanted = [np.corrcoef(a, b)[0, 1] for a, b in itertools.pairwise(ranks)]
    np.testing.assert_allclose(found.persistence[0], wanted, rtol=1e-5)
    above = [(v > found.threshold[0]).sum() for v in values]
    assert found.n_above[0].tolist() == above


def test_weights_and_directions_are_followed_too(series):
    examples = heads.Examples(
        prompts=tuple(f"{i} {word}" for i in range(8) for word in ("yes", "no")),
        labels=(True, False) * 8,
        groups=tuple(str(i) for i in range(8) for _ in "ab"),
    )
    direction = heads.ContrastDirection(name="answer", examples=examples, layer=1)
    metrics = [heads.CopyingByWeights(), heads.StrongestComposition(), direction]
    found = heads.track(series, metrics=metrics, sequences=SMALL)
    last = interp.load(series / "step-600")
    np.testing.assert_allclose(
        found.value("copying")[-1], heads.copying(last).eigenvalues, atol=1e-5
    )
    score = heads.composition(last, through="key").score
    reads = found.value("key_composition")[-1]
    assert np.isnan(reads[0]).all()
    assert reads[2, 3] == pytest.approx(np.nanmax(score[:, :, 2, 3]), rel=1e-5)
    rows = [
        interp.capture(
            interp.load(series / name), examples.prompts, sites=["resid_post.1"]
        )
        for name in ("step-0", "step-600")
    ]
    units = [
        interp.directions.mean_difference(acts, list(examples.labels)).unit
        for acts in rows
    ]
    cosine = found.curve("answer (cosine to the last)")
    assert cosine[-1] == pytest.approx(1.0)
    assert cosine[0] == pytest.approx(float(units[0] @ units[1]), abs=1e-4)
    assert found.curve("answer_auroc")[-1] == pytest.approx(1.0)


def test_a_function_is_a_metric_and_two_of_one_name_are_refused(series):
    def norm(model, context):
        size = float(model.hf.get_input_embeddings().weight.detach().norm())
        return Measured(values={"norm": np.array([size])})

    found = heads.track(series, metrics=[norm], sequences=SMALL)
    weight = interp.load(series / "step-200").hf.get_input_embeddings().weight
    assert found.curve("norm")[2] == pytest.approx(
        float(weight.detach().norm()), rel=1e-6
    )
    assert found.heads.shape == (0, 7, 0, 0)
    with pytest.raises(ConfigError, match="Two metrics are called 'norm'"):
        heads.track(series, metrics=[norm, norm], sequences=SMALL)


def test_broken_checkpoints_are_named_and_the_rest_is_as_without_them(
    series, broken, tmp_path
):
    found = heads.track(broken, metrics=USUAL, sequences=SMALL, out=tmp_path / "o")
    assert [row.name for row in found.failed] == ["step-0", "step-300"]
    assert "no config.json" in found.failed[0].reason
    assert found.steps.tolist() == [100, 200, 400, 500, 600]
    whole = heads.track(series, metrics=USUAL, sequences=SMALL)
    kept = [1, 2, 4, 5, 6]
    np.testing.assert_array_equal(found.heads, whole.heads[:, kept])
    assert any("2 of 7 checkpoints" in note for note in found.notes)
    loaded = heads_result(tmp_path / "o")
    assert loaded.failed == found.failed
    # Once repaired they are measured, and only they.
    for name in ("step-0", "step-300"):
        for file in (series / name).iterdir():
            (broken / name / file.name).write_bytes(file.read_bytes())
    again = heads.track(broken, metrics=USUAL, sequences=SMALL, out=tmp_path / "o")
    np.testing.assert_array_equal(again.heads, whole.heads)
    assert measured_in(tmp_path / "o") == [100, 200, 400, 500, 600, 0, 300]


def test_a_series_of_which_nothing_can_be_read_is_an_error(tmp_path):
    for step in (1, 2):
        (tmp_path / f"step{step}").mkdir()
    with pytest.raises(UnsupportedModelError, match=r"None of the 2 .*no config\.json"):
        heads.track(tmp_path, metrics=USUAL, sequences=SMALL)


@dataclass(frozen=True, kw_only=True)
class StopAt:
    """Asks for a stop while a checkpoint is measured."""

    step: int

    def __call__(self, model, context) -> Measured:
        if context.checkpoint.step == self.step:
            stopping.request_stop()
        return Measured(values={"one": np.ones(1)})


def test_sequences_longer_than_the_model_reads_are_refused_at_once(series):
    long = heads.SequenceSpec(n_sequences=4, n_tokens=100_000)
    with pytest.raises(ConfigError, match="Sequences of 100000 tokens"):
        heads.track(series, metrics=USUAL, sequences=long)


def test_a_layer_that_no_checkpoint_has_is_refused_at_the_first(series):
    asked = []

    def metric(model, context):
        asked.append(context.checkpoint.name)
        model.architecture.point("resid_post.99")
        return Measured()

    with pytest.raises(UnknownSiteError, match="no layer 99"):
        heads.track(series, metrics=[metric], sequences=SMALL)
    assert asked == ["step-0"]


def test_a_signal_stops_after_a_clean_checkpoint_and_the_rest_follows(
    series, tmp_path, monkeypatch
):
    monkeypatch.setattr(stopping, "_requested", threading.Event())
    metrics = [*USUAL, StopAt(step=200)]
    with pytest.raises(StoppedError, match="3 of 7 checkpoints are measured"):
        heads.track(series, metrics=metrics, sequences=SMALL, out=tmp_path)
    assert measured_in(tmp_path) == [0, 100, 200]
    stopping._requested.clear()
    found = heads.track(series, metrics=metrics, sequences=SMALL, out=tmp_path)
    assert measured_in(tmp_path) == [0, 100, 200, 300, 400, 500, 600]
    whole = heads.track(series, metrics=USUAL, sequences=SMALL)
    np.testing.assert_array_equal(found.heads, whole.heads)


def tracked_and_killed(series: Path, out: Path, kill_at: int) -> None:
    """Track in a fork, which dies before so many shards are there; never for 0."""
    left = kill_at

    def dies(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        # Shards are renamed into place: the kill comes just before one of them is.
        if event == "os.rename" and "/shards/" in str(arguments[1]):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(dies)
    heads.track(series, metrics=USUAL, sequences=SMALL, out=out)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_a_run_that_is_killed_again_and_again_ends_as_an_undisturbed_one(
    series, tmp_path
):
    # Killed before its first shard, its second and its third: 0, 1 and 3 are whole.
    for kill_at, status, shards in ((1, -9, 0), (2, -9, 1), (3, -9, 3), (0, 0, 7)):
        child = forked(partial(tracked_and_killed, series, tmp_path, kill_at))
        child.join(timeout=300)
        assert child.exitcode == status
        assert len(list(tmp_path.rglob("shards/*.safetensors"))) == shards
    whole = heads.track(series, metrics=USUAL, sequences=SMALL)
    found = heads_result(tmp_path)
    np.testing.assert_array_equal(found.heads, whole.heads)
    np.testing.assert_array_equal(found.samples, whole.samples)


def test_a_checkpoint_that_changed_is_measured_again(series, tmp_path):
    for folder in series.iterdir():
        (tmp_path / "s" / folder.name).mkdir(parents=True)
        for file in folder.iterdir():
            (tmp_path / "s" / folder.name / file.name).write_bytes(file.read_bytes())
    options = {"metrics": USUAL, "sequences": SMALL, "out": tmp_path / "o"}
    heads.track(tmp_path / "s", **options)
    other = (series / "step-100" / "model.safetensors").read_bytes()
    (tmp_path / "s" / "step-500" / "model.safetensors").write_bytes(other)
    found = heads.track(tmp_path / "s", **options)
    assert measured_in(tmp_path / "o")[7:] == [500]
    np.testing.assert_array_equal(found.heads[:, 5], found.heads[:, 1])


@pytest.fixture
def hub(series, tmp_path, monkeypatch):
    """A repository whose revisions step0 to step600 are the checkpoints."""
    monkeypatch.setattr(downloads_module, "WAITS", (0.01, 0.02, 0.03))
    files = {path.name: path.read_bytes() for path in (series / "step-0").iterdir()}
    with serving(files, tmp_path / "cache", monkeypatch) as hub:
        for number in range(7):
            commit = f"{number + 1:040x}"
            weights = (
                series / f"step-{number * 100}" / "model.safetensors"
            ).read_bytes()
            hub.revisions[f"step{number * 100}"] = commit
            hub.own[commit] = {"model.safetensors": weights}
        yield hub


COMMITS = [f"{number + 1:040x}" for number in range(7)]


def weights_under(place: Path) -> int:
    # Unlike `rglob`, this passes over folders that the download removes meanwhile.
    return sum("model.safetensors" in names for _, _, names in os.walk(place))


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Notes at each checkpoint which commits were asked for and what lies on disk."""

    hub: Hub
    place: Path
    seen: list

    def __repr__(self) -> str:
        return "Watch"

    def __call__(self, model, context) -> Measured:
        number = context.checkpoint.step // 100
        following = COMMITS[min(number + 1, 6)]
        # The thread that fetches the next one runs beside us: give it time.
        for _ in range(200):
            if "model.safetensors" in self.hub.fetched(following):
                break
            threading.Event().wait(0.02)
        asked = [i for i, c in enumerate(COMMITS) if self.hub.fetched(c)]
        self.seen.append((number, max(asked), weights_under(self.place)))
        return Measured(values={"one": np.ones(1)})


def test_a_hub_series_is_fetched_ahead_measured_and_evicted(hub, series, tmp_path):
    seen: list = []
    watch = Watch(hub=hub, place=tmp_path, seen=seen)
    found = heads.track(
        "someone/tiny", metrics=[*USUAL, watch], sequences=SMALL, out=tmp_path / "o"
    )
    assert found.checkpoints == tuple(f"step{n * 100}" for n in range(7))
    whole = heads.track(series, metrics=USUAL, sequences=SMALL)
    np.testing.assert_array_equal(found.heads, whole.heads)
    # While one is measured the next one was asked for, and none beyond.
    assert [(a, b) for a, b, _ in seen] == [(n, min(n + 1, 6)) for n in range(7)]
    assert max(held for _, _, held in seen) <= 2
    assert weights_under(tmp_path) == 0
    assert list((tmp_path / "o").rglob("downloads")) == []


def test_what_is_kept_lies_in_the_ordinary_cache_and_is_used_from_there(hub, tmp_path):
    some = heads.find_series("someone/tiny", revisions=["step0", "step100"])
    heads.track(some, metrics=USUAL, sequences=SMALL, keep=True)
    assert weights_under(tmp_path / "cache") == 2
    hub.asked.clear()
    heads.track(some, metrics=USUAL, sequences=SMALL)
    assert hub.asked == []
    # What somebody else put there is not removed.
    assert weights_under(tmp_path / "cache") == 2


def test_failing_and_stalling_downloads_are_tried_again(
    hub, series, monkeypatch, caplog
):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    hub.failures[COMMITS[1]] = 2
    hub.stalls[COMMITS[2]] = 1
    hub.failures[COMMITS[4]] = 10_000
    found = heads.track("someone/tiny", metrics=USUAL, sequences=SMALL)
    assert [row.name for row in found.failed] == ["step400"]
    assert "HTTP 503" in found.failed[0].reason
    whole = heads.track(series, metrics=USUAL, sequences=SMALL)
    kept = [0, 1, 2, 3, 5, 6]
    np.testing.assert_array_equal(found.heads, whole.heads[:, kept])
    assert hub.failures[COMMITS[1]] == hub.stalls[COMMITS[2]] == 0
    assert "Trying again in" in caplog.text


def test_the_induction_series_changes_where_its_heads_form(induction_family):
    found = heads.track(
        induction_family.folder,
        metrics=[*USUAL, heads.StrongestComposition()],
        sequences=heads.SequenceSpec(n_sequences=24, n_tokens=48, periods=(6, 16)),
    )
    names = ("prefix_matching (highest head)", "copy_accuracy")
    for name in names:
        change = found.phase(name)
        assert change.verdict == "transition", change.reason
        curve = found.curve(name)
        for time in change.times:
            # Before it nothing is there, after it most is.
            assert curve[found.steps <= time.grid_low - 50].max() < 0.35
            assert curve[found.steps >= time.grid_high + 50].min() > 0.6
            assert time.low <= time.step <= time.high
    assert found.top("prefix_matching")[0].startswith("L1")
    assert found.top("previous_token")[0].startswith("L0")
    times = [found.phase(name).time("logistic midpoint").step for name in names]
    assert abs(times[0] - times[1]) < 50


def heads_result(out: Path) -> interp.results.HeadTimeline:
    return interp.results.HeadTimeline.load(next(out.glob("track/*/*")))


def measured_in(out: Path) -> list[int]:
    """The steps that were measured, in order, over all attempts of a run."""
    events = next(out.glob("track/*/*/events.jsonl")).read_text().splitlines()
    rows = [json.loads(line) for line in events]
    return [row["step"] for row in rows if row["event"] == "measured"]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
