import csv
import gc
from pathlib import Path

import pytest
import torch
from activations.oracle import PROMPTS, assert_close, hook_count, load
from hypothesis import given, settings, strategies as st
from tiny import tiny_tokenizer

import interp
from interp.activations import batching
from interp.activations.batching import (
    is_out_of_memory,
    padding_waste,
    plan_batches,
    run_batches,
)
from interp.errors import OutOfMemoryError


STATEMENTS = Path(__file__).parents[2] / "../shared/data/statements"
LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=80)


@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, budget=st.integers(1, 300))
def test_a_plan_holds_every_row_once_within_the_budget(lengths, budget):
    batches = plan_batches(lengths, token_budget=budget)
    assert sorted(row for rows in batches for row in rows) == list(range(len(lengths)))
    for rows in batches:
        assert len(rows) == 1 or len(rows) * max(lengths[r] for r in rows) <= budget


@pytest.mark.parametrize("name", ["facts", "cities"])
def test_statements_are_hardly_padded(name):
    file = STATEMENTS / f"{name}.csv"
    if not file.exists():
        pytest.skip(f"{file.name} is not there")
    with file.open() as lines:
        texts = [row["statement"] for row in csv.DictReader(lines)]
    lengths = [len(ids) for ids in tiny_tokenizer()(texts)["input_ids"]]
    batches = plan_batches(lengths, token_budget=2048)
    assert padding_waste(lengths, batches) <= 1.05
    assert padding_waste(lengths, [range(len(lengths))]) > 1.2


@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, limit=st.integers(60, 200))
def test_batches_shrink_until_they_fit(lengths, limit):
    done: list[int] = []

    def step(rows):
        tokens = len(rows) * max(lengths[row] for row in rows)
        if tokens > limit:
            raise RuntimeError("CUDA out of memory.")
        done.extend(rows)

    run_batches(lengths, step, token_budget=400)
    assert sorted(done) == list(range(len(lengths)))


def test_a_prompt_that_never_fits_is_named_with_its_size():
    def step(rows):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    with pytest.raises(OutOfMemoryError, match=r"Prompt 1 with 9 tokens.*2 GiB"):
        run_batches([3, 9], step, token_budget=100)


def test_other_errors_are_not_taken_for_memory():
    def step(rows):
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        run_batches([3], step, token_budget=10)
    assert not is_out_of_memory(OutOfMemoryError("already said"))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to ...")
    )


@pytest.mark.parametrize("positions", ["last", "all"])
def test_capture_repeats_a_batch_that_ran_out_of_memory(positions, caplog, monkeypatch):
    monkeypatch.setattr(batching, "FREE_PADDING", 1000)
    model = load("llama")
    wanted = interp.capture(model, PROMPTS, positions=positions)
    block = model.architecture.blocks[2]
    failures = []

    def run_out(module, args):
        # After two layers of this batch have been written already.
        if args[0].shape[0] > 2:
            failures.append(args[0].shape[:2])
            raise torch.OutOfMemoryError("injected")

    handle = block.register_forward_pre_hook(run_out)
    found = interp.capture(model, PROMPTS, positions=positions, token_budget=200)
    handle.remove()
    assert len(failures) >= 1
    assert_close(found["resid_post"], wanted["resid_post"])
    assert [r.levelname for r in caplog.records].count("WARNING") == 1
    assert "out of memory at 105 tokens" in caplog.text


def test_moments_count_no_row_twice_when_memory_runs_out():
    model = load("llama")
    wanted = interp.activations.moments(model, PROMPTS)
    block = model.architecture.blocks[2]

    def run_out(module, args):
        if args[0].shape[0] > 2:
            raise torch.OutOfMemoryError("injected")

    handle = block.register_forward_pre_hook(run_out)
    found = interp.activations.moments(model, PROMPTS, token_budget=200)
    handle.remove()
    assert found.counts == wanted.counts == (len(PROMPTS),)
    assert_close(found.mean("resid_post").float(), wanted.mean("resid_post").float())


def test_a_single_prompt_that_does_not_fit_leaves_no_hook():
    model = load("llama")

    def run_out(module, args):
        raise torch.OutOfMemoryError("injected")

    handle = model.architecture.blocks[1].register_forward_pre_hook(run_out)
    with pytest.raises(OutOfMemoryError, match=r"Prompt 2 with 21 tokens.*injected"):
        interp.capture(model, PROMPTS)
    handle.remove()
    assert hook_count(model) == 0


def test_rows_that_can_never_fit_are_refused_with_their_size(monkeypatch):
    model = load("llama")
    empty = torch.empty

    def refusing(*shape, **options):
        if isinstance(shape[0], list) and torch.Size(shape[0]).numel() > 10**6:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return empty(*shape, **options)

    monkeypatch.setattr(torch, "empty", refusing)
    # 8000 prompts of 20 tokens with 320 logits each, in float32.
    with pytest.raises(OutOfMemoryError, match=r"'logits' need 0.2 GB.*moments"):
        interp.capture(model, [[5] * 20] * 8000, sites="logits", positions="all")
    assert hook_count(model) == 0


def test_memory_does_not_grow_from_batch_to_batch():
    model = load("llama")
    alive = []

    def measure(module, args):
        gc.collect()
        tensors = [o for o in gc.get_objects() if issubclass(type(o), torch.Tensor)]
        storages = [tensor.untyped_storage() for tensor in tensors]
        sizes = {storage.data_ptr(): storage.nbytes() for storage in storages}
        alive.append(sum(sizes.values()))

    handle = model.architecture.blocks[2].register_forward_pre_hook(measure)
    prompts = [[5] * 12] * 40
    interp.capture(
        model, prompts, sites=["resid_post.*", "z.*"], positions="all", token_budget=120
    )
    handle.remove()
    assert len(alive) == 4
    # A kept view or batch would show: one batch's activation has 15 kB.
    assert max(alive) - min(alive) < 10_000
