"""Many candidates to a forward pass against one candidate and one prompt at a time."""

import numpy as np
import pytest
import torch
from tiny import tiny_model, tiny_tokenizer

import interp
from interp.edits import ablate, steer
from interp.models.language_model import LanguageModel
from probes.studies.refusal import candidates_clean
from probes.studies.refusal.candidates import Candidates, Prompts, template_positions
from probes.studies.refusal.candidates_clean import clean_runs, grown
from probes.studies.refusal.candidates_forward import Forest
from probes.studies.refusal.candidates_grid import Ablation, Grid
from probes.studies.refusal.candidates_plain import PlainBatches
from probes.studies.refusal.candidates_tree import opening_of, plan_trees
from probes.studies.refusal.chat import templates
from probes.studies.refusal.score import divergence, refusal_score


# Absolute, rotary + parallel, post-norm + soft caps, qk-norm, experts, no module of
# the MLP, and one (Bloom) that takes no trees.
ARCHITECTURES = ("gpt2", "gpt_neox", "gemma2", "qwen3", "mixtral", "opt", "bloom")
TOKENS = (10, 11, 12)
N_PROMPTS = 2


def prompts_like_a_chat(seed: int, n: int = N_PROMPTS) -> tuple[tuple[int, ...], ...]:
    """Some share a beginning, all end in the same two tokens; the lengths differ."""
    draw = np.random.default_rng(seed)
    return tuple(
        (0, 4, *draw.integers(20, 24, 2 + i % 3).tolist(), 5, 6) for i in range(n)
    )


def prompts_with_a_system_prompt(seed: int) -> tuple[tuple[int, ...], ...]:
    """All share ten tokens; their lengths differ."""
    opening = (0, *range(4, 13))
    return tuple((*opening, *row[2:]) for row in prompts_like_a_chat(seed, n=4))


def random_candidates(model: LanguageModel, seed: int = 0) -> Candidates:
    generator = torch.Generator().manual_seed(seed)
    shape = 2, model.n_layers, model.d_model
    vectors = torch.randn(shape, generator=generator)
    vectors[0, 1] = 0
    return Candidates(
        vectors=vectors,
        harmless=torch.randn(shape, generator=generator),
        positions=(-2, -1),
        tokens=("a", "b"),
    )


def score_grid(model, found, prompts, ablation: Ablation = "plain"):
    return Grid.of(model, found, prompts, tokens=TOKENS).scored(ablation)


def forest_of(model, prompts) -> Forest:
    forests = grown(model, [prompts])
    assert forests is not None
    return forests[0]


def last_logits(model, row) -> np.ndarray:
    with torch.no_grad():
        logits = model.hf(input_ids=torch.tensor([row]), use_cache=False).logits
    return logits[0, -1].double().softmax(-1).numpy()


def one_at_a_time(model, found, prompts, ablation):
    """Every score by a forward pass of its own."""
    shape = found.vectors.shape[:2]
    n = len(prompts.harmful)
    held = {name: np.full((*shape, n), np.nan) for name in ("bypass", "induce", "kl")}
    for slot, layer in np.ndindex(*shape):
        if found.degenerate[slot, layer]:
            continue
        vector, position = found.vectors[slot, layer], found.positions[slot]

        def removed(vector=vector, position=position, layer=layer, slot=slot):
            if ablation == "plain":
                return ablate(model, vector)
            unit = vector / vector.norm()
            return ablate(
                model,
                vector,
                to=float(found.harmless[slot, layer] @ unit),
                sites=f"resid_pre.{layer}",
                positions=[position],
            )

        for i, row in enumerate(prompts.harmful):
            with removed():
                chances = last_logits(model, row)
            held["bypass"][slot, layer, i] = refusal_score(chances[list(TOKENS)].sum())
        for i, row in enumerate(prompts.harmless):
            clean = last_logits(model, row)
            with removed():
                edited = last_logits(model, row)
            held["kl"][slot, layer, i] = divergence(clean[None], edited[None])[0]
            with steer(model, vector, site=f"resid_pre.{layer}"):
                chances = last_logits(model, row)
            held["induce"][slot, layer, i] = refusal_score(chances[list(TOKENS)].sum())
    return {name: rows.reshape(-1, n) for name, rows in held.items()}


