"""Tiny models, statements and quick settings for the tests of studies."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_model, tiny_tokenizer

import interp
from interp import stopping
from interp.data import Contrast, Statements, contrast, instructions
from interp.models.language_model import LanguageModel
from interp.provenance import record
from interp.results import RefusalComparison
from probes.studies.refusal.spec import RefusalSpec
from probes.studies.refusal.study import refusal
from probes.studies.truthfulness.spec import TruthfulnessSpec


def planted_model(direction: torch.Tensor, *, seed: int = 0) -> LanguageModel:
    """A random model in which a final '!' lies along a direction and '?' against it.

    Nothing is trained: the two embeddings are set, and what the blocks add is made
    small enough not to drown them.
    """
    hf: Any = tiny_model("llama", seed)
    tokenizer = tiny_tokenizer()
    with torch.no_grad():
        table = hf.get_input_embeddings().weight
        middle = table[3].clone()
        for token, sign in (("!", 1.0), ("?", -1.0)):
            (index,) = tokenizer(token, add_special_tokens=False)["input_ids"]
            table[index] = middle + sign * direction
        for block in hf.model.layers:
            block.self_attn.o_proj.weight *= 0.1
            block.mlp.down_proj.weight *= 0.1
    return interp.load(hf, tokenizer=tokenizer)


@pytest.fixture(scope="session")
def models(facts_family) -> tuple[LanguageModel, LanguageModel]:
    """Base and post of the embedded family; tests leave them as they are."""
    return interp.load(facts_family.base), interp.load(facts_family.post)


@pytest.fixture(scope="session")
def refusal_spec() -> RefusalSpec:
    return RefusalSpec(
        base="base",
        post="post",
        harmful=("harmful.json",),
        harmless=("harmless.json",),
        max_new_tokens=12,
        batch_size=64,
    )


@pytest.fixture(scope="session")
def asked(facts_family) -> Contrast:
    """The instructions of the embedded family, in three splits."""
    return contrast(
        instructions(facts_family.harmful),
        instructions(facts_family.harmless),
        n_train=40,
        n_val=12,
        n_test=16,
    )


@pytest.fixture(scope="session")
def refusal_result(models, asked, refusal_spec) -> RefusalComparison:
    """The refusal study of the embedded family, run once."""
    base, post = models
    origin = record("refusal")
    return refusal(base, post, asked, spec=refusal_spec, provenance=origin)


@pytest.fixture
def plant() -> Callable[..., LanguageModel]:
    return planted_model


@pytest.fixture
def unit() -> torch.Tensor:
    drawn = torch.randn(32, generator=torch.Generator().manual_seed(7))
    return drawn / drawn.norm()


@pytest.fixture
def other_unit(unit: torch.Tensor) -> torch.Tensor:
    """A direction at right angles to the first."""
    drawn = torch.randn(32, generator=torch.Generator().manual_seed(8))
    drawn = drawn - (drawn @ unit) * unit
    return drawn / drawn.norm()


@pytest.fixture
def marked(tmp_path: Path) -> Statements:
    """Sixty things, each with a true statement that ends in '!' and a false one."""
    rows = ["statement,label,entity"]
    for i in range(60):
        rows += [f"It{i} is{mark},{int(mark == '!')},{i}" for mark in "!?"]
    path = tmp_path / "marked.csv"
    path.write_text("\n".join(rows) + "\n")
    return interp.data.statements(path)


@pytest.fixture
def quick() -> TruthfulnessSpec:
    return TruthfulnessSpec(
        base="base",
        post="post",
        statements=("marked.csv",),
        permutations=40,
        resamples=200,
        asked_validation=8,
        asked_test=8,
        controls=1,
    )


@pytest.fixture
def listening() -> Iterator[None]:
    """Signals are listened to as the command does, and as before afterwards."""
    numbers = (signal.SIGTERM, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    stopping.listen()
    yield
    stopping.listen()
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
