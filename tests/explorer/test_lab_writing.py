"""The model behind the Lab: one lock, taken in turns, free when a tab is closed."""

import threading
from dataclasses import replace

import pytest
from streamlit.runtime.scriptrunner_utils.exceptions import StopException

from interp import streaming
from interp_explorer.lab import models, writing
from interp_explorer.lab.held import Held
from interp_explorer.lab.models import in_turns, own_turn
from interp_explorer.lab.prompt import Asked
from interp_explorer.lab.steering import Steering
from interp_explorer.lab.writing import Draw, Task
from interp_explorer.widgets.sides import differing


# The worker that trains the family.
pytestmark = pytest.mark.xdist_group("facts_family")


@pytest.fixture
def task(model, fitted, examples):
    prompt = examples.harmful[0]
    ids = model.tokenize(prompt, chat=True).ids[0]
    held = Held(label="refusal", direction=fitted["refusal"])
    return Task(
        model=model,
        name="m",
        asked=Asked(text=prompt, chat=True, ids=ids, whole="", n_bos=0),
        steering=Steering(
            held=held, doing="add", strength=-1.5, layers="own", when="both"
        ),
        draw=Draw(length=10, temperature=1.0, seed=3),
        readers=(held,),
    )


def is_free(lock) -> bool:
    """Whether another thread can have the lock; this one could have it twice."""
    got = []

    def take():
        got.append(lock.acquire(timeout=5))
        if got[0]:
            lock.release()

    other = threading.Thread(target=take)
    other.start()
    other.join()
    return got[0]


def in_a_session(monkeypatch) -> None:
    """Sessions without a browser: nothing is remembered."""
    monkeypatch.setattr(writing, "recall", lambda what: None)
    monkeypatch.setattr(writing, "keep", lambda what, value: value)


def test_a_closed_tab_leaves_the_model_free_and_clean(task, monkeypatch):
    in_a_session(monkeypatch)
    model = task.model
    shown: list[str] = []

    def closed_at_the_fifth(text: str) -> None:
        # A script whose tab was closed ends where it next shows something.
        shown.append(text)
        if len(shown) == 5:
            raise StopException

    before = model.generate("The city", max_new_tokens=4)
    with pytest.raises(StopException):
        writing._write(task, lambda text: None, closed_at_the_fifth)
    assert len(shown) == 5
    assert is_free(model.lock)
    assert model.generate("The city", max_new_tokens=4) == before
    assert not any(module._forward_hooks for module in model.hf.modules())


def test_two_sessions_write_what_each_would_alone(task, monkeypatch):
    in_a_session(monkeypatch)
    other = replace(task, steering=replace(task.steering, strength=1.0))
    tasks = [task, other]

    def ids(one: Task) -> tuple:
        found = writing._write(one, lambda text: None, lambda text: None)
        return found.unchanged.token_ids, found.steered.token_ids

    alone = [ids(one) for one in tasks]
    assert len({steered for _, steered in alone}) > 1
    together: list = [None] * len(tasks)
    start = threading.Barrier(len(tasks))

    def session(number: int) -> None:
        start.wait()
        together[number] = ids(tasks[number])

    threads = [threading.Thread(target=session, args=(n,)) for n in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone
    assert is_free(task.model.lock)


def test_who_waits_is_told_and_the_turn_ends_with_an_error(model, monkeypatch):
    notices: list[str] = []

    class Notice:
        def caption(self, text: str) -> None:
            notices.append(text)

        def empty(self) -> None:
            notices.append("")

    monkeypatch.setattr(models.st, "empty", Notice)
    monkeypatch.setattr(models, "PATIENCE", 0.02)
    held, done = threading.Event(), threading.Event()

    def other() -> None:
        with model.lock:
            held.set()
            done.wait(5)

    thread = threading.Thread(target=other)
    thread.start()
    held.wait(5)
    threading.Timer(0.1, done.set).start()
    with pytest.raises(ValueError, match="inside"), own_turn(model):
        raise ValueError("inside")
    thread.join()
    assert "Waiting for another run" in notices[0]
    assert is_free(model.lock)


def test_the_lock_is_free_between_two_tokens(task):
    steps = streaming.stream(task.model, "The city", sampling=task.draw.sampling())
    for number, _ in enumerate(in_turns(task.model, steps)):
        assert is_free(task.model.lock)
        if number == 2:
            break


def test_differing_tokens_are_those_outside_common_pieces():
    first, second = differing([5, 6, 7, 8], [5, 9, 7, 8, 8])
    assert first.tolist() == [False, True, False, False]
    assert second.tolist() == [False, True, False, False, True]
    assert [marks.size for marks in differing([], [1])] == [0, 1]
