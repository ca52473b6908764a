import threading

import pytest
import torch

from interp.edits import (
    Add,
    Clamp,
    ProjectOut,
    Replace,
    Scale,
    ablate,
    edit,
    patch,
    steer,
    unedited,
)
from interp.errors import MissingSiteError, UnknownSiteError
from interp.models.generation import generate
from interp.models.hookpoints import plant
from interp.models.reading import is_followed


IDS = torch.tensor([[5, 6, 7, 8, 9, 10], [11, 12, 13, 14, 15, 16]])
VECTOR = torch.linspace(-1, 1, 32)
SITE = "resid_post.1"
ADD = Add(site=SITE, vector=VECTOR)
DOUBLE = Scale(site=SITE, factor=2.0)


@pytest.fixture
def plain(llama, values_at):
    return values_at(llama, SITE, input_ids=IDS)[SITE]


def test_edits_at_one_site_act_in_the_order_of_the_list(llama, values_at, plain):
    with edit(llama, [ADD, DOUBLE]):
        first_add = values_at(llama, SITE, input_ids=IDS)[SITE]
    with edit(llama, [DOUBLE, ADD]):
        first_double = values_at(llama, SITE, input_ids=IDS)[SITE]
    torch.testing.assert_close(first_add, 2 * (plain + VECTOR))
    torch.testing.assert_close(first_double, 2 * plain + VECTOR)


def test_of_nested_blocks_the_outer_one_acts_first(llama, values_at, plain):
    with edit(llama, DOUBLE), edit(llama, ADD):
        values = values_at(llama, SITE, input_ids=IDS)[SITE]
    torch.testing.assert_close(values, 2 * plain + VECTOR)
    with edit(llama, ADD), edit(llama, DOUBLE):
        values = values_at(llama, SITE, input_ids=IDS)[SITE]
    torch.testing.assert_close(values, 2 * (plain + VECTOR))


def test_nested_edits_of_resid_mid_add_up(llama, values_at):
    sites = ["resid_mid.1", "mlp_out.1", "resid_post.1"]
    one, two = (
        Add(site="resid_mid.1", vector=VECTOR),
        Scale(site="resid_mid.1", factor=0.5),
    )
    with edit(llama, [one, two]):
        expected = values_at(llama, sites, input_ids=IDS)
    with edit(llama, one), edit(llama, two):
        values = values_at(llama, sites, input_ids=IDS)
    for site in sites:
        torch.testing.assert_close(values[site], expected[site])


def test_steering_after_ablation_puts_the_direction_back(llama, values_at):
    unit = VECTOR / VECTOR.norm()
    with ablate(llama, unit, sites=SITE), steer(llama, 2 * unit, site=SITE):
        put_back = values_at(llama, SITE, input_ids=IDS)[SITE]
    with steer(llama, 2 * unit, site=SITE), ablate(llama, unit, sites=SITE):
        removed = values_at(llama, SITE, input_ids=IDS)[SITE]
    torch.testing.assert_close(put_back @ unit, torch.full((2, 6), 2.0))
    assert (removed @ unit).abs().max() < 1e-5


def test_unedited_lifts_every_edit_and_restores_it(llama):
    clean = llama.hf(IDS).logits
    with steer(llama, VECTOR, site=SITE):
        steered = llama.hf(IDS).logits
        with unedited(llama):
            assert torch.equal(llama.hf(IDS).logits, clean)
        assert torch.equal(llama.hf(IDS).logits, steered)


def test_hooks_are_gone_after_an_exception_in_the_block(llama):
    clean = llama.hf(IDS).logits
    with pytest.raises(ZeroDivisionError), edit(llama, [ADD, DOUBLE]):
        raise ZeroDivisionError
    assert torch.equal(llama.hf(IDS).logits, clean)
    assert not is_followed(llama.hf)


@pytest.mark.parametrize("site", [SITE, "resid_mid.1", "pattern.1", "logits", "q.1"])
def test_hooks_are_gone_after_an_exception_in_the_forward_pass(llama, site):
    clean = llama.hf(IDS).logits

    def fail(part):
        raise ZeroDivisionError

    with (
        pytest.raises(ZeroDivisionError),
        edit(llama, Clamp(site=site, value=fail)),
    ):
        llama.hf(IDS)
    assert torch.equal(llama.hf(IDS).logits, clean)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in llama.hf.modules())
    assert llama.lock.acquire(blocking=False)
    llama.lock.release()


