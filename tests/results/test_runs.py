import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from sample_results import MODELS, provenance, refusal, truthfulness

from interp import results
from interp.config import read_spec
from interp.errors import ResultError, UnwritableError
from interp.results import TruthfulnessComparison
from interp.results.runs import slug


@dataclass(frozen=True)
class Spec:
    seed: int = 0
    statements: tuple[str, ...] = ("cities.csv",)


def _open(directory: Path, seed: int = 0, content: tuple[str, ...] = ()):
    return results.open_run(
        directory,
        study="truthfulness",
        models=MODELS,
        spec=Spec(seed=seed),
        provenance=provenance(),
        content=content,
    )


def test_a_run_folder_has_the_layout_of_the_contract(tmp_path: Path):
    run = _open(tmp_path)
    expected = tmp_path / "truthfulness" / "owner--base..owner--post" / run.spec_hash
    assert run.path == expected
    assert run.shards.is_dir()
    assert read_spec(run.path / "spec.toml", Spec) == Spec()
    run.finish(truthfulness())
    names = {p.name for p in run.path.iterdir()}
    assert names == {"spec.toml", "provenance.json", "events.jsonl", "shards", "result"}


def test_the_same_settings_resume_and_find_the_finished_result(tmp_path: Path):
    first = _open(tmp_path)
    assert first.result() is None
    again = _open(tmp_path)
    assert again.path == first.path
    assert [event["event"] for event in again.events()] == ["started", "resumed"]
    again.finish(truthfulness())
    third = _open(tmp_path)
    assert third.finished
    assert isinstance(third.result(), TruthfulnessComparison)
    assert [event["event"] for event in third.events()][-1] == "finished"


def test_other_settings_or_other_weights_are_another_run(tmp_path: Path):
    paths = {
        _open(tmp_path).path,
        _open(tmp_path, seed=1).path,
        _open(tmp_path, content=("weights",)).path,
    }
    assert len(paths) == 3


def test_half_a_line_of_a_dead_process_spoils_no_other_event(tmp_path: Path):
    run = _open(tmp_path)
    with (run.path / "events.jsonl").open("a") as file:
        file.write('{"event": "shar')
    run.append("resumed", {"shard": 3})
    assert [event["event"] for event in run.events()] == ["started", "resumed"]
    assert run.events()[-1]["shard"] == 3


def test_find_lists_runs_with_state_and_headline(tmp_path: Path):
    _open(tmp_path, seed=1)
    _open(tmp_path).finish(truthfulness())
    late = dataclasses.replace(
        provenance("refusal"), created="2026-02-02T00:00:00+00:00"
    )
    run = results.open_run(
        tmp_path, study="refusal", models=MODELS, spec=Spec(), provenance=late
    )
    result = refusal()
    object.__setattr__(result, "provenance", late)
    run.finish(result)
    found = results.find(tmp_path)
    assert [info.study for info in found] == ["refusal", "truthfulness", "truthfulness"]
    assert sorted(info.state for info in found) == [
        "finished",
        "finished",
        "unfinished",
    ]
    assert found[0].headline == refusal().headline()
    assert found[0].models == MODELS
    assert results.find(run.path)[0].path == run.path


def test_find_shows_a_damaged_run_and_survives_a_missing_event(tmp_path: Path):
    run = _open(tmp_path)
    run.finish(truthfulness())
    (run.path / "events.jsonl").unlink()
    assert results.find(tmp_path)[0].headline == truthfulness().headline()
    (run.path / "provenance.json").write_text("{")
    assert results.find(tmp_path)[0].state == "damaged"
    (run.path / "provenance.json").write_text(json.dumps({"study": 3}))
    assert results.find(tmp_path)[0].state == "damaged"


def test_find_reads_hundreds_of_runs_without_their_arrays(tmp_path: Path):
    run = _open(tmp_path)
    run.finish(truthfulness())
    (run.path / "result" / "arrays.safetensors").write_bytes(b"not read")
    files = {
        name: (run.path / name).read_bytes()
        for name in ("spec.toml", "provenance.json", "events.jsonl")
    }
    for i in range(300):
        copy = tmp_path / "truthfulness" / f"model{i}" / f"{i:012x}"
        copy.mkdir(parents=True)
        for name, data in files.items():
            (copy / name).write_bytes(data)
    start = time.perf_counter()
    assert len(results.find(tmp_path)) == 301
    assert time.perf_counter() - start < 5


def test_find_names_a_folder_that_is_not_there(tmp_path: Path):
    with pytest.raises(ResultError, match="There is no folder"):
        results.find(tmp_path / "nowhere")
    assert results.find(tmp_path) == ()


def test_a_file_in_the_way_is_one_clear_line(tmp_path: Path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UnwritableError, match="out"):
        _open(tmp_path / "out")


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        (["owner/model"], "owner--model"),
        (["a", "a"], "a"),
        (["../../etc/passwd"], "passwd"),
        (["owner/модель x"], "owner--модель-x"),
        (["..", "//"], "model"),
        (["C:\\models\\base"], "C---models--base"),
    ],
)
def test_a_slug_is_one_safe_name(models: list[str], expected: str):
    assert slug(models) == expected


def test_long_slugs_stay_short_and_different():
    first, second = slug(["a" * 200 + "1"]), slug(["a" * 200 + "2"])
    assert len(first) <= 80
    assert first != second
