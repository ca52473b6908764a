"""`interp plan`: what is planned is what a run then does, and nothing runs before."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny import saved_tiny_model, tiny_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, LlamaForCausalLM

import interp
from interp.activations.costs import capture_tokens, pass_cost
from interp.models.outline import outline
from interp.patching import PromptPairs, trace
from interp.patching.costs import trace_cost
from interp.positions import resolve
from probes.cli.run import run


PROMPTS = 30


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory) -> Path:
    return saved_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def prompts(tmp_path_factory) -> Path:
    """Prompts of different lengths, of which the first shard's begin alike."""
    path = tmp_path_factory.mktemp("data") / "prompts.csv"
    opening = "the city of Paris is in the city of Paris and the city"
    lines = [f"{opening}{' of' * (i % 2 + 1)} the" for i in range(10)]
    lines += [f"the city{' of' * (i % 9)} Paris" for i in range(PROMPTS - 10)]
    path.write_text("prompt\n" + "\n".join(lines) + "\n")
    return path


@contextmanager
def counted_tokens() -> Iterator[list[int]]:
    """How many tokens enter Llama, pass by pass; no hook, which would change them."""
    seen: list[int] = []
    forward = LlamaForCausalLM.forward

    def counting(self, *args, **kwargs):
        if not kwargs["input_ids"].is_meta:
            seen.append(kwargs["input_ids"].numel())
        return forward(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LlamaForCausalLM, "forward", counting)
        yield seen


def planned(capsys, *words: object) -> dict:
    capsys.readouterr()
    assert run(["plan", *map(str, words), "--json"]) in (0, 3)
    return json.loads(capsys.readouterr().out)


