"""Generation: greedy is the argmax loop, batches change nothing, settings are plain."""

import threading
from collections import Counter
from typing import Any

import pytest
import torch
from tiny import ARCHITECTURES, tiny_model, tiny_tokenizer
from transformers import GenerationConfig

import interp
from interp.errors import ConfigError, InterpError, OutOfMemoryError, PromptError
from interp.models import generation
from interp.models.generation import generate, stop_tokens
from interp.models.language_model import LanguageModel


PROMPTS = ["the city of Paris", "a", "The city is not in the city, and it is very long"]
NEW = 10


def _model(architecture: str = "llama", **overrides: Any) -> LanguageModel:
    hf = tiny_model(architecture, **overrides)
    return interp.load(hf, tokenizer=tiny_tokenizer())


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return _model()


def _by_hand(model: LanguageModel, ids: tuple[int, ...]) -> tuple[int, ...]:
    """The argmax of one whole forward pass per token: no cache, padding or batch."""
    new: list[int] = []
    stops = stop_tokens(model)
    with torch.inference_mode():
        for _ in range(NEW):
            logits = model.hf(torch.tensor([[*ids, *new]]), use_cache=False).logits
            token = int(logits[0, -1].argmax())
            if token in stops:
                break
            new.append(token)
    return tuple(new)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_batch_writes_what_an_argmax_loop_writes_for_each_prompt(
    architecture: str,
) -> None:
    model = _model(architecture)
    written = generate(model, PROMPTS, max_new_tokens=NEW)
    assert written.prompt_ids == model.tokenize(PROMPTS).ids
    assert list(written.ids) == [_by_hand(model, ids) for ids in written.prompt_ids]


def test_text_is_the_new_text_only(model: LanguageModel) -> None:
    texts = model.generate(PROMPTS, max_new_tokens=NEW)
    ids = generate(model, PROMPTS, max_new_tokens=NEW).ids
    assert texts == [
        model.tokenizer.decode(list(row), skip_special_tokens=True) for row in ids
    ]
    assert model.generate(PROMPTS[0], max_new_tokens=NEW) == texts[:1]


def test_order_survives_batches_of_any_size(model: LanguageModel) -> None:
    whole = generate(model, PROMPTS * 3, max_new_tokens=NEW).ids
    assert generate(model, PROMPTS * 3, max_new_tokens=NEW, batch_size=2).ids == whole
    assert whole[:3] == whole[3:6] == whole[6:]


def test_draws_do_not_depend_on_the_batch(model: LanguageModel) -> None:
    options: dict[str, Any] = {"max_new_tokens": NEW, "temperature": 1.0, "seed": 3}
    whole = generate(model, PROMPTS, **options).ids
    assert generate(model, PROMPTS, **options, batch_size=1).ids == whole
    assert generate(model, PROMPTS, **{**options, "seed": 4}).ids != whole
    assert generate(model, PROMPTS, max_new_tokens=NEW).ids != whole


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_draws_follow_the_softmax(model: LanguageModel, temperature: float) -> None:
    draws = 2000
    ids = [[0, 263]] * draws
    written = generate(
        model, ids, max_new_tokens=1, temperature=temperature, batch_size=500
    )
    counts = Counter(row[0] for row in written.ids if row)
    with torch.inference_mode():
        logits = model.hf(torch.tensor([[0, 263]])).logits[0, -1]
    expected = (logits / temperature).softmax(0)
    for token in expected.topk(5).indices.tolist():
        p = expected[token].item()
        # Five standard deviations of a count.
        assert abs(counts[token] / draws - p) < 5 * (p * (1 - p) / draws) ** 0.5


def test_no_global_random_state_is_used(model: LanguageModel) -> None:
    before = torch.get_rng_state()
    model.generate(PROMPTS, max_new_tokens=3, temperature=1.0)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_checkpoints_generation_settings_are_neither_used_nor_changed() -> None:
    model = _model()
    plain = generate(model, PROMPTS, max_new_tokens=NEW).ids
    own = GenerationConfig(
        do_sample=True, temperature=5.0, repetition_penalty=9.0, eos_token_id=1
    )
    model.hf.generation_config = own
    assert generate(model, PROMPTS, max_new_tokens=NEW).ids == plain
    assert model.hf.generation_config is own