def test_a_site_that_does_not_exist_leaves_no_hook(llama):
    for site, error in (
        ("resid_post.9", UnknownSiteError),
        ("router.0", MissingSiteError),
    ):
        bad = Scale(site=site, factor=0.0)
        with pytest.raises(error), edit(llama, [ADD, bad]):
            pytest.fail("the block was entered")
    assert not any(m._forward_hooks for m in llama.hf.modules())


def test_hooks_are_removed_in_reverse_order(llama, monkeypatch):
    removed = []

    def watched(point, callback):
        removers = plant(point, callback)

        def remove(undo, number):
            removed.append((point.site.short, number))
            undo()

        return [
            lambda undo=undo, number=number: remove(undo, number)
            for number, undo in enumerate(removers)
        ]

    monkeypatch.setattr("interp.edits.planting.plant", watched)
    with edit(llama, [Scale(site=["resid_mid.1", "resid_pre.0"], factor=1.5)]):
        pass
    planted = [("resid_pre.0", 0), ("resid_mid.1", 0), ("resid_mid.1", 1)]
    planted.append(("resid_mid.1", 2))
    assert removed == planted[::-1]


def test_edits_leave_their_input_as_it_was(llama):
    """What a module returned may be used elsewhere too."""
    module = llama.architecture.point("attn_out.1").module
    seen = []
    handle = module.register_forward_hook(lambda m, a, out: seen.append(out[0]))
    llama.hf(IDS)
    for one in (
        Add(site="attn_out.1", vector=VECTOR),
        Replace(site="attn_out.1", values=VECTOR),
        ProjectOut(site="attn_out.1", vectors=VECTOR),
        Scale(site="attn_out.1", factor=0.0),
        Clamp(site="attn_out.1", index=3, value=9.0),
    ):
        with edit(llama, one):
            llama.hf(IDS)
    handle.remove()
    assert len(seen) == 6
    assert all(torch.equal(value, seen[0]) for value in seen)


def test_the_lock_is_held_by_the_editing_thread_only_inside_the_block(llama):
    def can_acquire():
        found = []

        def attempt():
            found.append(llama.lock.acquire(timeout=0.05))
            if found[0]:
                llama.lock.release()

        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
        return found[0]

    with steer(llama, VECTOR, site=SITE):
        assert not can_acquire()
        with steer(llama, VECTOR, site=SITE):
            assert not can_acquire()
        assert not can_acquire()
    assert can_acquire()
    with unedited(llama):
        assert not can_acquire()


def test_two_threads_see_only_their_own_edits(llama):
    expected = {}
    for strength in (0.0, 1.0, -3.0):
        with steer(llama, VECTOR, strength, site=SITE):
            expected[strength] = llama.hf(IDS).logits
    clean = llama.hf(IDS).logits
    ready = threading.Barrier(4)
    wrong, done = [], []

    def steering(strength):
        ready.wait()
        for _ in range(10):
            with torch.no_grad(), steer(llama, VECTOR, strength, site=SITE):
                for _ in range(3):
                    if not torch.equal(llama.hf(IDS).logits, expected[strength]):
                        wrong.append(strength)
        done.append(strength)

    def clean_runs():
        ready.wait()
        for _ in range(30):
            with torch.no_grad(), llama.lock:
                if not torch.equal(llama.hf(IDS).logits, clean):
                    wrong.append("clean")
        done.append("clean")

    threads = [
        threading.Thread(target=steering, args=(1.0,)),
        threading.Thread(target=steering, args=(-3.0,)),
        threading.Thread(target=clean_runs),
    ]
    for thread in threads:
        thread.start()
    ready.wait()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(done) == 3


def test_generation_waits_while_another_thread_edits(llama):
    plain = generate(llama, [[5, 6, 7]], max_new_tokens=3).ids
    inside, leave = threading.Event(), threading.Event()
    order = []

    def editing():
        with torch.no_grad(), patch(llama, {SITE: torch.zeros(32)}, when="both"):
            inside.set()
            leave.wait(10)
            order.append("edited")

    def generating():
        order.append(generate(llama, [[5, 6, 7]], max_new_tokens=3).ids)

    editor = threading.Thread(target=editing)
    writer = threading.Thread(target=generating)
    editor.start()
    inside.wait(10)
    writer.start()
    writer.join(0.2)
    assert writer.is_alive()
    leave.set()
    editor.join()
    writer.join()
    assert order == ["edited", plain]