@pytest.mark.parametrize(
    ("architecture", "ablation"),
    [
        *((architecture, "plain") for architecture in ARCHITECTURES),
        ("gpt2", "affine"),
        ("bloom", "affine"),
    ],
)
def test_the_grid_equals_one_candidate_and_prompt_at_a_time(architecture, ablation):
    model = LanguageModel(hf=tiny_model(architecture))
    prompts = Prompts(harmful=prompts_like_a_chat(1), harmless=prompts_like_a_chat(2))
    found = random_candidates(model)
    scores = score_grid(model, found, prompts, ablation)
    right = one_at_a_time(model, found, prompts, ablation)
    for name, rows in right.items():
        np.testing.assert_allclose(getattr(scores, name), rows, rtol=1e-5, atol=1e-5)
        assert np.isfinite(rows).sum() == N_PROMPTS * (len(rows) - 1)


@pytest.mark.parametrize(
    ("architecture", "ablation"),
    [("gpt2", "plain"), ("gpt_neox", "plain"), ("qwen3", "affine")],
)
def test_the_grid_is_exact_where_a_long_opening_is_kept_as_keys_and_values(
    architecture, ablation, monkeypatch
):
    # Small trees of unequal size, so that batches hold several of them and padding.
    monkeypatch.setattr(candidates_clean, "most_nodes_for", lambda width: 9)
    model = LanguageModel(hf=tiny_model(architecture))
    prompts = Prompts(
        harmful=prompts_with_a_system_prompt(1),
        harmless=prompts_with_a_system_prompt(2),
    )
    forest = forest_of(model, prompts.harmless)
    assert forest.opening is not None
    assert forest.opening.tree.ids.tolist() == [0, *range(4, 13)]
    assert len({len(clean.tree) for clean in forest.trees}) > 1
    found = random_candidates(model)
    scores = score_grid(model, found, prompts, ablation)
    right = one_at_a_time(model, found, prompts, ablation)
    for name, rows in right.items():
        np.testing.assert_allclose(getattr(scores, name), rows, rtol=1e-5, atol=1e-5)
    clean = np.array([last_logits(model, row) for row in prompts.harmless])
    np.testing.assert_allclose(
        scores.clean_harmless,
        refusal_score(clean[:, list(TOKENS)].sum(1)),
        atol=1e-5,
    )


def test_a_position_inside_the_opening_is_levelled_without_trees():
    model = LanguageModel(hf=tiny_model("llama"))
    opening = tuple(range(4, 14))
    prompts = ((*opening, 20, 5), (*opening, 21, 5))
    forest = forest_of(model, prompts)
    assert forest.opening is not None
    units = torch.nn.functional.normalize(torch.ones(1, 32), dim=-1)
    levels = torch.tensor([5.0])

    def measure(which, logits):
        return logits.double().logsumexp(-1)

    found = forest.levelled(1, -3, units, levels, measure)
    plain = PlainBatches(model=model, prompts=prompts)
    right = plain.levelled(1, -3, units, levels, measure)
    np.testing.assert_allclose(found, right, atol=1e-5)
    unedited = measure([0, 1], forest.logits)
    assert np.abs(found[0] - unedited.numpy()).max() > 1e-3


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_prompts_run_as_trees_where_that_is_exact(architecture):
    model = LanguageModel(hf=tiny_model(architecture))
    (clean,) = clean_runs(model, prompts_like_a_chat(1))
    assert isinstance(clean.run, PlainBatches if architecture == "bloom" else Forest)
    assert not any(
        module._forward_hooks or module._forward_pre_hooks
        for module in model.hf.modules()
    )
    assert not any("forward" in vars(block) for block in model.architecture.blocks)


def test_a_sliding_window_that_is_too_short_for_trees_is_noticed():
    """Its mask is made from the 2-D mask alone, so trees would see too far."""
    model = LanguageModel(hf=tiny_model("mistral"))
    long = tuple((0, *range(20, 32), end) for end in (5, 6))
    (clean,) = clean_runs(model, long)
    assert isinstance(clean.run, PlainBatches)


def test_wrong_logits_and_foreign_edits_keep_trees_away(monkeypatch):
    model = LanguageModel(hf=tiny_model("llama"))
    prompts = prompts_like_a_chat(1)
    assert grown(model, [prompts]) is not None

    def wrong(*args, **kwargs):
        logits = interp.capture(*args, **kwargs)["logits"]
        return {"logits": logits + 0.1 * torch.randn_like(logits)}

    with monkeypatch.context() as patch:
        patch.setattr(candidates_clean, "capture", wrong)
        assert grown(model, [prompts]) is None
    with steer(model, torch.ones(32), site="resid_pre.1"):
        (clean,) = clean_runs(model, prompts)
    assert isinstance(clean.run, PlainBatches)


