"""A stream writes what `generate` writes, one token at a time, and leaves no trace."""

import threading
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from tiny import ARCHITECTURES, tiny_model, tiny_tokenizer

import interp
from interp.edits import Add, Clamp, ProjectOut, edit
from interp.errors import ConfigError, PromptError, ShapeError, UnknownSiteError
from interp.models.generation import generate, stop_tokens
from interp.models.reading import is_followed
from interp.streaming import Sampling, TokenReader, stream
from interp.streaming.passes import Passes


PROMPT = "the city of Paris"
NEW = 6
SHORT = Sampling(max_new_tokens=NEW)
VECTOR = 3 * torch.linspace(-1, 1, 32).roll(7)
READER = TokenReader(
    name="ramp",
    site="resid_post.1",
    weights=np.linspace(-1, 1, 32, dtype=np.float32),
    offset=0.5,
)
EDITS = {
    "add at one site": [Add(site="resid_post.1", vector=VECTOR)],
    "add while writing": [Add(site="resid_post.1", vector=VECTOR, when="generated")],
    "add in the prompt": [Add(site="resid_post.1", vector=VECTOR, when="prompt")],
    "add at the prompt's end": [
        Add(site="resid_post.1", vector=VECTOR, positions="last")
    ],
    "project out everywhere": [ProjectOut(site="resid_post.*", vectors=VECTOR)],
    "a range, and a clamp": [
        Add(site="resid_post.{0..1}", vector=VECTOR, strength=-1.0),
        Clamp(site="mlp_out.2", min=-0.5, max=0.5),
    ],
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_the_tokens_are_those_of_generate(model_of, architecture, temperature):
    model = model_of(architecture)
    sampling = Sampling(max_new_tokens=NEW, temperature=temperature, seed=11)
    steps = list(stream(model, PROMPT, sampling=sampling))
    right = generate(
        model, PROMPT, max_new_tokens=NEW, temperature=temperature, seed=11
    )
    assert right.texts is not None
    assert tuple(step.token_id for step in steps) == right.ids[0]
    assert (steps[-1].text if steps else "") == right.texts[0]


@pytest.mark.parametrize("edits", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize(
    ("architecture", "temperature"),
    [("gpt2", 0.0), ("llama", 0.9), ("gemma2", 0.0), ("bloom", 0.9), ("opt", 0.0)],
)
def test_edits_do_what_they_do_in_generate(model_of, architecture, edits, temperature):
    model = model_of(architecture)
    sampling = Sampling(max_new_tokens=NEW, temperature=temperature, seed=5)
    steps = list(stream(model, PROMPT, edits=edits, sampling=sampling))
    with edit(model, edits):
        right = generate(
            model, PROMPT, max_new_tokens=NEW, temperature=temperature, seed=5
        )
    assert tuple(step.token_id for step in steps) == right.ids[0]


def test_some_edit_changes_the_text(llama):
    plain = [step.token_id for step in stream(llama, PROMPT, sampling=SHORT)]
    texts = [
        [step.token_id for step in stream(llama, PROMPT, edits=edits, sampling=SHORT)]
        for edits in EDITS.values()
    ]
    assert sum(text != plain for text in texts) >= 3


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2", "mistral"])
@pytest.mark.parametrize("when", ["both", "prompt", "generated"])
def test_numbers_are_those_of_one_pass_over_the_whole_text(
    model_of, architecture, when
):
    model = model_of(architecture)
    edits = [Add(site="resid_post.{0..1}", vector=VECTOR, when=when)]
    sampling = Sampling(max_new_tokens=NEW, temperature=0.8)
    steps = list(
        stream(model, PROMPT, edits=edits, readers=[READER], sampling=sampling)
    )
    ids = model.tokenize(PROMPT).ids[0]
    whole = [*ids, *(step.token_id for step in steps)]
    edited = {
        "both": range(len(whole)),
        "prompt": range(len(ids)),
        "generated": range(len(ids), len(whole)),
    }[when]
    values: list[torch.Tensor] = []

    def push(module: Any, args: Any, output: Any) -> Any:
        value = (output[0] if isinstance(output, tuple) else output).clone()
        value[:, list(edited)] += VECTOR
        values.append(value)
        return (value, *output[1:]) if isinstance(output, tuple) else value

    blocks = model.architecture.blocks
    handles = [block.register_forward_hook(push) for block in blocks[:2]]
    with torch.no_grad():
        logits = model.hf(torch.tensor([whole]), use_cache=False).logits[0]
    for handle in handles:
        handle.remove()
    said = logits.double().log_softmax(-1)
    scores = values[1][0].numpy() @ READER.weights + READER.offset
    for step in steps:
        assert step.log_probability == pytest.approx(
            float(said[step.pos - 1, step.token_id]), abs=2e-5
        )
        assert float(step.scores[0]) == pytest.approx(
            float(scores[step.pos]), abs=1e-4, rel=1e-4
        )
    assert [step.pos for step in steps] == list(range(len(ids), len(whole)))


def test_readers_change_no_token(llama):
    plain = [step.token_id for step in stream(llama, PROMPT, sampling=SHORT)]
    scored = list(stream(llama, PROMPT, readers=[READER, READER], sampling=SHORT))
    assert [step.token_id for step in scored] == plain
    assert all(step.scores.shape == (2,) for step in scored)
    assert all(
        step.scores.shape == (0,)
        for step in stream(llama, PROMPT, sampling=Sampling(max_new_tokens=2))
    )


def test_a_stop_token_ends_the_text_and_is_not_in_it(llama):
    (stop, *_) = stop_tokens(llama)

    def prefer(value: torch.Tensor) -> torch.Tensor:
        logits = value.clone()
        logits[..., stop] = 1e4
        return logits

    # In what is generated only: the first token is another one.
    ending = Clamp(site="logits", value=prefer, when="generated")
    steps = list(stream(llama, PROMPT, edits=ending, readers=[READER]))
    assert [step.token_id for step in steps] == [
        next(stream(llama, PROMPT, sampling=SHORT)).token_id,
    ]
    assert list(stream(llama, PROMPT, edits=Clamp(site="logits", value=prefer))) == []


def test_texts_grow_and_tokens_are_shown_one_by_one(llama):
    steps = list(stream(llama, [5, 6, 7, 8], sampling=Sampling(max_new_tokens=6)))
    ids = [step.token_id for step in steps]
    for n, step in enumerate(steps, start=1):
        assert step.text == llama.tokenizer.decode(ids[:n], skip_special_tokens=True)
    chat = list(stream(llama, "Paris", chat=True, sampling=Sampling(max_new_tokens=3)))
    right = llama.generate("Paris", chat=True, max_new_tokens=3)
    assert [chat[-1].text] == right


def test_without_a_tokenizer_there_are_numbers():
    model = interp.load(tiny_model("gpt2"))
    steps = list(stream(model, [5, 6], sampling=Sampling(max_new_tokens=2)))
    assert steps[-1].text == f"<{steps[0].token_id}><{steps[1].token_id}>"


def test_between_two_tokens_the_model_is_free_and_clean(llama):
    edits = EDITS["project out everywhere"]
    writing = stream(llama, PROMPT, edits=edits, readers=[READER], sampling=SHORT)
    found: list[bool] = []

    def look() -> None:
        free = llama.lock.acquire(blocking=False)
        hooked = any(
            m._forward_hooks or m._forward_pre_hooks for m in llama.hf.modules()
        )
        found.append(free and not hooked and not is_followed(llama.hf))
        if free:
            llama.lock.release()

    for _ in range(3):
        next(writing)
        # Another thread: this one could take its own lock again.
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert found == [True] * 3


def test_others_may_use_the_model_between_two_tokens(llama):
    edits = EDITS["add at one site"]
    alone = [
        step.token_id for step in stream(llama, PROMPT, edits=edits, sampling=SHORT)
    ]
    disturbed = []
    for step in stream(llama, PROMPT, edits=edits, sampling=SHORT):
        disturbed.append(step.token_id)
        with edit(llama, Add(site="resid_post.0", vector=-VECTOR)):
            llama.generate("not", max_new_tokens=2)
        with torch.no_grad():
            llama.hf(torch.tensor([[7, 8, 9]]))
    assert disturbed == alone


def test_two_threads_write_what_each_writes_alone(llama):
    edits = [EDITS["add at one site"], EDITS["project out everywhere"]]
    alone = [
        [s.token_id for s in stream(llama, PROMPT, edits=one, sampling=SHORT)]
        for one in edits
    ]
    written: dict[int, list[int]] = {}

    def write(number: int) -> None:
        written[number] = [
            step.token_id
            for step in stream(llama, PROMPT, edits=edits[number], sampling=SHORT)
        ]

    threads = [threading.Thread(target=write, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [written[0], written[1]] == alone


def _abandon(writing: Any) -> None:
    next(writing)


def _close(writing: Any) -> None:
    next(writing)
    writing.close()


def _fail(writing: Any) -> None:
    def consume() -> None:
        for step in writing:
            assert step.pos // 0

    with pytest.raises(ZeroDivisionError):
        consume()


def _throw(writing: Any) -> None:
    next(writing)
    with pytest.raises(KeyboardInterrupt):
        writing.throw(KeyboardInterrupt())


def _close_unstarted(writing: Any) -> None:
    writing.close()


def _other_thread(writing: Any) -> None:
    next(writing)
    thread = threading.Thread(target=lambda: next(writing))
    thread.start()
    thread.join()
    writing.close()


@pytest.mark.parametrize(
    "leave", [_abandon, _close, _fail, _throw, _close_unstarted, _other_thread]
)
def test_a_consumer_that_stops_leaves_no_lock_hook_or_cache(llama, leave, monkeypatch):
    caches: list[weakref.ref[Any]] = []
    run = Passes.run

    def noted(self: Passes, *args: Any, **options: Any) -> Any:
        passed = run(self, *args, **options)
        caches.append(weakref.ref(passed.cache))
        return passed

    monkeypatch.setattr(Passes, "run", noted)
    edits = EDITS["project out everywhere"]
    writing = stream(llama, PROMPT, edits=edits, readers=[READER], sampling=SHORT)
    leave(writing)
    del writing
    assert all(cache() is None for cache in caches)
    assert len(caches) == {_close_unstarted: 0, _other_thread: 3}.get(leave, 2)
    # The fixture looks for hooks; the lock has to be free for others.
    found: list[bool] = []
    thread = threading.Thread(
        target=lambda: (
            found.append(llama.lock.acquire(blocking=False)) or llama.lock.release()
        )
    )
    thread.start()
    thread.join()
    assert found == [True]
    assert not is_followed(llama.hf)


def test_an_error_in_a_pass_leaves_the_model_clean(llama):
    def fail(value: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError

    writing = stream(llama, PROMPT, edits=Clamp(site="resid_post.1", value=fail))
    with pytest.raises(ZeroDivisionError):
        next(writing)
    assert not is_followed(llama.hf)


def test_a_model_that_keeps_no_cache_reads_all_anew(llama):
    right = [step.token_id for step in stream(llama, PROMPT, sampling=SHORT)]
    edits = EDITS["add while writing"]
    steered = list(stream(llama, PROMPT, edits=edits, readers=[READER], sampling=SHORT))
    hf = tiny_model("llama")
    model = interp.load(hf, tokenizer=tiny_tokenizer())

    def forget(module: Any, args: Any, output: Any) -> Any:
        output.past_key_values = None
        return output

    handle = hf.register_forward_hook(forget)
    assert [step.token_id for step in stream(model, PROMPT, sampling=SHORT)] == right
    again = list(stream(model, PROMPT, edits=edits, readers=[READER], sampling=SHORT))
    handle.remove()
    assert [s.token_id for s in again] == [s.token_id for s in steered]
    np.testing.assert_allclose(
        [s.scores for s in again], [s.scores for s in steered], atol=1e-4
    )


def test_what_cannot_be_written_is_refused_at_the_call(llama):
    with pytest.raises(PromptError, match="do not fit behind it"):
        stream(llama, PROMPT, sampling=Sampling(max_new_tokens=125))
    with pytest.raises(ConfigError, match="max_new_tokens is 0"):
        Sampling(max_new_tokens=0)
    with pytest.raises(ConfigError, match="temperature is -1"):
        Sampling(temperature=-1.0)
    far = TokenReader(name="far", site="resid_post.9", weights=np.ones(32))
    with pytest.raises(UnknownSiteError, match="9"):
        stream(llama, PROMPT, readers=[far])
    with pytest.raises(UnknownSiteError, match="9"):
        stream(llama, PROMPT, edits=Add(site="resid_post.9", vector=VECTOR))
    wide = TokenReader(name="wide", site="resid_post.1", weights=np.ones(7))
    with pytest.raises(ShapeError, match="'wide' has 7 weights"):
        next(stream(llama, PROMPT, readers=[wide]))
