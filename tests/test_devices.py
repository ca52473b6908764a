"""Every way to work on a model gives the CPU's numbers when the model is elsewhere.

The devices are pretended (`pretended_devices.py`), so this needs none; the
blocks lie on two of them, as with `device="balanced"`.
"""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest
import torch
from pretended_devices import pretended_devices
from pretended_models import on_devices
from pretended_tensor import (
    FIRST,
    SECOND,
    PretendedTensor,
    WrongDeviceError,
    unpretended,
)
from tiny import tiny_model, tiny_tokenizer

import interp
import probes
from interp.activations.moments import moments
from interp.directions import Direction
from interp.edits import Add
from interp.formation import holding
from interp.formation.on_models import clamped
from interp.heads import (
    ablate_heads,
    attribute_heads,
    composition,
    copying,
    copying_by_activation,
    induction_strength,
    lag_matrices,
    score,
    token_losses,
)
from interp.lens import logit_contributions, logit_lens
from interp.neurons import effects, entropy_neurons, promoted_tokens, token_confidence
from interp.patching import PromptPairs, attribute, trace
from interp.streaming import (
    Sampling,
    TokenReader,
    edit_sizes,
    side_by_side,
    token_scores,
)
from probes import optimum


TEXTS = ["Paris is", "the city of Paris is in France", "a b c", "Paris"] * 3
IDS = [[5, 9, 6, 8, 5, 9], [7, 6, 5, 8], [5, 5, 6, 9, 7, 9], [3, 9, 4, 8]]
LABELS = np.array([0, 1, 0, 1] * 3)
UP = Direction.from_vector(np.linspace(-1, 1, 32), site="resid_post.1")
ROWS = np.random.default_rng(0).normal(size=(80, 32))
ERASER = interp.directions.fit_leace(ROWS, ROWS[:, 0] > 0)
PAIRS = PromptPairs(
    clean_ids=((5, 6, 7, 8, 9), (5, 6, 3, 8, 9)),
    corrupted_ids=((5, 9, 7, 8, 9), (5, 4, 3, 8, 9)),
    positive=(3, 4),
    negative=(4, 5),
    start=(1, 1),
    groups=("a", "b"),
    roles=(("subject", "template", "template", "last"),) * 2,
)


def logits(model, ids=(5, 6, 7, 8)):
    device = model.device
    with torch.no_grad():
        return model.hf(input_ids=torch.tensor([ids], device=device)).logits


