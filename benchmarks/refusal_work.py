"""The models, prompts and candidates of `refusal.py`, and a count of the arithmetic."""

import json
import random
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from interp.data import contrast, instructions
from interp.directions.selection import SelectionRule
from interp.models.language_model import LanguageModel
from interp.models.loading import load
from probes.studies.refusal.candidates import (
    Candidates,
    Prompts,
    candidates,
    template_positions,
)
from probes.studies.refusal.candidates_tree import (
    PromptTree,
    most_nodes_for,
    opening_of,
    opening_tree,
    plan_trees,
)
from probes.studies.refusal.chat import templates
from probes.studies.refusal.direction import first_tokens
from probes.studies.refusal.score import chance_of, refusal_score
from probes.studies.refusal.setting import Side, kept_of, tokens_of
from probes.studies.refusal.spec import RefusalSpec


INSTRUCTIONS = Path(__file__).parents[2] / "shared" / "data" / "instructions"
VOCABULARY = 50_304
BATCH = 32
# What a chat template writes before an instruction: a few marks, or as many tokens as
# the system prompt that Qwen 2.5 and Llama 3.1 write unless another one is given.
OPENINGS = {"short": (1, 2, 3), "system prompt": tuple(range(1, 25))}
BEHIND = (30, 31, 32, 33, 34)
# Positions of the trained family: those of its template by default.
TRAINED = {"template positions": None, "last five positions": (-5, -4, -3, -2, -1)}


def shapes() -> dict[str, dict[str, Any]]:
    neox = {"vocab_size": VOCABULARY, "max_position_embeddings": 512}
    return {
        "embedded family": {
            "model_type": "llama",
            "vocab_size": 880,
            "hidden_size": 96,
            "intermediate_size": 256,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
        },
        "pythia-14m": {
            "model_type": "gpt_neox",
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            **neox,
        },
        "pythia-160m": {
            "model_type": "gpt_neox",
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            **neox,
        },
        "llama-small": {
            "model_type": "llama",
            "vocab_size": 32_000,
            "hidden_size": 512,
            "intermediate_size": 1408,
            "num_hidden_layers": 8,
            "num_attention_heads": 8,
        },
    }


def model_of(shape: str) -> LanguageModel:
    fields = dict(shapes()[shape])
    config = AutoConfig.for_model(fields.pop("model_type"), **fields)
    torch.manual_seed(0)
    return LanguageModel(hf=AutoModelForCausalLM.from_config(config).eval(), name=shape)


def prompts_of(
    kind: str, n: int, d_vocab: int, opening: str
) -> tuple[tuple[int, ...], ...]:
    """Instructions of one kind as token ids: pieces of words, inside a template."""
    path = INSTRUCTIONS / f"{kind}_val.json"
    if path.exists():
        texts = [row["instruction"] for row in json.loads(path.read_text())]
    else:
        draw = random.Random(kind)
        words = ["write", "explain", "give", "how", "to", "make", "the", "a", "of"]
        texts = [" ".join(draw.choices(words, k=8 + i % 20)) for i in range(n)]
    random.Random(0).shuffle(texts)
    before = OPENINGS[opening]
    return tuple(
        (*before, *(_token(piece, d_vocab) for piece in _pieces(text)), *BEHIND)
        for text in texts[:n]
    )


def _pieces(text: str) -> list[str]:
    return re.findall(r"\w{1,7}|[^\w\s]", text)