def test_settings_are_restored_after_an_exception(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = model.hf.generation_config

    def fail(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(model.hf, "generate", fail)
    with pytest.raises(KeyboardInterrupt):
        model.generate("a")
    assert model.hf.generation_config is own
    assert model.lock.acquire(blocking=False)
    model.lock.release()


def test_the_lock_is_held(model: LanguageModel) -> None:
    done = threading.Event()

    def run() -> None:
        model.generate("a", max_new_tokens=1)
        done.set()

    with model.lock:
        other = threading.Thread(target=run)
        other.start()
        assert not done.wait(0.2)
    other.join(20)
    assert done.is_set()


def test_every_kind_of_stop_token_is_found() -> None:
    model = _model()
    assert stop_tokens(model) == (1, 5)  # <eos>, and <|end|> from the chat template
    model.hf.generation_config.eos_token_id = [1, 77]
    assert stop_tokens(model) == (1, 5, 77)
    plain = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer(chat=False))
    assert stop_tokens(plain) == (1,)
    bare = interp.load(tiny_model("llama"))
    assert stop_tokens(bare) == (1,)


def test_a_template_that_cannot_show_an_answer_adds_no_stop_token() -> None:
    model = _model()
    model.tokenizer.chat_template = "{{ raise_exception('no') }}"
    assert stop_tokens(model) == (1,)


def test_text_ends_before_a_stop_token(model: LanguageModel) -> None:
    free = generate(model, ["the city"], max_new_tokens=NEW)
    assert free.stopped == (False,)
    stop = free.ids[0][-1]
    first = free.ids[0].index(stop)
    other = _model()
    other.hf.generation_config.eos_token_id = stop
    ended = generate(other, ["the city"], max_new_tokens=NEW)
    assert ended.ids == (free.ids[0][:first],)
    assert ended.stopped == (True,)


def test_chat_prompts_end_where_the_assistant_begins(model: LanguageModel) -> None:
    written = generate(model, ["hi"], max_new_tokens=2, chat=True)
    assert written.prompt_ids == model.tokenize(["hi"], chat=True).ids


def test_memory_that_runs_out_halves_the_batch(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = generate(model, PROMPTS * 2, max_new_tokens=NEW).ids
    run, sizes = generation._run, []

    def tight(model: Any, rows: Any, *rest: Any) -> Any:
        sizes.append(len(rows))
        if len(rows) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(model, rows, *rest)

    monkeypatch.setattr(generation, "_run", tight)
    assert generate(model, PROMPTS * 2, max_new_tokens=NEW).ids == whole
    assert sizes == [6, 3, 1, 1, 1, 1, 1, 1]


def test_memory_that_is_too_small_for_one_prompt_is_said(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(generation, "_run", full)
    with pytest.raises(OutOfMemoryError, match=r"One prompt of \d+ tokens does not"):
        model.generate(PROMPTS)


def test_without_a_tokenizer_ids_are_written(model: LanguageModel) -> None:
    bare = interp.load(model.hf)
    ids = [list(row) for row in model.tokenize(PROMPTS).ids]
    written = generate(bare, ids, max_new_tokens=3)
    assert written.texts is None
    assert written.ids == generate(model, ids, max_new_tokens=3).ids
    with pytest.raises(PromptError, match="cannot write text"):
        bare.generate(ids)


BAD: list[tuple[dict[str, Any], type[InterpError], str]] = [
    ({"max_new_tokens": 0}, ConfigError, "max_new_tokens is 0"),
    ({"temperature": -1.0}, ConfigError, r"temperature is -1\.0"),
    ({"temperature": float("nan")}, ConfigError, "temperature is nan"),
    ({"batch_size": 0}, ConfigError, "batch_size is 0"),
    ({"max_new_tokens": 126}, PromptError, r"Prompt 0 has 3 tokens, and 126 new ones"),
]


@pytest.mark.parametrize(("options", "kind", "message"), BAD)
def test_what_cannot_be_generated_is_said(
    model: LanguageModel, options: dict[str, Any], kind: type[InterpError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        model.generate("the city", **options)