def edited(context: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def run(model):
        with context(model):
            return logits(model), model.generate(TEXTS[:2], max_new_tokens=3)

    return run


def capture(**options) -> Callable[[Any], Any]:
    return lambda model: interp.capture(model, TEXTS, **options).values


def clamped_logits(model):
    with clamped(model, holding.previous_token(0, [1])):
        return logits(model)


def traced(model, **options):
    return trace(model, PAIRS, **options).ld


WORK: dict[str, Callable[[Any], Any]] = {
    "capture last": capture(sites=["resid_post.*", "z.*", "q.*", "logits"]),
    "capture all": capture(sites=["resid_mid.*"], positions="all"),
    "capture mean": capture(sites=["mlp_post.*", "final_norm"], positions="mean"),
    "capture pattern": capture(sites=["pattern.*"], positions="all", token_budget=20),
    "moments": lambda m: [
        moments(m, TEXTS, labels=LABELS.tolist()).mean("resid_post", label=label)
        for label in (0, 1)
    ],
    "steer": edited(lambda m: interp.steer(m, UP, 2.0)),
    "ablate": edited(lambda m: interp.ablate(m, UP)),
    "clamp": edited(lambda m: interp.clamp(m, {"resid_post.1": (3, 1.0)})),
    "erase": edited(lambda m: interp.erase(m, ERASER, site="resid_post.1")),
    "patch": edited(
        lambda m: interp.patch(m, {"resid_post.1": ("last", torch.ones(32))})
    ),
    "trace": traced,
    "trace components": lambda m: traced(m, sites=["attn_out", "mlp_out", "z"]),
    "trace window": lambda m: traced(m, sites=["mlp_out"], window=2),
    "attribute": lambda m: attribute(m, PAIRS, sites=["resid_post", "z"]).ld,
    "head scores": lambda m: score(m, IDS, resamples=5).samples,
    "ablate heads": lambda m: (
        ablate_heads(m, IDS, kinds=["zero", "mean", "resample"], heads=["L1H0"]).loss
    ),
    "attribute heads": lambda m: attribute_heads(m, IDS),
    "copying": lambda m: copying(m, n_tokens=16),
    "copying by activation": lambda m: copying_by_activation(m, IDS).samples,
    "composition": lambda m: composition(m, through="key"),
    "lag matrices": lambda m: lag_matrices(m, [1, 2]),
    "induction strength": lambda m: (
        (
            induction_strength(
                m, [[5, 9, 6, 8, 5]], labels=[[1, 3]], right=[[True, False]]
            )
        ).samples
    ),
    "token losses": lambda m: token_losses(m, IDS).loss,
    "lens": lambda m: logit_lens(m, IDS[0]),
    "contributions": lambda m: logit_contributions(m, IDS[0], target=8, distractor=9),
    "neurons": lambda m: entropy_neurons(m),
    "neuron effects": lambda m: effects(m, IDS, [3, 7]),
    "promoted": lambda m: [row.up_weights for row in promoted_tokens(m, [3], k=2)],
    "confidence": lambda m: token_confidence(m, IDS),
    "stream": lambda m: (
        side_by_side(
            m,
            "Paris is",
            edits=Add(site="resid_post.1", vector=torch.ones(32), strength=0.5),
            sampling=Sampling(max_new_tokens=3),
        ).kl
    ),
    "token scores": lambda m: token_scores(
        m, "Paris is", [TokenReader(name="x", site="resid_post.1", weights=np.ones(32))]
    ),
    "edit sizes": lambda m: edit_sizes(
        m, [5, 6, 7], Add(site="resid_post.1", vector=torch.ones(32), strength=1.0)
    ),
    "clamped": clamped_logits,
}


def numbers(found: Any) -> list[np.ndarray | str]:
    """All numbers of a result, in one order."""
    if isinstance(found, torch.Tensor):
        return [unpretended(found).detach().float().numpy()]
    if isinstance(found, np.ndarray | float | int | bool | np.generic):
        held = np.asarray(found)
        return [held] if held.dtype.kind in "fiub" else []
    if isinstance(found, str):
        return [found]
    if isinstance(found, dict):
        found = list(found.values())
    if is_dataclass(found):
        found = [
            getattr(found, f.name) for f in fields(found) if f.name != "provenance"
        ]
    if isinstance(found, list | tuple):
        return [number for each in found for number in numbers(each)]
    return []


def tiny(architecture: str):
    # Four layers: two on each device.
    name = "n_layer" if architecture == "gpt2" else "num_hidden_layers"
    return tiny_model(architecture, **{name: 4})


@pytest.fixture(scope="module")
def here():
    return interp.load(tiny("llama"), tokenizer=tiny_tokenizer())


def assert_same(found: Any, wanted: Any) -> None:
    assert wanted
    for there, right in zip(found, wanted, strict=True):
        if isinstance(right, str):
            assert there == right
        else:
            np.testing.assert_allclose(there, right, atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("name", WORK)
def test_what_runs_on_two_devices_equals_what_runs_on_the_cpu(here, name):
    wanted = numbers(WORK[name](here))
    with pretended_devices():
        hf = on_devices(tiny("llama"))
        there = interp.load(hf, tokenizer=tiny_tokenizer())
        assert_same(numbers(WORK[name](there)), wanted)


@pytest.mark.parametrize("name", ["capture last", "head scores", "lens"])
@pytest.mark.parametrize("architecture", ["gpt2", "gemma2"])
def test_so_it_is_in_other_architectures(architecture, name):
    right = interp.load(tiny(architecture), tokenizer=tiny_tokenizer())
    wanted = numbers(WORK[name](right))
    with pretended_devices():
        hf = on_devices(tiny(architecture))
        there = interp.load(hf, tokenizer=tiny_tokenizer())
        assert_same(numbers(WORK[name](there)), wanted)


def test_probes_stay_where_the_rows_are(monkeypatch):
    # Tensors of inference mode cannot be views of pretended ones.
    plain = optimum._of_sites.__wrapped__  # pyright: ignore[reportFunctionMemberAccess]
    monkeypatch.setattr(optimum, "_of_sites", plain)
    draw = torch.Generator().manual_seed(0)
    rows = torch.randn(2, 60, 8, generator=draw)
    labels = rows[0, :, 0] + 0.5 * torch.randn(60, generator=draw) > 0
    wanted = probes.fit_logistic(rows, labels)
    with pretended_devices():
        found = probes.fit_logistic(rows.to(SECOND), labels.to(SECOND))
        assert found.weights.device == SECOND
        close = unpretended(found.weights)
        torch.testing.assert_close(close, wanted.weights, atol=1e-3, rtol=1e-3)


def test_the_pretended_devices_refuse_what_real_ones_refuse():
    with pretended_devices():
        one, two = torch.ones(3, device=FIRST), torch.ones(3, device=SECOND)
        for mixed in (
            lambda: one + two,
            lambda: one + torch.ones(3),
            lambda: torch.ones(3)[one.long()],
            lambda: two[one.long()],
            lambda: torch.cat([one, torch.ones(1)]),
            lambda: one.index_select(0, torch.tensor([0])),
            lambda: one.numpy(),
            lambda: torch.ones(3).add_(one),
        ):
            with pytest.raises(WrongDeviceError):
                mixed()
        assert isinstance(one + 1, PretendedTensor)
        assert one[torch.tensor([0])].device == FIRST
        assert (one * torch.tensor(2.0)).tolist() == [2, 2, 2]
        assert two.to(one).device == FIRST
        two[torch.tensor([1])] = 5.0
        assert two.cpu().tolist() == [1, 5, 1]


def test_a_trace_enters_blocks_on_two_devices():
    with pretended_devices():
        there = interp.load(on_devices(tiny("llama")))
        notes = trace(there, PAIRS, sites=["resid_post", "attn_out"]).notes
    assert any("entering the model's blocks" in note for note in notes)


MORE_IDS = [[(7 * row + 3 * place) % 290 + 5 for place in range(6)] for row in range(9)]


def moments_of(n: int) -> Callable[[Any], Any]:
    labels = [0, 1, 0] * n
    return lambda m: moments(m, MORE_IDS[: 3 * n], labels=labels, positions="all")


# What is called for few rows and for many.
INNER: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "capture": (
        lambda m: interp.capture(m, MORE_IDS[:3], sites=["resid_post.*", "z.*"]),
        lambda m: interp.capture(m, MORE_IDS, sites=["resid_post.*", "z.*"]),
    ),
    "moments": (moments_of(1), moments_of(3)),
    "head scores": (
        lambda m: score(m, MORE_IDS[:3], resamples=5),
        lambda m: score(m, MORE_IDS, resamples=5),
    ),
    "induction strength": (
        lambda m: induction_strength(m, MORE_IDS[:2], **labels_of(2)),
        lambda m: induction_strength(m, MORE_IDS, **labels_of(9)),
    ),
    "attribute": (
        lambda m: attribute(m, PAIRS, sites=["resid_post"]),
        lambda m: attribute(m, PAIRS, sites=["resid_post", "attn_out"]),
    ),
}


def labels_of(n: int) -> dict[str, Any]:
    return {"labels": [[1, 3]] * n, "right": [[True, False]] * n}


def waits_of(work: Callable[[Any], Any], n_layers: int) -> dict[str, int]:
    hf = tiny_model("llama", num_hidden_layers=n_layers)
    with pretended_devices() as waited:
        there = interp.load(on_devices(hf, spread=False), tokenizer=tiny_tokenizer())
        work(there)  # what is worked out once for a model is not counted
        waited.clear()
        work(there)
        return dict(waited)


@pytest.mark.parametrize("name", INNER)
def test_the_device_is_waited_for_as_often_for_few_rows_as_for_many(name):
    few, many = INNER[name]
    waits = waits_of(few, 2)
    assert waits == waits_of(many, 2)
    assert waits  # something has to come back


# Moments come from the device once, layer by layer.
@pytest.mark.parametrize("name", [*(n for n in INNER if n != "moments"), "trace"])
def test_and_as_often_for_few_layers_as_for_many(name):
    work = traced if name == "trace" else INNER[name][0]
    assert waits_of(work, 2) == waits_of(work, 3)


def test_a_fit_waits_for_the_device_once_a_step_whatever_it_holds(monkeypatch):
    plain = optimum._of_sites.__wrapped__  # pyright: ignore[reportFunctionMemberAccess]
    monkeypatch.setattr(optimum, "_of_sites", plain)
    draw = torch.Generator().manual_seed(0)
    few = torch.randn(1, 60, 8, generator=draw)
    labels = few[0, :, 0] + 0.5 * torch.randn(60, generator=draw) > 0
    counts = []
    # The same problem at one site and at five takes the same steps.
    for sites in (1, 5):
        with pretended_devices() as waited:
            rows = few.repeat(sites, 1, 1).to(FIRST)
            probes.fit_logistic(rows, labels.to(FIRST))
            counts.append(dict(waited))
    assert counts[0] == counts[1]