def test_a_token_that_two_prompts_share_is_levelled_for_one_of_them_only():
    """Position -3 of the first prompt is position -4 of the second one."""
    model = LanguageModel(hf=tiny_model("llama"))
    prompts = ((0, 4, 20, 5, 6), (0, 4, 20, 21, 5, 6))
    forest = forest_of(model, prompts)
    assert not forest.trees[0].tree.is_apart(-3)
    units = torch.nn.functional.normalize(torch.ones(1, 32), dim=-1)

    def measure(which, logits):
        return logits.double().logsumexp(-1)

    plain = PlainBatches(model=model, prompts=prompts)
    for position in (-3, -1):
        levels = torch.tensor([5.0])
        found = forest.levelled(1, position, units, levels, measure)
        right = plain.levelled(1, position, units, levels, measure)
        np.testing.assert_allclose(found, right, atol=1e-5)


def test_memory_that_runs_out_halves_the_rows(monkeypatch):
    model = LanguageModel(hf=tiny_model("llama"))
    prompts = Prompts(harmful=prompts_like_a_chat(1), harmless=prompts_like_a_chat(2))
    found = random_candidates(model)
    right = score_grid(model, found, prompts)
    forward = model.hf.forward

    def tight(*args, **kwargs):
        if kwargs["input_ids"].shape[0] > 2:
            raise torch.OutOfMemoryError("out of memory")
        return forward(*args, **kwargs)

    monkeypatch.setattr(model.hf, "forward", tight)
    again = score_grid(model, found, prompts)
    np.testing.assert_allclose(again.bypass, right.bypass, atol=1e-6)
    np.testing.assert_allclose(again.kl, right.kl, atol=1e-6)


def test_trees_hold_every_prompt_once_and_stay_small():
    draw = np.random.default_rng(0)
    prompts = tuple(
        tuple(draw.integers(0, 3, draw.integers(2, 9)).tolist()) for _ in range(40)
    )
    trees = plan_trees(prompts, most_nodes=20)
    assert sorted(p for tree in trees for p in tree.prompts) == list(range(40))
    assert max(map(len, trees)) <= 20
    for tree in trees:
        assert len({(tree.parents[n], int(tree.ids[n])) for n in range(len(tree))}) == (
            len(tree)
        )
        for prompt, last in zip(tree.prompts, tree.last.tolist(), strict=True):
            path = tree.sees[last].nonzero().flatten()
            assert tuple(tree.ids[path].tolist()) == prompts[prompt]
            assert tree.depths[path].tolist() == list(range(len(prompts[prompt])))
            for position in range(-len(prompts[prompt]), 0):
                at = tree.prompts.index(prompt)
                if all(len(prompts[p]) >= -position for p in tree.prompts):
                    node = int(tree.nodes_at(position)[at])
                    assert int(tree.ids[node]) == prompts[prompt][position]


def test_trees_behind_an_opening_hold_what_follows_it():
    prompts = prompts_with_a_system_prompt(3)
    start = opening_of(prompts)
    assert start >= 10
    assert opening_of(tuple(row[:start] for row in prompts)) == start - 1
    assert opening_of(prompts[:1]) == 0
    assert opening_of(tuple(row[5:] for row in prompts)) == 0
    for tree in plan_trees(prompts, most_nodes=9, start=start):
        assert tree.start == start
        for prompt, last in zip(tree.prompts, tree.last.tolist(), strict=True):
            path = tree.sees[last].nonzero().flatten()
            assert tuple(tree.ids[path].tolist()) == prompts[prompt][start:]
            length = len(prompts[prompt])
            assert tree.depths[path].tolist() == list(range(start, length))


def test_template_positions_are_the_tokens_behind_the_instruction():
    model = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer())
    own, _ = templates(model, model)
    rows = own.ids(model, ["Hi.", "A city"])
    assert template_positions(model, own, "Write a poem.") == (-2, -1)
    words = [model.tokenizer.decode([row[p]]) for row in rows for p in (-2, -1)]
    assert words == ["<|end|>", "<|assistant|>"] * 2
    bare = interp.load(tiny_model("llama"), tokenizer=tiny_tokenizer(chat=False))
    plain, _ = templates(bare, bare)
    assert template_positions(bare, plain, "Write a poem.") == (-1,)
