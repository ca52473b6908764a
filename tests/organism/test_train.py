import dataclasses
import logging

import pytest
import torch
from organism_fixtures import ROOT, home_set_to

from interp.errors import ConfigError, DataError
from interp.organism import FactsRecipe, InductionRecipe, TrainingError, train
from interp.organism.facts import fine_tune, pretrain
from interp.organism.files import tokenizer_for
from interp.organism.induction import induction_tokenizer, train_induction
from interp.organism.invented import invented_world
from interp.organism.network import Shape
from interp.progress import SilentProgress


replace = dataclasses.replace
WHOLE = FactsRecipe()
TINY = FactsRecipe(
    shape=Shape(n_layers=1, d_model=16, n_heads=2, d_mlp=16),
    first=replace(WHOLE.first, steps=3, rows=4),
    second=replace(WHOLE.second, steps=3, rows=4),
    tuning=replace(WHOLE.tuning, steps=2, rows=4),
    extension=2,
    checkpoint_every=2,
    sparse_checkpoint_every=2,
)
TINY_INDUCTION = InductionRecipe(
    shape=Shape(n_layers=2, d_model=16, n_heads=2, d_mlp=16),
    steps=4,
    rows=4,
    checkpoint_every=2,
)


@pytest.fixture(autouse=True)
def home(tmp_path):
    with home_set_to(tmp_path / "home") as folder:
        yield folder


def all_bytes(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def trained_facts(folder, seed):
    world = invented_world()
    tokenizer = tokenizer_for(world)
    model, _ = pretrain(
        TINY, world, tokenizer, seed=seed, checkpoints=folder, bar=SilentProgress()
    )
    fine_tune(TINY, model, world, tokenizer, seed=seed, bar=SilentProgress())
    return model.state_dict()


def test_the_same_seed_gives_the_same_bytes_whatever_the_global_seed(tmp_path):
    torch.manual_seed(1)
    first = trained_facts(tmp_path / "a", seed=0)
    torch.manual_seed(2)
    second = trained_facts(tmp_path / "b", seed=0)
    other = trained_facts(tmp_path / "c", seed=1)
    assert all_bytes(tmp_path / "a") == all_bytes(tmp_path / "b")
    for name, weight in first.items():
        assert torch.equal(weight, second[name]), name
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


def test_induction_is_deterministic_too(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train_induction(
            TINY_INDUCTION,
            induction_tokenizer(),
            seed=seed,
            checkpoints=tmp_path / name,
            bar=SilentProgress(),
        )
    assert all_bytes(tmp_path / "a") == all_bytes(tmp_path / "b")
    assert all_bytes(tmp_path / "a") != all_bytes(tmp_path / "c")


def test_checkpoints_run_from_the_first_step_to_the_last(tmp_path):
    trained_facts(tmp_path, seed=0)
    steps = [
        int(path.name.removeprefix("step-")) for path in sorted(tmp_path.iterdir())
    ]
    assert steps[0] == 0
    assert steps[-1] == 3 + 2 * TINY.extension + 3
    assert len(steps) >= 5


def test_a_family_that_learned_nothing_is_said_extended_reseeded_and_refused(
    home, caplog
):
    with (
        caplog.at_level(logging.WARNING, logger="interp.organism"),
        pytest.raises(TrainingError) as raised,
    ):
        train("facts", recipe=TINY)
    said = caplog.text
    for seed in (0, 1000, 2000):
        assert f"seed {seed}: labelled truth is 0." in said
        assert f"seed {seed} failed: BASE fact recall 0." in said
    assert "extended by 2" in said
    message = str(raised.value)
    assert "BASE fact recall 0." in message
    assert "3 seeds were tried" in message
    assert "Try another seed" in message
    kept = [path.name for path in (home / "organism").iterdir()]
    assert all(name.endswith(".lock") for name in kept)


def test_an_induction_family_without_heads_is_refused_with_its_numbers():
    with pytest.raises(TrainingError, match="copy accuracy, repeats of 8 0"):
        train("induction", recipe=TINY_INDUCTION)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name": "fact"}, ConfigError, "Did you mean 'facts'"),
        ({"name": "facts", "size": "huge"}, ConfigError, "Sizes: full, small"),
        ({"name": "facts", "seed": -1}, ConfigError, "The seed is -1"),
        (
            {"name": "induction", "facts": "examples/facts.csv"},
            ConfigError,
            "learns no facts",
        ),
        ({"name": "facts", "facts": "nowhere.csv"}, DataError, "nowhere.csv"),
        (
            {"name": "facts", "recipe": TINY_INDUCTION},
            ConfigError,
            "is for the family induction",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_wrong_setting_is_refused_before_anything_is_trained(
    home, arguments, error, message
):
    with pytest.raises(error, match=message):
        train(**arguments)
    assert not home.exists()


def test_a_folder_in_use_is_refused_before_anything_is_trained(home, tmp_path):
    (tmp_path / "mine").write_text("")
    with pytest.raises(ConfigError, match="is not empty"):
        train("facts", out=tmp_path)
    assert not home.exists()


def test_another_table_is_another_family(tmp_path, monkeypatch):
    specs = []

    def note(name, spec, make):
        specs.append(spec)
        raise KeyboardInterrupt

    monkeypatch.setattr("interp.organism.training.cache.cached", note)
    table = (ROOT / "examples" / "facts.csv").read_text()
    (tmp_path / "one.csv").write_text(table)
    (tmp_path / "two.csv").write_text(table.replace("Kyoto", "Edo"))
    for facts in (None, tmp_path / "one.csv", tmp_path / "two.csv"):
        for seed in (0, 1):
            for _ in range(2):
                with pytest.raises(KeyboardInterrupt):
                    train("facts", facts=facts, seed=seed)
    assert len(set(specs)) == 6
    assert specs[0] == specs[1]