def test_a_capture_computes_and_writes_what_was_planned(
    model_folder, prompts, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "store"
    words = ["capture", model_folder, prompts, "--out", out, "--rows-per-shard", 10]
    words += ["--sites", "resid_post.*", "--sites", "z.1"]

    def refuse(*_, **__):
        raise AssertionError("weights are read")

    with monkeypatch.context() as patch:
        patch.setattr(AutoModelForCausalLM, "from_pretrained", refuse)
        plan = planned(capsys, "--machines", 2, *words)
    assert not out.exists()
    with counted_tokens() as seen:
        assert run([str(word) for word in words]) == 0
    assert plan["tokens_computed"] == sum(seen)
    assert plan["forward_passes"] == len(seen)
    # The first shard's beginning is computed once.
    assert plan["tokens_computed"] < plan["tokens"]
    shards = [path.stat().st_size for path in (out / "shards").iterdir()]
    assert plan["bytes"]["to_write"] == sum(shards)
    store = interp.store.open(out)
    for site, n_bytes in plan["bytes"]["sites"].items():
        assert n_bytes == 4 * store[site][:].numel()
    after = planned(capsys, *words)
    assert (after["parts"], after["parts_done"]) == (3, 3)
    assert after["bytes"]["to_write"] == 0
    assert run(["plan", *map(str, words)]) == 0
    shown = capsys.readouterr()
    assert re.search(r"tokens left to compute\W+0\W", shown.out + shown.err)


def test_a_machine_does_the_parts_of_its_shard(model_folder, prompts, tmp_path, capsys):
    words = ["capture", model_folder, prompts, "--out", tmp_path / "store"]
    words += ["--rows-per-shard", 4]
    plan = planned(capsys, "--machines", 3, *words)
    loads = []
    for index in range(3):
        with counted_tokens() as seen:
            assert run([*map(str, words), "--shard", f"{index}/3"]) == 0
        loads.append(sum(seen))
    assert plan["busiest_machine"]["tokens_computed"] == max(loads)
    assert plan["machines_used"] == 3


@pytest.mark.parametrize("sites", ["resid_post.1", "z.0", "logits"])
def test_flops_are_those_that_torch_counts(sites, tmp_path):
    folder = saved_tiny_model(tmp_path, "qwen3")
    ids = tuple(tuple(range(5, 5 + n)) for n in (14, 14, 12, 9, 3))
    tokens = capture_tokens(ids, resolve("last", ids), token_budget=2048)
    found = pass_cost(outline(folder), sites).flops(tokens)
    # torch counts no operation of attention on a CPU but those of the eager one.
    model = interp.load(folder, attn="eager")
    with FlopCounterMode(display=False) as counter:
        interp.capture(model, ids, sites=sites)
    assert found == pytest.approx(counter.get_total_flops(), rel=0.05)


def test_what_is_used_ends_at_the_last_site(model_folder):
    found = outline(model_folder)
    counts = [pass_cost(found, f"resid_post.{n}").parameters for n in range(3)]
    assert counts[1] - counts[0] == counts[2] - counts[1] == counts[0]
    assert counts[2] < found.n_parameters


@pytest.mark.parametrize(
    ("sites", "crosses"),
    [(("resid_post",), False), (("resid_post",), True), (("mlp_out", "z"), False)],
)
def test_token_layers_are_those_of_the_trace(sites, crosses):
    draw = np.random.default_rng(0)
    n = 18
    pairs = PromptPairs(
        clean_ids=tuple((5, 9, int(draw.integers(6, 90)), 7, 8) for _ in range(n)),
        corrupted_ids=tuple(
            (5, 9, int(draw.integers(90, 200)), 7, 8) for _ in range(n)
        ),
        positive=(3,) * n,
        negative=(4,) * n,
        start=(1,) * n,
        groups=tuple(map(str, range(n))),
        roles=(("template", "subject", "template", "last"),) * n,
    )
    model = interp.load(tiny_model("llama"))
    source = interp.load(tiny_model("llama", seed=1)) if crosses else None
    cost = trace_cost(model, pairs, sites=sites, source=source)
    done = trace(model, pairs, sites=sites, source=source)
    assert cost.token_layers == done.token_layers
    assert cost.naive == done.naive_token_layers
    assert len(cost.groups) == 2


def test_the_knowledge_study_patches_as_many_token_layers(
    facts_family, tmp_path, capsys
):
    words = ["compare", facts_family.base, facts_family.post, "--out", tmp_path]
    words += ["--statements", facts_family.statements, "--limit", 48]
    words += ["--studies", "knowledge"]
    plan = planned(capsys, *words)
    assert run([*map(str, words), "--json"]) == 0
    kept = [load_file(path) for path in tmp_path.rglob("shards/*.safetensors")]
    assert len(kept) == plan["parts"]
    own = planned(capsys, *words)["busiest_machine"]["tokens_computed"]
    layers = sum(int(arrays["token_layers"][0]) for arrays in kept)
    n_layers = interp.load(facts_family.base).n_layers
    assert plan["token_layers"] - layers == pytest.approx(own * n_layers, abs=n_layers)
    assert planned(capsys, *words)["parts_done"] == plan["parts"]


def test_a_tracking_runs_as_many_tokens_at_every_checkpoint(tmp_path, capsys):
    for step in range(3):
        made = saved_tiny_model(tmp_path / "made", seed=step)
        (tmp_path / "series").mkdir(exist_ok=True)
        made.rename(tmp_path / "series" / f"step-{step}")
    words = ["track", tmp_path / "series", "--out", tmp_path / "out"]
    words += ["--n-sequences", 6, "--n-tokens", 16]
    words += ["--metrics", "prefix_matching,loss"]
    plan = planned(capsys, "--machines", 2, *words)
    with counted_tokens() as seen:
        assert run([str(word) for word in words]) == 0
    assert plan["tokens_computed"] == sum(seen)
    assert plan["forward_passes"] == len(seen)
    assert plan["busiest_machine"]["tokens_computed"] == 2 * sum(seen) // 3
    assert planned(capsys, *words)["parts_done"] == 3
    # Beside the values a part holds the names of heads and tokens.
    for part in (tmp_path / "out").rglob("shards/*"):
        said = plan["bytes"]["written"] / 3
        assert said < part.stat().st_size < said + 4000


def test_seconds_are_about_those_of_the_run(
    model_folder, tmp_path, capsys, monkeypatch
):
    data = tmp_path / "long.csv"
    lines = [f"the city{' of Paris' * (20 + i % 30)}" for i in range(600)]
    data.write_text("prompt\n" + "\n".join(lines) + "\n")
    words = ["capture", model_folder, data, "--out", tmp_path / "store"]
    # Not by the clock: a machine with other work is slow now and quick then.
    monkeypatch.setattr(time, "perf_counter", time.process_time)
    plan = planned(capsys, "--calibrate", "--machines", 4, *words)
    start = time.perf_counter()
    assert run([str(word) for word in words]) == 0
    taken = time.perf_counter() - start
    assert taken / 3 < plan["seconds"] < taken * 3
    assert plan["busiest_machine"]["seconds"] <= plan["seconds"]


def test_what_does_not_fit_is_said_and_exits_with_3(
    model_folder, prompts, tmp_path, capsys, monkeypatch
):
    words = ["plan", "capture", str(model_folder), str(prompts)]
    words += ["--out", str(tmp_path / "store")]
    with monkeypatch.context() as patch:
        patch.setattr("probes.planning.capturing.free_disk", lambda folder: 100)
        assert run(words) == 3
    assert "Does not fit: The disk has 100 bytes free" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr("probes.planning.machine.free_memory", lambda device: 5)
        assert run(words) == 3
    assert "Does not fit: The cpu has 5 bytes of memory" in capsys.readouterr().err
    assert run(words) == 0
    assert "Estimate: Peak memory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["plan", "captrue", "m", "d"], "no plan of 'captrue'"),
        (["plan", "capture", "{model}"], "Missing argument"),
        (
            ["plan", "capture", "{model}", "d.csv", "--out", "s", "--sitse", "x"],
            "sitse",
        ),
        (["plan", "capture", "nowhere/at/all", "{data}", "--out", "s"], "no folder"),
        (["plan", "study", "truth", "c.toml"], "no study 'truth'"),
    ],
)
def test_errors_are_those_of_the_command(words, message, model_folder, prompts, capsys):
    given = [word.format(model=model_folder, data=prompts) for word in words]
    assert run(given) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.strip().splitlines()) == 1


def test_a_store_of_another_capture_is_refused(model_folder, prompts, tmp_path, capsys):
    words = ["capture", str(model_folder), str(prompts), "--out", str(tmp_path / "s")]
    assert run([*words, "--limit", "4"]) == 0
    assert run(["plan", *words]) == 3
    assert "another" in capsys.readouterr().err


def test_a_plan_of_a_model_in_half_precision_counts_half_the_bytes(model_folder):
    single, half = (outline(model_folder, dtype=d) for d in ("float32", "bfloat16"))
    assert single.weight_bytes == 2 * half.weight_bytes
    assert single.file_bytes == half.file_bytes
    assert replace(single, n_parameters=0).weight_bytes == 0
