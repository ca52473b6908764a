"""`--shard` and `--ray`: the bytes of one process, also when a worker is killed."""

import importlib.util
import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from tiny import saved_tiny_model, tiny_model

import interp
from interp.errors import ConfigError
from interp.patching import PromptPairs, trace
from interp.patching.plan import PAIRS_PER_GROUP
from interp.results import HeadTimeline
from interp.sharding import OthersMissingError, Shard, restricted
from probes.cli.run import run
from probes.cli.sharing import remember, without_ray


WITHOUT_RAY = importlib.util.find_spec("ray") is None
PROMPTS = 48
SECONDS_UNTIL_A_PART = 240


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory) -> Path:
    return saved_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def prompts(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "prompts.csv"
    lines = [f"the city {' of' * (i % 5)} Paris" for i in range(PROMPTS)]
    path.write_text("prompt\n" + "\n".join(lines) + "\n")
    return path


def capture(model: Path, prompts: Path, out: Path, *options: str) -> int:
    words = ["capture", model, prompts, "--out", out, "--rows-per-shard", "4"]
    return run([*map(str, words), *options])


def content(store: Path) -> dict[str, bytes]:
    """The bytes of a store, without when and by which command it was made."""
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in sorted(store.rglob("*"))
        if path.is_file() and path.name != "provenance.json"
    }


def test_two_shards_of_a_capture_make_the_bytes_of_one_process(
    model_folder, prompts, tmp_path, capsys
):
    assert capture(model_folder, prompts, tmp_path / "one") == 0
    assert capture(model_folder, prompts, tmp_path / "two", "--shard", "1/2") == 0
    assert "6 of 12 shards are those of other shards" in capsys.readouterr().err
    assert capture(model_folder, prompts, tmp_path / "two", "--shard", "0/2") == 0
    assert content(tmp_path / "two") == content(tmp_path / "one")
    made = json.loads((tmp_path / "two" / "provenance.json").read_text())
    assert "--shard" not in made["command"]


def test_a_shard_alone_says_in_json_that_the_rest_is_missing(
    model_folder, prompts, tmp_path, capsys
):
    code = capture(model_folder, prompts, tmp_path / "s", "--shard", "0/3", "--json")
    said = json.loads(capsys.readouterr().out)
    assert code == 0
    assert said["ok"]
    assert not said["finished"]


def test_shards_of_a_trace_make_the_map_of_one_process(tmp_path):
    draw = np.random.default_rng(0)
    n = 3 * PAIRS_PER_GROUP
    pairs = PromptPairs(
        clean_ids=tuple((5, int(draw.integers(6, 90)), 7, 8) for _ in range(n)),
        corrupted_ids=tuple((5, int(draw.integers(90, 200)), 7, 8) for _ in range(n)),
        positive=(3,) * n,
        negative=(4,) * n,
        start=(1,) * n,
        groups=tuple(map(str, range(n))),
        roles=(("subject", "template", "last"),) * n,
    )
    model = interp.load(tiny_model("llama"))
    alone = trace(model, pairs)
    for index in range(2):
        with (
            restricted(Shard(index=index, count=3)),
            pytest.raises(OthersMissingError, match="groups of pairs"),
        ):
            trace(model, pairs, out=tmp_path)
    with restricted(Shard(index=2, count=3)):
        together = trace(model, pairs, out=tmp_path)
    np.testing.assert_array_equal(together.ld, alone.ld)
    with (
        restricted(Shard(index=0, count=2)),
        pytest.raises(ConfigError, match="no folder"),
    ):
        trace(model, pairs)


def test_shards_of_a_series_make_the_timeline_of_one_process(tmp_path):
    for step in range(4):
        made = saved_tiny_model(tmp_path / "made", seed=step)
        (tmp_path / "series").mkdir(exist_ok=True)
        made.rename(tmp_path / "series" / f"step-{step}")
    words = ["track", str(tmp_path / "series"), "--n-sequences", "4"]
    words += ["--n-tokens", "16", "--metrics", "prefix_matching,loss"]
    assert run([*words, "--out", str(tmp_path / "one")]) == 0
    for index in range(3):
        code = run([*words, "--out", str(tmp_path / "two"), "--shard", f"{index}/3"])
        assert code == 0
    one, two = (
        HeadTimeline.load(next((tmp_path / name / "track").rglob("result")))
        for name in ("one", "two")
    )
    np.testing.assert_array_equal(one.heads, two.heads)
    np.testing.assert_array_equal(one.samples, two.samples)
    assert one.phases == two.phases


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--shard", "4/4"), "no shard 4 of 4"),
        (("--shard", "x"), "The shard is 'x'"),
        (("--shards", "2"), "without --ray"),
        (("--shard", "0/2", "--ray"), "both given"),
        (("--ray", "nowhere.invalid:1"), "No Ray cluster can be reached"),
    ],
)
def test_what_cannot_be_shared_is_one_clear_line(
    options, message, model_folder, prompts, tmp_path, capsys
):
    if "nowhere.invalid:1" in options and WITHOUT_RAY:
        pytest.skip("ray is not installed")
    code = capture(model_folder, prompts, tmp_path / "s", *options)
    said = capsys.readouterr().err
    assert code == 2
    assert message in said
    assert "Traceback" not in said


def test_ray_without_an_address_means_this_machine():
    assert remember(["track", "--ray"]) == ["track", "--ray", "local"]
    assert remember(["track", "--ray", "h:1"]) == ["track", "--ray", "h:1"]
    assert without_ray(remember(["track", "--ray", "--shards", "2", "m"])) == [
        "track",
        "m",
    ]


@pytest.mark.skipif(WITHOUT_RAY, reason="ray is not installed")
@pytest.mark.filterwarnings("ignore")
def test_a_ray_cluster_makes_the_bytes_of_one_process_though_a_worker_is_killed(
    model_folder, prompts, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    out = tmp_path / "ray"
    killed: list[int] = []
    killer = threading.Thread(target=_kill_one_worker, args=(out, killed))
    killer.start()
    code = capture(model_folder, prompts, out, "--ray", "--shards", "2")
    killer.join()
    assert code == 0, capsys.readouterr().err
    assert killed, "no worker was killed: the test has shown nothing"
    assert capture(model_folder, prompts, tmp_path / "one") == 0
    assert content(out) == content(tmp_path / "one")


def _kill_one_worker(out: Path, killed: list[int]) -> None:
    """Kill a worker that runs a shard as soon as there is a finished part."""
    deadline = time.monotonic() + SECONDS_UNTIL_A_PART
    while time.monotonic() < deadline:
        if any((out / "shards").glob("0*.safetensors")):
            for process in psutil.Process().children(recursive=True):
                try:
                    name = " ".join(process.cmdline())
                    if "ray::_run_shard" in name:
                        os.kill(process.pid, signal.SIGKILL)
                        killed.append(process.pid)
                        return
                except (psutil.Error, ProcessLookupError):
                    continue
        time.sleep(0.005)