def _token(piece: str, d_vocab: int) -> int:
    return 50 + zlib.crc32(piece.encode()) % (d_vocab - 50)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The same candidates and prompts for every method.

    Attributes:
        n_all: How many candidates there are at all positions of the template and all
            layers; `found` may hold some of them.
        tokens: The refusal tokens.
        rule: By what one is chosen; None where weights are random.
    """

    model: LanguageModel
    found: Candidates
    prompts: Prompts
    n_all: int
    tokens: tuple[int, ...] = (40, 41)
    rule: SelectionRule | None = None

    @property
    def places(self) -> list[tuple[int, int]]:
        return live_places(self.found)


def live_places(found: Candidates) -> list[tuple[int, int]]:
    """The slot and layer of every candidate that has a direction."""
    slots, layers = range(len(found.positions)), range(found.n_layers)
    alive = ~found.degenerate
    return [(slot, layer) for slot in slots for layer in layers if alive[slot, layer]]


def work_of(
    shape: str, *, opening: str, n_prompts: int, n_positions: int, every: int
) -> Work:
    """Candidates at the last positions and at every n-th layer."""
    model = model_of(shape)
    prompts = Prompts(
        harmful=prompts_of("harmful", n_prompts, model.d_vocab, opening),
        harmless=prompts_of("harmless", n_prompts, model.d_vocab, opening),
    )
    whole = candidates(model, prompts, positions=tuple(range(-len(BEHIND), 0)))
    # Some layers stand for all; in the middle of each stretch, so that what an entry at
    # a late block saves is what it saves on average.
    kept = torch.zeros(len(BEHIND), whole.n_layers, 1)
    kept[-n_positions:, every // 2 :: every] = 1
    found = replace(whole, vectors=whole.vectors * kept)
    return Work(
        model=model, found=found, prompts=prompts, n_all=len(live_places(whole))
    )


def rule_of(work: Work, min_induce: float) -> SelectionRule:
    """A rule that half of the candidates fall by."""
    return SelectionRule(
        n_layers=work.model.n_layers, layer_share=1.0, min_induce=min_induce
    )


def trained_work(
    folder: Path, *, n_prompts: int, positions: tuple[int, ...] | None
) -> Work:
    """The candidates of a study of a trained family's POST model."""
    post = load(folder / "post")
    spec = RefusalSpec(base="", post="", harmful=("",), harmless=("",))
    asked = contrast(
        instructions(folder / "harmful.json"),
        instructions(folder / "harmless.json"),
        n_train=128,
        n_val=n_prompts,
        n_test=1,
    )
    _, template = templates(post, post)
    side = Side(role="post", model=post, template=template)
    tokens = tokens_of(side, asked, spec)
    train, val = (kept_of(side, asked, split, tokens) for split in ("train", "val"))
    found = candidates(
        post,
        side.prompts(train.harmful, train.harmless),
        positions=positions
        or template_positions(post, template, asked.harmful.train[0]),
    )
    prompts = side.prompts(val.harmful, val.harmless)
    clean = refusal_score(chance_of(first_tokens(post, prompts.harmful), tokens))
    return Work(
        model=post,
        found=found,
        prompts=prompts,
        n_all=len(live_places(found)),
        tokens=tokens,
        rule=SelectionRule(n_layers=post.n_layers, max_bypass=float(clean.mean())),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """Multiplications of one candidate's scores over those of the published way.

    Attributes:
        grid: With the trees of the grid.
        least: If every distinct beginning of a prompt runs once through each block,
            attends to nothing but itself, and the last block gives its keys and values
            and nothing else but at the ends of prompts. No exact method that runs dense
            matrices does with less.
    """

    grid: float
    least: float


def arithmetic(work: Work) -> Arithmetic:
    """The share of multiplications that is left, without anything that is fixed."""
    cost = _Cost(work.model)
    prompts = work.prompts
    layers = [layer for _, layer in work.places]
    depths = [work.model.n_layers - layer for layer in layers]
    published = cost.padded(prompts.harmful) + 2 * cost.padded(prompts.harmless)
    shares: list[float] = []
    for count in (cost.grid, cost.least):
        ablated = sum(
            count(rows, work.model.n_layers)
            for rows in (prompts.harmful, prompts.harmless)
        )
        added = sum(count(prompts.harmless, depth) for depth in depths) / len(depths)
        shares.append((ablated + added) / published)
    return Arithmetic(grid=shares[0], least=shares[1])


class _Cost:
    """Multiplications of passes over some prompts."""

    def __init__(self, model: LanguageModel) -> None:
        block, paths = model.architecture.blocks[0], model.architecture.map
        assert paths.attn is not None
        assert paths.mlp is not None
        self._attn = _size_of(block.get_submodule(paths.attn))
        self._mlp = _size_of(block.get_submodule(paths.mlp))
        self._width, self._head = model.d_model, model.d_model * model.d_vocab
        self._n_layers = model.n_layers

    def padded(self, prompts: Sequence[tuple[int, ...]]) -> float:
        total = 0.0
        for start in range(0, len(prompts), BATCH):
            some = prompts[start : start + BATCH]
            longest = max(map(len, some))
            seen = 2 * self._width * longest
            token = self._n_layers * (self._attn + self._mlp + seen) + self._head
            total += len(some) * longest * token
        return total

    def grid(self, prompts: Sequence[tuple[int, ...]], n_blocks: int) -> float:
        total = 0.0
        for tree in _trees(tuple(prompts), most_nodes_for(self._width)):
            n, ends = len(tree), len(tree.last)
            seen = 2 * self._width * (tree.start + n)
            total += n * (n_blocks * (self._attn + seen) + (n_blocks - 1) * self._mlp)
            total += ends * (self._mlp + self._head)
        return total

    def least(self, prompts: Sequence[tuple[int, ...]], n_blocks: int) -> float:
        whole = sum(map(len, prompts))
        (tree,) = plan_trees(tuple(prompts), most_nodes=whole)
        n, ends = len(tree), len(tree.last)
        seen = 2 * self._width * int(tree.sees.sum())
        inner = (n_blocks - 1) * (n * (self._attn + self._mlp) + seen)
        last = n * self._attn / 2 + ends * (self._attn / 2 + self._mlp)
        return inner + last + ends * self._head


def _trees(prompts: tuple[tuple[int, ...], ...], most: int) -> list[PromptTree]:
    start = opening_of(prompts)
    trees = [opening_tree(prompts[0][:start])] if start else []
    return [*trees, *plan_trees(prompts, most_nodes=most, start=start)]


def _size_of(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.dim() > 1)
